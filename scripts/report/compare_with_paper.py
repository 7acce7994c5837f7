"""Compare each number of the paper with ours."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from string import ascii_lowercase
from typing import Any, NamedTuple

import polars as pl
import yaml

from imagenet_think.core.csv_files import read_csv
from imagenet_think.core.files import write_text
from imagenet_think.core.job import start_job
from imagenet_think.core.numbers import MINUS, as_text, percent
from imagenet_think.core.settings import Values
from imagenet_think.metrics import registry
from imagenet_think.parsing import PARTS
from imagenet_think.report import comparability, table_captions
from imagenet_think.report.comparability import IMAGES, SCORES, SEPARATOR, TEXTS, split_reasons
from imagenet_think.report.table_captions import OURS, POPULATIONS, REPORTED
from imagenet_think.report.tables import WHOLE, Column, latex, markdown, write_csv

MODELS = {
    "internvl3.5": "InternVL-3.5-8B",
    "r1-onevision": "R1-Onevision-7B",
    "openvlthinker": "OpenVLThinker-7B",
    "visionthink": "VisionThink-Efficient",
    "vl-rethinker": "VL-Rethinker-7B",
}
"""Keys of the benchmarked models, and their names in the paper's tables."""

ABLATED = "openvlthinker"
"""The model in the paper's Table 7."""

BENCHMARK_TABLES = {
    name: [measure.name for measure in table.measures]
    for name, table in registry.tables().items()
    if table.number
}
"""Measures by table: Tables 3 to 6."""

AGGREGATES = ("avg", "max")

TOKENS = {"images": "images", "min": "min. tokens", "max": "max. tokens", "mean": "mean tokens"}
TOKENS |= {"total": "total tokens"}
CLASSES = {"images": "images", "classes": "classes", "min_per_class": "min. images per class"}
CLASSES |= {"max_per_class": "max. images per class", "mean_per_class": "mean images per class"}

SCHEMA = pl.Schema(
    dict.fromkeys(("table", "row", "column"), pl.String)
    | dict.fromkeys(("paper", "ours", "ours_low", "ours_high", "difference"), pl.Float64)
    | {"inside": pl.Boolean, "images": pl.Int64, "ours_common": pl.Float64}
    | {"common_images": pl.Int64, "reasons": pl.String}
)
"""`reasons` says why two numbers cannot be compared, or why we have none; null where they can.

`images` are those of our mean; `ours_common` is that over the images on which every model of a
table is scored, or every part of Table 7.
"""

WORDS = "unique words per 1,000 samples"

ROUNDING = 0.0005
"""Of the paper's scores, which are printed with three decimals."""

MEANS_NOTHING = "the metric cannot read our texts (marked in our table)"
NOT_LOCAL = "not computed: the config names no local copy of this dataset"
NOT_RUN = "not computed: this run does not benchmark the model"
NOT_ABLATED = "not computed: this run's Table 7 is of another model"
TIME = "not computed: it is a time, which is in the run's cost.md"

PRINTED = [
    Column("table", "Place"),
    Column("row", "Row", width=0.15),
    Column("column", "Column", width=0.15),
    Column("paper", "Paper"),
    Column("ours", "Ours"),
    Column("interval", "Interval"),
    Column("difference", "Diff."),
    Column("inside", "Paper is"),
    Column("images", "n", format=WHOLE),
    Column("common", "Common"),
    Column("letters", "Reasons", width=0.07),
]


class Cell(NamedTuple):
    """A number of the paper, and where ours is."""

    table: str
    row: str
    column: str
    paper: float
    ours: Mapping[str, Any]  # a row of our table; empty if there is none
    name: str  # of its column; its interval is `<name>_low` and `<name>_high`
    subjects: Collection[str]  # what our number depends on, as in `comparability.Caveat`
    missing: str = ""  # why our number is missing, where it may be
    same: str = ""  # our number over the same images is `<name>_<same>`, of `<same>_images`


