"""Checks of a paper's statements against its own numbers.

Each check takes numbers as the paper prints them and returns a `Result`: what was computed,
how, and whether it contradicts the statement. Only what rounding cannot explain is a contradiction;
where the statement is ambiguous, the verdict is that it cannot be decided.
"""

import inspect
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from imagenet_think.metrics import registry
from imagenet_think.parsing import PARTS
from imagenet_think.report.table_captions import HEADINGS

CONTRADICTS = "contradicts"
CONSISTENT = "does not contradict"
OPEN = "cannot be decided"

UNITS = {"": 1, "k": 1e3, "K": 1e3, "M": 1e6, " million": 1e6, "B": 1e9}
NUMBER_WORDS = {"two": 2, "three": 3}
AVG, MAX = range(2)
"""Positions of the two aggregates in a pair of scores; the ablation has one pair per part."""

LEXICAL = [
    measure.name
    for metric in registry.metrics()
    for measure in metric.printed
    if metric.table and not metric.encoder
]
"""The paper's measures that compare words instead of embeddings."""

Scores = Mapping[str, Mapping[str, Sequence[float]]]
"""Average and maximum by model and metric."""


@dataclass(frozen=True)
class Result:
    """The result of a check.

    Attributes
    ----------
    formula
        What was computed, in words.
    computed
        The numbers.
    verdict
        `CONTRADICTS`, `CONSISTENT` or `OPEN`.
    """

    formula: str
    computed: str
    verdict: str


@dataclass(frozen=True)
class Printed:
    """A number as a text prints it.

    Attributes
    ----------
    text
        Its digits and unit.
    value
        The number.
    step
        The value of one unit of the last digit.
    """

    text: str
    value: float
    step: float

    def rounds(self, low: float, high: float | None = None) -> bool:
        """Return whether a number, or one in a range, may have been rounded to this."""
        return _meet((low, high or low), (self.value - self.step / 2, self.value + self.step / 2))

    def cuts(self, low: float, high: float | None = None) -> bool:
        """Return whether a number, or one in a range, may have been truncated to this."""
        return _meet((low, high or low), (self.value, self.value + self.step))


