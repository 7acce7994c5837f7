"""Count what each metric can read of a block's texts."""

import json
from collections.abc import Iterable
from pathlib import Path

import polars as pl

from imagenet_think.analysis.lengths import load_tokenizer
from imagenet_think.core.files import write_parquet
from imagenet_think.core.job import start_job
from imagenet_think.core.logs import logger
from imagenet_think.core.schemas import DOMAIN
from imagenet_think.metrics import registry
from imagenet_think.metrics.domain import Counter, counter
from imagenet_think.metrics.domain_limits import reason
from imagenet_think.metrics.pairs import read_texts


def measure_domain(
    annotations: Iterable[str | Path], metric: str, count: Counter | None
) -> pl.DataFrame:
    """Count what a metric can read of every text that can be scored, schema `DOMAIN`.

    `annotations` are parquet files of schema `ANNOTATIONS`, `metric` is the name of the metric
    whose tokens `count` counts. Without `count` there is no row.
    """
    frames = [DOMAIN.to_frame()]
    for path in annotations:
        if count is None:
            break
        texts = read_texts(path).drop_nulls("text")
        counts = count(texts["text"].to_list())
        frame = texts.drop("text").with_columns(
            pl.lit(metric).alias("metric"),
            *(
                pl.Series(name, counts[name], pl.Int64)
                for name in ("tokens", "unknown", "letters", "in_words")
            ),
        )
        frames.append(frame.with_columns(outside=reason()).select(DOMAIN.names()))
    return pl.concat(frames)


if __name__ == "__main__":
    snakemake = start_job()
    metric = registry.get(snakemake.wildcards.metric)
    settings = json.loads(snakemake.params.settings)
    count = counter(metric, settings["benchmark"][metric.name], load_tokenizer)
    models = len(settings["teachers"] + settings["benchmarked"])
    files = snakemake.input.annotations
    for place, path in enumerate(snakemake.output):
        frame = measure_domain(files[place * models :][:models], metric.name, count)
        write_parquet(frame, path, DOMAIN)
        outside = frame["outside"].drop_nulls().value_counts(sort=True)
        logger.info(
            "Shard %s: %d texts, outside the domain: %s",
            *(Path(path).stem, len(frame)),
            ", ".join(f"{n} {why}" for why, n in outside.iter_rows()) or "none",
        )
