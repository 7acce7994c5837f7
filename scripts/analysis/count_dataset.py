"""Count samples, images and tokens of another dataset of Table 1."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from imagenet_think.analysis.lengths import count_tokens, load_tokenizer
from imagenet_think.analysis.other_datasets import FORMS, Sample
from imagenet_think.core.files import atomic_path
from imagenet_think.core.logs import log_to, logger

if TYPE_CHECKING:
    from imagenet_think.core.job import snakemake

AT_ONCE = 4096
"""Samples in memory at a time."""

COUNTS = pl.Schema(
    {
        "samples": pl.Int64,
        "without_text": pl.Int64,  # not among the samples
        "images": pl.Int64,  # of the samples, each counted once
        "min": pl.Int64,
        "max": pl.Int64,
        "mean": pl.Float64,
        "total": pl.Int64,
    }
)


def count(samples: Iterable[Sample], tokens: Callable[[list[str]], list[int]]) -> pl.DataFrame:
    """Count samples, their images and their tokens.

    Parameters
    ----------
    samples
        Those without text are counted apart.
    tokens
        Returns the number of tokens of each text.

    Returns
    -------
    polars.DataFrame
        One row, schema `COUNTS`. The tokens of a sample are the sum of those of its texts; least,
        greatest and mean are null where there is no sample.
    """
    images: set[str] = set()
    lengths: list[int] = []
    without = 0
    rest = iter(samples)
    while batch := list(islice(rest, AT_ONCE)):
        told = [sample for sample in batch if sample.texts]
        without += len(batch) - len(told)
        images.update(chain.from_iterable(sample.images for sample in told))
        numbers = iter(tokens([text for sample in told for text in sample.texts]))
        lengths += (sum(islice(numbers, len(sample.texts))) for sample in told)
    found = pl.Series(lengths, dtype=pl.Int64)
    row = {
        "samples": len(found),
        "without_text": without,
        "images": len(images),
        "min": found.min(),
        "max": found.max(),
        "mean": found.mean(),
        "total": found.sum(),
    }
    return pl.DataFrame([row], schema=COUNTS)


def count_dataset(
    files: Sequence[str],
    output: str | Path,
    *,
    dataset: str,
    repository: str,
    revision: str | None,
) -> None:
    """Write the counts of a dataset.

    Parameters
    ----------
    files
        Its files, in the form of `imagenet_think.analysis.other_datasets`.
    output
        CSV to write, one row, columns `COUNTS`.
    dataset
        One of `imagenet_think.analysis.other_datasets.FORMS`.
    repository, revision
        The tokenizer, as `imagenet_think.core.model_sources.resolve` takes them.

    Raises
    ------
    ValueError
        If a file is broken or lacks a column; the message names file and line. If no sample holds
        a text.
    """
    tokenizer = load_tokenizer(repository, revision)
    counts = count(
        _samples(files, dataset), lambda texts: count_tokens(tokenizer, texts) if texts else []
    )
    row = counts.row(0, named=True)
    if not row["samples"]:
        raise ValueError(
            f"{files[0]}: no sample of {FORMS[dataset].name} holds a text: are these its files?"
        )
    with atomic_path(output) as temporary:
        counts.write_csv(temporary)
    logger.info("%s: %s", FORMS[dataset].name, row)


def _samples(files: Sequence[str], dataset: str) -> Iterator[Sample]:
    for path in files:
        logger.info("reading %s", path)
        yield from FORMS[dataset].read(path)


if __name__ == "__main__":
    log_to(snakemake.log[0])
    count_dataset(
        list(snakemake.input.files),
        snakemake.output[0],
        dataset=snakemake.wildcards.dataset,
        **json.loads(snakemake.params.settings)["statistics"]["tokenizer"],
    )