def compare(reported: Values, tables: Mapping[str, pl.DataFrame], config: Values) -> pl.DataFrame:
    """Return one row of `SCHEMA` per number of the paper.

    `difference` is ours minus the paper's. `inside` says whether the paper's number, which is
    rounded to three decimals, may be within our interval; it is null without one. `ours` is null
    where our tables lack the number, and `reasons` say why.

    Parameters
    ----------
    reported
        What the paper reports (`resources/reported.yaml`).
    tables
        Our tables by name: `table1` to `table7`, and `language`.
    config
        What `comparability.caveats` reads, and `benchmark.ablation_model`, the model of Table 7.
    """
    run = tables["table2"].row(0, named=True)
    cells = [
        *_datasets(reported["table1"], tables["table1"]),
        *(
            Cell("Tab. 2", "all", column, reported["table2"][name], run, name, {IMAGES})
            for name, column in CLASSES.items()
        ),
        *_text(reported["text"], tables["language"]),
        *_benchmark(reported["benchmark"], tables),
        *_ablation(reported["ablation"], tables["table7"], config["benchmark"]["ablation_model"]),
    ]
    caveats = list(comparability.caveats(config, run, reported["table2"]))
    rows = []
    for cell in cells:
        value, low, high = (cell.ours.get(f"{cell.name}{end}") for end in ("", "_low", "_high"))
        reasons = [words for words, subjects in caveats if subjects.intersection(cell.subjects)]
        reasons += [MEANS_NOTHING] if cell.ours.get(f"{cell.name}_mark") else []
        row = {name: getattr(cell, name) for name in ("table", "row", "column", "paper")}
        row |= {"ours": value, "ours_low": low, "ours_high": high}
        if cell.same:
            row["images"] = cell.ours.get("images")
            row["ours_common"] = cell.ours.get(f"{cell.name}_{cell.same}")
            row["common_images"] = cell.ours.get(f"{cell.same}_images")
        if low is not None and high is not None:
            row["inside"] = low - ROUNDING <= cell.paper <= high + ROUNDING
        if value is None:
            reasons = [cell.missing]
        else:
            row["difference"] = value - cell.paper
        rows.append(row | {"reasons": SEPARATOR.join(reasons) or None})
    return pl.DataFrame(rows, schema=SCHEMA)


def _datasets(paper: Sequence[Values], table: pl.DataFrame) -> Iterator[Cell]:
    """Compare Table 1, without the rows that our table copies from the paper."""
    computed = table.filter(pl.col("source") != REPORTED)
    ours = {row["dataset"]: row for row in computed.iter_rows(named=True)}
    for row in paper:
        dataset = row["dataset"]
        own = {IMAGES, TEXTS} if dataset == OURS else set()
        numbers = ours.get(dataset, {})
        for name, column in TOKENS.items():
            subjects = own if name == "images" else own | {comparability.TOKENS}
            yield Cell("Tab. 1", dataset, column, row[name], numbers, name, subjects, NOT_LOCAL)


def _text(paper: Values, language: pl.DataFrame) -> Iterator[Cell]:
    """Compare the numbers of sections 3.2 and 4.1 to 4.3."""
    classes = _first(language.filter(measure="images_per_class"))
    words = _first(language.filter(pl.col("part").is_null(), measure="unique_words"))
    pairs = {"n": language.filter(measure="tokens", part="answer")["n"].sum()}
    hours, per_class = "A100 GPU hours (more than)", "images per class"
    for section, column, reported, ours, name, subject in (
        ("3.2", hours, "gpu_hours_a100", {}, "", IMAGES),
        ("4.1", "thinking-answer pairs", "pairs", pairs, "n", TEXTS),
        ("4.2", f"mean {per_class}", "images_per_category_mean", classes, "mean", IMAGES),
        ("4.2", f"SD of {per_class}", "images_per_category_sd", classes, "sd", IMAGES),
        ("4.3", WORDS, "unique_words_per_1000_samples", words, "mean", TEXTS),
    ):
        yield Cell(f"Sec. {section}", "all", column, paper[reported], ours, name, {subject}, TIME)


def _benchmark(paper: Values, tables: Mapping[str, pl.DataFrame]) -> Iterator[Cell]:
    """Compare Tables 3 to 6."""
    for table, measures in BENCHMARK_TABLES.items():
        ours = {row["key"]: row for row in tables[table].iter_rows(named=True)}
        for (key, model), measure in product(MODELS.items(), measures):
            for aggregate, number in zip(AGGREGATES, paper[model].get(measure, ()), strict=True):
                yield Cell(
                    f"Tab. {table[-1]}",
                    model,
                    f"{table_captions.HEADINGS[measure]}, {aggregate}",
                    number,
                    ours.get(key, {}),
                    f"{measure}_{aggregate}",
                    {SCORES, key, measure},
                    NOT_RUN,
                    "common",
                )


def _ablation(paper: Values, table: pl.DataFrame, model: str) -> Iterator[Cell]:
    """Compare Table 7, if ours is about the same model."""
    ours = {(row["metric"], row["part"]): row for row in table.iter_rows(named=True)}
    for metric, numbers in paper.items():
        for (part, aggregate), number in zip(product(PARTS, AGGREGATES), numbers, strict=True):
            yield Cell(
                "Tab. 7",
                f"{MODELS[ABLATED]}, {part}",
                f"{table_captions.HEADINGS[metric]}, {aggregate}",
                number,
                ours.get((metric, part), {}) if model == ABLATED else {},
                aggregate,
                {SCORES, ABLATED, metric},
                NOT_ABLATED,
                "paired",
            )


