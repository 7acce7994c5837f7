"""Agreement between the two teachers, next to a teacher's agreement with itself on other images."""

import json
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from imagenet_think.core.job import start_job
from imagenet_think.core.numbers import as_text
from imagenet_think.core.schemas import (
    AGREEMENT_AGGREGATES,
    BASELINES,
    BETWEEN,
    OTHER_CLASS,
    SAME_CLASS,
)
from imagenet_think.core.settings import Values
from imagenet_think.metrics import registry
from imagenet_think.report import definitions, table_captions
from imagenet_think.report.macros import spelled
from imagenet_think.report.table_captions import BRIEF, HEADINGS, SHORT_PARTS, count_range
from imagenet_think.report.tables import MARKED, WHOLE, Column, spread, write_table

COMPARED = {
    BETWEEN: "both references' texts on the same image",
    SAME_CLASS: "a reference's text and its own on another image of the class",
    OTHER_CLASS: "a reference's text and its own on an image of another class",
}
"""What is compared, by the values of the column `against`."""

PARTNERS = {
    "file": definitions.SAMPLE,
    "order": definitions.ORDER,
    "rule": (
        "In each shard, classes are ordered by (wnid), and the images of a class by (wnid, "
        "image_id without a leading wnid/). Images 1 and 2 of a class, 3 and 4, and so on form "
        "pairs. The first image of a pair is compared with the second one, and, as an image of "
        "another class, with the second one of the pair at the same place of the next class with "
        "a pair, cyclically in both; a shard with one such class has no pairs."
    ),
}
"""Which images a reference's texts are compared on, for `SAME_CLASS` and `OTHER_CLASS`."""


def aspects(teachers: Sequence[str]) -> pl.DataFrame:
    """Return what is printed: between the teachers, and each one's baselines and difference.

    Each has the name of its `aspect`, and its model, against and minus in `AGREEMENT_AGGREGATES`.
    """
    rows: list[tuple[str | None, ...]] = [("between", teachers[0], BETWEEN, None)]
    for place, teacher in enumerate(teachers, start=1):
        rows += [(f"{baseline}_{place}", teacher, baseline, None) for baseline in BASELINES]
        rows.append((f"difference_{place}", teacher, BETWEEN, SAME_CLASS))
    columns = ("aspect", "model", "against", "minus")
    return pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String), orient="row")


def arrange(rows: pl.DataFrame, names: Sequence[str]) -> tuple[pl.DataFrame, list[Column]]:
    """Return what is printed of all images, one row per metric and part, and its columns.

    `rows` are of schema `AGREEMENT_AGGREGATES`, with the column `aspect`.
    """
    numbers = [Column("between", "Between", interval=True, marked=True)]
    for place, name in enumerate(names, start=1):
        numbers += [
            Column(f"{SAME_CLASS}_{place}", "Same", name, marked=True),
            Column(f"{OTHER_CLASS}_{place}", "Other", name, marked=True),
            Column(f"difference_{place}", "Difference", name, interval=True, marked=True),
        ]
    parts = pl.DataFrame({"part": list(SHORT_PARTS)})
    order = pl.DataFrame({"metric": list(HEADINGS)}).join(parts, how="cross")
    frame = spread(rows, order, pl.col("aspect"), [column.name for column in numbers], MARKED)
    heading = pl.col("metric").replace(HEADINGS)
    return frame.with_columns(
        pl.when(part="full").then(heading).otherwise(pl.lit("")).alias("metric"),
        pl.col("part").replace(SHORT_PARTS),
    ), [Column("metric", "Metric"), Column("part", "Part"), *numbers]


def arrange_domains(rows: pl.DataFrame) -> tuple[pl.DataFrame, list[Column]]:
    """Return what is printed of rows by domain, in their order, and its columns."""
    numbers = [
        Column(
            f"{metric}_{aspect}",
            heading,
            measure.heading or metric,
            interval=interval,
            marked=True,
        )
        for metric, measure in BRIEF.items()
        for aspect, heading, interval in (
            ("between", "Between", True),
            (f"{SAME_CLASS}_1", "Same 1", False),
            (f"{SAME_CLASS}_2", "Same 2", False),
        )
    ]
    order = rows.select("group").unique(maintain_order=True)
    name = pl.format("{}_{}", "metric", "aspect")
    frame = spread(rows, order, name, [column.name for column in numbers], MARKED)
    # How many images there are does not depend on the metric.
    counts = {"images": ""}
    counted = spread(rows, order, pl.col("aspect"), ["between", "difference_2"], counts)
    frame = frame.with_columns(images=counted["between"], paired=counted["difference_2"])
    return frame, [
        Column("group", "Domain"),
        Column("images", "M", format=WHOLE),
        Column("paired", "Paired", format=WHOLE),
        *numbers,
    ]


def define(
    aggregates: pl.DataFrame,
    statistics: Sequence[str | Path],
    precision: Sequence[str | Path],
    settings: Values,
) -> definitions.Definitions:
    """Return the definitions of both tables; `aggregates` are the printed rows of all images."""
    means = aggregates.filter(pl.col("grouping") == "all", pl.col("minus").is_null())
    counts = means.select("part", "model", "against", "images", "left_out", "unpaired")
    windows = means.filter(part="full", against=BETWEEN).drop_nulls("seen")
    return {
        "references": definitions.models(settings["teachers"], settings),
        "texts": definitions.texts(),
        "compared": COMPARED,
        "partners": PARTNERS | {"seed": settings["seed"]},
        "metrics": definitions.of_metrics(registry.metrics(), statistics, settings),
        "precision": definitions.errors(precision),
        "domain": definitions.domain(aggregates.filter(grouping="all")),
        "windows": windows.select("metric", "part", "seen").to_dicts(),
        "images": counts.unique(maintain_order=True).to_dicts(),
        "intervals": definitions.intervals(settings),
    }


