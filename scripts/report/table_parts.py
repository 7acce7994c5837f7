"""Thinking against answer for every benchmarked model, over all images and by length."""

import json
from collections.abc import Iterator, Mapping
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

ALL = "all"
NUMBERS = [
    Column(f"{part}_{name}", heading, group, interval=True)
    for part, group in table_captions.PARTS.items()
    for name, heading in table_captions.AGGREGATES.items()
]
COUNTS = [
    Column(f"{part}_{name}", f"{part}_{name}", format=WHOLE)
    for part in table_captions.PARTS
    for name in IMAGE_COUNTS
]
LONG = [Column(name, name) for name in ("model", "key", "length", "metric")] + NUMBERS + COUNTS
"""Columns of the csv: a row a model, quarter of length (or all images) and metric."""

WIDE = [
    Column("shown", "Model and length", width=0.2),
    Column("heading", "Metric", width=0.16),
    *NUMBERS,
]


def arrange(
    aggregates: pl.DataFrame,
    groups: pl.DataFrame,
    metrics: Mapping[str, str],
    names: Mapping[str, str],
) -> pl.DataFrame:
    """Return a row a model, length and metric, with the parts side by side.

    Parameters
    ----------
    aggregates
        Schema `AGGREGATES`.
    groups
        Schema `GROUPS`, of which those of length are taken.
    metrics
        The metric to take for each printed one.
    names
        Key and printed name of the models in the order to print.
    """
    everything = aggregates.with_columns(length=pl.lit(ALL))
    by_length = groups.filter(grouping="length").rename({"group": "length"})
    columns = ["model", "length", "metric", "part", "aggregate", "value", "low", "high"]
    columns += IMAGE_COUNTS
    rows = pl.concat([everything.select(columns), by_length.select(columns)])
    found: dict[tuple[str, str, str], dict[str, object]] = {}
    for row in rows.iter_rows(named=True):
        cells = found.setdefault((row["model"], row["length"], row["metric"]), {})
        name = f"{row['part']}_{row['aggregate']}"
        cells |= {name: row["value"], f"{name}_low": row["low"], f"{name}_high": row["high"]}
        cells |= {f"{row['part']}_{n}": row[n] for n in IMAGE_COUNTS}
    return pl.DataFrame(list(_ordered(found, metrics, names)), schema=_schema())


def _ordered(
    found: Mapping[tuple[str, str, str], dict[str, object]],
    metrics: Mapping[str, str],
    names: Mapping[str, str],
) -> Iterator[dict[str, object]]:
    """Yield the rows of all images model by model, then those of the quarters."""
    for by_length in (False, True):
        for key, name in names.items():
            lengths = {of: None for model, of, _ in found if model == key}
            for length in lengths:
                if (length != ALL) == by_length:
                    for printed, metric in metrics.items():
                        texts = {"model": name, "key": key, "length": length, "metric": printed}
                        yield texts | found[key, length, metric]


def _schema() -> dict[str, pl.DataType]:
    schema = dict.fromkeys(("model", "key", "length", "metric"), pl.String)
    schema |= {name: pl.Float64 for column in NUMBERS for name in column.names}
    return schema | {column.name: pl.Int64 for column in COUNTS}


def digest(long: pl.DataFrame) -> pl.DataFrame:
    """Return the printed rows: every metric over all images, a few by length.

    A model and a length are named in the first of their rows.
    """
    rows = long.filter((pl.col("length") == ALL) | pl.col("metric").is_in(table_captions.FEW))
    same = pl.struct("key", "length").rle_id()
    first = same.is_first_distinct()
    return rows.with_columns(
        pl.when(~first)
        .then(pl.lit(""))
        .when(pl.col("length") == ALL)
        .then("model")
        .otherwise(pl.format("{}, quarter {}", "model", "length"))
        .alias("shown"),
        pl.col("metric")
        .replace_strict(table_captions.HEADINGS, return_dtype=pl.String)
        .alias("heading"),
    )


def caption(aggregates: pl.DataFrame, metrics: Mapping[str, str], settings: Mapping) -> str:
    """Say what the table holds, how it was measured, and on how many images."""
    first, second = (settings["names"][key] for key in settings["teachers"])
    chosen = aggregates.filter(pl.col("metric").is_in(list(metrics.values())))
    counts = [
        f"{name.capitalize()}: {table_captions.counted(chosen.filter(part=part), settings)}"
        for part, name in table_captions.PARTS.items()
    ]
    return " ".join(
        sentence
        for sentence in (
            "Thinking against answer of every model: each part compared with the same part of the "
            f"texts of {first} and {second} (equations 1 to 3), over all images and over quarters "
            "of the images by the length of the model's own full output, the first the shortest.",
            "An image without output is in no quarter; the csv holds every metric by length.",
            table_captions.AS_PRINTED,
            table_captions.seen(chosen),
            " ".join(counts),
            table_captions.missing(settings),
            table_captions.intervals(settings["intervals"]),
        )
        if sentence
    )


def table_parts(
    aggregate: str | Path, groups: str | Path, stem: str | Path, settings: Mapping
) -> None:
    """Write the table of parts: the csv with every number, the others without some by length.

    Parameters
    ----------
    aggregate
        Parquet file of schema `AGGREGATES`.
    groups
        Parquet file of schema `GROUPS`.
    stem
        Path of the table without ending.
    settings
        `models` and `teachers` (keys), `names`, `printed_tfidf`, and for the caption `missing`
        and `intervals`.
    """
    names = {key: settings["names"][key] for key in settings["models"]}
    metrics = table_captions.printed_metrics(settings)
    aggregates = pl.read_parquet(aggregate)
    long = arrange(aggregates, pl.read_parquet(groups), metrics, names)
    text = caption(aggregates, metrics, settings)
    write_csv(long, LONG, f"{stem}.csv")
    label = f"tab:{Path(stem).name}"
    write_text(latex(digest(long), WIDE, text, label, long=True), f"{stem}.tex")
    write_text(markdown(digest(long), WIDE, text), f"{stem}.md")


if __name__ == "__main__":
    log_to(snakemake.log[0])
    table_parts(
        aggregate=snakemake.input.aggregate,
        groups=snakemake.input.groups,
        stem=Path(snakemake.output[0]).with_suffix(""),
        settings=table_captions.benchmark(json.loads(snakemake.params.settings)),
    )
