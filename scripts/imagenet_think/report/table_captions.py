"""Sentences of captions, rendered from a table's definitions (`imagenet_think.report.definitions`).

The names of parts and measures, as tables print them, are here too.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import groupby
from operator import itemgetter

import polars as pl

from imagenet_think.analysis.populations import DRAWN, FIXED, LEAST
from imagenet_think.core.numbers import as_text, percent
from imagenet_think.core.settings import Values
from imagenet_think.core.wording import series
from imagenet_think.metrics import domain_limits, registry
from imagenet_think.metrics.registry import Measure
from imagenet_think.report.common_images import COMMON
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
    "zero": "it scores 0 in every metric (what has no score is the thinking of a model that is not "
    "meant to think)",
}
"""What a missing response may count, in words."""

POPULATIONS = {
    FIXED: "for other images of the same classes (strata)",
    DRAWN: f"for other classes as well (clusters; none with fewer than {LEAST} classes)",
}
"""What intervals are about, in a clause."""

_TITLES = [table.title for table in registry.tables().values() if table.number]
AS_PRINTED = (
    "Metrics are defined in the captions of the tables of "
    f"{series(f'{title[0].lower()}{title[1:]}' for title in _TITLES)}."
)
"""Where metrics are defined, whose tables have other numbers in the report than in the paper."""

SMALL = "Small or in parentheses"
"""Where intervals are: in LaTeX below their numbers, in Markdown and on pages after them."""

EQUATIONS = "(equations 1 to 3 of the paper)"
"""How the scores against both teachers are combined."""


def models(settings: Values) -> dict[str, str]:
    """Return the names of the benchmarked models by key, in the order to print."""
    return {key: settings["models"][key]["name"] for key in settings["benchmarked"]}


def printed_rows(
    rows: pl.DataFrame, settings: Values, details: Iterable[Measure] = ()
) -> pl.DataFrame:
    """Return the aggregates of the measures to print, each under the name that it is printed as.

    The config may choose a variant of a measure (`benchmark.printed_tfidf`). `details` are printed
    besides those in `MEASURES`. Means have the further column `mark`.
    """
    names = {
        measure.printed(settings["benchmark"]): measure.name
        for measure in (*MEASURES.values(), *details)
    }
    chosen = rows.filter(pl.col("metric").is_in(list(names)))
    marked = {"mark": mark()} if "outside" in rows.columns else {}  # differences are not marked
    return chosen.with_columns(pl.col("metric").replace(names), **marked)


def outside(thresholds: Values) -> dict[str, str]:
    """Say when a text is outside a metric's domain, by the reasons in `domain_limits`."""
    unknown, in_words = (percent(thresholds[name]) for name in ("unknown", "in_words"))
    return {
        domain_limits.NO_TOKEN: "without a token",
        domain_limits.UNKNOWN: (
            f"with at least {unknown} of the tokens [UNK] or parts of a character"
        ),
        domain_limits.NO_WORD: f"with at most {in_words} of the letters in words that are read",
    }


def mark() -> pl.Expr:
    """Return why a mean means nothing, from the columns of `outside_share`, or null."""
    words = outside(domain_limits.thresholds())
    reasons = pl.col("outside_reasons").str.replace_many(list(words), list(words.values()))
    share = (pl.col("outside") * 100).round(1)
    return pl.when(pl.col("outside") >= domain_limits.MARKED_SHARE).then(
        pl.format(
            "{}% of the images have a text outside the domain: {}",
            share,
            reasons.str.replace_all(",", "; "),
        )
    )


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
            1: "It is not bounded below by 0, and not clipped",
            2: "Neither is bounded below by 0, and neither is clipped",
        }.get(len(unbounded), "None of these is bounded below by 0, and none is clipped")
        sentences.insert(
            unbounded[-1],
            f"{not_bounded}, although section 5.3 of the paper puts every metric in the range from "
            "0 to 1.",
        )
    return " ".join(sentences)


def precision(defined: Values) -> str:
    """State the measured error of metrics that do not compute in float32; "" if all do."""
    sentences = []
    for name, rows in groupby(defined["precision"], key=itemgetter("metric")):
        headings = {own.score_column: own.heading for own in registry.get(name).measures}
        errors = list(rows)
        shown = series(
            f"{as_text(row['greatest'], '.1e')} ({headings[row['column']]})" for row in errors
        )
        sentences.append(
            f"On {errors[0]['pairs']:,} pairs of this run, scores differ from those in float32 by "
            f"at most {shown}."
        )
    return " ".join(sentences)


