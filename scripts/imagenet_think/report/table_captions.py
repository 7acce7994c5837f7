"""What the captions of benchmark tables say: how metrics are defined, and on how many images."""

from collections.abc import Sequence

import polars as pl

from imagenet_think.core.numbers import as_text, percent
from imagenet_think.core.settings import Values
from imagenet_think.metrics import registry
from imagenet_think.metrics.registry import Metric
from imagenet_think.report.tables import Column

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
    Column(f"{part}_{name}", heading, group, interval=True)
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

AS_PRINTED = "Metrics are defined in the captions of Tables 3 to 6."


COMMON = "common images"
"""Ends the name of a row whose means are over the images that all compared rows have."""


def with_common(rows: pl.DataFrame, name: str, *blocks: str) -> pl.DataFrame:
    """Return numbers, and where they are over different images also means over the same ones.

    Parameters
    ----------
    rows
        One row per number, with the columns of schema `AGGREGATES`.
    name
        The images on which numbers are compared: `common`, `paired` or `shared`.
    blocks
        Columns; numbers that agree in them are compared.

    Returns
    -------
    polars.DataFrame
        The rows, then those that are `added`: means over the same images, without intervals, unless
        no image is. `compared` is true where a block's means are over the same images.
    """
    images, same = pl.col("images"), pl.col(f"{name}_images")
    differ, some = ((images > 0) & (images != same)).any(), (same > 0).any()
    if blocks:
        differ, some = differ.over(blocks), some.over(blocks)
    own = rows.with_columns(compared=~differ, added=False)
    added = rows.filter(differ & some).with_columns(
        value=name, low=None, high=None, images=same, compared=True, added=True
    )
    return pl.concat([own, added.cast(own.schema)])


def titled(title: pl.Expr | pl.Series) -> pl.Expr:
    """Return the titles of rows, which name what the means of `added` rows are over."""
    return pl.when("added").then(pl.format("{}, {}", title, pl.lit(COMMON))).otherwise(title)


def different(rows: pl.DataFrame, name: str, what: str, which: str) -> str:
    """Explain the rows that `with_common` adds; "" if there are none."""
    scored = rows.filter(pl.col("images") > 0)
    if (scored["images"] == scored[f"{name}_images"]).all():
        return ""
    return f"{what} are scored on different images; rows of {COMMON} are means over {which}."


def teachers(settings: Values) -> list[str]:
    """Return the names of teacher 1 and teacher 2."""
    return [settings["models"][key]["name"] for key in settings["teachers"]]


def models(settings: Values) -> dict[str, str]:
    """Return the names of the benchmarked models by key, in the order to print."""
    return {key: settings["models"][key]["name"] for key in settings["benchmarked"]}


def printed_rows(rows: pl.DataFrame, settings: Values) -> pl.DataFrame:
    """Return the aggregates of the measures to print, each under the name that it is printed as.

    The config may choose a variant of a measure (`benchmark.printed_tfidf`).
    """
    names = {measure.printed(settings["benchmark"]): name for name, measure in MEASURES.items()}
    chosen = rows.filter(pl.col("metric").is_in(list(names)))
    return chosen.with_columns(pl.col("metric").replace(names))


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
    for (metric,), rows in means.drop_nulls().group_by("metric", maintain_order=True):
        shares = [
            f"{SHORT_PARTS[row['part']].lower()} {as_text(row['seen'], '.1%')} of a response's "
            "tokens and "
            f"{as_text(row['seen_references'], '.1%')} of a teacher's "
            f"({as_text(row['cut'], '.1%')} and "
            f"{as_text(row['cut_references'], '.1%')} of these texts are cut)"
            for row in rows.iter_rows(named=True)
        ]
        sentences.append(f"The window of {HEADINGS[metric]} holds on average, {'; '.join(shares)}.")
    return " ".join(sentences)


def intervals(settings: Values) -> str:
    """Explain the small numbers."""
    own = settings["benchmark"]["intervals"]
    return (
        f"Small: {percent(own['level'])} intervals from {own['draws']:,} resamples of the images; "
        "a "
        "mean over too few images has none."
    )


def count_range(counts: pl.Series) -> str:
    """Return one number, or the least and the greatest."""
    low, high = min(counts, default=0), max(counts, default=0)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
