"""Averages and maxima over both teachers, their means over images, and intervals."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from imagenet_think.analysis.aggregation import aggregate, read_scores
from imagenet_think.analysis.resampling import Intervals
from imagenet_think.core.files import write_parquet
from imagenet_think.core.logs import log_to, logger
from imagenet_think.core.schemas import AGGREGATES, IMAGE_COUNTS
from imagenet_think.metrics import registry
from imagenet_think.metrics.registry import Metric

if TYPE_CHECKING:
    from imagenet_think.core.job import snakemake


def aggregate_scores(
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
    """Write the benchmark's numbers.

    Parameters
    ----------
    metric
        Whose scores they are.
    score_files
        Parquet files of all shards, see `imagenet_think.metrics.score_schemas`.
    output
        Parquet file of schema `AGGREGATES`.
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
    scored = read_scores(metric, score_files, models, missing=missing)
    frame = aggregate(scored, Intervals(**intervals, seed=seed), workers)
    counts = frame.select("model", "part", *IMAGE_COUNTS)
    for row in counts.unique(maintain_order=True).iter_rows():
        logger.info("%s, %s: %d images, %d left out, %d without a response", *row)
    write_parquet(frame, output, AGGREGATES)


if __name__ == "__main__":
    log_to(snakemake.log[0])
    settings = json.loads(snakemake.params.settings)
    aggregate_scores(
        registry.get(snakemake.wildcards.metric),
        snakemake.input.scores,
        snakemake.output[0],
        models=settings["benchmarked"],
        missing=settings["benchmark"]["missing"],
        intervals=settings["benchmark"]["intervals"],
        seed=settings["seed"],
        workers=snakemake.threads,
    )
