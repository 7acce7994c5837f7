"""Measure how far an encoder's scores are from those that it would give in float32."""

import json
from collections.abc import Iterable

import polars as pl

from imagenet_think.core.files import write_parquet
from imagenet_think.core.job import start_job
from imagenet_think.core.logs import logger
from imagenet_think.core.schemas import PRECISION
from imagenet_think.metrics import registry
from imagenet_think.metrics.encoder import Encoder, greatest_error
from imagenet_think.metrics.pairs import Shard
from imagenet_think.metrics.registry import Metric

PAIRS = 256


def some_pairs(shards: Iterable[Shard], count: int) -> tuple[list[str], list[str]]:
    """Return both texts of some pairs, evenly spaced over those of the first shards that have any.

    No more shards are read than are needed for so many pairs.
    """
    candidates: list[str] = []
    references: list[str] = []
    for shard in shards:
        missing = count - len(candidates)
        if missing <= 0:
            break
        pairs = shard.pairs()
        rows = pairs.scorable()
        texts, others = pairs.columns(rows.gather_every(max(len(rows) // missing, 1)).head(missing))
        candidates += texts
        references += others
    return candidates, references


def measure_precision(metric: Metric, encoder: Encoder, shards: Iterable[Shard]) -> pl.DataFrame:
    """Return the greatest error of each column of the scores, schema `PRECISION`."""
    pairs = some_pairs(shards, PAIRS)
    errors = greatest_error(encoder, *pairs)
    rows = [
        {
            "metric": metric.name,
            "column": name,
            "pairs": len(pairs[0]),
            "greatest": errors[name] if pairs[0] else None,
        }
        for name in metric.score_columns
    ]
    return pl.DataFrame(rows, schema=PRECISION)


if __name__ == "__main__":
    snakemake = start_job()
    settings = json.loads(snakemake.params.settings)
    metric = registry.get(snakemake.wildcards.metric)
    tuning = json.loads(snakemake.params.inference)["benchmark"][metric.name]
    # Annotations come model by model, teachers first.
    count = len(snakemake.params.shards)
    shards = (
        Shard(
            annotations=snakemake.input.annotations[place::count],
            sample=snakemake.input.sample,
            evaluated=snakemake.input.evaluated,
            scores="",
            agreement="",
            name=name,
            models=settings["benchmarked"],
            teachers=settings["teachers"],
            seed=settings["seed"],
        )
        for place, name in enumerate(snakemake.params.shards)
    )
    encoder = metric.load(**settings["benchmark"][metric.name], **tuning)
    assert isinstance(encoder, Encoder)
    frame = measure_precision(metric, encoder, shards)
    for row in frame.iter_rows(named=True):
        logger.info("%(column)s: at most %(greatest)s from float32, on %(pairs)d pairs", row)
    write_parquet(frame, snakemake.output[0], PRECISION)