def read_number(text: str) -> Printed:
    """Parse a printed number: digits with separators and one of `UNITS`, or a word.

    Raises
    ------
    ValueError
        If it is not a number.
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


def _meet(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one[0] <= other[1] and other[0] <= one[1]


def _whole(value: float) -> str:
    return f"{value:,.0f}"


def _real(value: float, decimals: int = 3) -> str:
    return f"{value:.{decimals}f}"


def _tokens(value: float) -> str:
    """Return a count of tokens in millions, or in full if it is small."""
    return f"{value / 1e6:,.1f} million" if value >= 1e6 else _whole(value)


# Counts -------------------------------------------------------------------------------------------


def ratios(
    counts: Mapping[str, float],
    bases: Mapping[str, Any],
    claimed: Printed,
    named: str | None = None,
) -> Result:
    """Compare a stated factor with the ratios of this dataset's size to others'.

    Parameters
    ----------
    counts
        The possible meanings of this dataset's size.
    bases
        Sizes of other datasets by name, each a number or `Printed`.
    claimed
        The factor.
    named
        The dataset named by the statement; None for all.
    """
    quotients = []
    for base, size in bases.items():
        size = getattr(size, "value", size)
        for count, value in counts.items():
            words = f"{_whole(value)} {count} / {_whole(size)} ({base}) = {_real(value / size, 2)}"
            quotients.append((base, claimed.rounds(value / size), words))
    compared = [quotient for quotient in quotients if named in (None, quotient[0])]
    elsewhere = [words for base, fits, words in quotients if fits and named not in (None, base)]
    computed = f"{'; '.join(words for _, _, words in compared)}; stated: {claimed.text}."
    if elsewhere:
        computed += f" It fits {' and '.join(elsewhere)}."
    fits = any(fits for _, fits, _ in compared)
    formula = "The size of this dataset divided by that of the other."
    return Result(formula, computed, CONSISTENT if fits else CONTRADICTS)


def largest(images: Mapping[str, float], own: str, pairs: float) -> Result:
    """Find a dataset with more images than the one stated to be the largest."""
    greatest = max(images, key=images.__getitem__)
    computed = (
        f"{greatest} has {_whole(images[greatest])} images, {own} {_whole(images[own])} "
        f"({_whole(pairs)} pairs)."
    )
    formula = "The greatest number of images in Table 1."
    return Result(formula, computed, CONSISTENT if greatest == own else CONTRADICTS)


def mean_in_range(mean: float, low: float, high: float, images: float, classes: float) -> Result:
    """Compare a mean with the smallest and largest value, and with total / number."""
    computed = (
        f"{mean} is not between {low} and {high}; {_whole(images)} / {_whole(classes)} = "
        f"{_real(images / classes, 1)}."
    )
    inside = low <= mean <= high
    if inside:
        computed = computed.replace("is not", "is")
    formula = "A mean lies between the least and the greatest value."
    return Result(formula, computed, CONSISTENT if inside else CONTRADICTS)


def spread(sd: Printed, low: float, high: float, mean: float) -> Result:
    """Compare a standard deviation with the largest that a range allows.

    At most (max - min) / 2 (Popoviciu), and with a known mean at most the square root of
    (max - mean)(mean - min) (Bhatia and Davis).
    """
    popoviciu = (high - low) / 2
    bhatia_davis = math.sqrt((high - mean) * (mean - low))
    computed = (
        f"At most {_real(popoviciu, 1)} on [{low}, {high}], and {_real(bhatia_davis, 2)} with a "
        f"mean of {mean}; stated: {sd.text}."
    )
    formula = (
        "(max − min) / 2 (Popoviciu), and the square root of (max − mean)(mean − min) "
        "(Bhatia and Davis)."
    )
    impossible = sd.value - sd.step / 2 > popoviciu
    return Result(formula, computed, CONTRADICTS if impossible else CONSISTENT)


def per_image(pairs: float, images: float, claimed: Printed) -> Result:
    """Compare a number of responses per image with pairs / images."""
    count = pairs / images
    computed = (
        f"{_whole(pairs)} pairs / {_whole(images)} images = {count:g}; stated: {claimed.text}."
    )
    verdict = CONSISTENT if claimed.value == count else CONTRADICTS
    return Result("Pairs divided by images.", computed, verdict)


def total(images: Printed, mean: Printed, total: Printed) -> Result:
    """Compare a total with number × mean, each with the precision of its printed digits."""
    product = images.value * mean.value
    low = (images.value - images.step / 2) * (mean.value - mean.step / 2)
    high = (images.value + images.step / 2) * (mean.value + mean.step / 2)
    most = (images.value + images.step) * (mean.value + mean.step)
    computed = f"{images.text} × {mean.text} = {_tokens(product)}; printed: {total.text}"
    if total.rounds(low, high):
        verdict = CONSISTENT
    elif total.cuts(product, most):
        computed += ", which fits if digits were cut off and not rounded"
        verdict = OPEN
    else:
        factor = max(product / total.value, total.value / product)
        computed += f", off by a factor of {factor:,.0f}"
        verdict = CONTRADICTS
    formula = "Images times average tokens, within what the printed digits leave open."
    return Result(formula, f"{computed}.", verdict)


def units(
    images: Printed, mean: Printed, total: Printed, pairs: Printed, printed: Mapping
) -> Result:
    """Find what Table 1 counts as a sample: which number of samples gives its total.

    Parameters
    ----------
    images, mean, total, pairs
        As printed.
    printed
        Tokens of the texts that the paper prints for one image: `image`, all of them; `chain`,
        the average of its thinking texts.
    """
    low, high = total.value / mean.value, (total.value + total.step) / mean.value
    half = total.step / 2 / mean.value
    computed = (
        f"An image: {_whole(images.value)} × {mean.text} = {_tokens(images.value * mean.value)}; "
        f"a thinking–answer pair: {_whole(pairs.value)} × {mean.text} = "
        f"{_tokens(pairs.value * mean.value)}. {total.text} divided by {mean.text} is of "
        f"{_whole(low)} to {_whole(high)} samples if digits were cut off, of {_whole(low - half)} "
        f"to {_whole(low + half)} if they were rounded. The texts printed of one image have "
        f"{_whole(printed['image'])} tokens together, and {_whole(printed['chain'])} a thinking."
    )
    fits = [low <= number.value <= high for number in (images, pairs)]
    formula = "Number of samples times average tokens; total divided by average tokens."
    return Result(formula, computed, CONSISTENT if fits == [True, False] else OPEN)


def classes_of_mean(images: float, mean: float, classes: float) -> Result:
    """Compute the numbers of classes or images that a mean number per class would imply."""
    computed = (
        f"{_whole(images)} / {mean} = {_whole(images / mean)} classes; {_whole(classes)} × {mean} "
        f"= {_whole(classes * mean)} images."
    )
    formula = "Images divided by the mean; classes times the mean."
    return Result(formula, computed, OPEN)


def vocabulary(words: Printed, samples: Printed, classes: float, printed_image: Mapping) -> Result:
    """Compare a vocabulary size with that of the one image whose texts are printed.

    Parameters
    ----------
    words
        Distinct words in `samples` samples, as stated.
    samples
        Size of the group of samples.
    classes
        Classes of the dataset.
    printed_image
        Distinct words of the printed texts of one image: `words`, and `thinking_words`.
    """
    seen = classes * (1 - (1 - 1 / classes) ** samples.value)
    one = printed_image["words"]
    computed = (
        f"The texts printed of one image hold {one} different words, "
        f"{printed_image['thinking_words']} of them in its thinking; {samples.text} samples are of "
        f"about {_whole(seen)} classes, so that {words.text} words are "
        f"{_real(words.value / seen, 1)} a class, and {_real(words.value / one, 1)} times one "
        "image's."
    )
    formula = (
        "Classes that a random group of samples meets: C × (1 − (1 − 1/C)^n); words divided by it."
    )
    return Result(formula, computed, CONTRADICTS if words.value < one else OPEN)


def coverage(classes: float, stated: Printed, listed: int) -> Result:
    """Compare a number of classes with all classes, and with those of a processed version."""
    computed = (
        f"{_whole(classes)} of {stated.text} categories are {classes / stated.value:.0%}; "
        f"ImageNet-21K-P of winter 2021 has {_whole(listed)}."
    )
    part = OPEN if classes == listed else CONTRADICTS
    verdict = CONSISTENT if classes >= stated.value else part
    formula = "Classes divided by categories; the number of classes in the processed version."
    return Result(formula, computed, verdict)


def evenness(low: float, high: float, images: Printed, categories: Printed) -> Result:
    """Compare the spread of images over classes with the number available per class."""
    source = images.value / categories.value
    computed = (
        f"{high} / {low} = {_real(high / low, 2)} times as many images in the largest class as in "
        f"the smallest; the source has {_whole(source)} a category on average."
    )
    formula = "Most images of a class divided by least; the source's images by its categories."
    return Result(formula, computed, OPEN)


# Scores -------------------------------------------------------------------------------------------


def above(scores: Scores, metric: str, models: Sequence[str], bounds: Sequence[Printed]) -> Result:
    """Compare scores of models, average and maximum, with the bounds that they allegedly exceed."""
    found = [
        (name, scores[name][metric][place], bounds[place]) for name in models for place in (0, 1)
    ]
    wrong = [f"{name} {_real(value)}" for name, value, bound in found if value <= bound.value]
    computed = "; ".join(f"{name} {_pair(scores[name][metric])}" for name in models)
    computed += f"; stated: above {' / '.join(bound.text for bound in bounds)}."
    formula = "Each model's average and maximum beside the bounds."
    return Result(formula, computed, CONTRADICTS if wrong else CONSISTENT)


def reach(scores: Scores, metric: str, models: Sequence[str], claimed: Sequence[Printed]) -> Result:
    """Compare the scores of models with those that all of them allegedly reach."""
    computed = "; ".join(f"{name} {_pair(scores[name][metric])}" for name in models)
    computed += f"; stated of both: {' / '.join(number.text for number in claimed)}."
    numbers = [number.value for number in claimed]
    same = all(list(scores[name][metric]) == numbers for name in models)
    formula = "Each model's average and maximum beside those stated."
    return Result(formula, computed, CONSISTENT if same else CONTRADICTS)


def lowest(scores: Scores, metrics: Sequence[str], model: str) -> Result:
    """Find the model with the lowest score in each column."""
    found = []
    for metric, place in ((metric, place) for metric in metrics for place in (AVG, MAX)):
        column = {name: row[metric][place] for name, row in scores.items()}
        name = min(column, key=column.__getitem__)
        found.append(
            (
                name,
                f"{HEADINGS[metric]} {_place(place)}: {name} {_real(scores[name][metric][place])}",
            )
        )
    own = "; ".join(f"{HEADINGS[metric]} {_pair(scores[model][metric])}" for metric in metrics)
    computed = f"Lowest in {'; '.join(words for _, words in found)}. {model}: {own}."
    formula = "The least of each column."
    wrong = any(name != model for name, _ in found)
    return Result(formula, computed, CONTRADICTS if wrong else CONSISTENT)


def improves(scores: Scores, metrics: Sequence[str], models: Sequence[str], over: str) -> Result:
    """Find columns in which a model is not above another that it allegedly improves on."""
    cells = [(m, metric, place) for m in models for metric in metrics for place in (AVG, MAX)]
    below = [
        f"{name}, {HEADINGS[metric]} {_place(place)} {_real(scores[name][metric][place])} < "
        f"{_real(scores[over][metric][place])}"
        for name, metric, place in cells
        if scores[name][metric][place] <= scores[over][metric][place]
    ]
    computed = f"{len(below)} of {len(cells)} cells are below {over}'s: {'; '.join(below)}."
    formula = "Each score minus the other model's."
    return Result(formula, computed, CONTRADICTS if below else CONSISTENT)


def around(
    scores: Scores,
    metrics: Sequence[str],
    models: Sequence[str],
    bounds: Sequence[Sequence[Printed]],
) -> Result:
    """Compare the range of some models' scores with one that is stated approximately."""
    words, inside = [], True
    for metric, (low, high) in zip(metrics, bounds, strict=True):
        numbers = [value for name in models for value in scores[name][metric]]
        inside &= low.value <= min(numbers) and max(numbers) <= high.value
        words.append(
            f"{HEADINGS[metric]} {_real(min(numbers))}–{_real(max(numbers))}, stated "
            f"{low.text}–{high.text}"
        )
    formula = "Least and greatest of the models' averages and maxima."
    return Result(formula, f"{'; '.join(words)}.", CONSISTENT if inside else OPEN)


