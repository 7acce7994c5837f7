"""The benchmarked models' scores by domain and by visual complexity of the images."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from imagenet_think.core.files import write_text
from imagenet_think.core.logs import log_to
from imagenet_think.core.schemas import IMAGE_COUNTS
from imagenet_think.report import table_captions
from imagenet_think.report.tables import WHOLE, Column, latex, markdown, write_csv

if TYPE_CHECKING:
    from imagenet_think.core.job import snakemake

GROUPINGS = {"domain": "{}", "stratum": "complexity {}"}
"""What is printed, and how a group is called."""

SHORT = {"bertscore": "BERTScore", "sbert": "Sentence-BERT", "rougeL": "ROUGE-L"}

LONG = [
    *(Column(name, name) for name in ("grouping", "group", "model", "key", "part")),
    *(Column(name, name) for name in ("metric", "aggregate")),
    Column("value", "value", interval=True),
    *(Column(name, name, format=WHOLE) for name in IMAGE_COUNTS),
]
"""Columns of the csv: a row of `groups.parquet` each."""


def widen(groups: pl.DataFrame, names: Mapping[str, str]) -> tuple[pl.DataFrame, list[Column]]:
    """Return the printed table, a row a group and metric and a column a model, and its columns.

    Parameters
    ----------
    groups
        Rows of schema `GROUPS`.
    names
        Key and printed name of the models in the order to print.
    """
    rows: dict[tuple[str, str, str], dict[str, object]] = {}
    chosen = groups.filter(pl.col("metric").is_in(table_captions.FEW), pl.col("aggregate") == "avg")
    # The groups in their order, and in each the metrics in the printed one.
    order = {
        (grouping, group): None
        for grouping, group in chosen.select("grouping", "group").iter_rows()
        if grouping in GROUPINGS
    }
    for grouping, group in order:
        of_group = chosen.filter(grouping=grouping, group=group)
        for metric in table_captions.FEW:
            first = metric == table_captions.FEW[0]
            cells = rows.setdefault(
                (grouping, group, metric),
                {
                    "group": GROUPINGS[grouping].format(group) if first else "",
                    "of": _images(of_group) if first else "",
                    "metric": SHORT[metric],
                },
            )
            for row in of_group.filter(metric=metric).iter_rows(named=True):
                if row["model"] in names:
                    cells[row["model"]] = row["value"]
                    cells |= {f"{row['model']}_{end}": row[end] for end in ("low", "high")}
    columns = [
        Column("group", "Group"),
        Column("of", "Images"),
        Column("metric", "Metric"),
        *(Column(key, "Avg.", name, interval=True) for key, name in names.items()),
    ]
    texts = dict.fromkeys(("group", "of", "metric"), pl.String)
    numbers = {name: pl.Float64 for column in columns[3:] for name in column.names}
    return pl.DataFrame(list(rows.values()), schema=texts | numbers), columns


def _images(group: pl.DataFrame) -> str:
    """Return how many images are in a group, scored or not."""
    row = group.row(0, named=True)
    return f"{row['images'] + row['left_out']:,}"


def caption(groups: pl.DataFrame, aggregates: pl.DataFrame, settings: Mapping) -> str:
    """Say what the groups are, how the numbers were measured, and on how many images."""
    first, second = (settings["names"][key] for key in settings["teachers"])
    strata = "stratum" in groups["grouping"]
    chosen = aggregates.filter(pl.col("metric").is_in(table_captions.FEW), pl.col("part") == "full")
    return " ".join(
        sentence
        for sentence in (
            "Scores of full outputs by group of images: means of the average of the two scores "
            f"against the texts of {first} and {second}.",
            "Domain is the one that the list of classes gives, for ImageNet the noun category of "
            "WordNet.",
            "Complexity is the image's stratum of visual complexity inside its class, counted "
            "from 1, the least complex."
            if strata
            else "Strata of complexity are not recorded for these images.",
            "Images counts a group's, scored or not.",
            "The csv holds every metric and the maxima, and the scores by length of response.",
            table_captions.AS_PRINTED,
            f"Over all groups {table_captions.counted(chosen, settings)}",
            table_captions.missing(settings),
            table_captions.intervals(settings["intervals"]),
        )
        if sentence
    )


def arrange(groups: pl.DataFrame, names: Mapping[str, str]) -> pl.DataFrame:
    """Return the csv's rows, of which each names its model by key and by printed name."""
    return groups.with_columns(
        pl.col("model").alias("key"),
        pl.col("model").replace_strict(names, return_dtype=pl.String),
        pl.col("low").alias("value_low"),
        pl.col("high").alias("value_high"),
    )


def table_groups(
    groups: str | Path, aggregate: str | Path, stem: str | Path, settings: Mapping
) -> None:
    """Write the table of groups: the csv with every number, the others with a few metrics.

    Parameters
    ----------
    groups
        Parquet file of schema `GROUPS`.
    aggregate
        Parquet file of schema `AGGREGATES`, for the caption.
    stem
        Path of the table without ending.
    settings
        `models` and `teachers` (keys), `names`, and for the caption `missing` and `intervals`.
    """
    names = {key: settings["names"][key] for key in settings["models"]}
    rows = pl.read_parquet(groups)
    text = caption(rows, pl.read_parquet(aggregate), settings)
    wide, columns = widen(rows, names)
    write_csv(arrange(rows, names), LONG, f"{stem}.csv")
    write_text(latex(wide, columns, text, f"tab:{Path(stem).name}", long=True), f"{stem}.tex")
    write_text(markdown(wide, columns, text), f"{stem}.md")


if __name__ == "__main__":
    log_to(snakemake.log[0])
    table_groups(
        groups=snakemake.input.groups,
        aggregate=snakemake.input.aggregate,
        stem=Path(snakemake.output[0]).with_suffix(""),
        settings=table_captions.benchmark(json.loads(snakemake.params.settings)),
    )
