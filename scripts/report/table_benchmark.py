"""The benchmarked models' full outputs in the metrics of one table: Tables 3 to 6, and our own."""

import json
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from imagenet_think.core.job import start_job
from imagenet_think.core.schemas import IMAGE_COUNTS
from imagenet_think.core.settings import Values
from imagenet_think.metrics import registry
from imagenet_think.report import definitions, table_captions
from imagenet_think.report.table_captions import AGGREGATES
from imagenet_think.report.tables import MARKED, Column, spread, write_table


def caption(defined: Values) -> str:
    """Return the caption: what the table shows, how it was measured, and on how many images."""
    first, second = table_captions.teachers(defined)
    return table_captions.caption(
        f"{defined['title']} of full outputs and the texts of {first} and {second}: means over "
        "images of the average and of the maximum of the two scores (equations 1 to 3).",
        table_captions.definitions(defined),
        defined["details"],
        table_captions.precision(defined),
        table_captions.seen(defined),
        table_captions.counted(defined),
        table_captions.missing(defined),
        "Best bold, second underlined.",
        table_captions.marks(defined),
        table_captions.intervals(defined),
    )


def table_benchmark(
    aggregate: str | Path,
    statistics: Sequence[str | Path],
    stem: Path,
    settings: Values,
    precision: Sequence[str | Path] = (),
) -> None:
    """Write a table of scores: one row per model, with each measure's average and maximum.

    `aggregate` is a parquet file of schema `AGGREGATES`, `statistics` are the files that the
    metrics name, `stem` is the path of the table without suffix, named as in the registry of
    metrics. `precision` are parquet files of schema `PRECISION`.

    Raises
    ------
    KeyError
        If a model lacks a number.
    """
    table = registry.tables()[stem.name]
    details = [own for metric in table.metrics for own in metric.measures if own.detail]
    names = table_captions.models(settings)
    rows = pl.read_parquet(aggregate).filter(part="full")
    rows = table_captions.printed_rows(rows, settings, details)
    defined = {"title": table.title, "details": table.definition} | definitions.of_scores(
        table.metrics, names, rows, statistics, settings, precision
    )
    for metric in table.metrics:
        defined["metrics"][metric.name]["measures"] |= {
            own.name: {"heading": own.heading, "score": own.score_column}
            for own in metric.measures
            if own.detail
        }
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
        rows.rename({"model": "key"}),
        pl.DataFrame({"key": list(names)}),
        pl.format("{}_{}", "metric", "aggregate"),
        [column.name for column in columns],
        MARKED,
        kept=IMAGE_COUNTS,
    )
    frame = frame.select(pl.Series("model", list(names.values())), pl.all())
    columns = [Column("model", "Model"), *columns]
    write_table(frame, columns, defined, caption, stem, csv=frame)


if __name__ == "__main__":
    snakemake = start_job()
    table_benchmark(
        snakemake.input.aggregate,
        snakemake.input.statistics,
        Path(snakemake.output[0]).with_suffix(""),
        json.loads(snakemake.params.settings),
        snakemake.input.precision,
    )