def counted(defined: Values) -> str:
    """State the number of images by part, and why the others are left out."""
    found = {}
    for part, name in SHORT_PARTS.items():
        rows = [row for row in defined["images"] if row["part"] == part]
        between = [row for row in rows if row["against"] == BETWEEN]
        baselines = [row["images"] for row in rows if row["against"] in BASELINES]
        found[name.lower()] = (
            f"M = {count_range(row['images'] for row in between)} images between the "
            f"teachers ({count_range(row['left_out'] for row in between)} left out because a text "
            f"is missing), {count_range(baselines)} in the baselines."
        )
    sentences = [table_captions.by_part(found)]
    full = (row["unpaired"] for row in defined["images"] if row["part"] == "full")
    if unpaired := max(full, default=0):
        sentences.append(
            f"{unpaired:,} images are in no mean of a baseline: their shard has no image left to "
            "pair them with, or another image is compared with them."
        )
    return " ".join(sentences)


def seen(defined: Values) -> str:
    """State which share of the tokens metrics with windows read."""
    rows = defined["windows"]
    shares = [
        f"{as_text(row['seen'], '.1%')} of a full text's tokens for {HEADINGS[row['metric']]}"
        for row in rows
        if row["seen"] < 1
    ]
    whole = [HEADINGS[row["metric"]] for row in rows if row["seen"] == 1]
    return table_captions.caption(
        table_captions.read_whole(whole, "full text"),
        f"On average the window held {' and '.join(shares)}." if shares else "",
    )


def caption(defined: Values) -> str:
    """Return the caption of the table of all images."""
    first, second = table_captions.teachers(defined)
    return table_captions.caption(
        f"Agreement between the texts of {first} and {second}. Between: both teachers' texts on "
        "the same image. Same, Other: a teacher's text and its own on a different image of the "
        "class, and on one of another class; the csv has their intervals. Difference: Between "
        "minus Same, on images that have both; where it is above 0, two teachers on one image are "
        "more alike than one teacher on two images of a class.",
        table_captions.definitions(defined),
        table_captions.precision(defined),
        seen(defined),
        counted(defined),
        table_captions.marks(defined),
        table_captions.intervals(defined),
    )


def domain_caption(defined: Values) -> str:
    """Return the caption of the table by domain."""
    first, second = table_captions.teachers(defined)
    return table_captions.caption(
        f"Agreement between the full outputs of {first} (1) and {second} (2), by domain, in "
        f"{spelled(len(BRIEF))} metrics; the csv holds all. Between: both teachers' texts on "
        "the same image, of M images. Same: a teacher's text and its own on a different image of "
        "the class, over the images that have such a partner (Paired); the csv has the intervals.",
        table_captions.definitions(defined, table_captions.brief_metrics()),
        table_captions.marks(defined),
        table_captions.intervals(defined),
    )


def table_agreement(
    aggregate: str | Path,
    statistics: Sequence[str | Path],
    stem: str | Path,
    domain_stem: str | Path,
    settings: Values,
    precision: Sequence[str | Path] = (),
) -> None:
    """Write both tables: of all images, and by domain, the largest first.

    `aggregate` is a parquet file of schema `AGREEMENT_AGGREGATES`; `statistics` are the files that
    metrics name; `stem` and `domain_stem` are the paths of the tables without suffix; `precision`
    are parquet files of schema `PRECISION`.

    Raises
    ------
    KeyError
        If a number is missing.
    """
    rows = pl.read_parquet(aggregate, schema=AGREEMENT_AGGREGATES)
    rows = rows.with_columns(mark=table_captions.mark())
    printed = aspects(settings["teachers"]).join(
        table_captions.printed_rows(rows, settings),
        on=["model", "against", "minus"],
        nulls_equal=True,
        maintain_order="left_right",
    )
    defined = define(printed, statistics, precision, settings)
    total = arrange(printed.filter(grouping="all"), table_captions.teachers(defined))
    csv = rows.filter(grouping="all").drop("grouping", "group")
    write_table(*total, defined, caption, stem, csv=csv, long=True)
    shown = printed.filter(pl.col("metric").is_in(list(BRIEF)), grouping="domain", part="full")
    by_domain = arrange_domains(shown)
    csv = rows.filter(grouping="domain").drop("grouping")
    defined["domain"] = definitions.domain(shown)
    defined["groups"] = {"domain": definitions.GROUPED_BY["domain"]}
    write_table(*by_domain, defined, domain_caption, domain_stem, csv=csv)


if __name__ == "__main__":
    snakemake = start_job()
    table_agreement(
        aggregate=snakemake.input.aggregate,
        statistics=snakemake.input.statistics,
        stem=Path(snakemake.output.agreement[0]).with_suffix(""),
        domain_stem=Path(snakemake.output.agreement_domains[0]).with_suffix(""),
        settings=json.loads(snakemake.params.settings),
        precision=snakemake.input.precision,
    )
