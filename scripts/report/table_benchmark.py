"""The benchmarked models' full outputs in the metrics of one table: Tables 3 to 6, and our own."""

import json
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from imagenet_think.core.job import start_job
from imagenet_think.core.schemas import IMAGE_COUNTS
from imagenet_think.core.settings import Values
from imagenet_think.metrics import registry
from imagenet_think.report import table_captions
from imagenet_think.report.table_captions import AGGREGATES
from imagenet_think.report.tables import MARKED, Column, spread, write_table


def caption(
    table: str, aggregates: pl.DataFrame, precision: Sequence[str | Path], settings: Values
) -> str:
    """Return the caption: what the table shows, how it was measured, and on how many images."""
    declared = registry.tables()[table]
    first, second = table_captions.teachers(settings)
    return table_captions.caption(
        f"{declared.title} of full outputs and the texts of {first} and {second}: means over "
        "images of the average and of the maximum of the two scores (equations 1 to 3).",
        table_captions.definitions(declared.metrics, settings),
        declared.definition,
        table_captions.precision(precision, declared.metrics),
        table_captions.seen(aggregates),
        table_captions.counted(aggregates, settings),
        table_captions.missing(settings),
        "Best bold, second underlined.",
        table_captions.marks(aggregates, table_captions.models(settings)),
        table_captions.intervals(settings),
    )


def table_benchmark(
    aggregate: str | Path,
    stem: Path,
    settings: Values,
    precision: Sequence[str | Path] = (),
) -> None:
    """Write a table of scores: one row per model, with each measure's average and maximum.

    `aggregate` is a parquet file of schema `AGGREGATES`, `stem` the path of the table without
    suffix, named as in the registry of metrics. `precision` are parquet files of schema
    `PRECISION`.

    Raises
    ------
    KeyError
        If a model lacks a number.
    """
    table = registry.tables()[stem.name]
    details = [own for metric in table.metrics for own in metric.measures if own.detail]
    names = table_captions.models(settings)
    rows = pl.read_parquet(aggregate).filter(part="full").rename({"model": "key"})
    rows = table_captions.printed_rows(rows, settings, details)
    columns = [
        Column(
            f"{own.name}_{aggregate}",
            heading,
            own.heading or own.name,
            ranked=True,
            interval=True,
            marked=True,
            printed=own in table.measures,
        )
        for own in dict.fromkeys([*table.measures, *details])
        for aggregate, heading in AGGREGATES.items()
    ]
    frame = spread(
        rows,
        pl.DataFrame({"key": list(names)}),
        pl.format("{}_{}", "metric", "aggregate"),
        [column.name for column in columns],
        MARKED,
        kept=IMAGE_COUNTS,
    )
    frame = frame.select(pl.Series("model", list(names.values())), pl.all())
    columns = [Column("model", "Model"), *columns]
    write_table(frame, columns, caption(stem.name, rows, precision, settings), stem, csv=frame)


if __name__ == "__main__":
    snakemake = start_job()
    table_benchmark(
        snakemake.input.aggregate,
        Path(snakemake.output[0]).with_suffix(""),
        json.loads(snakemake.params.settings),
        snakemake.input.precision,
    )
