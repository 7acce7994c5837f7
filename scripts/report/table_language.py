"""Scale and language of the dataset: the numbers of sections 4.2 and 4.3."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from imagenet_think.analysis.lengths import NON_LATIN_SHARE, sample_tokens
from imagenet_think.analysis.vocabulary import sample_groups, unique_words
from imagenet_think.core import model_sources
from imagenet_think.core.logs import log_to, logger
from imagenet_think.core.settings import names
from imagenet_think.parsing import PARTS
from imagenet_think.report.tables import WHOLE, Column, write_table

if TYPE_CHECKING:
    from imagenet_think.core.job import snakemake

GROUP = 1000
"""Samples in a group whose different words are counted, as in section 4.3."""

NUMBER = ",.2f"
COLUMNS = [
    Column("measure", "", printed=False),
    Column("label", "Measure"),
    Column("model", "Model"),
    Column("part", "Part"),
    Column("n", "n", format=WHOLE),
    Column("mean", "Mean", format=NUMBER),
    Column("sd", "SD", format=NUMBER),
    Column("min", "Min.", format=NUMBER),
    Column("median", "Median", format=NUMBER),
    Column("max", "Max.", format=NUMBER),
]
NUMBERS = [column.name for column in COLUMNS if column.format == NUMBER]

SCHEMA = pl.Schema(
    dict.fromkeys(("measure", "label", "model", "part"), pl.String)
    | {"n": pl.Int64}
    | dict.fromkeys(NUMBERS, pl.Float64)
)


def describe(
    measure: str, label: str, model: str | None, part: str | None, values: pl.Series
) -> dict[str, object]:
    """Return a row: how many values there are, and what their distribution is like.

    The standard deviation divides by n - 1; one value has none. Without values all are null.
    """
    values = values.cast(pl.Float64)
    numbers = {
        name: getattr(values, function)()
        for name, function in zip(NUMBERS, ("mean", "std", "min", "median", "max"), strict=True)
    }
    return {"measure": measure, "label": label, "model": model, "part": part, "n": len(values)} | (
        numbers
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
        A row an image, column wnid.
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
        A row a distribution: images a class; tokens by teacher and part; different words of groups
        of samples, by teacher and part and of all texts together; and for each teacher the share of
        responses in another script than Latin, in percent, of which only the mean is given.
    """
    counts = sample.group_by("wnid").len("images")["images"]
    rows = [describe("images_per_class", "Images per class", None, None, counts)]
    texts = lengths.filter(pl.col("tokens").is_not_null())
    for key, name in names.items():
        for part in PARTS:
            chosen = texts.filter((pl.col("model") == key) & (pl.col("part") == part))
            rows.append(describe("tokens", "Tokens", name, part, chosen["tokens"]))
    label = f"Unique words per {group:,} samples"
    for key, name in names.items():
        for part in ("think", "answer"):
            chosen = words.filter((pl.col("model") == key) & (pl.col("part") == part))
            rows.append(describe("unique_words", label, name, part, chosen["words"]))
    together = words.filter(pl.col("model").is_null())["words"]
    rows.append(describe("unique_words", label, "all teachers", None, together))
    for key, name in names.items():
        chosen = texts.filter((pl.col("model") == key) & (pl.col("part") == "full"))
        row = describe(
            "non_latin_percent",
            "Not in Latin script (%)",
            name,
            "full",
            chosen["non_latin"].cast(pl.Float64) * 100,
        )
        rows.append(row | dict.fromkeys(("sd", "min", "median", "max")))
    return pl.DataFrame(rows, schema=SCHEMA)


def caption(samples: int, images: int, groups: int, group: int, size: int, tokenizer: str) -> str:
    """Say what the numbers are, and of how many images."""
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
        Path of the table without ending.
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
    measured = pl.scan_parquet(lengths).collect()
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
    log_to(snakemake.log[0])
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
