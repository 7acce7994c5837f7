"""What the captions of benchmark tables say: how metrics are defined, and on how many images."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import polars as pl

from imagenet_think.analysis import domain
from imagenet_think.core.settings import Values
from imagenet_think.core.wording import series
from imagenet_think.metrics import registry
from imagenet_think.metrics.registry import Measure, Metric
from imagenet_think.report.tables import MARK, Column

OURS = "ImageNet-Think"
"""Name of the paper's own row in its Table 1, and of ours in its place."""

REPORTED, COMPUTED = "reported by the paper", "computed here"
"""Where a row of Table 1 comes from."""

MEASURES = registry.printed()
"""The printed measures in the order of the paper's Tables 3 to 6."""

HEADINGS = {name: measure.heading or name for name, measure in MEASURES.items()}
"""Their headings, as in these tables."""

BRIEF = {name: measure for name, measure in MEASURES.items() if measure.brief}
"""Those that are printed where there is no room for all."""

AGGREGATES = {"avg": "Avg.", "max": "Max"}
"""The mean of the two teachers' scores and the higher of them, named as in Tables 3 to 7."""

PARTS = {"full": "Full Output", "think": "Thinking Tokens", "answer": "Answer Tokens"}
"""The parts of a response, named as in the paper's Table 7."""

PART_NUMBERS = [
    Column(f"{part}_{name}", heading, group, interval=True, marked=True)
    for part, group in PARTS.items()
    for name, heading in AGGREGATES.items()
]
"""Columns of the parts side by side, as in the paper's Table 7."""

SHORT_PARTS = {"full": "Full", "think": "Thinking", "answer": "Answer"}

COUNTS = {
    "leave_out": "its image is left out of the model's means",
    "zero": "it scores 0 in every metric",
}
"""What a missing response may count, in words."""

MARKED_SHARE = 0.05
"""Share of a mean's images with a text outside the metric's domain from which it is marked."""

OUTSIDE = {
    domain.NO_TOKEN: "without a token",
    domain.UNKNOWN: f"at least {domain.UNKNOWN_SHARE:.0%} of the tokens [UNK] or parts of a "
    "character",
    domain.NO_WORD: f"at most {domain.WORD_SHARE:.0%} of the letters in words that are read",
}
"""Why a text is outside a metric's domain, in words."""

AS_PRINTED = "Metrics are defined in the captions of Tables 3 to 6."


def teachers(settings: Values) -> list[str]:
    """Return the names of teacher 1 and teacher 2."""
    return [settings["models"][key]["name"] for key in settings["teachers"]]


def models(settings: Values) -> dict[str, str]:
    """Return the names of the benchmarked models by key, in the order to print."""
    return {key: settings["models"][key]["name"] for key in settings["benchmarked"]}


def printed_rows(
    rows: pl.DataFrame, settings: Values, details: Iterable[Measure] = ()
) -> pl.DataFrame:
    """Return the aggregates of the measures to print, each under the name that it is printed as.

    The config may choose a variant of a measure (`benchmark.printed_tfidf`). `details` are printed
    besides those in `MEASURES`.
    """
    names = {
        measure.printed(settings["benchmark"]): measure.name
        for measure in (*MEASURES.values(), *details)
    }
    chosen = rows.filter(pl.col("metric").is_in(list(names)))
    marked = {"mark": mark()} if "outside" in rows.columns else {}  # differences are not marked
    return chosen.with_columns(pl.col("metric").replace(names), **marked)


def mark() -> pl.Expr:
    """Return why a mean means nothing, from the columns of `outside_share`, or null."""
    reasons = (
        pl.col("outside_reasons")
        .str.replace_many(list(OUTSIDE), list(OUTSIDE.values()))
        .str.replace_all(",", "; ")
    )
    share = (pl.col("outside") * 100).round(1)
    return pl.when(pl.col("outside") >= MARKED_SHARE).then(
        pl.format("{}% of the images have a text outside the domain: {}", share, reasons)
    )


def marks(rows: pl.DataFrame, named: Mapping[str, str] | None = None) -> str:
    """Explain the marked numbers of rows from `printed_rows`; "" if there are none.

    `named` are the names of the models to list, by key.
    """
    model = "key" if "key" in rows.columns else "model"
    headings = {name: measure.heading or name for name, measure in registry.measures().items()}
    found: dict[tuple[str, str], list[str]] = {}
    marked = rows.drop_nulls("mark")
    for (metric,), own in marked.group_by("metric", maintain_order=True):
        given = set(",".join(own["outside_reasons"]).split(","))
        reasons = series((words for name, words in OUTSIDE.items() if name in given), "or")
        models = series(name for key, name in (named or {}).items() if key in own[model])
        found.setdefault((reasons, models), []).append(headings[str(metric)])
    if not found:
        return ""
    listed = "; ".join(
        f"{series(metrics)}: {reasons}" + (f" ({models})" if models else "")
        for (reasons, models), metrics in found.items()
    )
    return (
        f"{MARK} In at least {MARKED_SHARE:.0%} of the images the metric cannot read the response "
        f"or a reference, so that the number means nothing and is not ranked: {listed}."
    )


