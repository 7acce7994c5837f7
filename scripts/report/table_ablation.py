"""Table 7: one model's full output, thinking and answer in all metrics."""

import json
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from imagenet_think.core.job import start_job
from imagenet_think.core.schemas import IMAGE_COUNTS
from imagenet_think.core.settings import Values
from imagenet_think.metrics import registry
from imagenet_think.report import definitions, table_captions
from imagenet_think.report.common_images import titled, with_common
from imagenet_think.report.table_captions import AGGREGATES, HEADINGS, PART_NUMBERS, PARTS
from imagenet_think.report.tables import MARKED, Column, spread, write_table

COLUMNS = [Column("heading", "Metric", width=0.2), *PART_NUMBERS]
"""Columns as the paper prints them: one row per metric."""


def caption(defined: Values) -> str:
    """Return the caption: what the table shows, how it was measured, and on how many images."""
    first, second = table_captions.teachers(defined)
    models = [*defined["models"], *defined["references"]]
    formats = ", ".join(f"{m.get('output', 'separate columns')} ({m['name']})" for m in models)
    return table_captions.caption(
        f"Thinking against answer of {models[0]['name']}: each part compared with the same part of "
        f"the texts of {first} and {second} {table_captions.EQUATIONS}.",
        table_captions.definitions(defined),
        table_captions.precision(defined),
        table_captions.seen(defined),
        table_captions.counted_by_part(defined),
        table_captions.different(
            defined,
            "paired",
            "The parts",
            f"the {table_captions.in_common(defined, 'paired')} on which all are",
        ),
        table_captions.missing(defined),
        f"Responses were parsed by the formats {formats}.",
        table_captions.marks(defined),
        table_captions.intervals(defined),
    )


def table_ablation(
    aggregate: str | Path,
    statistics: Sequence[str | Path],
    stem: str | Path,
    settings: Values,
    precision: Sequence[str | Path] = (),
) -> None:
    """Write Table 7: the csv with one row per metric and part, the others as the paper prints it.

    `aggregate` is a parquet file of schema `AGGREGATES`, `statistics` are the files that metrics
    name, `stem` is the table's path without suffix, `precision` are parquet files of schema
    `PRECISION`.

    Raises
    ------
    KeyError
        If a number is missing.
    """
    model = settings["benchmark"]["ablation_model"]
    rows = pl.read_parquet(aggregate).filter(model=model)
    rows = table_captions.printed_rows(rows, settings)
    metrics = pl.DataFrame({"metric": list(HEADINGS)})
    order = metrics.join(pl.DataFrame({"part": list(PARTS)}), how="cross")
    csv = spread(
        rows,
        order,
        pl.col("aggregate"),
        list(AGGREGATES),
        values=MARKED | {"paired": "_paired"},
        kept=[*IMAGE_COUNTS, "paired_images"],
    )
    shown = with_common(rows, "paired")
    order = shown.select("added").unique().sort("added").join(metrics, how="cross")
    numbers = [column.name for column in PART_NUMBERS]
    frame = spread(shown, order, pl.format("{}_{}", "part", "aggregate"), numbers, MARKED)
    frame = frame.with_columns(heading=titled(pl.col("metric").replace_strict(HEADINGS)))
    defined = definitions.of_scores(
        registry.metrics(), [model], rows, statistics, settings, precision
    )
    write_table(frame, COLUMNS, defined, caption, stem, csv=csv)


if __name__ == "__main__":
    snakemake = start_job()
    table_ablation(
        snakemake.input.aggregate,
        snakemake.input.statistics,
        Path(snakemake.output[0]).with_suffix(""),
        json.loads(snakemake.params.settings),
        snakemake.input.precision,
    )
