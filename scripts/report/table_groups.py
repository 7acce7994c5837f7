"""The benchmarked models' scores by domain and by visual complexity of the images."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from imagenet_think.core.job import start_job
from imagenet_think.core.schemas import IMAGE_COUNTS
from imagenet_think.core.settings import Values
from imagenet_think.metrics import registry
from imagenet_think.report import definitions, table_captions
from imagenet_think.report.common_images import COMMON, with_common
from imagenet_think.report.table_captions import BRIEF
from imagenet_think.report.tables import MARKED, Column, spread, write_table

GROUPINGS = {"domain": "{}", "stratum": "complexity {}"}
"""The groupings that are printed, and how their groups are named."""


def widen(groups: pl.DataFrame, names: Mapping[str, str]) -> tuple[pl.DataFrame, list[Column]]:
    """Return the printed table, a row per group and metric and a column per model, and its columns.

    `groups` are of schema `GROUPS`, `names` the printed names of the models by key.
    """
    rows = _shown(groups)
    keys = ["grouping", "group"]
    groups = rows.unique(keys, keep="first", maintain_order=True)
    groups = groups.select(*keys, "images", "left_out")
    rows = with_common(rows, "common", *keys)
    added = rows.filter("added").group_by(keys).agg(pl.col("images").max())
    common = {row[:2]: row[2] for row in added.iter_rows()}
    headings = []
    for grouping, group, images, left_out in groups.iter_rows():
        sizes = {False: images + left_out}  # scored or not
        if (grouping, group) in common:
            sizes[True] = common[grouping, group]
        for is_common, size in sizes.items():
            title = GROUPINGS[grouping].format(group) + (f", {COMMON}" if is_common else "")
            shown = title, f"{size:,}"
            for metric, measure in BRIEF.items():
                short = measure.short_heading or measure.heading
                headings.append((grouping, group, metric, is_common, *shown, short))
                shown = "", ""  # in the first of its rows only
    texts = ("grouping", "group", "metric", "added", "title", "size", "heading")
    schema = dict.fromkeys(texts, pl.String) | {"added": pl.Boolean}
    order = pl.DataFrame(headings, schema=schema, orient="row")
    index = order.select(*keys, "metric", "added")
    frame = spread(rows, index, pl.col("model"), list(names), MARKED)
    return frame.with_columns(order.select("title", "size", "heading")), [
        Column("title", "Group"),
        Column("size", "Images"),
        Column("heading", "Metric"),
        *(Column(key, "Avg.", name, interval=True, marked=True) for key, name in names.items()),
    ]


def _shown(groups: pl.DataFrame) -> pl.DataFrame:
    """Return the rows that are printed."""
    return groups.filter(
        pl.col("grouping").is_in(list(GROUPINGS)),
        pl.col("metric").is_in(list(BRIEF)),
        pl.col("aggregate") == "avg",
    )


def caption(defined: Values) -> str:
    """Return the caption: what the groups are, how scores were measured, and on how many images."""
    first, second = table_captions.teachers(defined)
    return table_captions.caption(
        "Scores of full outputs by group of images: means of the average of the two scores "
        f"against the texts of {first} and {second}.",
        "Domain is the one that the list of classes gives, for ImageNet the noun category of "
        "WordNet.",
        "Complexity is the image's stratum of visual complexity inside its class, counted from 1, "
        "the least complex."
        if "stratum" in defined["groups"]
        else "Strata of complexity are not recorded for these images.",
        "Images: all of the group, scored or not.",
        table_captions.different(
            defined,
            "common",
            "In some groups, the models",
            "those on which all of them are",
            "full",
        ),
        "The csv holds every metric and the maxima, and the scores by length of response.",
        table_captions.AS_PRINTED,
        f"Over all groups {table_captions.counted(defined, 'full')}",
        table_captions.missing(defined, "full"),
        table_captions.marks(defined),
        table_captions.intervals(defined),
    )


def table_groups(
    groups: str | Path,
    aggregate: str | Path,
    statistics: Sequence[str | Path],
    stem: str | Path,
    settings: Values,
) -> None:
    """Write the table of groups: the csv with every number, the others with a few metrics.

    `groups` and, for the definitions, `aggregate` are parquet files of schemas `GROUPS` and
    `AGGREGATES`, and `statistics` the files that metrics name. `stem` is the path of the table
    without suffix.
    """
    names = table_captions.models(settings)
    rows = pl.read_parquet(groups).with_columns(mark=table_captions.mark())
    csv = rows.select(
        "grouping",
        "group",
        pl.col("model").replace_strict(names, return_dtype=pl.String),
        pl.col("model").alias("key"),
        *("part", "metric", "aggregate", "value"),
        pl.col("low", "high", "mark").name.prefix("value_"),
        *IMAGE_COUNTS,
        pl.col("common").alias("value_common"),
        "common_images",
    )
    aggregates = table_captions.printed_rows(pl.read_parquet(aggregate), settings)
    defined = definitions.of_scores(registry.metrics(), names, aggregates, statistics, settings)
    defined["domain"] = definitions.domain(_shown(rows))
    known = definitions.GROUPED_BY | {"length": definitions.by_length(settings)}
    defined["groups"] = {name: known[name] for name in rows["grouping"].unique(maintain_order=True)}
    write_table(*widen(rows, names), defined, caption, stem, csv=csv, long=True)


if __name__ == "__main__":
    snakemake = start_job()
    table_groups(
        groups=snakemake.input.groups,
        aggregate=snakemake.input.aggregate,
        statistics=snakemake.input.statistics,
        stem=Path(snakemake.output[0]).with_suffix(""),
        settings=json.loads(snakemake.params.settings),
    )
