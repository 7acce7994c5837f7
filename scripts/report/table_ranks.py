"""Ranks of the benchmarked models, and which of their differences are significant."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from string import ascii_uppercase

import polars as pl

from imagenet_think.core.job import start_job
from imagenet_think.core.numbers import percent
from imagenet_think.core.settings import Values
from imagenet_think.metrics import registry
from imagenet_think.report import definitions, table_captions
from imagenet_think.report.table_captions import HEADINGS, MEASURES, POPULATIONS
from imagenet_think.report.tables import (
    ENDS,
    MARKED,
    WHOLE,
    Column,
    spread,
    with_interval,
    write_table,
)

AGGREGATES = pl.DataFrame({"aggregate": ["avg", "max"]})


def both_ways(differences: pl.DataFrame) -> pl.DataFrame:
    """Return every difference twice, once in each direction."""
    swapped = {"model": "other", "low": "high", "all_low": "all_high"}
    turned = differences.rename(swapped | {other: one for one, other in swapped.items()})
    numbers = -pl.col("difference", "low", "high", "all_low", "all_high")
    return pl.concat([differences, turned.with_columns(numbers).select(differences.columns)])


def alike(differences: pl.DataFrame) -> list[tuple[str, str]]:
    """Return the pairs of models whose simultaneous interval contains 0, or is missing."""
    apart = (pl.col("all_low") > 0) | (pl.col("all_high") < 0)
    rows = differences.filter(~apart.fill_null(False))
    return list(rows.select("model", "other").iter_rows())


def letter(place: int) -> str:
    """Return a short name for a model by its place, counted from 0: A to Z, A1 to Z1 and so on."""
    turn, place = divmod(place, len(ascii_uppercase))
    return ascii_uppercase[place] + (str(turn) if turn else "")


def arrange(differences: pl.DataFrame, names: Mapping[str, str]) -> pl.DataFrame:
    """Return the csv: one row per metric, aggregate, model and other model.

    Parameters
    ----------
    differences
        Rows of schema `DIFFERENCES` of the printed measures.
    names
        The printed names of the models by key.

    Returns
    -------
    polars.DataFrame
        The rank is 1 plus the number of models that score higher on the same images; `rank_low` is
        1 plus the number of significantly better ones, `rank_high` the number of compared models
        minus that of significantly worse ones, by the simultaneous intervals. All three are null
        for a single model, and for one that shares no image with the others.
    """
    keys = pl.DataFrame({"key": list(names)})
    pairs = keys.join(keys.rename({"key": "other_key"}), how="cross")
    pairs = pairs.filter(pl.col("key") != pl.col("other_key"))
    if len(names) == 1:  # its row has no other model
        pairs = keys.with_columns(other_key=pl.lit(None, pl.String))
    order = pl.DataFrame({"metric": list(MEASURES)}).join(AGGREGATES, how="cross")
    rows = both_ways(differences).rename({"model": "key", "other": "other_key"})
    ranked = ["metric", "aggregate", "key"]
    ranks = (
        rows.drop_nulls("difference")
        .group_by(ranked)
        .agg(
            rank=1 + (pl.col("difference") < 0).sum(),
            rank_low=1 + (pl.col("all_high") < 0).sum(),
            rank_high=1 + pl.len() - (pl.col("all_low") > 0).sum(),
        )
    )
    table = (
        order.join(pairs, how="cross")
        .join(ranks, on=ranked, how="left", maintain_order="left")
        .join(rows, on=[*ranked, "other_key"], how="left", maintain_order="left")
    )
    return table.select(
        *("metric", "aggregate"),
        pl.col("key").replace(names).alias("model"),
        "key",
        *with_interval("rank"),
        pl.col("other_key").replace(names).alias("other"),
        *("other_key", "difference"),
        pl.col("low", "high").name.prefix("difference_"),
        *("all_low", "all_high", "images"),
    )


def widen(long: pl.DataFrame) -> tuple[pl.DataFrame, list[Column]]:
    """Return the printed table, one row per model and one column per metric, and its columns."""
    rows = long.filter(aggregate="avg")
    models = rows.select("key", "model").unique(maintain_order=True)
    ranks = {f"rank{end}": end for end in ENDS.values()} | {"mark": MARKED["mark"]}
    frame = spread(rows, models, pl.col("metric"), list(HEADINGS), ranks)
    letters = pl.Series("letter", map(letter, range(len(models))), pl.String)
    return frame.with_columns(letters), [
        Column("letter", ""),
        Column("model", "Model"),
        *(
            Column(name, "Rank", heading, format=WHOLE, interval=True, marked=True)
            for name, heading in HEADINGS.items()
        ),
    ]


def caption(defined: Values) -> str:
    """Return the caption: what ranks mean, which differences are not significant, and M."""
    first, second = table_captions.teachers(defined)
    return table_captions.caption(
        "Ranks by the mean over images of the average of the two scores of full outputs, "
        f"against the texts of {first} and {second}; 1 is the highest, before rounding.",
        *(_openness(defined) if len(defined["models"]) > 1 else ["A single model has no rank."]),
        table_captions.AS_PRINTED,
        table_captions.counted(defined),
        table_captions.missing(defined),
        table_captions.marks(defined),
    )


def _openness(defined: Values) -> Iterator[str]:
    """Explain how certain the ranks are, and which differences are not significant."""
    models = len(defined["models"])
    pairs = models * (models - 1) // 2
    own = defined["intervals"]
    common = table_captions.in_common(defined, "common")
    yield (
        f"All models are compared on the same images, the {common} on which all of them are scored."
        if common != "0"
        else "The models have no scored image in common, and no ranks."
    )
    yield (
        f"{table_captions.SMALL}: the ranks left open by the intervals of the models' differences, "
        f"which hold for all pairs of models ({pairs}) of a metric at once "
        f"({percent(own['level'])}, Games and Howell's) {POPULATIONS[own['population']]}; models "
        "with too few images in common are not told apart."
    )
    yield f"Pairs not told apart: {_not_apart(defined)}."
    yield "The csv holds the differences and their intervals, of the averages and of the maxima."


def _not_apart(defined: Values) -> str:
    """Name the pairs of models without a significant difference by their letters, by metric."""
    letters = {model["key"]: letter(place) for place, model in enumerate(defined["models"])}
    every = len(letters) * (len(letters) - 1) // 2
    found: dict[str, list[str]] = {}
    for metric, heading in HEADINGS.items():
        pairs = defined["not_apart"][metric]
        text = ", ".join(f"{letters[model]}–{letters[other]}" for model, other in pairs) or "none"
        text = "all" if len(pairs) == every else text
        found.setdefault(text, []).append(heading)
    return "; ".join(f"{', '.join(headings)}: {text}" for text, headings in found.items())


def table_ranks(
    differences: str | Path,
    aggregate: str | Path,
    statistics: Sequence[str | Path],
    stem: str | Path,
    settings: Values,
) -> None:
    """Write the table of ranks: the csv with one row per pair of models, the others one per model.

    `differences` and, for the definitions, `aggregate` are parquet files of schemas `DIFFERENCES`
    and `AGGREGATES`, and `statistics` the files that metrics name. `stem` is the path of the table
    without suffix.
    """
    rows = table_captions.printed_rows(pl.read_parquet(differences), settings)
    aggregates = table_captions.printed_rows(pl.read_parquet(aggregate), settings)
    names = table_captions.models(settings)
    marks = aggregates.filter(part="full").select(
        "metric", "aggregate", pl.col("model").alias("key"), "mark"
    )
    csv = arrange(rows, names).join(
        marks, on=["metric", "aggregate", "key"], how="left", maintain_order="left"
    )
    defined = definitions.of_scores(
        registry.metrics(), names, aggregates.filter(part="full"), statistics, settings
    )
    averages = rows.filter(aggregate="avg")
    defined["not_apart"] = {metric: alike(averages.filter(metric=metric)) for metric in MEASURES}
    write_table(*widen(csv), defined, caption, stem, csv=csv)


if __name__ == "__main__":
    snakemake = start_job()
    table_ranks(
        differences=snakemake.input.differences,
        aggregate=snakemake.input.aggregate,
        statistics=snakemake.input.statistics,
        stem=Path(snakemake.output[0]).with_suffix(""),
        settings=json.loads(snakemake.params.settings),
    )
