"""How often answers name what the image shows, next to how often that happens by chance."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from imagenet_think.analysis.aggregation import largest_first
from imagenet_think.analysis.intervals import Intervals, classes_of, shares
from imagenet_think.core.job import start_job
from imagenet_think.core.logs import logger
from imagenet_think.core.schemas import MENTIONS
from imagenet_think.core.settings import Values, names
from imagenet_think.report import definitions, table_captions
from imagenet_think.report.tables import WHOLE, Column, with_interval, write_table

SHARES = {
    "synset": ("Its class", pl.col("synset")),
    "synset_or_hyponym": ("or one below", pl.col("synset") | pl.col("hyponym")),
    "any": ("or the one above", pl.any_horizontal("synset", "hyponym", "hypernym")),
    "chance": ("Chance", pl.col("other")),
}
"""Columns of the table, their headings, and which answers they count."""

PERCENT = ".1%"

MATCHED = (
    "whole words, whatever their capitals (names in capitals alone, as OR, as they are written), "
    "with space or hyphen between their words, and with the last word in its plural as well, which "
    "may be irregular (wolves; WordNet's list of exceptions)"
)
"""How names are found in a text."""

COLUMNS = [
    Column("model", "Model"),
    *(
        Column(name, heading, "" if name == "chance" else "Names", PERCENT, interval=True)
        for name, (heading, _) in SHARES.items()
    ),
    Column("answers", "n", format=WHOLE),
]


def arrange(found: pl.DataFrame, sample: pl.DataFrame, settings: Values) -> pl.DataFrame:
    """Return the rows of the csv.

    Parameters
    ----------
    found
        Rows of schema `MENTIONS`.
    sample
        Columns image_id, wnid, domain and complexity_stratum.
    settings
        The keys of the config that the rule declares.

    Returns
    -------
    polars.DataFrame
        One row per model over all images (grouping and group "all"), then by domain and by stratum;
        images without a stratum are in none. Shares are of the answers, and null without answers.

    Raises
    ------
    ValueError
        If a model has an image twice, or one that is not in the sample.
    """
    intervals, named = Intervals(**settings["benchmark"]["intervals"]), names(settings)
    for key in named:
        _check(found.filter(model=key)["image_id"], sample["image_id"], key)
    groups = [("all", "all", sample)]
    for domain in largest_first(sample["domain"]):
        groups.append(("domain", domain, sample.filter(domain=domain)))
    for stratum in sample["complexity_stratum"].drop_nulls().unique().sort():
        groups.append(("stratum", str(stratum), sample.filter(complexity_stratum=stratum)))
    table = []
    for grouping, group, images in groups:
        rows = found.join(images.select("image_id"), on="image_id", how="semi")
        for key, name in named.items():
            row = {"grouping": grouping, "group": group, "model": name, "key": key}
            table.append(row | _row(rows.filter(model=key), images, intervals))
    numbers = [name for share in SHARES for name in with_interval(share)]
    frame = pl.DataFrame(table, schema_overrides=dict.fromkeys(numbers, pl.Float64))
    return frame.with_columns(pl.col(numbers).fill_nan(None))


def _check(images: pl.Series, sample: pl.Series, model: str) -> None:
    twice = images.filter(images.is_duplicated())
    if len(twice):
        raise ValueError(f"mentions of {model}: image {twice[0]} appears more than once")
    strange = images.filter(~images.is_in(sample.implode()))
    if len(strange):
        raise ValueError(f"mentions of {model}: image {strange[0]} is not in the sample")


def _row(rows: pl.DataFrame, images: pl.DataFrame, intervals: Intervals) -> dict[str, object]:
    """Return the shares among a model's answers, with their intervals, and the counts.

    `images` are those of the sample that the rows could be of.
    """
    named = rows.select(**{name: expression for name, (_, expression) in SHARES.items()})
    counts, answered = (
        np.stack([column.to_numpy() for column in frame.cast(pl.Float64)])
        for frame in (named.fill_null(False), named.select(pl.all().is_not_null()))
    )
    found = shares(counts, answered, classes_of(rows["image_id"], images), intervals)
    row: dict[str, object] = {}
    for name, *numbers in zip(SHARES, *map(np.ndarray.tolist, found), strict=True):
        row |= dict(zip(with_interval(name), numbers, strict=True))
    answers = rows["synset"].count()
    return row | {"answers": answers, "no_answer": len(rows) - answers}


def define(rows: pl.DataFrame, settings: Values) -> dict[str, Any]:
    """Return the definitions; `rows` are those of the csv."""
    total, grouped = rows.filter(grouping="all"), rows["grouping"].unique().to_list()
    shares = {name: column.meta.root_names() for name, (_, column) in SHARES.items()}
    answers = ("answers", "no_answer")
    return {
        "models": total.select("key", name="model").to_dicts(),
        "texts": {"answer": definitions.texts()["answer"]},
        "shares": shares,
        "names": {
            "file": "images/classes.parquet",
            "other_hypernyms": "resources/hypernyms.tsv",
            "irregular_plurals": "resources/irregular_plurals.tsv",
            "synset": "lemmas",
            "hyponym": "lemmas of all classes below",
            "hypernym": "lemmas of the class directly above",
            "other": "any of these of another class",
            "matched": MATCHED,
        },
        "other": {
            "seed": settings["seed"],
            "order": definitions.ORDER,
            "name": ["mentions", "<image_id>"],
            "rule": (
                "The other class is at the place of the digest, as a big-endian number, modulo "
                "their number, among the sample's other classes sorted by wnid."
            ),
        },
        "groups": {name: own for name, own in definitions.GROUPED_BY.items() if name in grouped},
        "images": total.select("key", *answers).to_dicts(),
        "intervals": definitions.intervals(settings),
    }


def caption(defined: Values) -> str:
    """Return the caption: what is matched, and in how many answers."""
    counts = defined["images"]
    matched = defined["names"]["matched"]
    missing = sum(row["no_answer"] for row in counts)
    responses = "response" if missing == 1 else "responses"
    why = "without an answer or of a class without a name"
    left = f"; {missing:,} {responses} {why} left out" if missing else ""
    responses_read = {row["answers"] + row["no_answer"] for row in counts}
    differ = (
        " Teachers answer for all images of the sample, the other models for those that are "
        "evaluated (benchmark.images)."
        if len(responses_read) > 1
        else ""
    )
    complexity = (
        "Complexity is the image's stratum of visual complexity inside its class, counted from 1, "
        "the least complex; the"
        if "stratum" in defined["groups"]
        else "The"
    )
    return (
        "Share of answers that name what the image shows: its class, by one of the synset's "
        f"lemmas; or a class below it; or the one directly above. Names are matched as {matched}; "
        "a name in another sense of the word counts too. Chance: the answer names, "
        "in any of these ways, another class of the sample, drawn at random for each image. n: "
        f"answers{left}.{differ} {table_captions.intervals(defined)} {complexity} csv has the "
        "shares by domain too."
    )


def table_mentions(
    mentions: Sequence[str | Path], sample: str | Path, stem: str | Path, settings: Values
) -> None:
    """Write the table from parquet files of schemas `MENTIONS` (all of them) and `SAMPLE`.

    `stem` is the path of the table without suffix.
    """
    images = pl.read_parquet(sample, columns=["image_id", "wnid", "domain", "complexity_stratum"])
    found = pl.read_parquet(list(map(Path, mentions)), schema=MENTIONS)
    rows = arrange(found, images, settings)
    total = rows.filter(grouping="all")
    for row in total.iter_rows(named=True):
        logger.info("%s: %d answers, %d without", row["key"], row["answers"], row["no_answer"])
    strata = rows.filter(grouping="stratum")
    strata = strata.with_columns(pl.format("{}, complexity {}", "model", "group").alias("model"))
    printed = pl.concat([total, *(strata.filter(key=key) for key in total["key"])])
    write_table(printed, COLUMNS, define(rows, settings), caption, stem, csv=rows)


if __name__ == "__main__":
    snakemake = start_job()
    table_mentions(
        mentions=snakemake.input.mentions,
        sample=snakemake.input.sample,
        stem=Path(snakemake.output[0]).with_suffix(""),
        settings=json.loads(snakemake.params.settings),
    )
