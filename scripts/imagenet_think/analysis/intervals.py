"""Confidence intervals of means, shares and other statistics of images that have classes.

The interval depends on the population that a number is about. For fixed classes, other images
might have been taken of the same classes: classes are strata, and only the variance within them
counts. For drawn classes, other classes might have been taken as well: classes are clusters. Both
are in closed form, from the statistic's linearised values (one number per image), so that a mean,
a share of several judgements per image and a coefficient of agreement differ only in these.

References
----------
.. [1] W. G. Cochran, Sampling Techniques, 3rd ed., 1977: sections 5.5 (stratified means), 5A.14
   (means of a part of the sample), 10.4 (two stages: images of some classes) and 11.2 (ratios).
.. [2] R. M. Bell, D. F. McCaffrey, Bias reduction in standard errors for linear regression with
   multi-stage samples, Survey Methodology 28 (2002): CR2, with Satterthwaite's degrees of freedom.
.. [3] E. L. Korn, B. I. Graubard, Confidence intervals for proportions with small expected number
   of positive counts estimated from survey data, Survey Methodology 24 (1998): the effective
   sample size.
.. [4] C. Franco, R. J. A. Little, T. A. Louis, E. V. Slud, Comparative study of confidence
   intervals for proportions in complex sample surveys, Journal of Survey Statistics and
   Methodology 7 (2019): the same in Wilson's interval.
.. [5] P. A. Games, J. F. Howell, Pairwise multiple comparison procedures with unequal n's and/or
   variances, Journal of Educational Statistics 1 (1976): Tukey's studentized range with each
   difference's own variance and degrees of freedom.

`tests/benchmarks/interval_coverage.py` simulates how often these intervals cover the true value
(`docs/intervals.md`).
"""

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import polars as pl
from scipy.special import ndtri, stdtrit
from scipy.stats import studentized_range

from imagenet_think.analysis.populations import DRAWN, FIXED, LEAST

FEW_SEEN = 0.2
"""Share of fixed classes with an image up to which they count as drawn: those that do have images,
hardly ever more than one, are then a sample of the classes, and the variance within them is
unknown. With more of them, such an interval would be too wide."""

PRIOR = 5
"""Degrees of freedom with which the design effect of a share, for fixed classes, is drawn to that
of independent images: from few images it is too uncertain, and 0 for a few positive ones."""

AT_ONCE = 2**22
"""Numbers processed at once."""


@dataclass(frozen=True)
class Intervals:
    """How intervals are made: confidence level in (0, 1), and population (`FIXED` or `DRAWN`)."""

    level: float
    population: str


@dataclass(frozen=True)
class Classes:
    """The classes of some images.

    Attributes
    ----------
    codes
        A number per image, equal for images of one class, shape (images,).
    seen
        Share of the population's classes that have one of the images.
    """

    codes: np.ndarray
    seen: float = 1.0

    def of(self, chosen: np.ndarray) -> "Classes":
        """Return the classes of the images at these places, which are a part of all."""
        return Classes(self.codes[chosen], self.seen)

    def are_clusters(self, population: str) -> bool:
        """Return whether images of one class count as one observation."""
        return population == DRAWN or self.seen <= FEW_SEEN


def classes_of(images: pl.Series, sample: pl.DataFrame) -> Classes:
    """Return the classes of images; ValueError for one that is not in the sample.

    `sample` has the columns image_id and wnid. All its classes are the population.
    """
    known = sample.select(image_id="image_id", code=pl.col("wnid").rank("dense").cast(pl.Int64))
    found = images.to_frame("image_id").join(
        known, on="image_id", how="left", maintain_order="left"
    )
    unknown = found.filter(pl.col("code").is_null())
    if len(unknown):
        raise ValueError(
            f"image {unknown['image_id'][0]} is not in the sample; both must come from the same run"
        )
    seen = found["code"].n_unique() / max(known["code"].n_unique(), 1)
    return Classes(found["code"].to_numpy(), seen)


