"""Count samples, images and tokens of another dataset of Table 1."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice

import polars as pl

from imagenet_think.analysis.lengths import count_tokens, load_tokenizer
from imagenet_think.analysis.other_datasets import FORMS, Sample
from imagenet_think.core.csv_files import write_csv
from imagenet_think.core.job import start_job
from imagenet_think.core.logs import logger

AT_ONCE = 4096
"""Samples in memory at a time."""

COUNTS = pl.Schema(
    {
        "samples": pl.Int64,
        "without_text": pl.Int64,  # not counted as samples
        "images": pl.Int64,  # distinct ones, of the samples
        "min": pl.Int64,
        "max": pl.Int64,
        "mean": pl.Float64,
        "total": pl.Int64,
    }
)


def count(samples: Iterable[Sample], tokens: Callable[[list[str]], list[int]]) -> pl.DataFrame:
    """Count samples, their images and their tokens, of which `tokens` returns each text's number.

    Returns
    -------
    polars.DataFrame
        One row, schema `COUNTS`. A sample has the tokens of all its texts; minimum, maximum and
        mean are null where there is no sample.
    """
    images: set[str] = set()
    lengths: list[int] = []
    without = 0
    rest = iter(samples)
    while batch := list(islice(rest, AT_ONCE)):
        with_text = [sample for sample in batch if sample.texts]
        without += len(batch) - len(with_text)
        images.update(chain.from_iterable(sample.images for sample in with_text))
        numbers = iter(tokens([text for sample in with_text for text in sample.texts]))
        lengths += (sum(islice(numbers, len(sample.texts))) for sample in with_text)
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


def read_samples(files: Sequence[str], dataset: str) -> Iterator[Sample]:
    """Yield the samples in the files of one of `imagenet_think.analysis.other_datasets.FORMS`.

    Raises
    ------
    ValueError
        If a file is broken or lacks a column; the message names file and line. If no sample has
        text.
    """
    has_text = False
    for path in files:
        logger.info("reading %s", path)
        for sample in FORMS[dataset].read(path):
            has_text = has_text or bool(sample.texts)
            yield sample
    if not has_text:
        raise ValueError(
            f"{files[0]}: no sample of {FORMS[dataset].name} has text: are these its files?"
        )


if __name__ == "__main__":
    snakemake = start_job()
    dataset = snakemake.wildcards.dataset
    settings = json.loads(snakemake.params.settings)
    tokenizer = load_tokenizer(**settings["statistics"]["tokenizer"])
    counts = count(
        read_samples(snakemake.input.files, dataset),
        lambda texts: count_tokens(tokenizer, texts),
    )
    write_csv(counts, snakemake.output[0])
    logger.info("%s: %s", FORMS[dataset].name, counts.row(0, named=True))
