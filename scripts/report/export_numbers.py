"""Write every number of the paper's text as a LaTeX macro."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import yaml

from compare_with_paper import BETWEEN
from imagenet_think.core.files import write_text
from imagenet_think.core.logs import log_to
from imagenet_think.core.model_sources import PACKAGE
from imagenet_think.core.splits import SPLITS, splits
from imagenet_think.parsing.statuses import OK
from imagenet_think.report.audit_checks import CONTRADICTS
from imagenet_think.report.comparability import PROMPTS, VECTORS
from imagenet_think.report.escaping import latex
from imagenet_think.report.table_captions import HEADINGS

if TYPE_CHECKING:
    from imagenet_think.core.job import snakemake

NONE = "--"  # what is not there, as an en dash
BENCHMARK_TABLES = ("table3", "table4", "table5", "table6")
PLACES = ("One", "Two")
SOURCES = {
    "class_tars": "originals from an archive a class",
    "outer_archive": "originals from the archive of all class archives",
    "class_folders": "files from a folder a class",
    "webdataset": "samples of webdataset archives",
    "hub_parquet": "rows of parquet files in the hub's layout",
    "folder": "the user's own files",
    "listing": "images known by name alone",
    "drawings": "drawings that the pipeline made itself, not photographs",
}
"""Kinds of sources of images, in words."""
COMPARISON = {"inside": pl.Boolean, "reasons": pl.String}
COMPARISON |= dict.fromkeys(("ours", "difference"), pl.Float64)
"""Columns of the comparison that may be empty from top to bottom."""
MACRO_NAMES = {
    "bertscore": "Bertscore",
    "sbert": "Sbert",
    "rouge1": "RougeUnigram",
    "rougeL": "RougeSequence",
    "jaccard": "Jaccard",
    "overlap": "Overlap",
    "tfidf": "Tfidf",
    "cosine": "Cosine",
}
"""Metrics as they stand in macros' names, which hold no digits."""
WORDS = (
    *("no", "one", "two", "three", "four", "five", "six"),
    *("seven", "eight", "nine", "ten", "eleven", "twelve"),
)
"""Small counts, as running text spells them."""


def export_numbers(
    tables: Sequence[str | Path],
    sample: str | Path,
    exclusions: str | Path,
    annotations: Sequence[str | Path],
    comparison: str | Path,
    audit: str | Path,
    reported: str | Path,
    output: str | Path,
    settings: Mapping[str, object],
) -> None:
    r"""Write a file of `\newcommand{\<Name>}{<value>}` for the paper to input.

    Parameters
    ----------
    tables
        The csv files table1 to table7 and language.
    sample, exclusions
        Parquet files of the sampled and of the rejected images.
    annotations
        Parquet files of every model's annotations.
    comparison
        The csv of the cell-by-cell comparison with the paper.
    audit
        The csv of the paper's audit.
    reported
        What the paper reports (YAML).
    output
        The LaTeX file.
    settings
        Of the config what stands in the text: run, seed, images, prompts, prompt, models, teachers,
        benchmarked, dataset, statistics and benchmark, each with the keys that are named here.

    Raises
    ------
    ValueError
        If a table is missing, or a macro's name holds anything but letters.
    """
    read = {Path(path).stem: pl.read_csv(path, infer_schema_length=None) for path in tables}
    wanted = {*BENCHMARK_TABLES, "table1", "table2", "table7", "language"}
    if wanted - read.keys():
        raise ValueError(f"the csv of {sorted(wanted - read.keys())} is missing among the tables")
    statuses = pl.scan_parquet(annotations).select("image_id", "model", "status")
    counts = statuses.group_by("model", "status").len("rows").collect()
    teachers = statuses.filter(pl.col("model").is_in(settings["teachers"])).collect()
    images = pl.read_parquet(sample, columns=["image_id", "wnid", "domain"])
    compared = pl.read_csv(comparison, schema_overrides=COMPARISON)
    macros = {
        **run_macros(settings),
        **image_macros(
            read["table2"],
            images,
            pl.read_parquet(exclusions, columns=["reason"]),
            settings["images"],
        ),
        **response_macros(counts, settings),
        **dataset_macros(images, teachers, settings["dataset"]),
        **text_macros(read["table1"], read["language"], settings),
        **benchmark_macros([read[name] for name in BENCHMARK_TABLES], read["table7"], settings),
        **comparison_macros(compared),
        **audit_macros(pl.read_csv(audit)),
        **reported_macros(yaml.safe_load(Path(reported).read_text(encoding="utf-8"))),
    }
    write_text(define(macros, not reasons(compared)), output)


