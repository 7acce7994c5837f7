"""Compare each number of the paper with ours."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from string import ascii_lowercase
from typing import TYPE_CHECKING, Any

import polars as pl
import yaml

from imagenet_think.core.files import write_text
from imagenet_think.core.logs import log_to
from imagenet_think.core.settings import Values
from imagenet_think.parsing import PARTS
from imagenet_think.report import comparability, table_captions
from imagenet_think.report.comparability import (
    IMAGES,
    SCORES,
    SEPARATOR,
    TEXTS,
    Caveat,
    split_reasons,
)
from imagenet_think.report.table_captions import OURS, REPORTED
from imagenet_think.report.tables import Column, latex, markdown, write_csv

if TYPE_CHECKING:
    from imagenet_think.core.job import snakemake

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

TABLES = {
    "table3": ("bertscore", "sbert"),
    "table4": ("rouge1", "rougeL"),
    "table5": ("jaccard", "overlap"),
    "table6": ("tfidf", "cosine"),
}
AGGREGATES = ("avg", "max")

TOKENS = {"images": "images", "min": "min. tokens", "max": "max. tokens", "mean": "mean tokens"}
TOKENS |= {"total": "total tokens"}
CLASSES = {"images": "images", "classes": "classes", "min_per_class": "min. images per class"}
CLASSES |= {"max_per_class": "max. images per class", "mean_per_class": "mean images per class"}

SCHEMA = pl.Schema(
    {
        "table": pl.String,
        "row": pl.String,
        "column": pl.String,
        "paper": pl.Float64,
        "ours": pl.Float64,
        "ours_low": pl.Float64,
        "ours_high": pl.Float64,
        "difference": pl.Float64,
        "inside": pl.Boolean,
        "reasons": pl.String,
    }
)
"""`reasons` says why two numbers cannot be compared, or why we have none; null where they can."""

NOT_LOCAL = "not computed: the config names no local copy of this dataset"
NOT_RUN = "not computed: this run does not benchmark the model"
NOT_ABLATED = "not computed: this run's Table 7 is of another model"
TIME = "not computed: it is a time, which stands in the run's cost.md"

PRINTED = [
    Column("table", "Place"),
    Column("row", "Row", width=0.15),
    Column("column", "Column", width=0.17),
    Column("paper", "Paper"),
    Column("ours", "Ours"),
    Column("interval", "Interval"),
    Column("difference", "Diff."),
    Column("inside", "Paper is"),
    Column("letters", "Reasons", width=0.07),
]

Cell = dict[str, Any]
"""A row of `SCHEMA` without its reasons, with `subjects` and `missing` instead."""


def cell(
    table: str,
    row: str,
    column: str,
    paper: float,
    ours: Mapping[str, Any],
    name: str,
    *subjects: str,
    missing: str = "",
) -> Cell:
    """Compare one number.

    Parameters
    ----------
    table, row, column
        Where the paper prints the number.
    paper
        The number.
    ours
        A row of our table; empty where there is none.
    name
        Column of our number; its interval is `<name>_low` and `<name>_high`.
    subjects
        What our number depends on, as in `comparability.Caveat`.
    missing
        Why our number is missing, where it may be.

    Returns
    -------
    dict
        `difference` is ours minus the paper's. `inside` says whether the paper's number, which is
        rounded to three decimals, may be within our interval; it is null without one.
    """
    value, low, high = (ours.get(key) for key in (name, f"{name}_low", f"{name}_high"))
    rounding = 0.0005
    inside = None
    if low is not None and high is not None:
        inside = low - rounding <= paper <= high + rounding
    return {
        "table": table,
        "row": row,
        "column": column,
        "paper": paper,
        "ours": value,
        "ours_low": low,
        "ours_high": high,
        "difference": None if value is None else value - paper,
        "inside": inside,
        "subjects": frozenset(subjects),
        "missing": missing,
    }


def compare(reported: Values, tables: Mapping[str, pl.DataFrame], settings: Values) -> pl.DataFrame:
    """Return one row per number of the paper.

    Parameters
    ----------
    reported
        What the paper reports (`resources/reported.yaml`).
    tables
        Our tables by name: `table1` to `table7`, and `language`.
    settings
        The settings that `comparability.caveats` takes, and `ablation_model`, the key of the model
        in our Table 7.

    Returns
    -------
    polars.DataFrame
        See `SCHEMA`; `ours` is null where our tables lack the number, and `reasons` say why.
    """
    cells = [
        *_datasets(reported["table1"], tables["table1"]),
        *_images(reported["table2"], tables["table2"]),
        *_text(reported["text"], tables["language"]),
        *_benchmark(reported["benchmark"], tables),
        *_ablation(reported["ablation"], tables["table7"], settings["ablation_model"]),
    ]
    run = tables["table2"].row(0, named=True)
    caveats = comparability.caveats(settings, run, reported["table2"])
    return pl.DataFrame([_with_reasons(each, caveats) for each in cells], schema=SCHEMA)


def _with_reasons(cell: Cell, caveats: Sequence[Caveat]) -> dict[str, Any]:
    """Return a row of `SCHEMA`."""
    words = [caveat.words for caveat in caveats if caveat.subjects & cell["subjects"]]
    if cell["ours"] is None:
        words = [cell["missing"]]
    row = {name: cell[name] for name in SCHEMA if name != "reasons"}
    return row | {"reasons": SEPARATOR.join(words) or None}


def _datasets(paper: Sequence[Values], table: pl.DataFrame) -> Iterator[Cell]:
    """Compare Table 1, without the rows that our table copies from the paper."""
    computed = table.filter(pl.col("source") != REPORTED)
    ours = {row["dataset"]: row for row in computed.iter_rows(named=True)}
    for row in paper:
        own = (IMAGES, TEXTS) if row["dataset"] == OURS else ()
        for name, column in TOKENS.items():
            yield cell(
                "Tab. 1",
                row["dataset"],
                column,
                row[name],
                ours.get(row["dataset"], {}),
                name,
                *own,
                *(() if name == "images" else (comparability.TOKENS,)),
                missing=NOT_LOCAL,
            )


def _images(paper: Values, table: pl.DataFrame) -> Iterator[Cell]:
    """Compare Table 2."""
    ours = table.row(0, named=True)
    for name, column in CLASSES.items():
        yield cell("Tab. 2", "all", column, paper[name], ours, name, IMAGES)


def _text(paper: Values, language: pl.DataFrame) -> Iterator[Cell]:
    """Compare the numbers of sections 3.2 and 4.1 to 4.3."""
    classes = _first(language.filter(pl.col("measure") == "images_per_class"))
    words = _first(language.filter(measure="unique_words").filter(pl.col("part").is_null()))
    answers = language.filter(pl.col("measure") == "tokens", pl.col("part") == "answer")
    pairs = {"n": answers["n"].sum()}
    for section, column, reported, ours, name, subject in (
        ("3.2", "A100 GPU hours (more than)", "gpu_hours_a100", {}, "", IMAGES),
        ("4.1", "thinking-answer pairs", "pairs", pairs, "n", TEXTS),
        ("4.2", "mean images per class", "images_per_category_mean", classes, "mean", IMAGES),
        ("4.2", "SD of images per class", "images_per_category_sd", classes, "sd", IMAGES),
        (
            "4.3",
            "unique words per 1,000 samples",
            "unique_words_per_1000_samples",
            words,
            "mean",
            TEXTS,
        ),
    ):
        yield cell(
            f"Sec. {section}", "all", column, paper[reported], ours, name, subject, missing=TIME
        )


def _benchmark(paper: Values, tables: Mapping[str, pl.DataFrame]) -> Iterator[Cell]:
    """Compare Tables 3 to 6."""
    for name, metrics in TABLES.items():
        ours = {row["key"]: row for row in tables[name].iter_rows(named=True)}
        for key, model in MODELS.items():
            for metric in metrics:
                for aggregate, number in zip(AGGREGATES, paper[model][metric], strict=True):
                    yield cell(
                        f"Tab. {name[-1]}",
                        model,
                        f"{table_captions.HEADINGS[metric]}, {aggregate}",
                        number,
                        ours.get(key, {}),
                        f"{metric}_{aggregate}",
                        *(SCORES, key, metric),
                        missing=NOT_RUN,
                    )


def _ablation(paper: Values, table: pl.DataFrame, model: str) -> Iterator[Cell]:
    """Compare Table 7, if ours is about the same model."""
    ours = {(row["metric"], row["part"]): row for row in table.iter_rows(named=True)}
    if model != ABLATED:
        ours = {}
    places = [(part, aggregate) for part in PARTS for aggregate in AGGREGATES]
    for metric, numbers in paper.items():
        for (part, aggregate), number in zip(places, numbers, strict=True):
            yield cell(
                "Tab. 7",
                f"{MODELS[ABLATED]}, {part}",
                f"{table_captions.HEADINGS[metric]}, {aggregate}",
                number,
                ours.get((metric, part), {}),
                aggregate,
                *(SCORES, ABLATED, metric),
                missing=NOT_ABLATED,
            )


def _first(rows: pl.DataFrame) -> Mapping[str, Any]:
    return rows.row(0, named=True) if len(rows) else {}


def lettered(comparison: pl.DataFrame) -> dict[str, str]:
    """Return the letter of each reason, in order of appearance."""
    return dict(zip(split_reasons(comparison), ascii_lowercase, strict=False))


def caption(comparison: pl.DataFrame) -> str:
    """Explain the columns, count the numbers that can be compared, and list the reasons."""
    comparable = comparison.filter(pl.col("reasons").is_null())
    inside = comparable["inside"].drop_nulls()
    numbers = len(comparable) or "none"
    counts = f"Of the paper's {len(comparison)} numbers {numbers} can be compared with ours"
    if len(inside):
        counts += f", and {inside.sum()} of the {len(inside)} that have an interval lie inside"
    letters = lettered(comparison)
    why = "; ".join(f"({letter}) {words}" for words, letter in letters.items())
    return (
        "The paper's numbers beside ours. Diff. is ours minus the paper's, the interval is ours, "
        "and the paper's number, as rounded, lies inside or outside of it; a dash stands where "
        f"there is no number or no interval. {counts}. The letters under reasons say why two "
        "numbers cannot be compared: inside is no agreement there, and outside no disagreement. "
        f"{why}."
    )


def printed(comparison: pl.DataFrame) -> pl.DataFrame:
    """Return the comparison as text, each number with the decimals of its table."""
    letters = lettered(comparison)
    rows = []
    for row in comparison.iter_rows(named=True):
        decimals = 3 if row["table"] in {f"Tab. {n}" for n in range(3, 8)} else 1
        if decimals == 1 and row["paper"].is_integer():
            decimals = 0

        def number(name: str, sign: str = "", row: Cell = row, decimals: int = decimals) -> str:
            value = row[name]
            text = "–" if value is None else f"{value:{sign},.{decimals}f}"
            return text.replace("-", "−")

        low, high = number("ours_low"), number("ours_high")
        dash = " to " if "−" in low + high else "–"
        rows.append(
            {name: row[name] for name in ("table", "row", "column")}
            | {name: number(name) for name in ("paper", "ours")}
            | {
                "interval": "–" if row["ours_low"] is None else low + dash + high,
                "difference": number("difference", "+"),
                "inside": {None: "–", True: "inside", False: "outside"}[row["inside"]],
                "letters": " ".join(
                    letters[words] for words in (row["reasons"] or "").split(SEPARATOR) if words
                ),
            }
        )
    return pl.DataFrame(rows)


def compare_with_paper(
    tables: Sequence[str | Path],
    reported: str | Path,
    stem: str | Path,
    settings: Values,
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
    settings
        As for `compare`.
    """
    ours = {Path(path).stem: pl.read_csv(path, infer_schema_length=None) for path in tables}
    paper = yaml.safe_load(Path(reported).read_text(encoding="utf-8"))
    comparison = compare(paper, ours, settings)
    text = caption(comparison)
    write_csv(comparison, [Column(name, name) for name in SCHEMA], f"{stem}.csv")
    shown = printed(comparison)
    write_text(markdown(shown, PRINTED, text), f"{stem}.md")
    write_text(latex(shown, PRINTED, text, "tab:comparison", long=True), f"{stem}.tex")


def compared_as(config: Values) -> dict[str, Any]:
    """Return the settings of `compare`, given the keys of the config that the rule declares."""
    benchmark = config["benchmark"]
    return {
        **comparability.compared(config),
        "benchmarked": config["benchmarked"],
        "ablation_model": benchmark["ablation_model"],
        "evaluated": benchmark["images"],
        "encoders": {name: benchmark[name]["repository"] for name in comparability.EVALUATORS},
        "tokenizer": config["statistics"]["tokenizer"]["repository"],
    }


if __name__ == "__main__":
    log_to(snakemake.log[0])
    compare_with_paper(
        tables=[*snakemake.input.tables, snakemake.input.language],
        reported=snakemake.input.reported,
        stem=Path(snakemake.output[0]).with_suffix(""),
        settings=compared_as(json.loads(snakemake.params.settings)),
    )
