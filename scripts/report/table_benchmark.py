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
from imagenet_think.report.common_images import COMMON, titled, with_common
from imagenet_think.report.table_captions import AGGREGATES
from imagenet_think.report.tables import MARKED, WHOLE, Column, spread, write_table

BEST = "best bold, second underlined, by the numbers as printed"
"""The table of ranks does not round."""


def caption(defined: Values) -> str:
    """Return the caption: what the table shows, how it was measured, and on how many images."""
    first, second = table_captions.teachers(defined)
    return table_captions.caption(
        f"{defined['title']} of full outputs and the texts of {first} and {second}: means over "
        "images of the average and of the maximum of the two scores "
        f"{table_captions.EQUATIONS}.",
        table_captions.definitions(defined),
        defined["details"],
        table_captions.precision(defined),
        table_captions.seen(defined),
        table_captions.counted(defined),
        table_captions.missing(defined),
        _marks(defined),
        table_captions.marks(defined),
        table_captions.intervals(defined),
    )


def _marks(defined: Values) -> str:
    """Explain how the best and the second are marked, and on which images; "" if none is."""
    scored = [row for row in defined["images"] if row["images"]]
    if len({row["model"] for row in scored}) < 2:
        return ""
    if all(row["images"] == row["common_images"] for row in scored):
        return f"{BEST.capitalize()}."
    common = table_captions.in_common(defined, "common")
    if common == "0":
        return "The models have no scored image in common (n): none is marked as the best."
    return (
        f"The models are scored on different images (n). Rows of {COMMON} are means over the "
        f"{common} on which all of them are, without intervals (those of their differences are in "
        f"the table of ranks); {BEST}."
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
    defined = definitions.of_scores(table.metrics, names, rows, statistics, settings, precision)
    defined |= {"title": table.title, "details": table.definition}
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
    rows = rows.rename({"model": "key"})
    shown = with_common(rows, "common")
    models = pl.DataFrame({"key": list(names), "model": list(names.values())})
    numbers = pl.format("{}_{}", "metric", "aggregate"), [column.name for column in columns]
    csv = spread(
        rows,
        models.select("key"),
        *numbers,
        values=MARKED | {"common": "_common"},
        kept=[*IMAGE_COUNTS, "common_images"],
    )
    csv = csv.select(models["model"], pl.all())
    order = models.join(
        shown.select("key", "added").unique(), on="key", how="left", maintain_order="left"
    ).sort("added", maintain_order=True)
    frame = spread(shown, order.drop("model"), *numbers, MARKED, ["images", "compared"])
    frame = frame.with_columns(model=titled(order["model"]))
    columns = [Column("model", "Model"), *columns, Column("images", "n", format=WHOLE)]
    write_table(frame, columns, defined, caption, stem, csv=csv)


if __name__ == "__main__":
    snakemake = start_job()
    table_benchmark(
        snakemake.input.aggregate,
        snakemake.input.statistics,
        Path(snakemake.output[0]).with_suffix(""),
        json.loads(snakemake.params.settings),
        snakemake.input.precision,
    )
