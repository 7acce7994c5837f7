"""Thinking against answer for every benchmarked model, over all images and by length."""

import json
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from imagenet_think.core.job import start_job
from imagenet_think.core.schemas import IMAGE_COUNTS
from imagenet_think.core.settings import Values
from imagenet_think.report import table_captions
from imagenet_think.report.table_captions import BRIEF, COMMON, HEADINGS, PART_NUMBERS, PARTS
from imagenet_think.report.tables import ENDS, Column, spread, write_table

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
    rows: pl.DataFrame, names: Mapping[str, str], values: Mapping[str, str] = ENDS
) -> pl.DataFrame:
    """Return one row per model, length and metric, with the parts side by side.

    The rows of all images come model by model, then those of the quarters. Rows that are `added`
    (`table_captions.with_common`) follow those that they are for. `values` is as in `spread`.
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


def quarters(groups: pl.DataFrame) -> str:
    """State how the quarters' sizes differ; "" if they are as equal as can be."""
    rows = groups.filter(grouping="length", part="full")
    rows = rows.unique(["model", "group"]).with_columns(size=pl.col("images") + pl.col("left_out"))
    span = (pl.col("size").max() - pl.col("size").min()).over("model")
    rows = rows.filter((span > 1) | (pl.len().over("model") < QUARTERS))
    if rows.is_empty():
        return ""
    return (
        "Outputs of equal length are in one quarter, and quarters therefore differ in size: they "
        f"have {table_captions.count_range(rows['size'])} images."
    )


def caption(rows: pl.DataFrame, groups: pl.DataFrame, settings: Values) -> str:
    """Return the caption: what the table shows, how it was measured, and on how many images.

    `rows` are from `numbers_of`.
    """
    first, second = table_captions.teachers(settings)
    chosen = rows.filter(length=ALL)
    return table_captions.caption(
        "Thinking against answer of every model: each part compared with the same part of the "
        f"texts of {first} and {second} (equations 1 to 3), over all images and over quarters "
        "of the images by the length of the model's own full output, the first the shortest.",
        quarters(groups),
        "An image without output is in no quarter; the csv holds every metric by length. n is the "
        "number of images of a mean, of full outputs / thinking / answers where it differs.",
        table_captions.different(
            rows,
            "shared",
            "Models or parts",
            "those on which all models and parts are, in a quarter all parts of its model",
        ),
        table_captions.AS_PRINTED,
        table_captions.seen(chosen),
        table_captions.counted_by_part(chosen, settings),
        table_captions.missing(settings),
        table_captions.intervals(settings),
    )


def table_parts(
    aggregate: str | Path, groups: str | Path, stem: str | Path, settings: Values
) -> None:
    """Write the table of parts: the csv with every number, the others without some by length.

    `aggregate` and `groups` are parquet files of schemas `AGGREGATES` and `GROUPS`, `stem` is the
    path of the table without suffix.
    """
    by_group, names = pl.read_parquet(groups), table_captions.models(settings)
    rows = numbers_of(pl.read_parquet(aggregate), by_group, settings)
    own = arrange(rows.with_columns(added=False), names, ENDS | {"shared": "_shared"})
    block = pl.when(pl.col("length") != ALL).then("key")  # all models are one block
    shown = table_captions.with_common(rows.with_columns(block=block), "shared", "block", "length")
    text = caption(rows, by_group, settings)
    write_table(
        digest(arrange(shown, names)), COLUMNS, text, stem, csv=own.drop("added"), long=True
    )


if __name__ == "__main__":
    snakemake = start_job()
    table_parts(
        aggregate=snakemake.input.aggregate,
        groups=snakemake.input.groups,
        stem=Path(snakemake.output[0]).with_suffix(""),
        settings=json.loads(snakemake.params.settings),
    )
