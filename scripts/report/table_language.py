"""Scale and language of the dataset: the numbers of sections 4.2 and 4.3."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from imagenet_think.analysis.lengths import NON_LATIN_SHARE, sample_tokens
from imagenet_think.analysis.vocabulary import sample_groups, unique_words
from imagenet_think.core import model_sources
from imagenet_think.core.job import start_job
from imagenet_think.core.logs import logger
from imagenet_think.core.settings import names
from imagenet_think.parsing import PARTS
from imagenet_think.report.tables import WHOLE, Column, write_table

GROUP = 1000
"""Samples in a group whose distinct words are counted, as in section 4.3."""

NUMBER = ",.2f"
NUMBERS = {"mean": "Mean", "sd": "SD", "min": "Min.", "median": "Median", "max": "Max."}
COLUMNS = [
    Column("measure", "", printed=False),
    Column("label", "Measure"),
    Column("model", "Model"),
    Column("part", "Part"),
    Column("n", "n", format=WHOLE),
    *(Column(name, heading, format=NUMBER) for name, heading in NUMBERS.items()),
]


def describe(
    values: pl.DataFrame, measure: str, label: str, model: str | None, part: str | None
) -> pl.DataFrame:
    """Return a row with the number of values and their distribution.

    The standard deviation divides by n - 1; a single value has none. Without values all are null.

    Parameters
    ----------
    values
        The values, in the only column.
    measure, label, model, part
        What was measured.
    """
    texts = {"measure": measure, "label": label, "model": model, "part": part}
    value = pl.col(values.columns[0]).cast(pl.Float64)
    return values.select(
        *(pl.lit(text, pl.String).alias(name) for name, text in texts.items()),
        n=pl.len().cast(pl.Int64),
        mean=value.mean(),
        sd=value.std(),
        min=value.min(),
        median=value.median(),
        max=value.max(),
    )


def language(
    sample: pl.DataFrame,
    lengths: pl.DataFrame,
    words: pl.DataFrame,
    group: int,
    names: Mapping[str, str],
) -> pl.DataFrame:
    """Return the rows of the table.

    Parameters
    ----------
    sample
        One row per image, column wnid.
    lengths
        Rows of schema `LENGTHS`.
    words
        From `imagenet_think.analysis.vocabulary.unique_words`.
    group
        Samples in each group of `words`.
    names
        Key of each teacher and its name, in the order to print.

    Returns
    -------
    polars.DataFrame
        One row per distribution: images per class; tokens by teacher and part; distinct words of
        groups of samples, by teacher and part and of all texts together; and for each teacher the
        percentage of responses that are not in Latin script, which has only a mean.
    """
    texts = lengths.drop_nulls("tokens")
    unique = f"Unique words per {group:,} samples"
    images = sample.group_by("wnid").len("images").select("images")
    rows = [describe(images, "images_per_class", "Images per class", None, None)]
    for key, name in names.items():
        for part in PARTS:
            tokens = texts.filter(model=key, part=part).select("tokens")
            rows.append(describe(tokens, "tokens", "Tokens", name, part))
    for key, name in names.items():
        for part in ("think", "answer"):
            types = words.filter(model=key, part=part).select("words")
            rows.append(describe(types, "unique_words", unique, name, part))
    together = words.filter(pl.col("model").is_null()).select("words")
    rows.append(describe(together, "unique_words", unique, "all teachers", None))
    nothing = [pl.lit(None, pl.Float64).alias(name) for name in NUMBERS if name != "mean"]
    for key, name in names.items():
        other = texts.filter(model=key, part="full").select(
            pl.col("non_latin").cast(pl.Float64) * 100
        )
        row = describe(other, "non_latin_percent", "Not in Latin script (%)", name, "full")
        rows.append(row.with_columns(nothing))
    return pl.concat(rows)


def caption(samples: int, images: int, groups: int, group: int, size: int, tokenizer: str) -> str:
    """Return the caption: what the numbers are, and of how many images."""
    whole = (
        f"all {group:,} samples as one group, fewer than {size:,}"
        if group < size
        else f"{groups:,} random groups of {group:,} samples each"
    )
    return (
        f"Scale and language. Tokens are those of the tokenizer of {tokenizer}, no special tokens "
        "added; full is every response with text, think and answer those of responses that could "
        "be parsed (n responses). Unique words are different runs of letters, lower-cased, in "
        f"{whole}; a sample is an image with the thinking and the answer of every teacher: "
        f"M = {samples:,} of {images:,} images, {images - samples:,} left out because a response "
        "is missing, was cut off or could not be parsed. A response counts as not in Latin script "
        f"when at least {NON_LATIN_SHARE:.0%} of its letters are of other scripts. SD divides by "
        "n - 1."
    )


def table_language(
    sample: str | Path,
    annotations: Sequence[str | Path],
    lengths: Sequence[str | Path],
    stem: str | Path,
    *,
    names: Mapping[str, str],
    tokenizer: str,
    seed: int,
    size: int = GROUP,
) -> None:
    """Write the table of sections 4.2 and 4.3.

    Parameters
    ----------
    sample
        Parquet of schema `SAMPLE`.
    annotations, lengths
        Parquet files of schemas `ANNOTATIONS` and `LENGTHS`, all shards of the teachers.
    stem
        Path of the table without suffix.
    names
        Key of each teacher and its name.
    tokenizer
        Name of the tokenizer, for the caption.
    seed
        Seed of the random groups.
    size
        Samples in a group.
    """
    images = pl.read_parquet(sample, columns=["image_id", "wnid"])
    measured = pl.scan_parquet(list(map(Path, lengths))).collect()
    samples = sample_tokens(measured, list(names))["image_id"].to_list()
    if len(samples) < len(images):
        logger.warning("%d of %d images left out", len(images) - len(samples), len(images))
    groups = sample_groups(samples, seed, size)
    words = unique_words(annotations, groups)
    group = min(size, len(samples))
    frame = language(images, measured, words, group, names)
    count = len(set(groups.values()))
    text = caption(len(samples), len(images), count, group, size, tokenizer)
    write_table(frame, COLUMNS, text, stem)


if __name__ == "__main__":
    snakemake = start_job()
    settings = json.loads(snakemake.params.settings)
    table_language(
        sample=snakemake.input.sample,
        annotations=snakemake.input.annotations,
        lengths=snakemake.input.lengths,
        stem=Path(snakemake.output[0]).with_suffix(""),
        names=names(settings),
        tokenizer=model_sources.name(settings["statistics"]["tokenizer"]["repository"]),
        seed=settings["seed"],
    )