def named_alike(
    scores: Scores, model: str, metrics: Sequence[str], named: str, claimed: Sequence[Printed]
) -> Result:
    """Find the column of Table 6 that contains the numbers under a metric's name in Table 7.

    Parameters
    ----------
    scores
        Scores of the benchmark.
    model
        The model of the ablation.
    metrics
        The columns of Table 6.
    named
        The metric.
    claimed
        Average and maximum of the metric in Table 7.
    """
    numbers = [number.value for number in claimed]
    held = [key for key in metrics if list(scores[model][key]) == numbers]
    computed = (
        f"{' / '.join(number.text for number in claimed)} stand in Table 6 under "
        f"{_list(held)}; {HEADINGS[named]} has "
        f"{_pair(scores[model][named])} there."
    )
    formula = "The column of Table 6 with these two numbers."
    return Result(formula, computed, CONSISTENT if held == [named] else CONTRADICTS)


def column_order(scores: Scores, above: str, below: str) -> Result:
    """Count cells where one column is above another that it cannot exceed under one reading."""
    pairs = [
        (row[above][place], row[below][place]) for row in scores.values() for place in (AVG, MAX)
    ]
    greater = sum(one > other for one, other in pairs)
    ranges = [f"{_real(min(column))}–{_real(max(column))}" for column in zip(*pairs, strict=True)]
    computed = (
        f"TF-IDF ({ranges[0]}) is above raw cosine ({ranges[1]}) in {greater} of {len(pairs)} "
        "cells; fitted on the two texts alone it never is."
    )
    formula = (
        "Fitted on two texts, TF-IDF weighs no shared word above one of a single text: the product "
        "of the vectors grows no more than their lengths."
    )
    return Result(formula, computed, OPEN if greater else CONSISTENT)