def define(macros: Mapping[str, str], paper_run: bool) -> str:
    r"""Return LaTeX that defines the macros, and the switch `\ifPaperRun`."""
    wrong = [name for name in macros if not re.fullmatch("[A-Za-z]+", name)]
    if wrong:
        raise ValueError(f"names of LaTeX macros hold letters only, not {wrong}")
    lines = [rf"\newcommand{{\{name}}}{{{value}}}" for name, value in macros.items()]
    switch = [r"\newif\ifPaperRun", r"\PaperRuntrue" if paper_run else r"\PaperRunfalse"]
    return "\n".join(["% Made by the rule export_numbers; do not edit.", *switch, *lines, ""])


def number(value: float | None, decimals: int = 0) -> str:
    """Return a number with thousands separated; an en dash where there is none."""
    return NONE if value is None else f"{value:,.{decimals}f}".replace("-", "$-$")


def spelled(count: int) -> str:
    """Return a small count as a word, another in digits."""
    return WORDS[count] if count < len(WORDS) else number(count)


def plain(value: float) -> str:
    """Return a setting as it stands in the config, with thousands separated."""
    return f"{value:,.10g}".replace("-", "$-$")


def percent(part: float, whole: float) -> str:
    """Return a share in percent with one decimal."""
    return rf"{number(100 * part / whole, 1)}\%" if whole else NONE


def repository(section: Mapping) -> str:
    """Return where the weights of a model come from."""
    return latex(section["repository"].removeprefix(PACKAGE))


def listing(items: Iterable[str]) -> str:
    """Return `a, b and c`."""
    *first, last = list(items) or [NONE]
    return f"{', '.join(first)} and {last}" if first else last


def by_count(counts: pl.DataFrame, column: str) -> str:
    """Return names with their counts, the most frequent first; "none" where there are none."""
    rows = counts.sort(["rows", column], descending=[True, False]).select(column, "rows")
    words = (f"{latex(name.replace('_', ' '))} ({number(rows)})" for name, rows in rows.iter_rows())
    return listing(words) if len(rows) else "none"


def run_macros(settings: Mapping) -> dict[str, str]:
    """Return what names the run: its seed, prompt, tokenizer and models."""
    names = {key: latex(model["name"]) for key, model in settings["models"].items()}
    teachers = zip(PLACES, settings["teachers"], strict=True)
    return {
        "RunName": latex(settings["run"]),
        "Seed": str(settings["seed"]),
        "PromptName": latex(settings["prompt"]),
        "PromptText": latex(settings["prompts"][settings["prompt"]]),
        "TokenizerName": repository(settings["statistics"]["tokenizer"]),
        "NumTeachers": spelled(len(settings["teachers"])),
        "NumBenchmarked": spelled(len(settings["benchmarked"])),
        **{f"Teacher{place}": names[key] for place, key in teachers},
        "BenchmarkedNames": listing(names[key] for key in settings["benchmarked"]),
        "ModelRows": "\n".join(
            rf"{names[key]} & {' & '.join(asked_with(model))} \\"
            for key, model in ordered_models(settings).items()
        ),
    }


def asked_with(model: Mapping) -> list[str]:
    """Return where a model comes from and how it was asked; of an imported one, its file."""
    if "responses" in model:
        return [rf"\texttt{{{latex(model['responses']['path'])}}} (imported)", NONE, NONE]
    decoding = model["decoding"]
    return [
        rf"\texttt{{{repository(model)}}}",
        number(decoding["max_new_tokens"]),
        plain(decoding["temperature"]),
    ]


def ordered_models(settings: Mapping) -> dict[str, Mapping]:
    """Return the models' sections of the config, teachers first."""
    keys = dict.fromkeys([*settings["teachers"], *settings["benchmarked"]])
    return {key: settings["models"][key] for key in keys}


def image_macros(
    table: pl.DataFrame, sample: pl.DataFrame, exclusions: pl.DataFrame, images: Mapping
) -> dict[str, str]:
    """Return the numbers of the sample, and the criteria by which it was drawn."""
    row = table.row(0, named=True)
    criteria = images["criteria"]
    return {
        "ImageSource": SOURCES[images["source"]["kind"]],
        "NumImages": number(row["images"]),
        "NumClasses": number(row["classes"]),
        "MinPerClass": number(row["min_per_class"]),
        "MaxPerClass": number(row["max_per_class"]),
        "MeanPerClass": number(row["mean_per_class"], 1),
        "NumDomains": number(sample["domain"].n_unique()),
        "NumExcluded": number(len(exclusions)),
        "ExcludedReasons": by_count(exclusions.group_by("reason").len("rows"), "reason"),
        "BalancePower": plain(images["balance"]),
        "MinSide": number(criteria["min_side"]),
        "MaxPixels": number(criteria["max_pixels"]),
        "MinContrast": plain(criteria["min_contrast"]),
        "MinSharpness": plain(criteria["min_sharpness"]),
        "MaxNoise": plain(criteria["max_noise"]),
        "DuplicateBits": number(criteria["near_duplicate_bits"]),
        "ComplexityStrata": number(images["complexity"]["strata"]),
        "LongestSide": number(images["preparation"]["longest_side"]),
        "JpegQuality": number(images["preparation"]["jpeg_quality"]),
    }


