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
    interval,
    mean,
    read_scores,
)
from imagenet_think.analysis.intervals import Intervals, margins
from imagenet_think.core.files import write_parquet
from imagenet_think.core.job import start_job
from imagenet_think.core.schemas import DIFFERENCES
from imagenet_think.metrics import registry

PART = "full"


def compare_models(
    scored: ImageScores, models: Sequence[str], intervals: Intervals
) -> pl.DataFrame:
    """Return the mean differences of all pairs of models, over the same images.

    These are the images on which every model is scored that is scored at all. A pair names the
    model first that comes first in `models`.

    Returns
    -------
    polars.DataFrame
        Schema `DIFFERENCES`. The simultaneous intervals of a measure and aggregate hold for all
        pairs at once with the level of `intervals`.
    """
    pairs = list(combinations(models, 2))
    measures = dict.fromkeys(key.metric for key in scored.values)
    rows = list(product(measures, AGGREGATE_NAMES, pairs))
    if not rows:
        return pl.DataFrame(schema=DIFFERENCES)
    matrix = np.empty((len(rows), len(scored.images)))
    for place, values in enumerate(_differences(scored, models, measures)):
        matrix[place] = values
    single, all_at_once = (
        margins(matrix, scored.classes, intervals, compared=number) for number in (2, len(models))
    )
    found = []
    for place, (metric, name, (model, other)) in enumerate(rows):
        difference = mean(matrix[place])
        found.append(
            {
                "metric": metric,
                "aggregate": name,
                "model": model,
                "other": other,
                "difference": difference,
                **interval(difference, single[place]),
                **interval(difference, all_at_once[place], "all_"),
                "images": int((~np.isnan(matrix[place])).sum()),
            }
        )
    return pl.DataFrame(found, schema=DIFFERENCES)


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
        snakemake.input.sample,
    )
    frame = compare_models(scored, models, Intervals(**benchmark["intervals"]))
    write_parquet(frame, snakemake.output[0], DIFFERENCES)