def margins(
    values: np.ndarray, classes: Classes, intervals: Intervals, compared: int = 2
) -> np.ndarray:
    """Return half the widths of the intervals of means over images.

    Parameters
    ----------
    values
        Shape (rows, images); NaN where an image has no value by chance, so that it might have been
        another one. An image that could not have one must be left out.
    classes
        Those of the images.
    intervals
        See `Intervals`.
    compared
        For values that are differences: of how many means. The intervals of the differences of all
        pairs of them then hold at once [5]_.

    Returns
    -------
    numpy.ndarray
        Shape (rows,); NaN for a row with too few images or classes (`LEAST`).
    """
    found = np.full(len(values), np.nan)
    step = max(1, AT_ONCE // max(values.shape[1], 1))
    for start in range(0, len(values), step):
        rows = values[start : start + step]
        sizes = (~np.isnan(rows)).astype(np.float64)
        linearised = _linearised(np.nan_to_num(rows), sizes)
        variances, freedom, _ = _variances(linearised, sizes, classes, intervals)
        quantiles = (
            stdtrit(freedom, (1 + intervals.level) / 2)
            if compared <= 2
            else [_simultaneous(own, compared, intervals.level) for own in freedom.tolist()]
        )
        found[start : start + step] = quantiles * np.sqrt(variances)
    return found


@cache
def _simultaneous(freedom: float, compared: int, level: float) -> float:
    """Return the quantile for the differences of all pairs of means; of 2 means, that of t."""
    return float(studentized_range.ppf(level, compared, freedom)) / math.sqrt(2)


def influence_margin(influences: np.ndarray, classes: Classes, intervals: Intervals) -> float:
    """Return half the width of the interval of any smooth statistic; NaN as for `margins`.

    `influences`, shape (images,), is how much each image changes the statistic: its value less the
    one without this image.
    """
    rows = (influences - influences.mean())[None]
    variances, freedom, _ = _variances(rows, np.ones_like(rows), classes, intervals)
    return float(stdtrit(freedom[0], (1 + intervals.level) / 2) * np.sqrt(variances[0]))


def shares(
    counts: np.ndarray, sizes: np.ndarray, classes: Classes, intervals: Intervals
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return shares and the ends of their intervals: Wilson's, with an effective sample size.

    The design effect is the variance next to that of independent judgements [3]_ [4]_. Where all
    judgements agree it is unknown: each image (of fixed classes) or class (drawn) then counts once.

    Parameters
    ----------
    counts, sizes
        How many judgements of an image are positive, and how many there are (0 for none), both of
        shape (rows, images).
    classes, intervals
        As for `margins`.

    Returns
    -------
    tuple of numpy.ndarray
        Three arrays of shape (rows,). A row without a judgement has no share (NaN), one with too
        few images or classes no interval.
    """
    total, images = sizes.sum(axis=1), np.count_nonzero(sizes, axis=1)
    variances, freedom, units = _variances(_linearised(counts, sizes), sizes, classes, intervals)
    tail = (1 + intervals.level) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        share = counts.sum(axis=1) / total
        independent = share * (1 - share) / (total - 1)
        effect = np.where(independent > 0, variances / independent, total / units)
        if intervals.population == FIXED and classes.seen >= 1:
            effect = (freedom * effect + PRIOR * total / images) / (freedom + PRIOR)
        quantile = ndtri(tail) * stdtrit(freedom, tail) / stdtrit(images - 1, tail)
        scale = quantile**2 * effect / total
        middle = (share + scale / 2) / (1 + scale)
        margin = np.sqrt(scale * (share * (1 - share) + scale / 4)) / (1 + scale)
    # Rounding must not exclude 0 or 1.
    return share, np.minimum(middle - margin, share), np.maximum(middle + margin, share)


def _linearised(totals: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return the linearised values of ratios, whose sum over images is 0 [1]_."""
    number = sizes.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (totals - sizes * (totals.sum(axis=1, keepdims=True) / number)) / number


def _variances(
    linearised: np.ndarray, sizes: np.ndarray, classes: Classes, intervals: Intervals
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return variances, their degrees of freedom, and how many units they are from.

    `linearised` and `sizes` have the shape (rows, images). A unit is an image that has a value, or
    a class with such an image. Variances and degrees of freedom are NaN where there are too few.
    """
    order = np.argsort(classes.codes, kind="stable")
    codes = classes.codes[order]
    starts = np.flatnonzero(np.r_[True, codes[1:] != codes[:-1]][: len(codes)])
    linearised, sizes = linearised[:, order], sizes[:, order]
    totals, of_classes = (np.add.reduceat(each, starts, axis=1) for each in (linearised, sizes))
    between, of_between = _between(totals, of_classes)
    if classes.are_clusters(intervals.population):
        return between, of_between, np.count_nonzero(of_classes, axis=1)
    variances, freedom = _within(linearised, totals, sizes, starts)
    if classes.seen < 1:  # the classes that have images are a sample: two stages [1]_
        parts = np.stack([classes.seen * variances, (1 - classes.seen) * between])
        variances, frees = parts.sum(axis=0), np.stack([freedom, of_between])
        with np.errstate(invalid="ignore"):
            combined = variances**2 / (parts**2 / frees).sum(axis=0)
        freedom = np.where(variances == 0, frees.sum(axis=0), combined)
    return variances, freedom, np.count_nonzero(sizes, axis=1)


def _between(totals: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return variances and degrees of freedom from the sums of clusters: CR2 of an intercept [2]_.

    The degrees of freedom are Satterthwaite's for totals whose variance grows as the 1.5th power of
    a cluster's size: between images that are independent and all alike. Both are NaN for too few
    clusters.
    """
    number = sizes.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        weights = sizes / number
        scales, supposed = 1 / (1 - weights), weights**1.5
        whole = supposed.sum(axis=1, keepdims=True)
        # The covariances of the scaled totals: what they have in common, and their own variances.
        common = scales * (whole * weights**2 - 2 * weights * supposed)
        own = common + scales * supposed
        first, second, third = (
            (scales * weights ** (2 - power) * supposed**power).sum(axis=1) for power in range(3)
        )
        squares = (own**2 - common**2).sum(axis=1) + (whole[:, 0] * first) ** 2
        squares += 2 * first * third + 2 * second**2 - 4 * whole[:, 0] * first * second
        variances, freedom = (totals**2 * scales).sum(axis=1), own.sum(axis=1) ** 2 / squares
    return _where(np.count_nonzero(sizes, axis=1) >= LEAST, variances, freedom)


def _within(
    linearised: np.ndarray, totals: np.ndarray, sizes: np.ndarray, starts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return variances and degrees of freedom within strata, which begin at `starts`.

    `totals` are the strata's sums. Images without a value count, as those outside a part of a
    stratified sample do [1]_. A stratum of one image has the mean variance of the others. Both are
    NaN for too few images.
    """
    images = np.diff(starts, append=linearised.shape[1])
    several = images > 1
    squares = np.add.reduceat(linearised**2, starts, axis=1)
    squares -= totals**2 / images
    squares = np.maximum(squares, 0)
    present = np.add.reduceat(sizes > 0, starts, axis=1, dtype=np.int64)
    variances = (squares * np.where(several, images / np.maximum(images - 1, 1), 0)).sum(axis=1)
    pooled = squares[:, several].sum(axis=1) / max((images[several] - 1).sum(), 1)
    variances += pooled * present[:, ~several].sum(axis=1)
    # As if the mean were that of the images with a value in advance; 1 if all have one.
    number = present.sum(axis=1)
    variances *= number / np.maximum(number - 1, 1) * (1 - 1 / max(images.sum(), 1))
    freedom = np.maximum(present[:, several] - 1, 0).sum(axis=1)
    return _where(freedom >= LEAST - 1, variances, freedom)


def _where(
    enough: np.ndarray, variances: np.ndarray, freedom: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return both, NaN where there are not enough images or classes for them."""
    return np.where(enough, variances, np.nan), np.where(enough, freedom, np.nan)
