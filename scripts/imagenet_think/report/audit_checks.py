"""Checks of a paper's statements against its own numbers.

A check takes numbers as the paper prints them and computes whether they contradict a statement.
Only what rounding cannot explain is a contradiction; where the statement is ambiguous, the verdict
is that it cannot be decided.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, TypeVar

from imagenet_think.core.numbers import as_text, setting, whole
from imagenet_think.metrics import registry
from imagenet_think.parsing import PARTS
from imagenet_think.report.table_captions import HEADINGS

CONTRADICTS = "contradicts"
CONSISTENT = "does not contradict"
OPEN = "cannot be decided"
VERDICTS = {True: CONSISTENT, False: CONTRADICTS, None: OPEN}

UNITS = {"": 1, "k": 1e3, "K": 1e3, "M": 1e6, " million": 1e6, "B": 1e9}
NUMBER_WORDS = {"two": 2, "three": 3}
PLACES = {0: "Avg.", 1: "Max"}
"""Positions and headings of the aggregates in a pair of scores; the ablation has one per part."""

LEXICAL = [
    measure.name
    for metric in registry.metrics()
    for measure in metric.printed
    if metric.table and not metric.encoder
]
"""The paper's measures that compare words instead of embeddings."""

Scores = Mapping[str, Mapping[str, Sequence[float]]]
"""Average and maximum by model and metric."""

Outcome = tuple[str, bool | None]
"""What a check computed, and whether the statement holds; None if that cannot be decided."""

Check = TypeVar("Check", bound=Callable[..., Outcome])

CHECKS: dict[str, tuple[str, Callable[..., Outcome]]] = {}
"""The checks by name, each with its formula: what is computed, in words."""


def check(formula: str) -> Callable[[Check], Check]:
    """Add a function to `CHECKS`."""

    def register(function: Check) -> Check:
        CHECKS[function.__name__] = (formula, function)
        return function

    return register


@dataclass(frozen=True)
class Printed:
    """A number as a text prints it: digits and unit, value, and the value of one last digit."""

    text: str
    value: float
    step: float

    def rounds(self, low: float, high: float | None = None) -> bool:
        """Return whether a number, or one in a range, may have been rounded to this."""
        return self.value - self.step / 2 <= (high or low) and low <= self.value + self.step / 2

    def cuts(self, low: float, high: float | None = None) -> bool:
        """Return whether a number, or one in a range, may have been truncated to this."""
        return self.value <= (high or low) and low <= self.value + self.step


def read_number(text: str) -> Printed:
    """Parse a printed number: digits with separators and one of `UNITS`, or a word.

    Other texts raise ValueError.
    """
    if text in NUMBER_WORDS:
        return Printed(text, NUMBER_WORDS[text], 1)
    match = re.fullmatch(r"(\d[\d,]*)(?:\.(\d+))?([kKMB]| million)?", text)
    if not match:
        raise ValueError(f"{text!r} is not a number as the paper prints them")
    whole, decimals, unit = match.groups(default="")
    scale, parts = UNITS[unit], 10 ** len(decimals)
    # Multiply first, so that 2.1M is exactly 2,100,000 and 0.820 is exactly 0.82.
    value = int(whole.replace(",", "") + decimals) * scale / parts
    return Printed(text, value, scale / parts)


def _score(value: float) -> str:
    """Return a score with the decimals that the paper prints."""
    return as_text(value, ".3f")


def _tokens(value: float) -> str:
    """Return a count of tokens in millions, or in full if it is small."""
    return f"{as_text(value / 1e6, ',.1f')} million" if value >= 1e6 else whole(value)


# Counts -------------------------------------------------------------------------------------------


