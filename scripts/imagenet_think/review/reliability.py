"""Inter-rater agreement: Cohen's kappa and Krippendorff's alpha, with intervals.

J. Cohen, A coefficient of agreement for nominal scales, 1960; K. Krippendorff, Computing
Krippendorff's alpha-reliability, 2011. All values are nominal.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from imagenet_think.analysis.resampling import Intervals, percentiles, resampled_means

MISSING = -1
"""Code of a missing value."""


class Coefficient(NamedTuple):
    """A coefficient of agreement with its interval; NaN where undefined."""

    value: float
    low: float
    high: float


def krippendorff(
    values: np.ndarray, categories: int, clusters: Sequence[int], intervals: Intervals
) -> Coefficient:
    """Return Krippendorff's alpha for nominal values.

    Parameters
    ----------
    values
        Shape (units, judges): codes from 0, or `MISSING`. Units with fewer than two values are
        ignored.
    categories
        Number of codes.
    clusters
        The image of each unit, from 0. Images are resampled, with all their units.
    intervals
        How images are resampled.

    Returns
    -------
    Coefficient
        1 means agreement, 0 agreement by chance. It is undefined if no two judges judged the same
        unit, or if all gave the same value everywhere.
    """
    tables = np.stack([_coincidences(unit, categories) for unit in values]) if len(values) else None
    return _with_interval(tables, categories, clusters, intervals, _alpha)


def cohen(
    values: np.ndarray, categories: int, clusters: Sequence[int], intervals: Intervals
) -> Coefficient:
    """Return Cohen's kappa of two judges over the units that both judged.

    Parameters
    ----------
    values
        Shape (units, 2), as for `krippendorff`.
    categories, clusters, intervals
        As for `krippendorff`.
    """
    tables = np.zeros((len(values), categories, categories))
    both = (values != MISSING).all(axis=1)
    tables[both, values[both, 0], values[both, 1]] = 1
    return _with_interval(tables, categories, clusters, intervals, _kappa)


def _coincidences(unit: np.ndarray, categories: int) -> np.ndarray:
    """Return a unit's pairs of values by category; each judge's value has a total weight of 1."""
    counts = np.bincount(unit[unit != MISSING], minlength=categories).astype(float)
    total = counts.sum()
    if total < 2:
        return np.zeros((categories, categories))
    return (np.outer(counts, counts) - np.diag(counts)) / (total - 1)


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
    tables: np.ndarray | None,
    categories: int,
    clusters: Sequence[int],
    intervals: Intervals,
    coefficient: Callable[[np.ndarray], np.ndarray],
) -> Coefficient:
    """Return a coefficient for the sum of the units' tables, and its percentiles over images."""
    if tables is None or not tables.any():
        return Coefficient(np.nan, np.nan, np.nan)
    value = float(coefficient(tables.sum(axis=0)))
    places = np.unique(np.asarray(clusters)[tables.any(axis=(1, 2))], return_inverse=True)[1]
    images = places.max() + 1
    sums = np.zeros((images, categories, categories))
    np.add.at(sums, places, tables[tables.any(axis=(1, 2))])
    means = resampled_means(sums.reshape(images, -1), intervals)
    drawn = coefficient(means.reshape(-1, categories, categories) * images)
    low, high = percentiles(drawn[:, None], intervals.level)
    return Coefficient(value, float(low[0]), float(high[0]))