def _first(rows: pl.DataFrame) -> Mapping[str, Any]:
    return rows.row(0, named=True) if len(rows) else {}


def lettered(comparison: pl.DataFrame) -> dict[str, str]:
    """Return the letter of each reason, in order of appearance."""
    return dict(zip(split_reasons(comparison), ascii_lowercase, strict=False))


def caption(comparison: pl.DataFrame, intervals: Values) -> str:
    """Explain the columns, count the numbers that can be compared, and list the reasons.

    `intervals` is that section of the config.
    """
    comparable = comparison.filter(pl.col("reasons").is_null())
    inside = comparable["inside"].drop_nulls()
    numbers = len(comparable) or "none"
    counts = f"Of the paper's {len(comparison)} numbers {numbers} can be compared with ours"
    if len(inside):
        counts += f", and {inside.sum()} of the {len(inside)} that have an interval lie inside"
    images = ""
    if _unequal(comparison):
        images = (
            " Models, or the parts of Table 7, are scored on different images (n). Compare them "
            "with each other by the means over the images that all have (Common)."
        )
    letters = lettered(comparison)
    why = "; ".join(f"({letter}) {words}" for words, letter in letters.items())
    level, population = percent(intervals["level"]), POPULATIONS[intervals["population"]]
    return (
        "The paper's numbers next to ours. Diff. is ours minus the paper's. The interval is ours, "
        f"at {level} {population}; the paper's number, as rounded, is inside or outside. A dash "
        f"means that there is no number or no interval. {counts}.{images} The letters under "
        "reasons say why two numbers cannot be compared: inside is no agreement there, and outside "
        f"no disagreement. {why}."
    )


def _unequal(comparison: pl.DataFrame) -> bool:
    """Return whether any of our means is over other images than those that are in common."""
    counts = comparison.filter(pl.col("images") > 0)
    return (counts["images"] != counts["common_images"]).any()


def printed(row: Values, letters: Mapping[str, str]) -> dict[str, Any]:
    """Return a row of the comparison as text, each number with the decimals of its table."""
    scores = row["table"] in {f"Tab. {n}" for n in range(3, 8)}
    decimals = 3 if scores else 0 if row["paper"].is_integer() else 1

    def number(name: str, sign: str = "") -> str:
        return as_text(row[name], f"{sign},.{decimals}f")

    low, high = number("ours_low"), number("ours_high")
    dash = " to " if MINUS in low + high else "–"
    reasons = (row["reasons"] or "").split(SEPARATOR)
    return {
        **{name: row[name] for name in ("table", "row", "column", "images")},
        "paper": number("paper"),
        "ours": number("ours"),
        "interval": "–" if row["ours_low"] is None else low + dash + high,
        "difference": number("difference", "+"),
        "common": number("ours_common"),
        "inside": {None: "–", True: "inside", False: "outside"}[row["inside"]],
        "letters": " ".join(letters[words] for words in reasons if words),
    }


def compare_with_paper(
    tables: Sequence[str | Path], reported: str | Path, stem: str | Path, config: Values
) -> None:
    """Write the comparison as csv, Markdown and LaTeX.

    Parameters
    ----------
    tables
        Our tables, csv files named `table1` to `table7` and `language`.
    reported
        What the paper reports (YAML).
    stem
        Path of the comparison without ending.
    config
        The keys of the config that the rule declares.
    """
    ours = {Path(path).stem: read_csv(path, infer_schema_length=None) for path in tables}
    paper = yaml.safe_load(Path(reported).read_text(encoding="utf-8"))
    comparison = compare(paper, ours, config)
    text = caption(comparison, config["benchmark"]["intervals"])
    write_csv(comparison, [Column(name, name) for name in SCHEMA], f"{stem}.csv")
    letters = lettered(comparison)
    rows = [printed(row, letters) for row in comparison.iter_rows(named=True)]
    shown = pl.DataFrame(rows, schema_overrides={"images": pl.Int64})
    columns = [each for each in PRINTED if each.name != "common" or _unequal(comparison)]
    write_text(markdown(shown, columns, text), f"{stem}.md")
    write_text(latex(shown, columns, text, "tab:comparison", long=True), f"{stem}.tex")


if __name__ == "__main__":
    snakemake = start_job()
    compare_with_paper(
        tables=[*snakemake.input.tables, snakemake.input.language],
        reported=snakemake.input.reported,
        stem=Path(snakemake.output[0]).with_suffix(""),
        config=json.loads(snakemake.params.settings),
    )
