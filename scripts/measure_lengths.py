"""Measure the annotations of a shard: tokens, words and script of every part."""

import json
from pathlib import Path

import polars as pl

from imagenet_think.files import write_parquet
from imagenet_think.lengths import load_tokenizer, measure
from imagenet_think.logs import log_to, logger
from imagenet_think.schemas import LENGTHS


def measure_lengths(
    annotations: str | Path, lengths: str | Path, repository: str, revision: str | None
) -> None:
    """Measure every response of a file.

    Parameters
    ----------
    annotations
        Parquet of schema `ANNOTATIONS`.
    lengths
        Parquet to write, of schema `LENGTHS`: three rows for each response.
    repository, revision
        The tokenizer, as `imagenet_think.repositories.resolve` takes them.
    """
    frame = pl.read_parquet(annotations)
    measured = measure(frame, load_tokenizer(repository, revision))
    logger.info("%d responses, %d tokens", len(frame), _tokens(measured))
    write_parquet(measured, lengths, LENGTHS)


def _tokens(measured: pl.DataFrame) -> int:
    return measured.filter(pl.col("part") == "full")["tokens"].sum()


if __name__ == "__main__":
    log_to(snakemake.log[0])
    settings = json.loads(snakemake.params.settings)
    measure_lengths(
        annotations=snakemake.input.annotations,
        lengths=snakemake.output[0],
        repository=settings["tokenizer"]["repository"],
        revision=settings["tokenizer"].get("revision"),
    )