def response_macros(counts: pl.DataFrame, settings: Mapping) -> dict[str, str]:
    """Return how many responses there are and how they parsed, by model and for the teachers.

    Parameters
    ----------
    counts
        Columns model, status, rows.
    settings
        The config's models and teachers.
    """

    def split(rows: pl.DataFrame) -> tuple[int, int]:
        return rows["rows"].sum(), rows.filter(pl.col("status") == OK)["rows"].sum()

    lines = []
    for key, model in ordered_models(settings).items():
        rows = counts.filter(pl.col("model") == key)
        asked, parsed = split(rows)
        failed = by_count(rows.filter(pl.col("status") != OK), "status")
        cells = [latex(model["name"]), number(asked), number(parsed), failed]
        lines.append(rf"{' & '.join(cells)} \\")
    asked, parsed = split(counts)
    pairs, parsed_pairs = split(counts.filter(pl.col("model").is_in(settings["teachers"])))
    return {
        "StatusRows": "\n".join(lines),
        "NumResponses": number(asked),
        "NumParsed": number(parsed),
        "ParsedPercent": percent(parsed, asked),
        "NumPairs": number(pairs),
        "NumParsedPairs": number(parsed_pairs),
        "ParsedPairsPercent": percent(parsed_pairs, pairs),
    }


def dataset_macros(
    sample: pl.DataFrame, statuses: pl.DataFrame, settings: Mapping
) -> dict[str, str]:
    """Return how many rows each split has in the dataset's two configurations.

    Parameters
    ----------
    sample
        Columns image_id, wnid.
    statuses
        Columns image_id, status; a row for each teacher.
    settings
        Images of each class in the splits test and validation.
    """
    test, validation = settings["test"], settings["validation"]
    split = splits(sample.select("image_id", "wnid").iter_rows(), test, validation)
    whole = statuses.group_by("image_id").agg((pl.col("status") == OK).all().alias("ok"))
    rows = whole.with_columns(split=pl.col("image_id").replace_strict(split))
    counts = {
        name: [rows.filter(split=name, ok=ok).height for ok in (True, False)] for name in SPLITS
    }
    together = [sum(column) for column in zip(*counts.values(), strict=True)]
    return {
        "TestPerClass": spelled(test),
        "ValidationPerClass": spelled(validation),
        "SplitRows": "\n".join(
            rf"\texttt{{{name}}} & {' & '.join(map(number, row))} \\"
            for name, row in counts.items()
        ),
        "DatasetRows": number(together[0]),
        "DatasetLeftOut": number(together[1]),
    }


def text_macros(table: pl.DataFrame, language: pl.DataFrame, settings: Mapping) -> dict[str, str]:
    """Return the numbers of the texts: tokens a sample, lengths by teacher and part, words."""
    ours = table.row(-1, named=True)
    together = language.filter(pl.col("measure") == "unique_words", pl.col("part").is_null())
    words = together.row(0, named=True)
    images = language.filter(pl.col("measure") == "images_per_class").row(0, named=True)
    macros = {
        "NumSamples": number(ours["images"]),
        "SampleTokensMin": number(ours["min"]),
        "SampleTokensMax": number(ours["max"]),
        "SampleTokensMean": number(ours["mean"]),
        "SampleTokensTotal": number(ours["total"]),
        "ClassImagesMean": number(images["mean"], 1),
        "ClassImagesSD": number(images["sd"], 1),
        "UniqueWords": number(words["mean"]),
    }
    for place, key in zip(PLACES, settings["teachers"], strict=True):
        name = settings["models"][key]["name"]
        for part in ("think", "answer"):
            row = language.filter(
                pl.col("measure") == "tokens", pl.col("model") == name, pl.col("part") == part
            )
            macros[f"{part.title()}Median{place}"] = number(row["median"].first())
        other = language.filter(pl.col("measure") == "non_latin_percent", pl.col("model") == name)
        macros[f"NonLatin{place}"] = rf"{number(other['mean'].first(), 2)}\%"
    return macros


