"""Table 7: one model's full output, thinking and answer in all metrics."""

import json
from pathlib import Path

import polars as pl

from imagenet_think.core.job import start_job
from imagenet_think.core.schemas import IMAGE_COUNTS
from imagenet_think.metrics import registry
from imagenet_think.report import table_captions
from imagenet_think.report.table_captions import AGGREGATES, HEADINGS, PART_NUMBERS, PARTS, Settings
from imagenet_think.report.tables import WHOLE, Column, spread, write_table

LONG = [
    Column("metric", "Metric"),
    Column("part", "Part"),
    *(Column(name, heading, interval=True) for name, heading in AGGREGATES.items()),
    *(Column(name, name, format=WHOLE) for name in IMAGE_COUNTS),
]
"""Columns of the csv: one row per metric and part."""

WIDE = [Column("heading", "Metric", width=0.2), *PART_NUMBERS]
"""Columns as the paper prints them: one row per metric."""


def caption(aggregates: pl.DataFrame, settings: Settings) -> str:
    """Return the caption: what the table shows, how it was measured, and on how many images."""
    first, second = table_captions.teachers(settings)
    names = settings["names"]
    rules = ", ".join(
        f"{settings['rules_of_parsing'][key]} ({names[key]})"
        for key in (settings["ablation_model"], *settings["teachers"])
    )
    return table_captions.caption(
        f"Thinking against answer of {names[settings['ablation_model']]}: each part compared with "
        f"the same part of the texts of {first} and {second} (equations 1 to 3).",
        table_captions.definitions(registry.metrics(), settings),
        table_captions.seen(aggregates),
        table_captions.counted_by_part(aggregates, settings),
        table_captions.missing(settings),
        f"Responses were taken apart by the rules {rules}.",
        table_captions.intervals(settings["intervals"]),
    )


def table_ablation(aggregate: str | Path, stem: str | Path, settings: Settings) -> None:
    """Write Table 7: the csv with one row per metric and part, the others as the paper prints it.

    Parameters
    ----------
    aggregate
        Parquet file of schema `AGGREGATES`.
    stem
        Path of the table without suffix.
    settings
        From `table_captions.benchmark`, and `rules_of_parsing` (by model).

    Raises
    ------
    KeyError
        If a number is missing.
    """
    rows = pl.read_parquet(aggregate).filter(model=settings["ablation_model"])
    rows = table_captions.printed_rows(rows, settings)
    metrics = pl.DataFrame({"metric": list(HEADINGS)})
    order = metrics.join(pl.DataFrame({"part": list(PARTS)}), how="cross")
    long = spread(rows, order, pl.col("aggregate"), list(AGGREGATES), kept=IMAGE_COUNTS)
    numbers = [column.name for column in PART_NUMBERS]
    wide = spread(rows, metrics, pl.format("{}_{}", "part", "aggregate"), numbers).with_columns(
        pl.Series("heading", list(HEADINGS.values()))
    )
    write_table(long, LONG, caption(rows, settings), stem, printed=(wide, WIDE))


if __name__ == "__main__":
    snakemake = start_job()
    settings = json.loads(snakemake.params.settings)
    rules = {key: own.get("output", "think and answer") for key, own in settings["models"].items()}
    table_ablation(
        snakemake.input.aggregate,
        Path(snakemake.output[0]).with_suffix(""),
        table_captions.benchmark(settings) | {"rules_of_parsing": rules},
    )