def dice_bound(scores: Scores, cosine: str, jaccard: str) -> Result:
    """Compute how widely the Jaccard index must vary if a column were the cosine of sets.

    For one pair, the cosine of the sets is at least Dice's coefficient, 2J / (1 + J). Over pairs,
    its mean may be lower than that of the mean J, but by at most twice the variance of J, because
    its second derivative is at least -4.
    """
    gaps, spreads = [], []
    for row in scores.values():
        mean = row[jaccard][AVG]
        gaps.append(2 * mean / (1 + mean) - row[cosine][AVG])
        spreads.append(math.sqrt(max(gaps[-1], 0) / 2))
    below = sum(gap > 0 for gap in gaps)
    computed = (
        f"Below 2J / (1 + J) of the mean J in {below} of {len(gaps)} models, by "
        f"{_real(min(gaps))} to {_real(max(gaps))}: J would need a standard deviation of at least "
        f"{_real(min(spreads), 2)} to {_real(max(spreads), 2)}."
    )
    formula = "Set cosine ≥ Dice = 2J / (1 + J) for each pair; mean Dice ≥ Dice(mean J) − 2 var(J)."
    return Result(formula, computed, OPEN if below else CONSISTENT)


def between(ablation: Mapping[str, Sequence[float]]) -> Result:
    """Count cells where the full output is between its parts, as it allegedly is in general."""
    words, inside, cells = [], 0, 0
    for place in (AVG, MAX):
        rows = [row[place::2] for row in ablation.values()]
        middle = sum(min(think, answer) < full < max(think, answer) for full, think, answer in rows)
        highest = sum(full > max(think, answer) for full, think, answer in rows)
        least = sum(full < min(think, answer) for full, think, answer in rows)
        inside, cells = inside + middle, cells + len(rows)
        words.append(
            f"{_place(place)}: between in {middle} of {len(rows)}, highest in {highest}, lowest in "
            f"{least}"
        )
    formula = "Full output beside both parts; generally is read as in more than half of the cells."
    return Result(
        formula, f"{'; '.join(words)}.", CONSISTENT if 2 * inside > cells else CONTRADICTS
    )


