"""How alike the two teachers' texts are, beside what a teacher's own other texts are."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from imagenet_think.core.files import write_text
from imagenet_think.core.logs import log_to
from imagenet_think.core.schemas import (
    AGREEMENT_AGGREGATES,
    BASELINES,
    BETWEEN,
    OTHER_CLASS,
    SAME_CLASS,
)
from imagenet_think.report import table_captions
from imagenet_think.report.tables import WHOLE, Column, latex, markdown, write_csv

if TYPE_CHECKING:
    from imagenet_think.core.job import snakemake

LONG = [Column(name, "") for name in AGREEMENT_AGGREGATES if name not in ("grouping", "group")]
"""Columns of the csv: a row a number."""

Aspect = tuple[str, str, str | None]
"""What a number is of: model, against and minus of `AGREEMENT_AGGREGATES`."""


def aspects(teachers: Sequence[str]) -> dict[str, Aspect]:
    """Return what is printed: between the teachers, and each one's baselines and difference."""
    found: dict[str, Aspect] = {"between": (teachers[0], BETWEEN, None)}
    for place, teacher in enumerate(teachers, start=1):
        found |= {f"{baseline}_{place}": (teacher, baseline, None) for baseline in BASELINES}
        found[f"difference_{place}"] = (teacher, BETWEEN, SAME_CLASS)
    return found


def lookup(aggregates: pl.DataFrame) -> dict[tuple[str | None, ...], dict[str, object]]:
    """Return the rows of a frame of schema `AGREEMENT_AGGREGATES` by what they are of."""
    keys = ("group", "metric", "part", "model", "against", "minus")
    return {tuple(row[k] for k in keys): row for row in aggregates.iter_rows(named=True)}


def _cells(name: str, row: Mapping[str, object]) -> dict[str, object]:
    return {name: row["value"], f"{name}_low": row["low"], f"{name}_high": row["high"]}


def arrange(
    aggregates: pl.DataFrame, teachers: Sequence[str], variants: Mapping[str, str]
) -> pl.DataFrame:
    """Return what is printed of all images: a row a metric and part.

    Parameters
    ----------
    aggregates
        Schema `AGREEMENT_AGGREGATES`.
    teachers
        Keys of teacher 1 and teacher 2.
    variants
        Each printed metric and the one that stands for it.

    Raises
    ------
    KeyError
        If a number is missing.
    """
    found = lookup(aggregates.filter(grouping="all"))
    rows = []
    for metric, variant in variants.items():
        for part, heading in table_captions.SHORT_PARTS.items():
            title = table_captions.HEADINGS[metric] if part == "full" else ""
            cells: dict[str, object] = {"metric": title, "part": heading}
            for name, aspect in aspects(teachers).items():
                cells |= _cells(name, found["all", variant, part, *aspect])
            rows.append(cells)
    numbers = [name for name in rows[0] if name not in ("metric", "part")]
    return pl.DataFrame(rows, schema_overrides=dict.fromkeys(numbers, pl.Float64))


def columns(names: Sequence[str]) -> list[Column]:
    """Return the printed columns of all images, under the teachers' names."""
    printed = [
        Column("metric", "Metric"),
        Column("part", "Part"),
        Column("between", "Between", interval=True),
    ]
    for place, name in enumerate(names, start=1):
        printed += [
            Column(f"{SAME_CLASS}_{place}", "Same", name),
            Column(f"{OTHER_CLASS}_{place}", "Other", name),
            Column(f"difference_{place}", "Difference", name, interval=True),
        ]
    return printed


def arrange_domains(
    aggregates: pl.DataFrame, teachers: Sequence[str], variants: Mapping[str, str]
) -> pl.DataFrame:
    """Return what is printed by domain: a row a domain, the largest first, of full outputs."""
    rows = aggregates.filter(grouping="domain")
    found = lookup(rows)
    table = []
    for domain in rows["group"].unique(maintain_order=True):
        cells: dict[str, object] = {"group": domain}
        for metric in table_captions.FEW:
            for name, aspect in aspects(teachers).items():
                row = found[domain, variants[metric], "full", *aspect]
                cells |= _cells(f"{metric}_{name}", row)
                cells |= {"paired" if name != "between" else "images": row["images"]}
        table.append(cells)
    whole = dict.fromkeys(("images", "paired"), pl.Int64)
    schema = {"group": pl.String} | {
        name: pl.Float64
        for metric in table_captions.FEW
        for aspect in aspects(teachers)
        for name in Column(f"{metric}_{aspect}", "", interval=True).names
    }
    return pl.DataFrame(table, schema=schema | whole)


def domain_columns() -> list[Column]:
    """Return the printed columns by domain."""
    printed = [Column("group", "Domain"), Column("images", "M", format=WHOLE)]
    printed.append(Column("paired", "Paired", format=WHOLE))
    for metric in table_captions.FEW:
        heading = table_captions.HEADINGS[metric]
        printed.append(Column(f"{metric}_between", "Between", heading, interval=True))
        printed += [
            Column(f"{metric}_{SAME_CLASS}_{place}", f"Same {place}", heading) for place in (1, 2)
        ]
    return printed


