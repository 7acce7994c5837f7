"""Averages and maxima over both teachers, their means over images, and intervals."""

import json

import numpy as np
import polars as pl

from imagenet_think.analysis.aggregation import (
    ImageScores,
    read_scores,
    summarise,
    without_thinking,
)
from imagenet_think.analysis.resampling import Intervals
from imagenet_think.core.files import write_parquet
from imagenet_think.core.job import start_job
from imagenet_think.core.logs import logger
from imagenet_think.core.schemas import AGGREGATES, IMAGE_COUNTS
from imagenet_think.metrics import registry


def aggregate_scores(scored: ImageScores, intervals: Intervals, workers: int = 1) -> pl.DataFrame:
    """Return the means over all images and their intervals, schema `AGGREGATES`.

    There is one row per model, part, measure and aggregate, null where no image is scored.
    """
    everything = np.arange(len(scored.images))
    rows = summarise(scored, list(scored.values), everything, intervals, workers)
    return pl.DataFrame(list(rows), schema=AGGREGATES)


if __name__ == "__main__":
    snakemake = start_job()
    settings = json.loads(snakemake.params.settings)
    benchmark = settings["benchmark"]
    scored = read_scores(
        registry.get(snakemake.wildcards.metric),
        snakemake.input.scores,
        settings["benchmarked"],
        missing=benchmark["missing"],
        unthinking=without_thinking(settings["models"]),
    )
    intervals = Intervals(**benchmark["intervals"], seed=settings["seed"])
    frame = aggregate_scores(scored, intervals, snakemake.threads)
    counts = frame.select("model", "part", *IMAGE_COUNTS)
    for row in counts.unique(maintain_order=True).iter_rows():
        logger.info("%s, %s: %d images, %d left out, %d without a response", *row)
    write_parquet(frame, snakemake.output[0], AGGREGATES)
