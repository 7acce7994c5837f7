"""What the captions of benchmark tables say: how metrics are defined, and on how many images."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from imagenet_think.metrics import registry
from imagenet_think.metrics.registry import Measure, Metric
from imagenet_think.report.tables import Column

Settings = Mapping[str, Any]
"""What tables of the benchmark read of the config, see `benchmark`."""

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


def benchmark(taken: Settings) -> dict[str, Any]:
    """Return what tables of the benchmark and their captions read of a config.

    Parameters
    ----------
    taken
        The keys of the config that a rule declares: names of models, `teachers` and `benchmarked`
        where they are needed, and keys of the section `benchmark`.

    Returns
    -------
    dict
        The section `benchmark`, with `teachers` and `models` (keys, the benchmarked ones) and
        `names` (of both, by key).
    """
    return {
        **taken["benchmark"],
        "teachers": taken.get("teachers", []),
        "models": taken.get("benchmarked", []),
        "names": {key: own["name"] for key, own in taken["models"].items()},
    }


def teachers(settings: Settings) -> list[str]:
    """Return the names of teacher 1 and teacher 2."""
    return [settings["names"][key] for key in settings["teachers"]]


def models(settings: Settings) -> dict[str, str]:
    """Return the names of the benchmarked models by key, in the order to print."""
    return {key: settings["names"][key] for key in settings["models"]}


def printed_rows(
    rows: pl.DataFrame, settings: Settings, measures: Mapping[str, Measure] = MEASURES
) -> pl.DataFrame:
    """Return the aggregates that are printed, each under the name that it is printed as.

    Parameters
    ----------
    rows
        Aggregates with the column metric, the name of a measure.
    settings
        The benchmark's settings, which may choose a variant for a measure.
    measures
        The measures to print.
    """
    names = {measure.printed(settings): name for name, measure in measures.items()}
    chosen = rows.filter(pl.col("metric").is_in(list(names)))
    return chosen.with_columns(pl.col("metric").replace(names))


def caption(*sentences: str) -> str:
    """Return the sentences of a caption, without those that are empty."""
    return " ".join(filter(None, sentences))


def definitions(metrics: Sequence[Metric], settings: Settings) -> str:
    """Explain how metrics are defined in this run, and which of them are not bounded by 0."""
    sentences = [metric.definition(settings) for metric in metrics]
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


def counted(aggregates: pl.DataFrame, settings: Settings) -> str:
    """State how many images the means are over, and what was missing.

    Parameters
    ----------
    aggregates
        Rows of schema `AGGREGATES` over the same images.
    settings
        The benchmark's settings; `missing` decides what a missing response counts.
    """
    # Images that are left out although there is a response lack a reference.
    responses = aggregates["no_response"] if settings["missing"] == "leave_out" else 0
    references = aggregates["left_out"] - responses
    total = max(aggregates["images"] + aggregates["left_out"], default=0)
    return (
        f"M = {count_range(aggregates['images'])} of {total:,} images (response missing: "
        f"{count_range(aggregates['no_response'])}; reference missing: {count_range(references)})."
    )


def counted_by_part(aggregates: pl.DataFrame, settings: Settings) -> str:
    """State the same for each part of the responses."""
    return " ".join(
        f"{name.capitalize()}: {counted(aggregates.filter(part=part), settings)}"
        for part, name in PARTS.items()
    )


def missing(settings: Settings) -> str:
    """Explain which responses count as missing, and what they score."""
    return (
        "A response is missing where it failed or is empty, its thinking and answer also where it "
        f"could not be taken apart: {COUNTS[settings['missing']]}. Images of which a reference is "
        "missing are left out."
    )


def seen(aggregates: pl.DataFrame) -> str:
    """State which share of the texts was read, by metric and part; "" if all of it was."""
    columns = ("seen", "seen_references", "cut", "cut_references")
    means = aggregates.group_by("metric", "part", maintain_order=True).agg(pl.col(columns).mean())
    sentences = []
    for (metric,), rows in means.drop_nulls().group_by("metric", maintain_order=True):
        shares = [
            f"{SHORT_PARTS[row['part']].lower()} {row['seen']:.1%} of a response's tokens and "
            f"{row['seen_references']:.1%} of a teacher's ({row['cut']:.1%} and "
            f"{row['cut_references']:.1%} of these texts are cut)"
            for row in rows.iter_rows(named=True)
        ]
        sentences.append(f"The window of {HEADINGS[metric]} holds on average, {'; '.join(shares)}.")
    return " ".join(sentences)


def intervals(settings: Settings) -> str:
    """Explain the small numbers."""
    return (
        f"Small: {settings['level']:.0%} intervals from {settings['draws']:,} resamples of the "
        "images; a mean over too few images has none."
    )


def count_range(counts: pl.Series) -> str:
    """Return one number, or the least and the greatest."""
    low, high = min(counts, default=0), max(counts, default=0)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
