"""Ranks of the benchmarked models, and which of them the images tell apart."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from string import ascii_uppercase
from typing import TYPE_CHECKING

import polars as pl

from imagenet_think.core.files import write_text
from imagenet_think.core.logs import log_to
from imagenet_think.report import table_captions
from imagenet_think.report.tables import WHOLE, Column, latex, markdown, write_csv

if TYPE_CHECKING:
    from imagenet_think.core.job import snakemake

LONG = [
    *(Column(name, name) for name in ("metric", "aggregate", "model", "key")),
    *(Column(name, name, format=WHOLE) for name in ("rank", "rank_low", "rank_high")),
    *(Column(name, name) for name in ("other", "other_key")),
    Column("difference", "difference", interval=True),
    *(Column(name, name) for name in ("all_low", "all_high")),
    Column("images", "images", format=WHOLE),
]
"""Columns of the csv: a row a metric, aggregate, model and other model."""


def both_ways(differences: pl.DataFrame) -> pl.DataFrame:
    """Return every difference twice: of the first from the second, and of the second from it."""
    low, high = ("low", "all_low"), ("high", "all_high")
    turned = differences.with_columns(
        pl.col("other").alias("model"),
        pl.col("model").alias("other"),
        -pl.col("difference"),
        *((-pl.col(b)).alias(a) for a, b in zip(low, high, strict=True)),
        *((-pl.col(a)).alias(b) for a, b in zip(low, high, strict=True)),
    )
    return pl.concat([differences, turned])


def rank(differences: pl.DataFrame, models: Sequence[str]) -> pl.DataFrame:
    """Return each model's rank in a metric, and the ranks that the images leave open.

    Parameters
    ----------
    differences
        Rows of schema `DIFFERENCES` of one metric and aggregate.
    models
        Keys of all models.

    Returns
    -------
    polars.DataFrame
        `model, rank, rank_low, rank_high`, in the models' order. The rank is 1 and the number of
        models that score higher on the images that both are scored on; `rank_low` is 1 and the
        number of surely better ones, `rank_high` the number of models less that of surely worse
        ones, by the simultaneous intervals. All three are null for a model that shares no image
        with another.
    """
    rows = both_ways(differences).drop_nulls("difference")
    ranks = []
    for model in models:
        own = rows.filter(model=model)
        cells = {"model": model, "rank": None, "rank_low": None, "rank_high": None}
        if len(own) or len(models) == 1:
            cells["rank"] = 1 + (own["difference"] < 0).sum()
            cells["rank_low"] = 1 + (own["all_high"] < 0).sum()
            cells["rank_high"] = len(models) - (own["all_low"] > 0).sum()
        ranks.append(cells)
    names = ("rank", "rank_low", "rank_high")
    return pl.DataFrame(ranks, schema={"model": pl.String} | dict.fromkeys(names, pl.Int64))


def alike(differences: pl.DataFrame) -> list[tuple[str, str]]:
    """Return the pairs of models whose simultaneous interval holds 0, or that have no interval."""
    apart = (pl.col("all_low") > 0) | (pl.col("all_high") < 0)
    rows = differences.filter(~apart.fill_null(False))
    return list(rows.select("model", "other").iter_rows())


def letter(place: int) -> str:
    """Return a short name for a model by its place, counted from 0: A to Z, A1 to Z1 and so on."""
    turn, place = divmod(place, len(ascii_uppercase))
    return ascii_uppercase[place] + (str(turn) if turn else "")


def arrange(
    differences: pl.DataFrame, metrics: Mapping[str, str], names: Mapping[str, str]
) -> pl.DataFrame:
    """Return the csv's rows.

    Parameters
    ----------
    differences
        Schema `DIFFERENCES`.
    metrics
        The metric to take for each printed one.
    names
        Key and printed name of the models in the order to print.
    """
    # The only model of a run has a rank, but nobody to differ from.
    alone = [(only, None) for only in names] if len(names) == 1 else []
    order = [(a, b) for a in names for b in names if a != b] or alone
    rows = []
    for printed, metric in metrics.items():
        for aggregate in ("avg", "max"):
            chosen = differences.filter(metric=metric, aggregate=aggregate)
            found = {(row["model"], row["other"]): row for row in both_ways(chosen).to_dicts()}
            ranks = {row["model"]: row for row in rank(chosen, list(names)).to_dicts()}
            for model, other in order:
                row = found.get((model, other), {})
                rows.append(
                    {"metric": printed, "aggregate": aggregate}
                    | ranks[model]
                    | {"model": names[model], "key": model}
                    | {"other": names.get(other), "other_key": other}
                    | {"difference_low": row.get("low"), "difference_high": row.get("high")}
                    | {n: row.get(n) for n in ("difference", "all_low", "all_high", "images")}
                )
    texts = ("metric", "aggregate", "model", "key", "other", "other_key")
    counts = ("rank", "rank_low", "rank_high", "images")
    reals = ("difference", "difference_low", "difference_high", "all_low", "all_high")
    schema = dict.fromkeys(texts, pl.String) | dict.fromkeys(counts, pl.Int64)
    return pl.DataFrame(rows, schema=schema | dict.fromkeys(reals, pl.Float64))


def widen(long: pl.DataFrame, metrics: Sequence[str]) -> tuple[pl.DataFrame, list[Column]]:
    """Return the printed table, a row a model and a column a metric, and its columns."""
    rows: dict[str, dict[str, object]] = {}
    for row in long.filter(aggregate="avg").iter_rows(named=True):
        cells = rows.setdefault(row["key"], {"letter": letter(len(rows)), "model": row["model"]})
        for end in ("", "_low", "_high"):
            cells[row["metric"] + end] = row[f"rank{end}"]
    columns = [
        Column(metric, "Rank", table_captions.HEADINGS[metric], format=WHOLE, interval=True)
        for metric in metrics
    ]
    texts = ("letter", "model")
    counts = {name: pl.Int64 for column in columns for name in column.names}
    frame = pl.DataFrame(list(rows.values()), schema=dict.fromkeys(texts, pl.String) | counts)
    return frame, [Column("letter", ""), Column("model", "Model"), *columns]


def caption(
    differences: pl.DataFrame,
    aggregates: pl.DataFrame,
    metrics: Mapping[str, str],
    settings: Mapping,
) -> str:
    """Say what the ranks mean, which models are not told apart, and on how many images."""
    names = {key: settings["names"][key] for key in settings["models"]}
    first, second = (settings["names"][key] for key in settings["teachers"])
    chosen = aggregates.filter(pl.col("metric").is_in(list(metrics.values())))
    return " ".join(
        sentence
        for sentence in (
            "Ranks by the mean over images of the average of the two scores of full outputs, "
            f"against the texts of {first} and {second}; 1 is the highest. Models are compared on "
            "the images that both are scored on.",
            *(_openness(differences, metrics, list(names), settings) if len(names) > 1 else ()),
            table_captions.AS_PRINTED,
            table_captions.counted(chosen, settings),
            table_captions.missing(settings),
        )
        if sentence
    )


def _openness(
    differences: pl.DataFrame, metrics: Mapping[str, str], models: Sequence[str], settings: Mapping
) -> Iterator[str]:
    """Say how sure the ranks are, and which models are not told apart."""
    pairs = len(models) * (len(models) - 1) // 2
    level, draws = settings["intervals"]["level"], settings["intervals"]["draws"]
    yield (
        "Small: the ranks left open by the intervals of the models' differences, which hold for "
        f"all pairs of models ({pairs}) of a metric at once ({level:.0%}, Bonferroni; {draws:,} "
        "resamples of the images); models with too few images in common are not told apart."
    )
    yield f"Pairs not told apart: {_not_apart(differences, metrics, models)}."
    yield "The csv holds the differences and their intervals, of the averages and of the maxima."


def _not_apart(differences: pl.DataFrame, metrics: Mapping[str, str], models: Sequence[str]) -> str:
    """Name the pairs of models that are not told apart, metric by metric, by the letters."""
    letters = {model: letter(place) for place, model in enumerate(models)}
    found: dict[str, list[str]] = {}
    for printed, metric in metrics.items():
        chosen = differences.filter(metric=metric, aggregate="avg")
        pairs = alike(chosen)
        text = ", ".join(f"{letters[model]}–{letters[other]}" for model, other in pairs) or "none"
        text = "all" if len(pairs) == len(chosen) else text
        found.setdefault(text, []).append(table_captions.HEADINGS[printed])
    return "; ".join(f"{', '.join(headings)}: {text}" for text, headings in found.items())


def table_ranks(
    differences: str | Path, aggregate: str | Path, stem: str | Path, settings: Mapping
) -> None:
    """Write the table of ranks: the csv with a row a pair of models, the others a row a model.

    Parameters
    ----------
    differences
        Parquet file of schema `DIFFERENCES`.
    aggregate
        Parquet file of schema `AGGREGATES`, for the caption.
    stem
        Path of the table without ending.
    settings
        `models` and `teachers` (keys), `names`, `printed_tfidf`, and for the caption `missing`
        and `intervals`.
    """
    metrics = table_captions.printed_metrics(settings)
    rows = pl.read_parquet(differences)
    aggregates = pl.read_parquet(aggregate).filter(pl.col("part") == "full")
    long = arrange(rows, metrics, {key: settings["names"][key] for key in settings["models"]})
    wide, columns = widen(long, list(metrics))
    text = caption(rows, aggregates, metrics, settings)
    write_csv(long, LONG, f"{stem}.csv")
    write_text(latex(wide, columns, text, f"tab:{Path(stem).name}"), f"{stem}.tex")
    write_text(markdown(wide, columns, text), f"{stem}.md")


if __name__ == "__main__":
    log_to(snakemake.log[0])
    table_ranks(
        differences=snakemake.input.differences,
        aggregate=snakemake.input.aggregate,
        stem=Path(snakemake.output[0]).with_suffix(""),
        settings=table_captions.benchmark(json.loads(snakemake.params.settings)),
    )
