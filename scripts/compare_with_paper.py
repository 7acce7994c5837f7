"""Each number of the paper beside ours."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import polars as pl
import yaml

from imagenet_think import captions
from imagenet_think.captions import PAPER_RUN
from imagenet_think.files import write_text
from imagenet_think.logs import log_to
from imagenet_think.parsing import PARTS
from imagenet_think.tables import Column, latex, markdown, write_csv

MODELS = {
    "internvl3.5": "InternVL-3.5-8B",
    "r1-onevision": "R1-Onevision-7B",
    "openvlthinker": "OpenVLThinker-7B",
    "visionthink": "VisionThink-Efficient",
    "vl-rethinker": "VL-Rethinker-7B",
}
"""Keys of the benchmarked models and their names in the paper's tables."""

ABLATED = "openvlthinker"
"""The model of the paper's Table 7."""

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
    }
)

PRINTED = [
    Column("table", "Place"),
    Column("row", "Row", width=0.16),
    Column("column", "Column", width=0.18),
    Column("paper", "Paper"),
    Column("ours", "Ours"),
    Column("interval", "Interval"),
    Column("difference", "Diff."),
    Column("inside", "Inside"),
]

Cell = dict[str, object]


def cell(table: str, row: str, column: str, paper: float, ours: Mapping, name: str) -> Cell:
    """Return one comparison.

    Parameters
    ----------
    table, row, column
        Where the paper prints the number.
    paper
        The number.
    ours
        A row of our table; empty where there is none.
    name
        The column in it; its interval is `<name>_low` and `<name>_high`.

    Returns
    -------
    dict
        A row of `SCHEMA`. `difference` is ours minus the paper's. `inside` tells whether the
        paper's number, which is rounded to three decimals, can lie in our interval; it is null
        without one.
    """
    value, low, high = (ours.get(key) for key in (name, f"{name}_low", f"{name}_high"))
    rounding = 0.0005
    return {
        "table": table,
        "row": row,
        "column": column,
        "paper": paper,
        "ours": value,
        "ours_low": low,
        "ours_high": high,
        "difference": None if value is None else value - paper,
        "inside": None if low is None else low - rounding <= paper <= high + rounding,
    }


def compare(
    reported: Mapping, tables: Mapping[str, pl.DataFrame], ablation_model: str
) -> pl.DataFrame:
    """Return a row for each number of the paper that this pipeline computes.

    Parameters
    ----------
    reported
        What the paper reports (`resources/reported.yaml`).
    tables
        Our tables by name: `table1` to `table7`, and `language`.
    ablation_model
        Key of the model in our Table 7.

    Returns
    -------
    polars.DataFrame
        See `SCHEMA`; `ours` is null where our tables lack the number.
    """
    rows = [
        *_dataset(reported, tables),
        *_text(reported["text"], tables["language"]),
        *_benchmark(reported["benchmark"], tables),
        *_ablation(reported["ablation"], tables["table7"], ablation_model),
    ]
    return pl.DataFrame(rows, schema=SCHEMA)


def _dataset(reported: Mapping, tables: Mapping[str, pl.DataFrame]) -> Iterator[Cell]:
    """Compare Table 1's row of this dataset, which stands last, and Table 2."""
    paper = reported["table1"][-1]
    ours = tables["table1"].row(-1, named=True)
    for name, column in TOKENS.items():
        yield cell("Tab. 1", paper["dataset"], column, paper[name], ours, name)
    ours = tables["table2"].row(0, named=True)
    for name, column in CLASSES.items():
        yield cell("Tab. 2", "all", column, reported["table2"][name], ours, name)


def _text(paper: Mapping, language: pl.DataFrame) -> Iterator[Cell]:
    """Compare the numbers of sections 4.1 to 4.3."""
    classes = _first(language.filter(pl.col("measure") == "images_per_class"))
    words = _first(language.filter(measure="unique_words").filter(pl.col("part").is_null()))
    for section, column, reported, ours, name in (
        ("4.2", "mean images per class", "images_per_category_mean", classes, "mean"),
        ("4.2", "SD of images per class", "images_per_category_sd", classes, "sd"),
        ("4.3", "unique words per 1,000 samples", "unique_words_per_1000_samples", words, "mean"),
    ):
        yield cell(f"Sec. {section}", "all", column, paper[reported], ours, name)
    answers = language.filter(pl.col("measure") == "tokens", pl.col("part") == "answer")
    pairs = {"n": answers["n"].sum()}
    yield cell("Sec. 4.1", "all", "thinking-answer pairs", paper["pairs"], pairs, "n")


