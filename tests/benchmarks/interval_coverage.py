"""Benchmark of the intervals: how often those at 95% cover the true value, by simulation.

Run as `python tests/benchmarks/interval_coverage.py`. Every kind of interval that a table prints is
made many times, for samples of images of some classes that differ as the intraclass correlation
(ICC) says, and compared with the value of the population. For fixed classes the true value is that
of these classes; where there are fewer images than classes, those that have one are a random part.
A dash: the sample is too small for an interval. Ends with status 1 if a coverage is not between 92%
and 97%, by more than two standard errors of the simulation.

- mean: over all images.
- mean, few classes: of a number of fixed classes that is five times that of images.
- mean, part: over a quarter of the images, of those with the shortest responses.
- differences: of five models, all ten at once (Bonferroni).
- share: averaged over shares from 5% to 95%.
- share, several judges: the same of two judgements of each image, the second of which repeats the
  first for half of the images.
- alpha, kappa: of two judges who agree on 20% to 95% of the images, and on others by chance.
"""

import argparse
import math
import sys
from collections.abc import Callable, Iterator
from functools import partial
from itertools import combinations, product
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import numpy as np

from imagenet_think.analysis.intervals import Classes, Intervals, margins, shares
from imagenet_think.analysis.populations import DRAWN, FIXED
from imagenet_think.review.reliability import cohen, krippendorff

LEVEL = 0.95
WANTED = (0.92, 0.97)
ICCS = (0.0, 0.1, 0.3)
CLASSES = (10, 30, 100)
IMAGES = (30, 144, 1000)
SHARES = np.linspace(0.05, 0.95, 19)
AGREEMENT = (0.2, 0.5, 0.8, 0.95)
VALUES = np.array([0.6, 0.3, 0.1])  # of reviewers, as often by chance
MODELS = 5

Covered = np.ndarray
"""Whether the interval of each simulation covers the true value; NaN where there is none."""


def covered(low: np.ndarray, high: np.ndarray, truth: np.ndarray | float) -> Covered:
    """Return whether intervals cover the true values, NaN for intervals that are NaN."""
    return np.where(np.isnan(low), np.nan, (low <= truth) & (truth <= high))


def sample(
    draw: np.random.Generator, population: str, classes: int, images: int, runs: int
) -> tuple[Classes, np.ndarray]:
    """Return the images' classes, and the class effect's place of each image in each run.

    Images are spread evenly over the classes. If there are fewer images than classes, each run
    takes other classes.
    """
    codes = np.arange(images) % classes
    seen = min(images, classes) / classes if population == FIXED else 1.0
    chosen = np.argsort(draw.random((runs, classes)), axis=1)
    return Classes(codes, seen), chosen[:, codes]


def means(
    population: str, icc: float, classes: int, images: int, runs: int, part: bool = False
) -> Covered:
    """Simulate means of normal values; with `part`, over a random quarter of the images."""
    draw = np.random.default_rng([int(10 * icc), classes, images])
    known, places = sample(draw, population, classes, images, runs)
    effects = np.sqrt(icc) * draw.standard_normal((runs, classes))
    values = np.sqrt(1 - icc) * draw.standard_normal((runs, images))
    values += np.take_along_axis(effects, places, axis=1)
    if part:
        quarter = np.argsort(draw.random((runs, images)), axis=1) < images // 4
        values[~quarter] = np.nan
    middle = np.nanmean(values, axis=1)
    half = margins(values, known, Intervals(LEVEL, population))
    truth = effects.mean(axis=1) if population == FIXED else 0.0
    if population == FIXED and images % classes and images > classes:
        truth = np.take_along_axis(effects, places, axis=1).mean(axis=1)
    return covered(middle - half, middle + half, truth)


def differences(population: str, icc: float, classes: int, images: int, runs: int) -> Covered:
    """Simulate the differences of models that share half of the variance of an image."""
    draw = np.random.default_rng([int(10 * icc), classes, images])
    known, places = sample(draw, population, classes, images, runs)
    pairs = list(combinations(range(MODELS), 2))
    intervals = Intervals(1 - (1 - LEVEL) / len(pairs), population)
    effects = np.sqrt(icc) * draw.standard_normal((MODELS, runs, classes))
    # What the models share cancels out of their differences.
    values = np.sqrt((1 - icc) / 2) * draw.standard_normal((MODELS, runs, images))
    of_images = np.stack([np.take_along_axis(own, places, axis=1) for own in effects])
    evenly = images % classes == 0 or images < classes
    truths = effects.mean(axis=2) if evenly else of_images.mean(axis=2)
    truths = truths if population == FIXED else np.zeros((MODELS, runs))
    values += of_images
    found = []
    for one, other in pairs:
        own = values[one] - values[other]
        middle, half = own.mean(axis=1), margins(own, known, intervals)
        found.append(covered(middle - half, middle + half, truths[one] - truths[other]))
    return np.min(found, axis=0)  # NaN if one is


