"""Thinking against answer for every benchmarked model, over all images and by length."""

import json
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from imagenet_think.core.job import start_job
from imagenet_think.core.schemas import IMAGE_COUNTS
from imagenet_think.core.settings import Values
from imagenet_think.metrics import registry
from imagenet_think.report import definitions, table_captions
from imagenet_think.report.table_captions import BRIEF, HEADINGS, PART_NUMBERS, PARTS
from imagenet_think.report.tables import MARKED, Column, spread, write_table

ALL = "all"
COLUMNS = [
    Column("shown", "Model and length", width=0.2),
    Column("heading", "Metric", width=0.16),
    *PART_NUMBERS,
]


def arrange(aggregates: pl.DataFrame, groups: pl.DataFrame, settings: Values) -> pl.DataFrame:
    """Return the csv: one row per model, length and metric, with the parts side by side.

    `aggregates` and `groups` are of schemas `AGGREGATES` and `GROUPS`; of the latter, the rows of
    length are taken. The rows of all images come model by model, then those of the quarters.
    """
    names = table_captions.models(settings)
    everything = aggregates.with_columns(length=pl.lit(ALL))
    by_length = groups.filter(grouping="length").rename({"group": "length"})
    rows = pl.concat([everything, by_length.select(everything.columns)])
    rows = table_captions.printed_rows(rows, settings).rename({"model": "key"})
    models = pl.DataFrame({"key": list(names), "model": list(names.values())})
    lengths = rows.select("key", "length").unique(maintain_order=True)
    order = (
        models.join(lengths, on="key", maintain_order="left_right")
        .sort(pl.col("length") != ALL, maintain_order=True)
        .join(pl.DataFrame({"metric": list(HEADINGS)}), how="cross")
    )
    index = order.select("key", "length", "metric")
    numbers = [column.name for column in PART_NUMBERS]
    values = spread(rows, index, pl.format("{}_{}", "part", "aggregate"), numbers, MARKED)
    counts = {name: f"_{name}" for name in IMAGE_COUNTS}
    images = spread(rows, index, pl.col("part"), list(PARTS), counts)
    return pl.concat([order.select("model"), values, images.drop(index.columns)], how="horizontal")


def digest(long: pl.DataFrame) -> pl.DataFrame:
    """Return the printed rows: every metric over all images, a few by length.

    A model and a length are named in the first of their rows.
    """
    rows = long.filter((pl.col("length") == ALL) | pl.col("metric").is_in(list(BRIEF)))
    first = pl.struct("key", "length").rle_id().is_first_distinct()
    return rows.with_columns(
        pl.when(~first)
        .then(pl.lit(""))
        .when(pl.col("length") == ALL)
        .then("model")
        .otherwise(pl.format("{}, quarter {}", "model", "length"))
        .alias("shown"),
        pl.col("metric").replace_strict(HEADINGS, return_dtype=pl.String).alias("heading"),
    )


def caption(defined: Values) -> str:
    """Return the caption: what the table shows, how it was measured, and on how many images."""
    first, second = table_captions.teachers(defined)
    return table_captions.caption(
        "Thinking against answer of every model: each part compared with the same part of the "
        f"texts of {first} and {second} (equations 1 to 3), over all images and over quarters "
        "of the images by the length of the model's own full output, the first the shortest.",
        "An image without output is in no quarter; the csv holds every metric by length.",
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
    aggregates = pl.read_parquet(aggregate)
    csv = arrange(aggregates, pl.read_parquet(groups), settings)
    chosen = table_captions.printed_rows(aggregates, settings)
    defined = definitions.of_scores(
        registry.metrics(), settings["benchmarked"], chosen, statistics, settings
    )
    defined["groups"] = {"length": definitions.by_length(settings)}
    write_table(digest(csv), COLUMNS, defined, caption, stem, csv=csv, long=True)


if __name__ == "__main__":
    snakemake = start_job()
    table_parts(
        aggregate=snakemake.input.aggregate,
        groups=snakemake.input.groups,
        statistics=snakemake.input.statistics,
        stem=Path(snakemake.output[0]).with_suffix(""),
        settings=json.loads(snakemake.params.settings),
    )