@check("The size of this dataset divided by that of the other.")
def ratios(
    counts: Mapping[str, float],
    bases: Mapping[str, Any],
    claimed: Printed,
    named: str | None = None,
) -> Outcome:
    """Compare a stated factor with the ratios of this dataset's size to others'.

    `counts` are the possible meanings of this dataset's size, and `bases` the others' sizes, each a
    number or `Printed`; `named` is the dataset that the statement names, None for all.
    """
    quotients = []
    for base, size in bases.items():
        size = getattr(size, "value", size)
        for count, value in counts.items():
            words = (
                f"{whole(value)} {count} / {whole(size)} ({base}) = {as_text(value / size, '.2f')}"
            )
            quotients.append((base, claimed.rounds(value / size), words))
    compared = [quotient for quotient in quotients if named in (None, quotient[0])]
    elsewhere = [words for base, fits, words in quotients if fits and named not in (None, base)]
    computed = f"{'; '.join(words for _, _, words in compared)}; stated: {claimed.text}."
    if elsewhere:
        computed += f" It fits {' and '.join(elsewhere)}."
    return computed, any(fits for _, fits, _ in compared)


@check("The greatest number of images in Table 1.")
def largest(images: Mapping[str, float], own: str, pairs: float) -> Outcome:
    """Find a dataset with more images than the one stated to be the largest."""
    greatest = max(images, key=images.__getitem__)
    return (
        f"{greatest} has {whole(images[greatest])} images, {own} {whole(images[own])} "
        f"({whole(pairs)} pairs).",
        greatest == own,
    )


@check("A mean lies between the least and the greatest value.")
def mean_in_range(mean: float, low: float, high: float, images: float, classes: float) -> Outcome:
    """Compare a mean with the smallest and largest value, and with total / number."""
    inside = low <= mean <= high
    return (
        f"{mean} is{'' if inside else ' not'} between {low} and {high}; {whole(images)} / "
        f"{whole(classes)} = {as_text(images / classes, '.1f')}.",
        inside,
    )


@check(
    "(max − min) / 2 (Popoviciu), and the square root of (max − mean)(mean − min) (Bhatia and "
    "Davis)."
)
def spread(sd: Printed, low: float, high: float, mean: float) -> Outcome:
    """Compare a standard deviation with the largest that a range allows."""
    popoviciu = (high - low) / 2
    bhatia_davis = math.sqrt((high - mean) * (mean - low))
    return (
        f"At most {as_text(popoviciu, '.1f')} on [{low}, {high}], and "
        f"{as_text(bhatia_davis, '.2f')} with a mean of "
        f"{mean}; stated: {sd.text}.",
        sd.value - sd.step / 2 <= popoviciu,
    )


@check("Pairs divided by images.")
def per_image(pairs: float, images: float, claimed: Printed) -> Outcome:
    """Compare a number of responses per image with pairs / images."""
    count = pairs / images
    return (
        f"{whole(pairs)} pairs / {whole(images)} images = {setting(count)}; stated: "
        f"{claimed.text}.",
        claimed.value == count,
    )


@check("Images times average tokens, within what the printed digits leave open.")
def total(images: Printed, mean: Printed, total: Printed) -> Outcome:
    """Compare a total with number × mean, each with the precision of its printed digits."""
    expected = images.value * mean.value
    low = (images.value - images.step / 2) * (mean.value - mean.step / 2)
    high = (images.value + images.step / 2) * (mean.value + mean.step / 2)
    most = (images.value + images.step) * (mean.value + mean.step)
    computed = f"{images.text} × {mean.text} = {_tokens(expected)}; printed: {total.text}"
    if total.rounds(low, high):
        return f"{computed}.", True
    if total.cuts(expected, most):
        return f"{computed}, which fits if digits were cut off and not rounded.", None
    factor = max(expected / total.value, total.value / expected)
    return f"{computed}, off by a factor of {whole(factor)}.", False


