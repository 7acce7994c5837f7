"""Tables 3 to 6: the benchmarked models' full outputs in eight metrics."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from imagenet_think.core.logs import log_to
from imagenet_think.core.schemas import IMAGE_COUNTS
from imagenet_think.report import table_captions
from imagenet_think.report.tables import WHOLE, Column, write_table

if TYPE_CHECKING:
    from imagenet_think.core.job import snakemake

TABLES = {
    3: ("Semantic similarity", ("bertscore", "sbert")),
    4: ("N-gram overlap", ("rouge1", "rougeL")),
    5: ("Lexical set overlap", ("jaccard", "overlap")),
    6: ("Vector-space similarity", ("tfidf", "cosine")),
}


def arrange(
    aggregates: pl.DataFrame, metrics: Mapping[str, str], names: Mapping[str, str]
) -> pl.DataFrame:
    """Return a row a model and, for each metric, its average and maximum with their intervals.

    Parameters
    ----------
    aggregates
        Rows of schema `AGGREGATES` of one part.
    metrics
        The metric to take for each printed one.
    names
        Key and printed name of the models in the order to print.

    Returns
    -------
    polars.DataFrame
        `model, key`, then `<metric>_<aggregate>`, `…_low`, `…_high`, and `IMAGE_COUNTS`, which are
        the same for all metrics of a model.

    Raises
    ------
    KeyError
        If a model lacks a number.
    """
    found = {
        (row["model"], row["metric"], row["aggregate"]): row
        for row in aggregates.iter_rows(named=True)
    }
    rows = []
    for key, name in names.items():
        cells = {"model": name, "key": key}
        for printed, metric in metrics.items():
            for aggregate in table_captions.AGGREGATES:
                row = found[key, metric, aggregate]
                cells[f"{printed}_{aggregate}"] = row["value"]
                cells[f"{printed}_{aggregate}_low"] = row["low"]
                cells[f"{printed}_{aggregate}_high"] = row["high"]
        cells |= {name: row[name] for name in IMAGE_COUNTS}
        rows.append(cells)
    numbers = [name for name in rows[0] if name.startswith(tuple(metrics))]
    return pl.DataFrame(rows, schema_overrides=dict.fromkeys(numbers, pl.Float64))


def caption(number: int, aggregates: pl.DataFrame, settings: Mapping) -> str:
    """Say what the table holds, how it was measured, and on how many images."""
    title, metrics = TABLES[number]
    first, second = (settings["names"][key] for key in settings["teachers"])
    return " ".join(
        sentence
        for sentence in (
            f"{title} of full outputs and the texts of {first} and {second}: means over images of "
            "the average and of the maximum of the two scores (equations 1 to 3).",
            table_captions.definitions(metrics, settings),
            table_captions.seen(aggregates),
            table_captions.counted(aggregates, settings),
            table_captions.missing(settings),
            "Best bold, second underlined.",
            table_captions.intervals(settings["intervals"]),
        )
        if sentence
    )


def table_benchmark(
    aggregate: str | Path, stem: str | Path, number: int, settings: Mapping
) -> None:
    """Write one of Tables 3 to 6.

    Parameters
    ----------
    aggregate
        Parquet file of schema `AGGREGATES`.
    stem
        Path of the table without ending.
    number
        Of the table.
    settings
        `models` and `teachers` (keys), `names`, `printed_tfidf`, and for the caption `missing`,
        `intervals`, and a section for each kind of scores.
    """
    metrics = {
        metric: settings["printed_tfidf"] if metric == "tfidf" else metric
        for metric in TABLES[number][1]
    }
    rows = pl.read_parquet(aggregate).filter(
        pl.col("part") == "full", pl.col("metric").is_in(list(metrics.values()))
    )
    columns = [Column("model", "Model"), Column("key", "", printed=False)]
    columns += [
        Column(
            f"{metric}_{name}", heading, table_captions.HEADINGS[metric], ranked=True, interval=True
        )
        for metric in metrics
        for name, heading in table_captions.AGGREGATES.items()
    ]
    columns += [Column(name, "", format=WHOLE, printed=False) for name in IMAGE_COUNTS]
    frame = arrange(rows, metrics, {key: settings["names"][key] for key in settings["models"]})
    write_table(frame, columns, caption(number, rows, settings), stem)


if __name__ == "__main__":
    log_to(snakemake.log[0])
    stem = Path(snakemake.output[0]).with_suffix("")
    table_benchmark(
        aggregate=snakemake.input.aggregate,
        stem=stem,
        number=int(stem.name.removeprefix("table")),
        settings=table_captions.benchmark(json.loads(snakemake.params.settings)),
    )