def marks(defined: Values) -> str:
    """Explain the marked numbers; "" if there are none."""
    named = {model["key"]: model["name"] for model in defined.get("models", ())}
    headings = {name: measure.heading or name for name, measure in registry.measures().items()}
    reasons: dict[str, set[str]] = {}
    models: dict[str, set[str]] = {}
    for row in defined["domain"]["marked"]:
        reasons.setdefault(row["metric"], set()).update(row["outside_reasons"].split(","))
        models.setdefault(row["metric"], set()).add(row["model"])
    possible = outside(defined["domain"])
    found: dict[str, list[str]] = {}
    for metric, own in reasons.items():
        words = series((words for name, words in possible.items() if name in own), "or")
        who = series(name for key, name in named.items() if key in models[metric])
        found.setdefault(f"texts {words}" + (f" ({who})" if who else ""), []).append(
            headings[metric]
        )
    if not found:
        return ""
    listed = "; ".join(f"{series(metrics)}: {words}" for words, metrics in found.items())
    return (
        f"{MARK} In at least {percent(defined['domain']['images'])} of the images the metric "
        "cannot read the response or a reference, so that the number means nothing and is not "
        "ranked: "
        f"{listed}."
    )


def brief_metrics() -> list[str]:
    """Return the names of the metrics of the measures in `BRIEF`."""
    metrics = registry.metrics()
    return [m.name for m in metrics if BRIEF.keys() & {own.name for own in m.measures}]


def different(defined: Values, name: str, what: str, which: str, part: str | None = None) -> str:
    """Explain rows of means over `COMMON`; "" if all means are over the same images.

    `name` is a column of `AGGREGATES` whose means are compared, `part` the one that is printed.
    """
    scored = [row for row in _of_part(defined, part) if row["images"]]
    if all(row["images"] == row[f"{name}_images"] for row in scored):
        return ""
    return (
        f"{what} are scored on different images; rows of {COMMON} are means over {which}, without "
        "intervals."
    )


def in_common(defined: Values, name: str) -> str:
    """Return the number of images on which means are compared."""
    return count_range(row[f"{name}_images"] for row in defined["images"] if row["images"])


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
    rows = _of_part(defined, part)
    total = max((row["images"] + row["left_out"] for row in rows), default=0)
    return (
        f"M = {count_range(row['images'] for row in rows)} of {total:,} images (response missing: "
        f"{count_range(row['no_response'] for row in rows)}; reference missing: "
        f"{count_range(_without_reference(defined, rows))})."
    )


def _of_part(defined: Values, part: str | None) -> list[Values]:
    """Return the numbers of images of one part or of all."""
    return [row for row in defined["images"] if part in (None, row["part"])]


def _without_reference(defined: Values, rows: Iterable[Values]) -> list[int]:
    """Return how many images lack a reference: those left out although there is a response."""
    zero = defined["missing"] == "zero"
    return [row["left_out"] - (0 if zero and row["images"] else row["no_response"]) for row in rows]


def counted_by_part(defined: Values) -> str:
    """State the same for each part of the responses."""
    return by_part({name.lower(): counted(defined, part) for part, name in PARTS.items()})


def by_part(sentences: Mapping[str, str]) -> str:
    """Return what is said of each part, once for parts of which the same is said."""
    parts: dict[str, list[str]] = {}
    for name, sentence in sentences.items():
        parts.setdefault(sentence, []).append(name)
    return " ".join(f"{series(own).capitalize()}: {words}" for words, own in parts.items())


def missing(defined: Values, part: str | None = None) -> str:
    """Explain what happens to images without a response or a reference; "" if there are none."""
    rows = _of_part(defined, part)
    sentences = []
    if any(row["no_response"] for row in rows):
        sentences.append(
            "A response is missing where it failed or is empty, its thinking and answer also where "
            f"they could not be parsed: {COUNTS[defined['missing']]}."
        )
    if any(_without_reference(defined, rows)):
        sentences.append("Images of which a reference is missing are left out.")
    return " ".join(sentences)


def seen(defined: Values) -> str:
    """State which share of the texts metrics with windows read, by metric and part."""
    whole, sentences = [], []
    printed = (row for row in defined["windows"] if row["metric"] in HEADINGS)
    for metric, found in groupby(printed, key=itemgetter("metric")):
        rows = list(found)
        if all(row["seen"] == row["seen_references"] == 1 for row in rows):
            whole.append(HEADINGS[metric])
            continue
        shares = [
            f"{SHORT_PARTS[row['part']].lower()} {as_text(row['seen'], '.1%')} of a response's "
            "tokens and "
            f"{as_text(row['seen_references'], '.1%')} of a teacher's "
            f"({as_text(row['cut'], '.1%')} and "
            f"{as_text(row['cut_references'], '.1%')} of these texts are cut)"
            for row in rows
        ]
        sentences.append(f"The window of {HEADINGS[metric]} holds on average, {'; '.join(shares)}.")
    return caption(read_whole(whole, "text"), *sentences)


def read_whole(names: Sequence[str], what: str) -> str:
    """State that some metrics read each text to its end; "" without a metric."""
    verb = "reads" if len(names) == 1 else "read"
    return f"{series(names)} {verb} every {what} to its end." if names else ""


def intervals(defined: Values) -> str:
    """Explain the small numbers."""
    own = defined["intervals"]
    return (
        f"{SMALL}: {percent(own['level'])} intervals {POPULATIONS[own['population']]}; a number "
        "over too few images has none."
    )


def count_range(numbers: Iterable[int]) -> str:
    """Return one number, or the least and the greatest."""
    counts = list(numbers)
    low, high = min(counts, default=0), max(counts, default=0)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
