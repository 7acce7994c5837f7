"""Table 7: one model's full output, thinking and answer in eight metrics."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from imagenet_think.core.files import write_text
from imagenet_think.core.logs import log_to
from imagenet_think.core.schemas import IMAGE_COUNTS
from imagenet_think.report import table_captions
from imagenet_think.report.table_captions import AGGREGATES, PARTS
from imagenet_think.report.tables import WHOLE, Column, latex, markdown, write_csv

if TYPE_CHECKING:
    from imagenet_think.core.job import snakemake

LONG = [
    Column("metric", "Metric"),
    Column("part", "Part"),
    *(Column(name, heading, interval=True) for name, heading in AGGREGATES.items()),
    *(Column(name, name, format=WHOLE) for name in IMAGE_COUNTS),
]
"""Columns of the csv: a row a metric and part."""

WIDE = [
    Column("heading", "Metric", width=0.2),
    *(
        Column(f"{part}_{name}", heading, group, interval=True)
        for part, group in PARTS.items()
        for name, heading in AGGREGATES.items()
    ),
]
"""Columns as the paper prints them: a row a metric."""


def arrange(aggregates: pl.DataFrame, printed_tfidf: str) -> pl.DataFrame:
    """Return a row a metric and part, in the paper's order.

    Parameters
    ----------
    aggregates
        One model's rows of schema `AGGREGATES`.
    printed_tfidf
        The variant that stands for `tfidf`.

    Raises
    ------
    KeyError
        If a number is missing.
    """
    found = {
        (row["metric"], row["part"], row["aggregate"]): row
        for row in aggregates.iter_rows(named=True)
    }
    rows = []
    for metric in table_captions.HEADINGS:
        for part in PARTS:
            cells = {"metric": metric, "part": part}
            for name in AGGREGATES:
                row = found[printed_tfidf if metric == "tfidf" else metric, part, name]
                cells |= {
                    name: row["value"],
                    f"{name}_low": row["low"],
                    f"{name}_high": row["high"],
                }
            rows.append(cells | {name: row[name] for name in IMAGE_COUNTS})
    numbers = [name for column in LONG[2:4] for name in column.names]
    return pl.DataFrame(rows, schema_overrides=dict.fromkeys(numbers, pl.Float64))


def widen(long: pl.DataFrame) -> pl.DataFrame:
    """Return a row a metric with the parts side by side."""
    rows = {metric: {"heading": heading} for metric, heading in table_captions.HEADINGS.items()}
    for row in long.iter_rows(named=True):
        for name in (name for column in LONG[2:4] for name in column.names):
            rows[row["metric"]][f"{row['part']}_{name}"] = row[name]
    numbers = [name for column in WIDE[1:] for name in column.names]
    return pl.DataFrame(list(rows.values()), schema_overrides=dict.fromkeys(numbers, pl.Float64))


def caption(aggregates: pl.DataFrame, settings: Mapping) -> str:
    """Say what the table holds, how it was measured, and on how many images."""
    model = settings["names"][settings["ablation_model"]]
    first, second = (settings["names"][key] for key in settings["teachers"])
    metrics = list(table_captions.HEADINGS)
    counts = [
        f"{name.capitalize()}: {table_captions.counted(aggregates.filter(part=part), settings)}"
        for part, name in PARTS.items()
    ]
    return " ".join(
        sentence
        for sentence in (
            f"Thinking against answer of {model}: each part compared with the same part of the "
            f"texts of {first} and {second} (equations 1 to 3).",
            table_captions.definitions(metrics, settings),
            table_captions.seen(aggregates),
            " ".join(counts),
            table_captions.missing(settings),
            f"Responses were taken apart by the rules {_rules(settings)}.",
            table_captions.intervals(settings["intervals"]),
        )
        if sentence
    )


def _rules(settings: Mapping) -> str:
    """Name the parsing rule of each model in the table."""
    keys = [settings["ablation_model"], *settings["teachers"]]
    return ", ".join(
        f"{settings['rules_of_parsing'][key]} ({settings['names'][key]})" for key in keys
    )


def table_ablation(aggregate: str | Path, stem: str | Path, settings: Mapping) -> None:
    """Write Table 7: the csv with a row a metric and part, the others as the paper prints it.

    Parameters
    ----------
    aggregate
        Parquet file of schema `AGGREGATES`.
    stem
        Path of the table without ending.
    settings
        `ablation_model`, `teachers` (keys), `names`, `printed_tfidf`, and for the caption
        `missing`, `intervals`, `rules_of_parsing` (by model) and a section for each kind of
        scores.
    """
    rows = pl.read_parquet(aggregate).filter(pl.col("model") == settings["ablation_model"])
    long = arrange(rows, settings["printed_tfidf"])
    text = caption(rows.filter(pl.col("metric").is_in(list(table_captions.HEADINGS))), settings)
    write_csv(long, LONG, f"{stem}.csv")
    write_text(latex(widen(long), WIDE, text, f"tab:{Path(stem).name}"), f"{stem}.tex")
    write_text(markdown(widen(long), WIDE, text), f"{stem}.md")


if __name__ == "__main__":
    log_to(snakemake.log[0])
    settings = json.loads(snakemake.params.settings)
    table_ablation(
        aggregate=snakemake.input.aggregate,
        stem=Path(snakemake.output[0]).with_suffix(""),
        settings={
            **table_captions.benchmark(settings),
            "rules_of_parsing": {
                key: own.get("output", "think and answer")
                for key, own in settings["models"].items()
            },
        },
    )