def benchmark_macros(
    tables: Sequence[pl.DataFrame], ablation: pl.DataFrame, settings: Mapping
) -> dict[str, str]:
    """Return each metric's highest average with the models that reach it, and the ablation."""
    macros = {
        "NumMetrics": spelled(ablation["metric"].n_unique()),
        "IntervalDraws": number(settings["benchmark"]["intervals"]["draws"]),
        "IntervalLevel": percent(settings["benchmark"]["intervals"]["level"], 1).replace(".0", ""),
        "AblationModel": latex(settings["models"][settings["benchmark"]["ablation_model"]]["name"]),
        "BertscoreModel": repository(settings["benchmark"]["bertscore"]),
        "BertscoreWindow": number(settings["benchmark"]["bertscore"]["max_tokens"]),
        "SbertModel": repository(settings["benchmark"]["sbert"]),
        "SbertWindow": number(settings["benchmark"]["sbert"]["max_tokens"]),
    }
    for table in tables:
        for column in table.columns:
            if column.endswith("_avg"):
                metric = MACRO_NAMES[column.removesuffix("_avg")]
                printed = table.select("model", score=pl.col(column).round(3)).drop_nulls()
                best = printed.filter(pl.col("score") == pl.col("score").max())
                macros[f"Best{metric}"] = number(best["score"].first(), 3)
                macros[f"Best{metric}Models"] = listing(latex(name) for name in best["model"])
    parts = ablation.pivot("part", index="metric", values="avg")
    higher = parts.filter(pl.col("think") > pl.col("answer"))["metric"].to_list()
    macros["ThinkHigher"] = spelled(len(higher))
    macros["ThinkHigherMetrics"] = listing(latex(HEADINGS[m]) for m in higher) if higher else "none"
    return macros


def reasons(comparison: pl.DataFrame) -> list[str]:
    """Return why numbers that the run has cannot be compared with the paper's; none of its own."""
    given = comparison.filter(pl.col("ours").is_not_null())["reasons"].drop_nulls()
    found = given.str.split(BETWEEN).explode().unique(maintain_order=True)
    return [words for words in found if words != VECTORS]


def comparison_macros(comparison: pl.DataFrame) -> dict[str, str]:
    """Return how many of the paper's numbers have one of ours, can be compared, and lie inside."""
    comparable = comparison.filter(pl.col("reasons").is_null())
    inside = comparable["inside"].drop_nulls()
    differences = comparable.filter(pl.col("inside").is_not_null())["difference"].abs()
    return {
        "ComparedCells": number(len(comparison)),
        "ComparedWithOurs": number(comparison["ours"].count()),
        "ComparedComparable": number(len(comparable)),
        "ComparedWithInterval": number(len(inside)),
        "ComparedInside": number(inside.sum()),
        "MedianDifference": number(differences.median(), 3),
        "ComparisonReasons": "\n".join(
            rf"\item {latex(words[:1].upper() + words[1:])}." for words in reasons(comparison)
        ),
    }


def audit_macros(audit: pl.DataFrame) -> dict[str, str]:
    """Return how many entries the audit has of each kind, and how many the numbers contradict."""
    macros = {}
    for kind, name in (("hard", "Hard"), ("argued", "Argued"), ("quote", "Quoted")):
        rows = audit.filter(pl.col("kind") == kind)
        macros[f"Audit{name}"] = spelled(len(rows))
        if kind != "quote":
            decided = rows.filter(pl.col("verdict") == CONTRADICTS)
            macros[f"Audit{name}Contradicted"] = spelled(len(decided))
    entries = audit.filter(pl.col("kind").is_in(["hard", "argued", "quote"]))
    return macros | {"AuditEntries": spelled(len(entries))}


def reported_macros(reported: Mapping) -> dict[str, str]:
    """Return the paper's own numbers that the text cites."""
    text, images = reported["text"], reported["table2"]
    return {
        "PaperImages": number(images["images"]),
        "PaperClasses": number(images["classes"]),
        "PaperMinPerClass": number(images["min_per_class"]),
        "PaperMaxPerClass": number(images["max_per_class"]),
        "PaperMeanPerClass": number(images["mean_per_class"], 1),
        "PaperCategoryMean": number(text["images_per_category_mean"], 1),
        "PaperCategorySD": number(text["images_per_category_sd"], 1),
        "PaperUniqueWords": number(text["unique_words_per_1000_samples"]),
        "PaperPairs": number(text["pairs"]),
        "PaperPrompts": spelled(len(PROMPTS)),
        "OtherDatasets": spelled(len(reported["table1"]) - 1),
        "PaperSampleTokensMean": number(reported["table1"][-1]["mean"]),
        "PaperSampleTokensMax": number(reported["table1"][-1]["max"]),
    }


if __name__ == "__main__":
    log_to(snakemake.log[0])
    export_numbers(
        tables=snakemake.input.tables,
        sample=snakemake.input.sample,
        exclusions=snakemake.input.exclusions,
        annotations=snakemake.input.annotations,
        comparison=snakemake.input.comparison,
        audit=snakemake.input.audit,
        reported=snakemake.input.reported,
        output=snakemake.output[0],
        settings=json.loads(snakemake.params.settings),
    )
