"""LaTeX macros of the paper's text: the run's settings, and its counts, lengths and scores."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from imagenet_think.core import model_sources, numbers
from imagenet_think.core.numbers import rounded
from imagenet_think.core.settings import Values, names, prompt
from imagenet_think.core.splits import SPLITS, splits
from imagenet_think.core.wording import count, series
from imagenet_think.images import criteria, sources
from imagenet_think.metrics import registry
from imagenet_think.parsing.statuses import OK
from imagenet_think.report import table_captions
from imagenet_think.report.audit_checks import CONTRADICTS
from imagenet_think.report.comparability import (
    PROMPTS,
    VECTORS,
    is_miniature,
    is_the_papers,
    split_reasons,
)
from imagenet_think.report.escaping import latex
from imagenet_think.report.evidence import IMAGENET, Evidence
from imagenet_think.report.macros import (
    MISSING,
    counted,
    number,
    percent,
    setting,
    spelled,
    table_rows,
)
from imagenet_think.report.table_captions import HEADINGS, MEASURES, POPULATIONS

SCORED = {
    "leave_out": "the response and both references are there",
    "zero": "both references are there, with a score of zero where the response is not",
}
"""Over which images means are taken, by how a missing response counts."""

SYNSET = r"^n[0-9]{8}$"
"""Ids of WordNet's nouns."""

PLACES = ("One", "Two")
"""Suffixes of the macros about teacher 1 and teacher 2."""


def setting_macros(settings: Values) -> dict[str, str]:
    """Return the macros that state settings of the run."""
    images, benchmark = settings["images"], settings["benchmark"]
    named = {key: latex(name) for key, name in names(settings).items()}
    teachers = zip(PLACES, settings["teachers"], strict=True)
    macros = {
        "RunName": latex(settings["run"]),
        "Seed": str(settings["seed"]),
        "PromptName": latex(settings["prompt"]),
        "PromptText": latex(prompt(settings)),
        "TokenizerName": _repository(settings["statistics"]["tokenizer"]),
        "NumTeachers": spelled(len(settings["teachers"])),
        "NumBenchmarked": count(len(settings["benchmarked"]), "model", spell=spelled),
        **{f"Teacher{place}": named[key] for place, key in teachers},
        "BenchmarkedNames": series(named[key] for key in settings["benchmarked"]) or MISSING,
        "ModelRows": table_rows(
            [name, *_origin(settings["models"][key])] for key, name in named.items()
        ),
        "PromptOrigin": "one of these" if is_the_papers(prompt(settings)) else "another one",
        "MiniatureNames": series(
            name for key, name in named.items() if is_miniature(settings["models"][key])
        ),
        **_sampling(images),
        "LongestSide": number(images["preparation"]["longest_side"]),
        "JpegQuality": number(images["preparation"]["jpeg_quality"]),
        "IntervalPopulation": POPULATIONS[benchmark["intervals"]["population"]],
        "IntervalLevel": latex(numbers.percent(benchmark["intervals"]["level"])),
        "AblationModel": latex(settings["models"][benchmark["ablation_model"]]["name"]),
    }
    for metric in registry.metrics():
        if metric.encoder:
            name, own = metric.measures[0].macro_name, benchmark[metric.name]
            which = "all windows of" if own["windows"] == "all" else "the first"
            window = f"{which} {number(own['max_tokens'])}"
            macros |= {f"{name}Model": _repository(own), f"{name}Window": window}
    return macros | {
        "ScoredImages": SCORED[benchmark["missing"]],
        "TestPerClass": spelled(settings["dataset"]["test"]),
        "ValidationPerClass": spelled(settings["dataset"]["validation"]),
    }


def _sampling(images: Values) -> dict[str, str]:
    """Return the settings of sampling; those of images that are only listed are missing."""
    if "balance" not in images:
        return dict.fromkeys(("BalancePower", "Rejections", "ComplexityStrata"), MISSING)
    rejections = ["cannot be decoded", *criteria.rules(images["criteria"])]
    return {
        "BalancePower": setting(images["balance"]),
        "Rejections": latex(series(rejections, "or")),
        "ComplexityStrata": count(images["complexity"]["strata"], "stratum", "strata"),
    }


def _origin(model: Values) -> list[str]:
    """Return a model's repository and decoding limits, or the file of imported responses."""
    if "responses" in model:
        path = latex(model["responses"]["path"])
        return [rf"\texttt{{{path}}} (imported)", MISSING, MISSING]
    decoding = model["decoding"]
    deferred = decoding.get("from_checkpoint") and "temperature" not in decoding
    return [
        rf"\texttt{{{_repository(model)}}}",
        number(decoding["max_new_tokens"]),
        "checkpoint's" if deferred else setting(decoding["temperature"]),
    ]


def _repository(section: Values) -> str:
    return latex(model_sources.name(section["repository"]))


