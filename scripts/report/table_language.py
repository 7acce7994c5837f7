"""Scale and language of the dataset: the numbers of sections 4.2 and 4.3."""

import json
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

import polars as pl

from imagenet_think.analysis.lengths import ENGLISH_SHARE, NON_LATIN_SHARE, sample_tokens
from imagenet_think.analysis.vocabulary import WORD, sample_groups, unique_words
from imagenet_think.core import model_sources
from imagenet_think.core.job import start_job
from imagenet_think.core.logs import logger
from imagenet_think.core.settings import Values
from imagenet_think.parsing import PARTS
from imagenet_think.report import definitions, table_captions
from imagenet_think.report.tables import WHOLE, Column, write_table

GROUP = 1000
"""Samples in a group whose distinct words are counted, as in section 4.3."""

NUMBER = ",.2f"
NUMBERS = {"mean": "Mean", "sd": "SD", "min": "Min.", "median": "Median", "max": "Max."}
SHARES = {"non_latin": "Not in Latin script (%)", "english": "Recognized as English (%)"}
"""Columns of the lengths whose share of all responses is a row."""

COLUMNS = [
    Column("label", "Measure"),
    Column("model", "Model"),
    Column("part", "Part"),
    Column("n", "n", format=WHOLE),
    *(Column(name, heading, format=NUMBER) for name, heading in NUMBERS.items()),
]


def describe(
    values: pl.Series, measure: str, label: str, model: str | None = None, part: str | None = None
) -> pl.DataFrame:
    """Return a row with the number of values and their distribution.

    The standard deviation divides by n - 1; a single value has none. Without values all are null.
    """
    texts = {"measure": measure, "label": label, "model": model, "part": part}
    value = pl.col("value").cast(pl.Float64)
    return values.to_frame("value").select(
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
    """Return the rows of the table, one per distribution.

    They are images per class; tokens by teacher and part; distinct words of groups of samples, by
    teacher and part and of all texts together; and for each teacher the percentages of responses
    that are not in Latin script and that are English, which have only a mean.

    Parameters
    ----------
    sample
        One row per image, column wnid.
    lengths
        Rows of schema `LENGTHS`.
    words
        From `unique_words`.
    group
        Samples in each group of `words`.
    names
        Key of each teacher and its name, in the order to print.
    """
    texts = lengths.drop_nulls("tokens")
    unique = f"Unique words per {group:,} samples"
    images = sample.group_by("wnid").len("images")["images"]
    rows = [describe(images, "images_per_class", "Images per class")]
    for (key, name), part in product(names.items(), PARTS):
        tokens = texts.filter(model=key, part=part)["tokens"]
        rows.append(describe(tokens, "tokens", "Tokens", name, part))
    for (key, name), part in product(names.items(), ("think", "answer")):
        types = words.filter(model=key, part=part)["words"]
        rows.append(describe(types, "unique_words", unique, name, part))
    together = words.filter(pl.col("model").is_null())["words"]
    rows.append(describe(together, "unique_words", unique, "all teachers"))
    nothing = [pl.lit(None, pl.Float64).alias(name) for name in NUMBERS if name != "mean"]
    for (column, label), (key, name) in product(SHARES.items(), names.items()):
        share = texts.filter(model=key, part="full")[column].cast(pl.Float64) * 100
        row = describe(share, f"{column}_percent", label, name, "full")
        rows.append(row.with_columns(nothing))
    return pl.concat(rows)


def caption(defined: Values) -> str:
    """Return the caption: what the numbers are, and of how many images."""
    samples, size = defined["samples"], defined["groups"]["size"]
    whole = (
        f"all {samples['complete']:,} samples as one group, fewer than {size:,}"
        if samples["complete"] < size
        else f"{defined['groups']['number']:,} random groups of {size:,} samples each"
    )
    tokenizer = model_sources.name(defined["tokenizer"]["repository"])
    return (
        f"Scale and language. Tokens are those of the tokenizer of {tokenizer}, no special tokens "
        "added; full is every response with text, think and answer wherever they are known (n "
        "responses). Unique words are different runs of letters, lower-cased, in "
        f"{whole}; {table_captions.samples(samples)} A response counts as not in "
        f"Latin script when at least {defined['non_latin_share']:.0%} of its letters are of other "
        "scripts, and as English when it is in Latin script and at least "
        f"{defined['english_share']:.0%} of its words are English function words (scikit-learn's "
        "stop words). SD divides by n - 1."
    )


def table_language(
    sample: str | Path,
    annotations: Sequence[str | Path],
    lengths: Sequence[str | Path],
    stem: str | Path,
    settings: Values,
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
    settings
        The keys of the config that the rule declares.
    size
        Samples in a group.
    """
    names = {key: settings["models"][key]["name"] for key in settings["teachers"]}
    images = pl.read_parquet(sample, columns=["image_id", "wnid"])
    measured = pl.read_parquet(list(map(Path, lengths)))
    samples = sample_tokens(measured, list(names))["image_id"].to_list()
    if len(samples) < len(images):
        logger.warning("%d of %d images left out", len(images) - len(samples), len(images))
    groups = sample_groups(samples, settings["seed"], size)
    words = unique_words(annotations, groups)
    frame = language(images, measured, words, min(size, len(samples)), names)
    defined = {
        "references": definitions.models(settings["teachers"], settings),
        "texts": definitions.texts(),
        "tokenizer": settings["statistics"]["tokenizer"],
        "images": {"file": definitions.SAMPLE, "class": "wnid"},
        "samples": {"complete": len(samples), "images": len(images)},
        "words": {"pattern": WORD.pattern, "lower_case": True, "replaced": {"’": "'"}},
        "groups": {
            "size": size,
            "number": len(set(groups.values())),
            "seed": settings["seed"],
            "order": definitions.ORDER,
            "name": ["vocabulary", "<image_id>"],
        },
        "non_latin_share": NON_LATIN_SHARE,
        "english_share": ENGLISH_SHARE,
    }
    write_table(frame, COLUMNS, defined, caption, stem, csv=frame)


if __name__ == "__main__":
    snakemake = start_job()
    table_language(
        sample=snakemake.input.sample,
        annotations=snakemake.input.annotations,
        lengths=snakemake.input.lengths,
        stem=Path(snakemake.output[0]).with_suffix(""),
        settings=json.loads(snakemake.params.settings),
    )
