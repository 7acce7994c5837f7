"""Inter-rater agreement: Cohen's kappa and Krippendorff's alpha, with intervals.

J. Cohen, A coefficient of agreement for nominal scales, 1960; K. Krippendorff, Computing
Krippendorff's alpha-reliability, 2011. All values are nominal.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from imagenet_think.analysis.intervals import Classes, Intervals, influence_margin

MISSING = -1
"""Code of a missing value."""

LEAST = 30
"""Images that two judged, below which a coefficient has no interval: from 12 images, intervals at
95% cover as few as 62% where one value prevails (`tests/benchmarks/interval_coverage.py`)."""


class Coefficient(NamedTuple):
    """A coefficient of agreement with its interval; NaN where undefined or unknown."""

    value: float
    low: float
    high: float


def krippendorff(
    values: np.ndarray, categories: int, classes: Classes, intervals: Intervals
) -> Coefficient:
    """Return Krippendorff's alpha for nominal values: 1 means agreement, 0 agreement by chance.

    It is undefined if no two judges judged the same image, or if every value is the same.

    Parameters
    ----------
    values
        Shape (images, judges): codes from 0, or `MISSING`. Images with fewer than two values are
        ignored.
    categories
        Number of codes.
    classes, intervals
        The images' classes, and how intervals are made.
    """
    counts = (values[:, :, None] == np.arange(categories)).sum(axis=1)
    total = counts.sum(axis=1)[:, None, None]
    # An image's pairs of values by category, in which each judge's value has a total weight of 1.
    pairs = counts[:, :, None] * (counts[:, None, :] - np.eye(categories))
    tables = np.where(total > 1, pairs / np.maximum(total - 1, 1), 0)
    return _with_interval(tables, classes, intervals, _alpha)


def cohen(
    values: np.ndarray, categories: int, classes: Classes, intervals: Intervals
) -> Coefficient:
    """Return Cohen's kappa of two judges over the images that both judged (`krippendorff`)."""
    tables = np.zeros((len(values), categories, categories))
    both = (values != MISSING).all(axis=1)
    tables[both, values[both, 0], values[both, 1]] = 1
    return _with_interval(tables, classes, intervals, _kappa)


def _alpha(tables: np.ndarray) -> np.ndarray:
    """Return alpha for coincidence matrices, shape (..., categories, categories)."""
    totals = tables.sum(axis=-1)
    number = totals.sum(axis=-1)
    observed = number - np.trace(tables, axis1=-2, axis2=-1)
    expected = number**2 - (totals**2).sum(axis=-1)
    return _divide(expected - (number - 1) * observed, expected)


def _kappa(tables: np.ndarray) -> np.ndarray:
    """Return kappa for contingency tables, shape (..., categories, categories)."""
    number = tables.sum(axis=(-2, -1))
    agreed = np.trace(tables, axis1=-2, axis2=-1) * number
    chance = (tables.sum(axis=-1) * tables.sum(axis=-2)).sum(axis=-1)
    return _divide(agreed - chance, number**2 - chance)


def _divide(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Return quotients; NaN where the divisor is 0."""
    quotients = np.full(np.shape(below), np.nan)
    # For values that are all the same, rounding leaves a small remainder.
    return np.divide(above, below, out=quotients, where=below > 1e-9)


def _with_interval(
    tables: np.ndarray,
    classes: Classes,
    intervals: Intervals,
    coefficient: Callable[[np.ndarray], np.ndarray],
) -> Coefficient:
    """Return a coefficient for the sum of the images' tables, with its interval.

    The interval is that of log(1 - coefficient), from what each image changes (the jackknife), or
    each class where classes are clusters, so that it is wider below than above. Where all agree, or
    all but on one image (or in one class), there is none.
    """
    judged = np.flatnonzero(tables.any(axis=(1, 2)))
    tables, nothing = tables[judged], Coefficient(np.nan, np.nan, np.nan)
    if not len(tables):
        return nothing
    total = tables.sum(axis=0)
    value = float(coefficient(total))
    units = np.arange(len(tables))
    if classes.are_clusters(intervals.population):
        units = np.unique(classes.codes[judged], return_inverse=True)[1]
    number = np.bincount(units)
    removed = np.zeros((len(number), *total.shape))
    np.add.at(removed, units, tables)
    without = coefficient(total - removed)
    if len(tables) < LEAST or not (value < 1 and (without < 1).all()):
        return nothing._replace(value=value)
    changes = (math.log(1 - value) - np.log(1 - without)) * (1 - number / len(tables))
    margin = influence_margin((changes / number)[units], classes.of(judged), intervals)
    low, high = (1 - (1 - value) * math.exp(sign * margin) for sign in (1, -1))
    return Coefficient(value, low, high)