def image_macros(known: Evidence, sample: pl.DataFrame, exclusions: pl.DataFrame) -> dict[str, str]:
    """Return the numbers of Table 2, of the sample's domains, and of the rejected images."""
    row = known.images
    reasons = counted(exclusions.group_by("reason").len("rows"), "reason")
    return {
        "ImageSource": latex(known.paper),
        "NumImages": count(row["images"], "image"),
        "NumClasses": count(row["classes"], "class", "classes"),
        "MinPerClass": number(row["min_per_class"]),
        "MaxPerClass": number(row["max_per_class"]),
        "MeanPerClass": number(row["mean_per_class"], 1),
        "NumDomains": count(sample["domain"].n_unique(), "domain"),
        "NumExcluded": number(len(exclusions)),
        "ExcludedReasons": f": {reasons}" if len(exclusions) else "",
    }


def response_macros(counts: pl.DataFrame, settings: Values) -> dict[str, str]:
    """Return how many responses there are and how many parsed, by model and of the teachers.

    `counts` has the columns model, status, pair (whether thinking and answer are known) and rows.
    A teacher's parsed response that has both is a pair.
    """

    def total_and_parsed(rows: pl.DataFrame) -> tuple[int, int]:
        return int(rows["rows"].sum()), int(rows.filter(status=OK)["rows"].sum())

    lines = []
    for key, name in names(settings).items():
        rows = counts.filter(model=key)
        statuses = rows.group_by("status").agg(pl.col("rows").sum())
        failed = counted(statuses.filter(pl.col("status") != OK), "status")
        lines.append([latex(name), *map(number, total_and_parsed(rows)), failed])
    total, parsed = total_and_parsed(counts)
    of_teachers = counts.filter(pl.col("model").is_in(settings["teachers"]))
    pairs, _ = total_and_parsed(of_teachers)
    _, parsed_pairs = total_and_parsed(of_teachers.filter("pair"))
    return {
        "StatusRows": table_rows(lines),
        "NumResponses": number(total),
        "NumParsed": number(parsed),
        "ParsedPercent": percent(parsed, total),
        "NumPairs": number(pairs),
        "NumParsedPairs": number(parsed_pairs),
        "ParsedPairsPercent": percent(parsed_pairs, pairs),
    }


def dataset_macros(
    sample: pl.DataFrame, statuses: pl.DataFrame, settings: Values
) -> dict[str, str]:
    """Return how many rows each split has in the dataset's two configurations.

    `sample` has the columns image_id and wnid, `statuses` image_id and status of each teacher.
    """
    sizes = settings["dataset"]
    images = sample.select("image_id", "wnid").iter_rows()
    split = splits(images, sizes["test"], sizes["validation"])
    rows = statuses.group_by("image_id").agg((pl.col("status") == OK).all().alias("ok"))
    rows = rows.with_columns(split=pl.col("image_id").replace_strict(split))
    counts = {
        name: [rows.filter(split=name, ok=ok).height for ok in (True, False)] for name in SPLITS
    }
    good, failed = (sum(column) for column in zip(*counts.values(), strict=True))
    return {
        "SplitRows": table_rows(
            [rf"\texttt{{{name}}}", *map(number, row)] for name, row in counts.items()
        ),
        "DatasetRows": number(good),
        "DatasetLeftOut": number(failed),
    }


def text_macros(table: pl.DataFrame, language: pl.DataFrame, settings: Values) -> dict[str, str]:
    """Return the numbers of the texts: tokens per sample, lengths by teacher and part, words.

    `table` is Table 1, whose last row is this run, and `language` that of lengths and words.
    """

    def measured(measure: str, **where: str | None) -> dict[str, Any]:
        same = (pl.col(name).eq_missing(pl.lit(value)) for name, value in where.items())
        return language.filter(pl.col("measure") == measure, *same).row(0, named=True)

    ours = table.row(-1, named=True)
    images = measured("images_per_class")
    macros = {
        "NumSamples": number(ours["images"]),
        "SampleTokensMin": number(ours["min"]),
        "SampleTokensMax": number(ours["max"]),
        "SampleTokensMean": number(ours["mean"]),
        "SampleTokensTotal": number(ours["total"]),
        "ClassImagesMean": number(images["mean"], 1),
        "ClassImagesSD": number(images["sd"], 1),
        "UniqueWords": number(measured("unique_words", part=None)["mean"]),
    }
    for place, key in zip(PLACES, settings["teachers"], strict=True):
        name = settings["models"][key]["name"]
        for part in ("think", "answer"):
            median = measured("tokens", model=name, part=part)["median"]
            macros[f"{part.title()}Median{place}"] = latex(numbers.median(median))
        for macro, measure in {"NonLatin": "non_latin", "English": "english"}.items():
            share = measured(f"{measure}_percent", model=name)["mean"]
            macros[f"{macro}{place}"] = rf"{number(share, 2)}\%"
    return macros