def counted(aggregates: pl.DataFrame) -> str:
    """Say of how many images the numbers are, by part, and why the others are left out."""
    means = aggregates.filter(pl.col("grouping") == "all", pl.col("minus").is_null())
    sentences = []
    for part, name in table_captions.SHORT_PARTS.items():
        rows = means.filter(part=part)
        between = rows.filter(against=BETWEEN)
        baselines = rows.filter(pl.col("against").is_in(BASELINES))
        sentences.append(
            f"{name}: M = {table_captions.count_range(between['images'])} images between the teachers "
            f"({table_captions.count_range(between['left_out'])} left out because a text is missing), "
            f"{table_captions.count_range(baselines['images'])} in the baselines."
        )
    unpaired = means.filter(part="full")["unpaired"].max() or 0
    if unpaired:
        sentences.append(
            f"{unpaired:,} images are in no mean of a baseline: their shard has no image left to "
            "pair them with, or another image is compared with them."
        )
    return " ".join(sentences)


def seen(aggregates: pl.DataFrame) -> str:
    """Say which share of the tokens the windows held; "" without windows."""
    rows = aggregates.filter(grouping="all", part="full", against=BETWEEN).drop_nulls("seen")
    shares = [
        f"{row['seen']:.1%} of a full text's tokens for {table_captions.HEADINGS[row['metric']]}"
        for row in rows.iter_rows(named=True)
    ]
    return f"On average the window held {' and '.join(shares)}." if shares else ""


def caption(aggregates: pl.DataFrame, settings: Mapping) -> str:
    """Say what the table of all images holds."""
    first, second = (settings["names"][key] for key in settings["teachers"])
    sentences = (
        f"How alike the texts of {first} and {second} are. Between: both teachers' texts on the "
        "same image. Same, Other: a teacher's text and its own on a different image of the class, "
        "and on one of another class. Difference: Between less Same, on images that have both; "
        "where it is above 0, two teachers on one image are more alike than one teacher on two "
        "images of a class.",
        table_captions.definitions(list(table_captions.HEADINGS), settings),
        seen(aggregates),
        counted(aggregates),
        table_captions.intervals(settings["intervals"]),
    )
    return " ".join(filter(None, sentences))


def domain_caption(settings: Mapping) -> str:
    """Say what the table by domain holds."""
    first, second = (settings["names"][key] for key in settings["teachers"])
    return (
        f"How alike the full outputs of {first} (1) and {second} (2) are, by domain, in three "
        "metrics; the csv holds all. Between: both teachers' texts on the same image, of M images. "
        "Same: a teacher's text and its own on a different image of the class, over the images "
        f"that have such a partner (Paired). {table_captions.definitions(table_captions.FEW, settings)} "
        f"{table_captions.intervals(settings['intervals'])}"
    )


def table_agreement(
    aggregate: str | Path, stem: str | Path, domain_stem: str | Path, settings: Mapping
) -> None:
    """Write both tables: of all images, and by domain.

    Parameters
    ----------
    aggregate
        Parquet of schema `AGREEMENT_AGGREGATES`.
    stem, domain_stem
        Paths of the tables without ending.
    settings
        `teachers` (keys), `names`, `printed_tfidf`, `intervals`, and a section for each kind of
        scores, for the captions.
    """
    frame = pl.read_parquet(aggregate, schema=AGREEMENT_AGGREGATES)
    teachers = settings["teachers"]
    variants = {
        metric: settings["printed_tfidf"] if metric == "tfidf" else metric
        for metric in table_captions.HEADINGS
    }
    write_csv(frame.filter(grouping="all"), LONG, f"{stem}.csv")
    total = arrange(frame, teachers, variants)
    printed, text = columns([settings["names"][key] for key in teachers]), caption(frame, settings)
    label = f"tab:{Path(stem).name}"
    write_text(latex(total, printed, text, label, long=True), f"{stem}.tex")
    write_text(markdown(total, printed, text), f"{stem}.md")

    domain = Column("group", "")
    write_csv(frame.filter(grouping="domain"), [domain, *LONG], f"{domain_stem}.csv")
    domains = arrange_domains(frame, teachers, variants)
    printed, text = domain_columns(), domain_caption(settings)
    label = f"tab:{Path(domain_stem).name}"
    write_text(latex(domains, printed, text, label), f"{domain_stem}.tex")
    write_text(markdown(domains, printed, text), f"{domain_stem}.md")


if __name__ == "__main__":
    log_to(snakemake.log[0])
    table_agreement(
        aggregate=snakemake.input.aggregate,
        stem=Path(snakemake.output.agreement[0]).with_suffix(""),
        domain_stem=Path(snakemake.output.agreement_domains[0]).with_suffix(""),
        settings=table_captions.benchmark(json.loads(snakemake.params.settings)),
    )
