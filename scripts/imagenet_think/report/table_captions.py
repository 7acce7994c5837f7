"""Sentences of captions, rendered from a table's definitions (`imagenet_think.report.definitions`).

The names of parts and measures, as tables print them, are here too.
"""

from collections.abc import Collection, Iterable
from itertools import groupby
from operator import itemgetter

import polars as pl

from imagenet_think.core.settings import Values
from imagenet_think.metrics import registry
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
    "zero": "it scores 0 in every metric (what has no score is the thinking of a model that is not "
    "meant to think)",
}
"""What a missing response may count, in words."""

AS_PRINTED = "Metrics are defined in the captions of Tables 3 to 6."


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


def teachers(defined: Values) -> list[str]:
    """Return the names of teacher 1 and teacher 2."""
    return [model["name"] for model in defined["references"]]


def definitions(defined: Values, names: Collection[str] | None = None) -> str:
    """Explain how metrics are defined in this run, and which of them are not bounded by 0.

    `names` chooses some of them.
    """
    metrics = {
        name: own for name, own in defined["metrics"].items() if names is None or name in names
    }
    sentences = [registry.get(name).definition(own) for name, own in metrics.items()]
    unbounded = [place for place, own in enumerate(metrics.values(), 1) if not own["bounded"]]
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


def brief_metrics() -> list[str]:
    """Return the names of the metrics of the measures in `BRIEF`."""
    metrics = registry.metrics()
    return [m.name for m in metrics if BRIEF.keys() & {own.name for own in m.measures}]


def samples(samples: Values) -> str:
    """Explain what a sample of the dataset is, and state how many of the images are one."""
    complete, of = samples["complete"], samples["images"]
    return (
        "a sample is an image with the thinking and the answer of every teacher: "
        f"M = {complete:,} of {of:,} images, {of - complete:,} left out because a response is "
        "missing, was cut off or could not be parsed."
    )


def counted(defined: Values, part: str | None = None) -> str:
    """State how many images the means are over, and what was missing; of one part or of all."""
    rows = [row for row in defined["images"] if part in (None, row["part"])]
    # Images that are left out although there is a response lack a reference.
    zero = defined["missing"] == "zero"
    absent = [
        row["left_out"] - (0 if zero and row["images"] else row["no_response"]) for row in rows
    ]
    total = max((row["images"] + row["left_out"] for row in rows), default=0)
    return (
        f"M = {count_range(row['images'] for row in rows)} of {total:,} images (response missing: "
        f"{count_range(row['no_response'] for row in rows)}; reference missing: "
        f"{count_range(absent)})."
    )


def counted_by_part(defined: Values) -> str:
    """State the same for each part of the responses."""
    return " ".join(
        f"{name.capitalize()}: {counted(defined, part)}" for part, name in PARTS.items()
    )


def missing(defined: Values) -> str:
    """Explain which responses count as missing, and what they score."""
    return (
        "A response is missing where it failed or is empty, its thinking and answer also where "
        f"they could not be parsed: {COUNTS[defined['missing']]}. Images of which a reference is "
        "missing are left out."
    )


def seen(defined: Values) -> str:
    """State which share of the texts was read, by metric and part; "" if all of it was."""
    sentences = []
    for metric, rows in groupby(defined["windows"], key=itemgetter("metric")):
        shares = [
            f"{SHORT_PARTS[row['part']].lower()} {row['seen']:.1%} of a response's tokens and "
            f"{row['seen_references']:.1%} of a teacher's ({row['cut']:.1%} and "
            f"{row['cut_references']:.1%} of these texts are cut)"
            for row in rows
        ]
        sentences.append(f"The window of {HEADINGS[metric]} holds on average, {'; '.join(shares)}.")
    return " ".join(sentences)


def intervals(defined: Values) -> str:
    """Explain the small numbers."""
    own = defined["intervals"]
    return (
        f"Small: {own['level']:.0%} intervals from {own['draws']:,} resamples of the "
        f"{own['resampled']}; a mean over fewer than {own['least']} has none."
    )


def count_range(numbers: Iterable[int]) -> str:
    """Return one number, or the least and the greatest."""
    counts = list(numbers)
    low, high = min(counts, default=0), max(counts, default=0)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