@check("Number of samples times average tokens; total divided by average tokens.")
def units(
    images: Printed, mean: Printed, total: Printed, pairs: Printed, printed: Mapping
) -> Outcome:
    """Find what Table 1 counts as a sample: which number of samples gives its total.

    `printed` has the tokens of the texts that the paper prints for one image: `image`, all of them;
    `chain`, the average of its thinking texts.
    """
    low, high = total.value / mean.value, (total.value + total.step) / mean.value
    half = total.step / 2 / mean.value
    fits = [low <= number.value <= high for number in (images, pairs)]
    return (
        f"An image: {whole(images.value)} × {mean.text} = {_tokens(images.value * mean.value)}; "
        f"a thinking–answer pair: {whole(pairs.value)} × {mean.text} = "
        f"{_tokens(pairs.value * mean.value)}. {total.text} divided by {mean.text} is of "
        f"{whole(low)} to {whole(high)} samples if digits were cut off, of {whole(low - half)} "
        f"to {whole(low + half)} if they were rounded. The texts printed of one image have "
        f"{whole(printed['image'])} tokens together, and {whole(printed['chain'])} a thinking.",
        True if fits == [True, False] else None,
    )


@check("Images divided by the mean; classes times the mean.")
def classes_of_mean(images: float, mean: float, classes: float) -> Outcome:
    """Compute the numbers of classes or images that a mean number per class would imply."""
    return (
        f"{whole(images)} / {mean} = {whole(images / mean)} classes; {whole(classes)} × {mean} = "
        f"{whole(classes * mean)} images.",
        None,
    )


@check("Classes that a random group of samples meets: C × (1 − (1 − 1/C)^n); words divided by it.")
def vocabulary(words: Printed, samples: Printed, classes: float, printed_image: Mapping) -> Outcome:
    """Compare a vocabulary size with that of the one image whose texts are printed.

    Parameters
    ----------
    words, samples
        Distinct words in a group of samples, as stated, and the group's size.
    classes
        Classes of the dataset.
    printed_image
        Distinct words of the printed texts of one image: `words`, and `thinking_words`.
    """
    seen = classes * (1 - (1 - 1 / classes) ** samples.value)
    one = printed_image["words"]
    return (
        f"The texts printed of one image hold {one} different words, "
        f"{printed_image['thinking_words']} of them in its thinking; {samples.text} samples are of "
        f"about {whole(seen)} classes, so that {words.text} words are "
        f"{as_text(words.value / seen, '.1f')} a "
        f"class, and {as_text(words.value / one, '.1f')} times one image's.",
        False if words.value < one else None,
    )


@check("Classes divided by categories; the number of classes in the processed version.")
def coverage(classes: float, stated: Printed, listed: int) -> Outcome:
    """Compare a number of classes with all classes, and with those of a processed version."""
    computed = (
        f"{whole(classes)} of {stated.text} categories are "
        f"{as_text(classes / stated.value, '.0%')}; "
        f"ImageNet-21K-P of winter 2021 has {whole(listed)}."
    )
    if classes >= stated.value:
        return computed, True
    return computed, None if classes == listed else False


@check("Most images of a class divided by least; the source's images by its categories.")
def evenness(low: float, high: float, images: Printed, categories: Printed) -> Outcome:
    """Compare the spread of images over classes with the number available per class."""
    source = images.value / categories.value
    return (
        f"{high} / {low} = {as_text(high / low, '.2f')} times as many images in the largest class "
        "as in "
        f"the smallest; the source has {whole(source)} a category on average.",
        None,
    )


# Scores -------------------------------------------------------------------------------------------


@check("Each model's average and maximum beside the bounds.")
def above(scores: Scores, metric: str, models: Sequence[str], bounds: Sequence[Printed]) -> Outcome:
    """Compare scores of models, average and maximum, with the bounds that they allegedly exceed."""
    return (
        f"{_of_models(scores, metric, models)}; stated: above {_texts(bounds)}.",
        all(
            score > bound.value
            for name in models
            for score, bound in zip(scores[name][metric], bounds, strict=True)
        ),
    )


@check("Each model's average and maximum beside those stated.")
def reach(
    scores: Scores, metric: str, models: Sequence[str], claimed: Sequence[Printed]
) -> Outcome:
    """Compare the scores of models with those that all of them allegedly reach."""
    return (
        f"{_of_models(scores, metric, models)}; stated of both: {_texts(claimed)}.",
        all(_equal(scores[name][metric], claimed) for name in models),
    )