def shares_of(
    population: str, icc: float, classes: int, images: int, runs: int, judges: int = 1
) -> Covered:
    """Simulate shares; the classes' are of a beta distribution with this intraclass correlation."""
    draw = np.random.default_rng([int(10 * icc), classes, images])
    found = []
    for share in SHARES:
        known, places = sample(draw, population, classes, images, runs)
        of_class = np.full((runs, classes), share)
        if icc:
            size = (1 - icc) / icc
            of_class = draw.beta(share * size, (1 - share) * size, (runs, classes))
        of_image = np.take_along_axis(of_class, places, axis=1)
        judged = [(draw.random((runs, images)) < of_image) for _ in range(judges)]
        repeated = draw.random((runs, images)) < 0.5
        judged[1:] = [np.where(repeated, judged[0], own) for own in judged[1:]]
        counts = np.sum(judged, axis=0).astype(float)
        sizes = np.full((runs, images), float(judges))
        _, low, high = shares(counts, sizes, known, Intervals(LEVEL, population))
        truth: np.ndarray | float = share
        if population == FIXED:
            whole = images % classes == 0 or images < classes
            truth = of_class.mean(axis=1) if whole else of_image.mean(axis=1)
        found.append(covered(low, high, truth))
    return np.concatenate(found)


def coefficients(coefficient: Callable, images: int, runs: int) -> Covered:
    """Simulate coefficients of agreement on images of one class."""
    draw = np.random.default_rng(images)
    one_class, found = Classes(np.zeros(images, np.int64)), []
    for agreement in AGREEMENT:
        for _ in range(-(-runs // len(AGREEMENT))):
            one, other = draw.choice(len(VALUES), size=(2, images), p=VALUES)
            judged = np.stack([one, np.where(draw.random(images) < agreement, one, other)], axis=1)
            ends = coefficient(judged, len(VALUES), one_class, Intervals(LEVEL, FIXED))
            found.append(covered(np.array(ends.low), np.array(ends.high), agreement))
    return np.array(found)


KINDS: dict[str, Callable[..., Covered]] = {
    "mean": means,
    "mean, part": partial(means, part=True),
    "differences": differences,
    "share": shares_of,
    "share, several judges": partial(shares_of, judges=2),
}


def rows(runs: int) -> Iterator[tuple[str, list[float | None]]]:
    """Yield the name of each row of the table, and its coverages; None without an interval."""

    def rate(found: Covered) -> float | None:
        return float(np.nanmean(found)) if np.isfinite(found).any() else None

    cells = list(product(CLASSES, IMAGES))
    for (kind, simulated), population, icc in product(KINDS.items(), (FIXED, DRAWN), ICCS):
        name = f"{kind} | {population} | {icc}"
        yield name, [rate(simulated(population, icc, *cell, runs)) for cell in cells]
    for icc in ICCS:
        found = [rate(means(FIXED, icc, 5 * images, images, runs)) for images in IMAGES]
        yield f"mean, few classes | fixed | {icc}", [*found, *[None] * (len(cells) - len(IMAGES))]
    for kind, own in {"alpha": krippendorff, "kappa": cohen}.items():
        found = [rate(coefficients(own, images, runs)) for images in IMAGES]
        yield f"{kind} | one class | ", [*found, *[None] * (len(cells) - len(IMAGES))]


def main() -> None:
    """Print the table, and fail if a coverage is not as wanted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2000)
    runs = parser.parse_args().runs
    headings = [f"{classes}, {images:,}" for classes, images in product(CLASSES, IMAGES)]
    print(f"Coverage of intervals at {LEVEL:.0%} in {runs:,} simulations, by classes and images")
    print(f"| number | classes | ICC | {' | '.join(headings)} |")
    print(f"|{' --- |' * 3}{' ---: |' * len(headings)}", flush=True)
    wrong, error = 0, 2 * math.sqrt(WANTED[0] * (1 - WANTED[0]) / runs)
    least, most = WANTED[0] - error, WANTED[1] + error
    for name, found in rows(runs):
        wrong += sum(rate is not None and not least <= rate <= most for rate in found)
        shown = ["–" if rate is None else f"{rate:.1%}" for rate in found]
        print(f"| {name} | {' | '.join(shown)} |", flush=True)
    if wrong:
        sys.exit(f"{wrong} coverages are not between {WANTED[0]:.0%} and {WANTED[1]:.0%}")


if __name__ == "__main__":
    main()