def caption(*sentences: str) -> str:
    """Return the sentences of a caption, without those that are empty."""
    return " ".join(filter(None, sentences))


def definitions(metrics: Sequence[Metric], settings: Values) -> str:
    """Explain how metrics are defined in this run, and which of them are not bounded by 0."""
    sentences = [metric.definition(settings["benchmark"]) for metric in metrics]
    unbounded = [place for place, metric in enumerate(metrics, start=1) if not metric.bounded]
    if unbounded:
        not_bounded = {
            1: "It is not bounded by 0, and not clipped",
            2: "Neither is bounded by 0, and neither is clipped",
        }.get(len(unbounded), "None of these is bounded by 0, and none is clipped")
        sentences.insert(
            unbounded[-1],
            f"{not_bounded}, although section 5.3 of the paper puts every metric in the range from "
            "0 to 1.",
        )
    return " ".join(sentences)


def precision(files: Iterable[str | Path], metrics: Sequence[Metric]) -> str:
    """State the measured error of metrics that do not compute in float32; "" if all do.

    `files` are parquet files of schema `PRECISION`.
    """
    sentences = []
    for path in files:
        errors = pl.read_parquet(path).drop_nulls()
        measures = {(one.name, own.score_column): own for one in metrics for own in one.measures}
        shown = [
            f"{error:.1e} ({measures[metric, column].heading})"
            for metric, column, error in errors.select("metric", "column", "greatest").iter_rows()
            if (metric, column) in measures
        ]
        if shown:
            sentences.append(
                f"On {errors['pairs'][0]:,} pairs of this run, scores differ from those in float32 "
                f"by at most {series(shown)}."
            )
    return " ".join(sentences)


def brief_metrics() -> list[Metric]:
    """Return the metrics of the measures in `BRIEF`."""
    return [m for m in registry.metrics() if BRIEF.keys() & {own.name for own in m.measures}]


def samples(count: int, images: int) -> str:
    """Explain what a sample of the dataset is, and state how many of the images are one."""
    return (
        "a sample is an image with the thinking and the answer of every teacher: "
        f"M = {count:,} of {images:,} images, {images - count:,} left out because a response is "
        "missing, was cut off or could not be parsed."
    )


def counted(aggregates: pl.DataFrame, settings: Values) -> str:
    """State how many images the means are over, and what was missing."""
    # Images that are left out although there is a response lack a reference.
    leave_out = settings["benchmark"]["missing"] == "leave_out"
    responses = aggregates["no_response"] if leave_out else 0
    references = aggregates["left_out"] - responses
    total = max(aggregates["images"] + aggregates["left_out"], default=0)
    return (
        f"M = {count_range(aggregates['images'])} of {total:,} images (response missing: "
        f"{count_range(aggregates['no_response'])}; reference missing: {count_range(references)})."
    )


def counted_by_part(aggregates: pl.DataFrame, settings: Values) -> str:
    """State the same for each part of the responses."""
    return " ".join(
        f"{name.capitalize()}: {counted(aggregates.filter(part=part), settings)}"
        for part, name in PARTS.items()
    )


def missing(settings: Values) -> str:
    """Explain which responses count as missing, and what they score."""
    return (
        "A response is missing where it failed or is empty, its thinking and answer also where it "
        f"could not be taken apart: {COUNTS[settings['benchmark']['missing']]}. Images of which a "
        "reference is missing are left out."
    )


def seen(aggregates: pl.DataFrame) -> str:
    """State which share of the texts was read, by metric and part; "" if all of it was."""
    columns = ("seen", "seen_references", "cut", "cut_references")
    means = aggregates.group_by("metric", "part", maintain_order=True).agg(pl.col(columns).mean())
    sentences = []
    means = means.filter(pl.col("metric").is_in(list(HEADINGS)))
    for (metric,), rows in means.drop_nulls().group_by("metric", maintain_order=True):
        shares = [
            f"{SHORT_PARTS[row['part']].lower()} {row['seen']:.1%} of a response's tokens and "
            f"{row['seen_references']:.1%} of a teacher's ({row['cut']:.1%} and "
            f"{row['cut_references']:.1%} of these texts are cut)"
            for row in rows.iter_rows(named=True)
        ]
        sentences.append(f"The window of {HEADINGS[metric]} holds on average, {'; '.join(shares)}.")
    return " ".join(sentences)


def intervals(settings: Values) -> str:
    """Explain the small numbers."""
    own = settings["benchmark"]["intervals"]
    return (
        f"Small: {own['level']:.0%} intervals from {own['draws']:,} resamples of the images; a "
        "mean over too few images has none."
    )


def count_range(counts: pl.Series) -> str:
    """Return one number, or the least and the greatest."""
    low, high = min(counts, default=0), max(counts, default=0)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