@check("The least of each column.")
def lowest(scores: Scores, metrics: Sequence[str], model: str) -> Outcome:
    """Find the model with the lowest score in each column."""
    lowest_models, words = set(), []
    for metric, place in product(metrics, PLACES):
        column = {name: row[metric][place] for name, row in scores.items()}
        name = min(column, key=column.__getitem__)
        lowest_models.add(name)
        words.append(f"{HEADINGS[metric]} {PLACES[place]}: {name} {_score(column[name])}")
    own = "; ".join(f"{HEADINGS[metric]} {_pair(scores[model][metric])}" for metric in metrics)
    return f"Lowest in {'; '.join(words)}. {model}: {own}.", lowest_models <= {model}


@check("Each score minus the other model's.")
def improves(scores: Scores, metrics: Sequence[str], models: Sequence[str], over: str) -> Outcome:
    """Find columns in which a model is not above another that it allegedly improves on."""
    cells = list(product(models, metrics, PLACES))
    below = [
        f"{name}, {HEADINGS[metric]} {PLACES[place]} {_score(scores[name][metric][place])} < "
        f"{_score(scores[over][metric][place])}"
        for name, metric, place in cells
        if scores[name][metric][place] <= scores[over][metric][place]
    ]
    return f"{len(below)} of {len(cells)} cells are below {over}'s: {'; '.join(below)}.", not below


@check("Least and greatest of the models' averages and maxima.")
def around(
    scores: Scores,
    metrics: Sequence[str],
    models: Sequence[str],
    bounds: Sequence[Sequence[Printed]],
) -> Outcome:
    """Compare the range of some models' scores with one that is stated approximately."""
    words, inside = [], True
    for metric, (low, high) in zip(metrics, bounds, strict=True):
        numbers = [value for name in models for value in scores[name][metric]]
        inside &= low.value <= min(numbers) and max(numbers) <= high.value
        words.append(
            f"{HEADINGS[metric]} {_score(min(numbers))}–{_score(max(numbers))}, stated "
            f"{low.text}–{high.text}"
        )
    return f"{'; '.join(words)}.", True if inside else None


@check("The column of Table 6 with these two numbers.")
def named_alike(
    scores: Scores, model: str, metrics: Sequence[str], named: str, claimed: Sequence[Printed]
) -> Outcome:
    """Find the column of Table 6 that contains the numbers under a metric's name in Table 7.

    `scores` are those of the benchmark, `model` is that of the ablation, `metrics` are the columns
    of Table 6, and `claimed` the average and maximum of the metric `named` in Table 7.
    """
    held = [key for key in metrics if _equal(scores[model][key], claimed)]
    return (
        f"{_texts(claimed)} stand in Table 6 under {_list(held)}; {HEADINGS[named]} has "
        f"{_pair(scores[model][named])} there.",
        held == [named],
    )


@check(
    "Fitted on two texts, TF-IDF weighs no shared word above one of a single text: the product of "
    "the vectors grows no more than their lengths."
)
def column_order(scores: Scores, above: str, below: str) -> Outcome:
    """Count cells where one column is above another that it cannot exceed under one reading."""
    pairs = [(row[above][place], row[below][place]) for row in scores.values() for place in PLACES]
    greater = sum(one > other for one, other in pairs)
    ranges = [f"{_score(min(column))}–{_score(max(column))}" for column in zip(*pairs, strict=True)]
    return (
        f"TF-IDF ({ranges[0]}) is above raw cosine ({ranges[1]}) in {greater} of {len(pairs)} "
        "cells; fitted on the two texts alone it never is.",
        None if greater else True,
    )


