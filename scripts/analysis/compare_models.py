"""Differences between the benchmarked models' scores, image by image, and their intervals."""

import json
from collections.abc import Mapping, Sequence
from itertools import combinations, product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from imagenet_think.analysis.aggregation import (
    AGGREGATE_NAMES,
    ImageScores,
    Key,
    mean,
    number,
    read_scores,
)
from imagenet_think.analysis.resampling import Intervals, percentiles, resampled_means
from imagenet_think.core.files import write_parquet
from imagenet_think.core.logs import log_to
from imagenet_think.core.schemas import DIFFERENCES
from imagenet_think.metrics import registry
from imagenet_think.metrics.registry import Metric

if TYPE_CHECKING:
    from imagenet_think.core.job import snakemake

PART = "full"


def compare(
    scored: ImageScores, models: Sequence[str], intervals: Intervals, workers: int = 1
) -> pl.DataFrame:
    """Return the mean difference of every pair of models over the images both are scored on.

    Parameters
    ----------
    scored
        Scores of full outputs.
    models
        Benchmarked models in the order to report; a pair names the earlier one first.
    intervals, workers
        As in `bootstrap`.

    Returns
    -------
    polars.DataFrame
        Schema `DIFFERENCES`. The simultaneous intervals have the level 1 - (1 - level) / pairs
        (Bonferroni): at least `level` that all of a metric and aggregate hold at once. The config's
        check makes sure that there are resamples beyond their ends.
    """
    pairs = list(combinations(models, 2))
    metrics = dict.fromkeys(key.metric for key in scored.values)
    rows = list(product(metrics, AGGREGATE_NAMES, pairs))
    if not rows:
        return pl.DataFrame(schema=DIFFERENCES)
    matrix = np.empty((len(rows), len(scored.images)))
    for place, (metric, name, pair) in enumerate(rows):
        of_model, of_other = (scored.values[Key(model, PART, metric, name)] for model in pair)
        np.subtract(of_model, of_other, out=matrix[place])
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


def compare_models(
    metric: Metric,
    score_files: Sequence[str | Path],
    output: str | Path,
    *,
    models: Sequence[str],
    missing: str,
    intervals: Mapping[str, float],
    seed: int,
    workers: int = 1,
) -> None:
    """Write the differences between the models' scores of full outputs.

    Parameters
    ----------
    metric
        Whose scores they are.
    score_files
        Parquet files of all shards, see `imagenet_think.metrics.score_schemas`.
    output
        Parquet file of schema `DIFFERENCES`.
    models
        Keys of the benchmarked models.
    missing
        `leave_out` or `zero`: what a missing response counts.
    intervals
        `draws` and `level` of the intervals.
    seed
        Of the resamples.
    workers
        Threads; the numbers do not depend on them.
    """
    scored = read_scores(metric, score_files, models, [PART], missing)
    frame = compare(scored, models, Intervals(**intervals, seed=seed), workers)
    write_parquet(frame, output, DIFFERENCES)


if __name__ == "__main__":
    log_to(snakemake.log[0])
    settings = json.loads(snakemake.params.settings)
    compare_models(
        registry.get(snakemake.wildcards.metric),
        snakemake.input.scores,
        snakemake.output[0],
        models=settings["benchmarked"],
        missing=settings["benchmark"]["missing"],
        intervals=settings["benchmark"]["intervals"],
        seed=settings["seed"],
        workers=snakemake.threads,
    )
