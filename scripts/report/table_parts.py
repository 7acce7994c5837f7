"""Thinking against answer for every benchmarked model, over all images and by length."""

import json
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

import polars as pl

from imagenet_think.core.job import start_job
from imagenet_think.core.schemas import IMAGE_COUNTS
from imagenet_think.core.settings import Values
from imagenet_think.metrics import registry
from imagenet_think.report import definitions, table_captions
from imagenet_think.report.common_images import COMMON, with_common
from imagenet_think.report.table_captions import BRIEF, HEADINGS, PART_NUMBERS, PARTS
from imagenet_think.report.tables import MARKED, Column, spread, write_table

ALL = "all"
QUARTERS = 4
COLUMNS = [
    Column("shown", "Model and length", width=0.2),
    Column("heading", "Metric", width=0.16),
    *PART_NUMBERS,
]


def numbers_of(aggregates: pl.DataFrame, groups: pl.DataFrame, settings: Values) -> pl.DataFrame:
    """Return all numbers to print, one per row: over all images and by length.

    `aggregates` and `groups` are of schemas `AGGREGATES` and `GROUPS`; of the latter, the rows of
    length are taken.
    """
    everything = aggregates.with_columns(length=pl.lit(ALL))
    by_length = groups.filter(grouping="length").rename({"group": "length"})
    rows = pl.concat([everything, by_length.select(everything.columns)])
    return table_captions.printed_rows(rows, settings).rename({"model": "key"})


def arrange(
    rows: pl.DataFrame, names: Mapping[str, str], values: Mapping[str, str] = MARKED
) -> pl.DataFrame:
    """Return one row per model, length and metric, with the parts side by side.

    The rows of all images come model by model, then those of the quarters. Rows that are `added`
    (`common_images.with_common`) follow those that they are for. `values` is as in `spread`.
    """
    models = pl.DataFrame({"key": list(names), "model": list(names.values())})
    places = rows.select("key", "length", "added").unique(maintain_order=True)
    of_all = pl.col("length") == ALL
    order = (
        models.join(places, on="key", maintain_order="left_right")
        .sort(~of_all, of_all & pl.col("added"), maintain_order=True)
        .join(pl.DataFrame({"metric": list(HEADINGS)}), how="cross")
    )
    index = order.select("key", "length", "added", "metric")
    numbers = [column.name for column in PART_NUMBERS]
    found = spread(rows, index, pl.format("{}_{}", "part", "aggregate"), numbers, values)
    counts = {name: f"_{name}" for name in (*IMAGE_COUNTS, "shared_images")}
    images = spread(rows, index, pl.col("part"), list(PARTS), counts)
    return pl.concat([order.select("model"), found, images.drop(index.columns)], how="horizontal")


def digest(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the printed rows: every metric over all images, a few by length.

    A model, a length and the numbers of images are named in the first of their rows.
    """
    rows = rows.filter((pl.col("length") == ALL) | pl.col("metric").is_in(list(BRIEF)))
    shown, last = [], None
    for row in rows.iter_rows(named=True):
        place = row["key"], row["length"], row["added"]
        shown.append("" if place == last else _title(row))
        last = place
    heading = pl.col("metric").replace_strict(HEADINGS, return_dtype=pl.String)
    return rows.with_columns(pl.Series("shown", shown, pl.String), heading.alias("heading"))


def _title(row: Values) -> str:
    """Return the title of a model's rows, with the number of images, by part if it differs."""
    words = [row["model"]]
    if row["length"] != ALL:
        words.append(f"quarter {row['length']}")
    if row["added"]:
        words.append(COMMON)
    counts = [f"{row[f'{part}_images']:,}" for part in PARTS]
    return ", ".join([*words, f"n = {' / '.join(counts if len({*counts}) > 1 else counts[:1])}"])


def sizes(groups: pl.DataFrame) -> dict[str, list[int]]:
    """Return how many images each quarter of a model's lengths has, scored or not, by model."""
    rows = groups.filter(grouping="length", part="full").unique(
        ["model", "group"], maintain_order=True
    )
    size = pl.col("images") + pl.col("left_out")
    return dict(rows.group_by("model", maintain_order=True).agg(size).iter_rows())


def quarters(defined: Values) -> str:
    """State how the quarters of models differ in size; "" if they are as equal as can be."""
    unequal = [
        counts
        for counts in defined["groups"]["length"]["sizes"].values()
        if max(counts) - min(counts) > 1 or len(counts) < QUARTERS
    ]
    if not unequal:
        return ""
    return (
        "Outputs of equal length are in one quarter, and quarters therefore differ in size: they "
        f"have {table_captions.count_range(chain(*unequal))} images."
    )


def caption(defined: Values) -> str:
    """Return the caption: what the table shows, how it was measured, and on how many images."""
    first, second = table_captions.teachers(defined)
    return table_captions.caption(
        "Thinking against answer of every model: each part compared with the same part of the "
        f"texts of {first} and {second} {table_captions.EQUATIONS}, over all images and over "
        "quarters of the images by the length of the model's own full output, the first the "
        "shortest.",
        quarters(defined),
        "An image without output is in no quarter; the csv holds every metric by length. n is the "
        "number of images of a mean, of full outputs / thinking / answers where it differs.",
        table_captions.different(
            defined,
            "shared",
            "Models or parts",
            "those on which all models and parts are scored (in a quarter, all parts of its model)",
        ),
        table_captions.AS_PRINTED,
        table_captions.seen(defined),
        table_captions.counted_by_part(defined),
        table_captions.missing(defined),
        table_captions.marks(defined),
        table_captions.intervals(defined),
    )


def table_parts(
    aggregate: str | Path,
    groups: str | Path,
    statistics: Sequence[str | Path],
    stem: str | Path,
    settings: Values,
) -> None:
    """Write the table of parts: the csv with every number, the others without some by length.

    `aggregate` and `groups` are parquet files of schemas `AGGREGATES` and `GROUPS`, `statistics`
    are the files that metrics name, `stem` is the path of the table without suffix.
    """
    by_group, names = pl.read_parquet(groups), table_captions.models(settings)
    aggregates = pl.read_parquet(aggregate)
    chosen = table_captions.printed_rows(aggregates, settings)
    defined = definitions.of_scores(
        registry.metrics(), settings["benchmarked"], chosen, statistics, settings
    )
    defined["groups"] = {"length": definitions.by_length(settings) | {"sizes": sizes(by_group)}}
    rows = numbers_of(aggregates, by_group, settings)
    own = arrange(rows.with_columns(added=False), names, MARKED | {"shared": "_shared"})
    block = pl.when(pl.col("length") != ALL).then("key")  # all models are one block
    frame = arrange(with_common(rows.with_columns(block=block), "shared", "block", "length"), names)
    csv = own.drop("added")
    write_table(digest(frame), COLUMNS, defined, caption, stem, csv=csv, long=True)


if __name__ == "__main__":
    snakemake = start_job()
    table_parts(
        aggregate=snakemake.input.aggregate,
        groups=snakemake.input.groups,
        statistics=snakemake.input.statistics,
        stem=Path(snakemake.output[0]).with_suffix(""),
        settings=json.loads(snakemake.params.settings),
    )