@check("Set cosine ≥ Dice = 2J / (1 + J) for each pair; mean Dice ≥ Dice(mean J) − 2 var(J).")
def dice_bound(scores: Scores, cosine: str, jaccard: str) -> Outcome:
    """Compute how widely the Jaccard index must vary if a column were the cosine of sets.

    For one pair, the cosine of the sets is at least Dice's coefficient, 2J / (1 + J). Over pairs,
    its mean may be lower than that of the mean J, but by at most twice the variance of J, because
    its second derivative is at least -4.
    """
    means = [row[jaccard][0] for row in scores.values()]
    cosines = [row[cosine][0] for row in scores.values()]
    gaps = [2 * mean / (1 + mean) - own for mean, own in zip(means, cosines, strict=True)]
    spreads = [math.sqrt(max(gap, 0) / 2) for gap in gaps]
    below = sum(gap > 0 for gap in gaps)
    return (
        f"Below 2J / (1 + J) of the mean J in {below} of {len(gaps)} models, by "
        f"{_score(min(gaps))} to {_score(max(gaps))}: J would need a standard deviation of at "
        "least "
        f"{as_text(min(spreads), '.2f')} to {as_text(max(spreads), '.2f')}.",
        None if below else True,
    )


@check("Full output beside both parts; generally is read as in more than half of the cells.")
def between(ablation: Mapping[str, Sequence[float]]) -> Outcome:
    """Count cells where the full output is between its parts, as it allegedly is in general."""
    words, inside, cells = [], 0, 0
    for place, heading in PLACES.items():
        rows = [row[place::2] for row in ablation.values()]
        middle = sum(min(think, answer) < full < max(think, answer) for full, think, answer in rows)
        highest = sum(full > max(think, answer) for full, think, answer in rows)
        least = sum(full < min(think, answer) for full, think, answer in rows)
        inside, cells = inside + middle, cells + len(rows)
        counts = f"between in {middle} of {len(rows)}, highest in {highest}, lowest in {least}"
        words.append(f"{heading}: {counts}")
    return f"{'; '.join(words)}.", 2 * inside > cells


@check("The part with the highest and the lowest score in each lexical metric.")
def best_part(ablation: Mapping[str, Sequence[float]], part: str) -> Outcome:
    """Find the lexical metrics in which a part scores highest, as it allegedly does."""
    own = PARTS.index(part)
    words, best = [], 0
    for place, heading in PLACES.items():
        rows = {metric: ablation[metric][place::2] for metric in LEXICAL}
        reached = [metric for metric, row in rows.items() if row[own] == max(row)]
        tied = [metric for metric in reached if rows[metric].count(max(rows[metric])) > 1]
        highest = [metric for metric in reached if metric not in tied]
        lowest = [metric for metric, row in rows.items() if row[own] == min(row)]
        best = max(best, len(highest))
        words.append(
            f"{heading}: highest in {_list(highest)}, tied for it in {_list(tied)}, lowest in "
            f"{_list(lowest)}"
        )
    return f"{'; '.join(words)}.", 2 * best > len(LEXICAL)


@check("Best minus second of each column.")
def gaps(scores: Scores) -> Outcome:
    """Compute the difference between the best and the second-best model in each column."""
    columns = []
    for place, heading in PLACES.items():
        distances = []
        for metric in next(iter(scores.values())):
            column = sorted((row[metric][place] for row in scores.values()), reverse=True)
            distances.append(column[0] - column[1])
        columns.append(f"{heading} {_score(min(distances))} to {_score(max(distances))}")
    return f"Best minus second: {'; '.join(columns)}. No M, no interval.", None


def _pair(numbers: Sequence[float]) -> str:
    return " / ".join(map(_score, numbers))


def _texts(numbers: Sequence[Printed]) -> str:
    return " / ".join(number.text for number in numbers)


def _equal(pair: Sequence[float], printed: Sequence[Printed]) -> bool:
    return list(pair) == [number.value for number in printed]


def _of_models(scores: Scores, metric: str, models: Sequence[str]) -> str:
    return "; ".join(f"{name} {_pair(scores[name][metric])}" for name in models)


def _list(metrics: Sequence[str]) -> str:
    return ", ".join(HEADINGS[metric] for metric in metrics) or "none"