def _benchmark(paper: Mapping, tables: Mapping[str, pl.DataFrame]) -> Iterator[Cell]:
    """Compare Tables 3 to 6."""
    for name, metrics in TABLES.items():
        ours = {row["key"]: row for row in tables[name].iter_rows(named=True)}
        for key, model in MODELS.items():
            for metric in metrics:
                for aggregate, number in zip(AGGREGATES, paper[model][metric], strict=True):
                    yield cell(
                        f"Tab. {name[-1]}",
                        model,
                        f"{captions.HEADINGS[metric]}, {aggregate}",
                        number,
                        ours.get(key, {}),
                        f"{metric}_{aggregate}",
                    )


def _ablation(paper: Mapping, table: pl.DataFrame, model: str) -> Iterator[Cell]:
    """Compare Table 7, where ours is of the same model."""
    ours = {(row["metric"], row["part"]): row for row in table.iter_rows(named=True)}
    if model != ABLATED:
        ours = {}
    places = [(part, aggregate) for part in PARTS for aggregate in AGGREGATES]
    for metric, numbers in paper.items():
        for (part, aggregate), number in zip(places, numbers, strict=True):
            yield cell(
                "Tab. 7",
                f"{MODELS[ABLATED]}, {part}",
                f"{captions.HEADINGS[metric]}, {aggregate}",
                number,
                ours.get((metric, part), {}),
                aggregate,
            )


def _first(rows: pl.DataFrame) -> Mapping:
    return rows.row(0, named=True) if len(rows) else {}


def caption(comparison: pl.DataFrame, run: str) -> str:
    """Say what the columns are, how many numbers agree, and what a difference is worth."""
    known = comparison["inside"].drop_nulls()
    meaning = (
        "This run follows the paper's description; the metric models, the tokenizer and the "
        "variant of TF-IDF are this project's reading of it."
        if run == PAPER_RUN
        else f"This is the run {run}, not the paper's: its images and models are others, so a "
        "difference means nothing about either."
    )
    return (
        f"The paper's numbers beside ours. {meaning} Difference is ours minus the paper's; "
        "interval is ours; inside tells whether the paper's number can lie in it: "
        f"{known.sum()} of {len(known)} do. A dash stands where there is no number or no interval. "
        "Table 7 of the paper names TF-IDF and TF-IDF Cosine Similarity what its Table 6 names "
        "TF-IDF Cosine Similarity and Cosine Similarity; here the names are Table 6's."
    )


def printed(comparison: pl.DataFrame) -> pl.DataFrame:
    """Return the comparison as text, each number with its table's decimals."""
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
                "inside": {None: "–", True: "yes", False: "no"}[row["inside"]],
            }
        )
    return pl.DataFrame(rows)


def compare_with_paper(
    tables: Sequence[str | Path],
    reported: str | Path,
    stem: str | Path,
    *,
    run: str,
    ablation_model: str,
) -> None:
    """Write the comparison.

    Parameters
    ----------
    tables
        Our tables, csv files named `table1` to `table7` and `language`.
    reported
        What the paper reports (YAML).
    stem
        Path of the comparison without ending.
    run
        Name of the run.
    ablation_model
        Key of the model in our Table 7.
    """
    ours = {Path(path).stem: pl.read_csv(path, infer_schema_length=None) for path in tables}
    paper = yaml.safe_load(Path(reported).read_text(encoding="utf-8"))
    comparison = compare(paper, ours, ablation_model)
    text = caption(comparison, run)
    write_csv(comparison, [Column(name, name) for name in SCHEMA], f"{stem}.csv")
    shown = printed(comparison)
    write_text(markdown(shown, PRINTED, text), f"{stem}.md")
    write_text(latex(shown, PRINTED, text, "tab:comparison", long=True), f"{stem}.tex")


if __name__ == "__main__":
    log_to(snakemake.log[0])
    settings = json.loads(snakemake.params.settings)
    compare_with_paper(
        tables=[*snakemake.input.tables, snakemake.input.language],
        reported=snakemake.input.reported,
        stem=Path(snakemake.output[0]).with_suffix(""),
        run=settings["run"],
        ablation_model=settings["ablation_model"],
    )
