"""Mean paired differences between the benchmarked models' scores, and their intervals."""

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations, product

import numpy as np
import polars as pl

from imagenet_think.analysis.aggregation import (
    AGGREGATE_NAMES,
    ImageScores,
    Key,
    in_common,
    mean,
    number,
    read_scores,
)
from imagenet_think.analysis.resampling import Intervals, percentiles, resampled_means
from imagenet_think.core.files import write_parquet
from imagenet_think.core.job import start_job
from imagenet_think.core.schemas import DIFFERENCES
from imagenet_think.metrics import registry

PART = "full"


def compare_models(
    scored: ImageScores, models: Sequence[str], intervals: Intervals, workers: int = 1
) -> pl.DataFrame:
    """Return the mean differences of all pairs of models, over the same images.

    These are the images on which every model is scored that is scored at all. A pair names the
    model first that comes first in `models`.

    Returns
    -------
    polars.DataFrame
        Schema `DIFFERENCES`. The simultaneous intervals have the level 1 - (1 - level) / pairs
        (Bonferroni), so that all intervals of a measure and aggregate hold at once with at least
        `level`. The config's check makes sure that there are resamples beyond their ends.
    """
    pairs = list(combinations(models, 2))
    measures = dict.fromkeys(key.metric for key in scored.values)
    rows = list(product(measures, AGGREGATE_NAMES, pairs))
    if not rows:
        return pl.DataFrame(schema=DIFFERENCES)
    matrix = np.empty((len(rows), len(scored.images)))
    for place, values in enumerate(_differences(scored, models, measures)):
        matrix[place] = values
    means = resampled_means(matrix.T, intervals, workers)
    low, high = percentiles(means, intervals.level)
    all_low, all_high = percentiles(means, 1 - (1 - intervals.level) / len(pairs))
    return pl.DataFrame(
        [
            {
                "metric": metric,
                "aggregate": name,
                "model": model,
                "other": other,
                "difference": mean(matrix[place]),
                "low": number(low[place]),
                "high": number(high[place]),
                "all_low": number(all_low[place]),
                "all_high": number(all_high[place]),
                "images": int((~np.isnan(matrix[place])).sum()),
            }
            for place, (metric, name, (model, other)) in enumerate(rows)
        ],
        schema=DIFFERENCES,
    )


def _differences(
    scored: ImageScores, models: Sequence[str], measures: Iterable[str]
) -> Iterator[np.ndarray]:
    """Yield the differences of all pairs of models, shape (images,); NaN if not in common."""
    for metric, name in product(measures, AGGREGATE_NAMES):
        values = np.stack([scored.values[Key(model, PART, metric, name)] for model in models])
        values[:, ~in_common(values)] = np.nan
        for one, other in combinations(values, 2):
            yield one - other


if __name__ == "__main__":
    snakemake = start_job()
    settings = json.loads(snakemake.params.settings)
    models, benchmark = settings["benchmarked"], settings["benchmark"]
    scored = read_scores(
        registry.get(snakemake.wildcards.metric),
        snakemake.input.scores,
        models,
        [PART],
        benchmark["missing"],
    )
    intervals = Intervals(**benchmark["intervals"], seed=settings["seed"])
    frame = compare_models(scored, models, intervals, snakemake.threads)
    write_parquet(frame, snakemake.output[0], DIFFERENCES)