def score_macros(tables: Sequence[pl.DataFrame], ablation: pl.DataFrame) -> dict[str, str]:
    """Return each metric's highest average with the models that reach it, and the ablation.

    `tables` are Tables 3 to 6, `ablation` is Table 7. Models are compared over the same images, and
    so are parts.
    """
    scored = pl.col("images") > 0
    common = pl.concat(table.filter(scored)["common_images"] for table in tables)
    paired = ablation.filter(scored)["paired_images"]
    macros = {
        "NumMetrics": spelled(ablation["metric"].n_unique()),
        "CommonImages": table_captions.count_range(common),
        "PairedImages": table_captions.count_range(paired),
    }
    for table in tables:
        for measure in MEASURES:
            if f"{measure}_avg" in table.columns:
                name = MEASURES[measure].macro_name
                able = table.filter(pl.col(f"{measure}_avg_mark").is_null())  # to read the texts
                printed = pl.Series(
                    [
                        None if value is None else rounded(value, ".3f")
                        for value in able[f"{measure}_avg_common"]
                    ],
                    dtype=pl.Float64,
                )
                highest: Any = printed.max()
                if highest is None:
                    macros |= {f"Best{name}": MISSING, f"Best{name}Models": MISSING}
                    continue
                best = able.filter(printed == highest)["model"]
                macros[f"Best{name}"] = number(highest, 3)
                macros[f"Best{name}Models"] = series(map(latex, best))
    parts = ablation.pivot("part", index="metric", values="avg_paired")
    higher = parts.filter(pl.col("think") > pl.col("answer"))["metric"].to_list()
    macros["ThinkHigher"] = spelled(len(higher)) if higher else "none"
    listed = series(latex(HEADINGS[m]) for m in higher)
    macros["ThinkHigherMetrics"] = f": {listed}" if higher else ""
    return macros


def switches(
    settings: Values, known: Evidence, classes: pl.Series, samples: int, ablation: pl.DataFrame
) -> dict[str, bool]:
    """Return which statements of the text are true of this run, by the names of their switches.

    Parameters
    ----------
    settings
        The keys of the config that the rule declares.
    known
        What the run shows about its images and the teachers' texts.
    classes
        Ids of the sample's classes.
    samples
        Images with thinking and answer of every teacher.
    ablation
        Table 7.
    """
    models, benchmark = settings["models"].values(), settings["benchmark"]
    encoders = [benchmark[metric.name] for metric in registry.metrics() if metric.encoder]
    scores = ablation.pivot("part", index="metric", values="avg_paired")
    return {
        "ImageNet": known.owner == IMAGENET,
        "Sampled": sources.get(settings["images"]["source"]["kind"]).sampled,
        "WordNet": bool(classes.str.contains(SYNSET).all()),
        "Prompted": any("responses" not in model for model in models),
        "Imported": any("responses" in model for model in models),
        "Miniatures": any(map(is_miniature, models)),
        "Samples": samples > 0,
        "English": known.is_english,
        "Parts": bool(scores.select(pl.col("think") + pl.col("answer")).count().item()),
        "FirstWindow": any(own["windows"] == "first" for own in encoders),
    }


def incomparable(comparison: pl.DataFrame) -> list[str]:
    """Return why this run's numbers cannot be compared with the paper's; empty for the paper's run.

    That the paper does not define its vectors is true of every run, and is left out.
    """
    reasons = split_reasons(comparison.filter(pl.col("ours").is_not_null()))
    return [reason for reason in reasons if reason != VECTORS]


def comparison_macros(comparison: pl.DataFrame) -> dict[str, str]:
    """Return how many of the paper's numbers we computed, can be compared, and are inside."""
    comparable = comparison.filter(pl.col("reasons").is_null())
    with_interval = comparable.filter(pl.col("inside").is_not_null())
    median: Any = with_interval["difference"].abs().median()
    return {
        "ComparedCells": number(len(comparison)),
        "ComparedWithOurs": number(comparison["ours"].count()),
        "ComparedComparable": number(len(comparable)),
        "ComparedWithInterval": number(len(with_interval)),
        "ComparedInside": number(with_interval["inside"].to_list().count(True)),
        "MedianDifference": number(median, 3),
        "ComparisonReasons": "\n".join(
            rf"\item {latex(words[:1].upper() + words[1:])}." for words in incomparable(comparison)
        ),
    }


def audit_macros(audit: pl.DataFrame) -> dict[str, str]:
    """Return how many entries the audit has by kind, and how many the numbers contradict."""
    macros, total = {}, 0
    for kind, name in (("hard", "Hard"), ("argued", "Argued"), ("quote", "Quoted")):
        rows = audit.filter(kind=kind)
        total += len(rows)
        macros[f"Audit{name}"] = spelled(len(rows))
        if kind != "quote":
            contradicted = len(rows.filter(verdict=CONTRADICTS))
            macros[f"Audit{name}Contradicted"] = spelled(contradicted)
    return macros | {"AuditEntries": spelled(total)}


def reported_macros(reported: Values) -> dict[str, str]:
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