def best_part(ablation: Mapping[str, Sequence[float]], part: str) -> Result:
    """Find the lexical metrics in which a part scores highest, as it allegedly does."""
    own = PARTS.index(part)
    words, best = [], 0
    for place in (AVG, MAX):
        rows = {metric: ablation[metric][place::2] for metric in LEXICAL}
        highest = [
            m for m, row in rows.items() if row[own] == max(row) and row.count(row[own]) == 1
        ]
        tied = [m for m, row in rows.items() if row[own] == max(row) and row.count(row[own]) > 1]
        lowest = [m for m, row in rows.items() if row[own] == min(row)]
        best = max(best, len(highest))
        words.append(
            f"{_place(place)}: highest in {_list(highest)}, tied for it in {_list(tied)}, lowest "
            f"in {_list(lowest)}"
        )
    formula = "The part with the highest and the lowest score in each lexical metric."
    verdict = CONSISTENT if 2 * best > len(LEXICAL) else CONTRADICTS
    return Result(formula, f"{'; '.join(words)}.", verdict)


def gaps(scores: Scores) -> Result:
    """Compute the difference between the best and the second-best model in each column."""
    columns = []
    for place in (AVG, MAX):
        distances = []
        for metric in next(iter(scores.values())):
            first, second, *_ = sorted(
                (row[metric][place] for row in scores.values()), reverse=True
            )
            distances.append(first - second)
        columns.append(f"{_place(place)} {_real(min(distances))} to {_real(max(distances))}")
    computed = f"Best minus second: {'; '.join(columns)}. No M, no interval."
    return Result("Best minus second of each column.", computed, OPEN)


def _place(place: int) -> str:
    return ("Avg.", "Max")[place]


def _pair(numbers: Sequence[float]) -> str:
    return " / ".join(map(_real, numbers))


def _list(metrics: Sequence[str]) -> str:
    return ", ".join(HEADINGS[metric] for metric in metrics) or "none"


CHECKS: dict[str, Callable[..., Result]] = {
    name: value
    for name, value in list(globals().items())
    if inspect.isfunction(value) and value.__annotations__.get("return") is Result
}
"""The functions of this module that return a `Result`, by name."""
