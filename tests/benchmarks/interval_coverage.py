"""Benchmark of the intervals: how often those at 95% cover the true value, by simulation.

Run as `python tests/benchmarks/interval_coverage.py`. Every kind of interval that a table prints
(`KINDS`) is made many times, for samples of images of some classes that differ as the intraclass
correlation (ICC) says, and compared with the value of the population. For fixed classes the true
value is that of these classes; where only some of them have images, these are a random part.
Ends with status 1 if a coverage is not between 92% and 97%; the standard error of the simulation is
stated, not allowed for. `--page` writes the tables into the page that documents the intervals.
"""

import argparse
import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations, product
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import numpy as np
import polars as pl

from imagenet_think.analysis.intervals import Classes, Intervals, margins, shares
from imagenet_think.analysis.populations import DRAWN, FIXED
from imagenet_think.core.schemas import SAME_CLASS
from imagenet_think.metrics.pairs import partners
from imagenet_think.review.reliability import MISSING, cohen, krippendorff

LEVEL = 0.95
WANTED = (0.92, 0.97)
ICCS = (0.0, 0.1, 0.3)
IMAGES = (30, 144, 1000)
CELLS = [*product((10, 30, 100), IMAGES), *((5 * images, images) for images in IMAGES)]
"""Numbers of classes and images; the last ones are those of a small part of many classes."""

SHARES = np.linspace(0.05, 0.95, 19)
AGREEMENT = (0.2, 0.5, 0.8, 0.95)
VALUES = np.array([0.6, 0.3, 0.1])  # of reviewers, as often by chance
MODELS = np.linspace(0.5, 1.5, 5)
"""Standard deviations of the models' scores."""

BATCH = 2000
"""Simulations at once."""

SELDOM = 0.05
"""Share of samples with an interval below which a coverage is not stated."""

START, END = "<!-- coverage -->", "<!-- end of coverage -->"
"""The lines of the page between which the tables are."""

Covered = np.ndarray
"""Whether the interval of each simulation covers the true value; NaN where there is none."""


@dataclass(frozen=True)
class Design:
    """A population, and how images are taken from it.

    Attributes
    ----------
    population, icc, classes, images
        `FIXED` or `DRAWN`, the intraclass correlation, and how many there are.
    present
        Share of the fixed classes that have images, at most.
    even
        Whether classes are of equal size. If not, these grow linearly, and the smallest may have no
        image.
    """

    population: str
    icc: float
    classes: int
    images: int
    present: float = 1.0
    even: bool = True
    seed: int = 0

    @property
    def number(self) -> int:
        """Number of classes with images. Classes are alike, so that these may be the first ones."""
        return min(int(self.classes * self.present), self.images)

    def sampled(self) -> Classes:
        """Return the images' classes."""
        codes = np.arange(self.images) % self.number
        if not self.even:
            codes = np.floor(self.number * np.sqrt((np.arange(self.images) + 0.5) / self.images))
            codes = np.unique(codes, return_inverse=True)[1]
        return Classes(codes, self.number / self.classes if self.population == FIXED else 1.0)

    def shape(self, runs: int) -> tuple[int, int]:
        """Return the shape of the classes' values, of those that matter."""
        return runs, self.classes if self.population == FIXED else self.number

    def truth(self, of_class: np.ndarray, codes: np.ndarray, drawn: float) -> np.ndarray | float:
        """Return what the mean over images of these classes estimates; `drawn` of drawn classes."""
        if self.population == DRAWN:
            return drawn
        return (of_class if self.number < self.classes else of_class[:, codes]).mean(axis=1)

    @property
    def intervals(self) -> Intervals:
        return Intervals(LEVEL, self.population)

    def generator(self) -> np.random.Generator:
        return np.random.default_rng([self.seed, int(10 * self.icc), self.classes, self.images])


def covered(low: np.ndarray, high: np.ndarray, truth: np.ndarray | float) -> Covered:
    """Return whether intervals cover the true values, NaN for intervals that are NaN."""
    return np.where(np.isnan(low), np.nan, (low <= truth) & (truth <= high))


def normal(draw: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return draw.standard_normal(shape)


def exponential(draw: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return draw.standard_exponential(shape) - 1


def values_of(
    design: Design, runs: int, draw: np.random.Generator, distributed: Callable = normal
) -> tuple[np.ndarray, np.ndarray]:
    """Return values of classes and of images, with a variance of 1."""
    effects = np.sqrt(design.icc) * distributed(draw, design.shape(runs))
    own = np.sqrt(1 - design.icc) * distributed(draw, (runs, design.images))
    return effects, own + effects[:, design.sampled().codes]


def means(design: Design, runs: int, part: bool = False, distributed: Callable = normal) -> Covered:
    """Simulate means; with `part`, over a random quarter of the images."""
    draw, known = design.generator(), design.sampled()
    effects, values = values_of(design, runs, draw, distributed)
    if part:
        quarter = np.argsort(draw.random(values.shape), axis=1) < design.images // 4
        values[~quarter] = np.nan
    middle = np.nanmean(values, axis=1)
    half = margins(values, known, design.intervals)
    return covered(middle - half, middle + half, design.truth(effects, known.codes, 0.0))


def differences(design: Design, runs: int) -> Covered:
    """Simulate the differences of models; what they share cancels out of these."""
    draw, known = design.generator(), design.sampled()
    models = [[scale * own for own in values_of(design, runs, draw)] for scale in MODELS]
    found = []
    for one, other in combinations(models, 2):
        effects, values = (own - same for own, same in zip(one, other, strict=True))
        half = margins(values, known, design.intervals, compared=len(MODELS))
        middle = values.mean(axis=1)
        truth = design.truth(effects, known.codes, 0.0)
        found.append(covered(middle - half, middle + half, truth))
    return np.min(found, axis=0)  # NaN if one is


def baselines(design: Design, runs: int) -> Covered:
    """Simulate means over pairs of images of a class, whose values are sums of the images'."""
    known = design.sampled()
    images = pl.DataFrame({"image_id": np.arange(design.images), "wnid": known.codes})
    pairs = partners(images.cast(pl.String), 0).drop_nulls(SAME_CLASS)
    if pairs.is_empty():
        return np.full(runs, np.nan)
    one, other = (pairs[name].cast(pl.Int64).to_numpy() for name in ("image_id", SAME_CLASS))
    effects, values = values_of(design, runs, design.generator())
    own = values[:, one] + values[:, other]
    middle, half = own.mean(axis=1), margins(own, known.of(one), design.intervals)
    truth = 2 * np.asarray(design.truth(effects, known.codes[one], 0.0))
    return covered(middle - half, middle + half, truth)


def beta(draw: np.random.Generator, mean: float, icc: float, shape: tuple[int, ...]) -> np.ndarray:
    """Draw the classes' shares, with this intraclass correlation of what has them."""
    size = (1 - icc) / icc if icc else 0
    return draw.beta(mean * size, (1 - mean) * size, shape) if size else np.full(shape, mean)


def shares_of(design: Design, runs: int, judges: int = 1) -> Covered:
    """Simulate shares of judgements, each of `SHARES` a quarter of `runs` times.

    A second judge repeats the first for half of the images.
    """
    draw, known, found = design.generator(), design.sampled(), []
    for share in SHARES:
        of_class = beta(draw, share, design.icc, design.shape(runs // 4))
        of_image = of_class[:, known.codes]
        judged = [(draw.random(of_image.shape) < of_image) for _ in range(judges)]
        repeated = draw.random(of_image.shape) < 0.5
        judged[1:] = [np.where(repeated, judged[0], own) for own in judged[1:]]
        counts = np.sum(judged, axis=0).astype(float)
        sizes = np.full(counts.shape, float(judges))
        _, low, high = shares(counts, sizes, known, design.intervals)
        found.append(covered(low, high, design.truth(of_class, known.codes, share)))
    return np.concatenate(found)


def coefficients(design: Design, runs: int, coefficient: Callable, judges: int = 2) -> Covered:
    """Simulate coefficients of agreement, for each of `AGREEMENT` a quarter of `runs` times.

    Each judge gives an image's own value, or one by chance, both as frequent as in the class. A
    third judge judges half of the images.
    """
    draw, known, found = design.generator(), design.sampled(), []
    shape, categories = design.shape(runs // 4), range(len(VALUES))
    for mean in AGREEMENT:
        agreement = beta(draw, mean, design.icc, shape)
        frequent = np.broadcast_to(VALUES, (*shape, len(VALUES)))
        if design.icc:
            frequent = draw.dirichlet(VALUES * (1 - design.icc) / design.icc, shape)
        bounds = frequent.cumsum(axis=2)[:, known.codes, :-1]
        certain = np.sqrt(agreement)[:, known.codes]
        own, *by_chance = (
            (draw.random((*certain.shape, 1)) > bounds).sum(axis=2) for _ in range(judges + 1)
        )
        judged = np.stack(
            [np.where(draw.random(own.shape) < certain, own, value) for value in by_chance], axis=2
        )
        judged[..., 2:][draw.random(judged[..., 2:].shape) < 0.5] = MISSING
        # How often two judges agree, and would by chance; of drawn classes on average.
        squares = (VALUES**2 + VALUES * (1 - VALUES) * design.icc).sum()
        alike = design.truth(
            agreement + (1 - agreement) * (frequent**2).sum(axis=2),
            known.codes,
            mean + (1 - mean) * squares,
        )
        chance = sum(
            np.square(design.truth(frequent[..., value], known.codes, VALUES[value]))
            for value in categories
        )
        ends = [coefficient(each, len(VALUES), known, design.intervals) for each in judged]
        low, high = np.array([(end.low, end.high) for end in ends]).T
        found.append(covered(low, high, (alike - chance) / (1 - chance)))
    return np.concatenate(found)


Simulated = Callable[[Design, int], Covered]


def uneven(simulated: Simulated) -> Simulated:
    return lambda design, runs: simulated(replace(design, even=False), runs)


def half_present(simulated: Simulated) -> Simulated:
    return lambda design, runs: simulated(replace(design, present=0.5), runs)


BOTH = (FIXED, DRAWN)

Kinds = Mapping[str, tuple[Sequence[str], Simulated]]
"""The populations of each kind, and how it is simulated."""

KINDS: Kinds = {
    "mean": (BOTH, means),
    "mean, uneven classes": (BOTH, uneven(means)),
    "mean, half of the classes": ((FIXED,), half_present(means)),
    "mean, part of the images": (BOTH, partial(means, part=True)),
    "differences of five models": (BOTH, differences),
    "baseline, uneven classes": (BOTH, uneven(baselines)),
    "share": (BOTH, shares_of),
    "share, uneven classes": (BOTH, uneven(shares_of)),
    "share, half of the classes": ((FIXED,), half_present(shares_of)),
    "share, two judges": (BOTH, partial(shares_of, judges=2)),
    "kappa": (BOTH, partial(coefficients, coefficient=cohen)),
    "alpha, three judges": (BOTH, partial(coefficients, coefficient=krippendorff, judges=3)),
}

SKEWED: Kinds = {
    "mean, exponential": (BOTH, partial(means, distributed=exponential)),
}
"""Kinds that are shown, but need not be as wanted."""


def coverages(simulated: Simulated, population: str, icc: float, runs: int) -> list[float]:
    """Return the coverages by cell; NaN where hardly any sample has an interval."""
    rates = []
    for cell in CELLS:
        designs = (Design(population, icc, *cell, seed=seed) for seed in range(-(-runs // BATCH)))
        found = np.concatenate([simulated(design, min(runs, BATCH)) for design in designs])
        some = np.isfinite(found).mean() >= SELDOM
        rates.append(float(np.nanmean(found)) if some else math.nan)
    return rates


def table(kinds: Kinds, chosen: Sequence[str], runs: int, known: Sequence[str]) -> list[str]:
    """Return the lines of a table, and print them; of kinds that are not chosen those `known`."""
    headings = [f"{classes:,}, {images:,}" for classes, images in CELLS]
    lines = [
        f"| number | classes | ICC | {' | '.join(headings)} |",
        f"|{' --- |' * 3}{' ---: |' * len(headings)}",
    ]
    print(*lines, sep="\n", flush=True)
    for kind, (populations, simulated) in kinds.items():
        if kind not in chosen:
            lines += [line for line in known if line.startswith(f"| {kind} |")]
            continue
        for population, icc in product(populations, ICCS):
            found = coverages(simulated, population, icc, runs)
            shown = ["–" if math.isnan(rate) else f"{rate:.1%}" for rate in found]
            lines.append(f"| {kind} | {population} | {icc} | {' | '.join(shown)} |")
            print(lines[-1], flush=True)
    return lines


def main() -> None:
    """Print the tables, and fail if a coverage is not as wanted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--runs", type=int, default=8000, help="simulations of each cell, in steps of 2,000"
    )
    parser.add_argument("--kinds", nargs="*", default=[*KINDS, *SKEWED], help="the first columns")
    parser.add_argument("--page", type=Path, help="also replace their rows in this page")
    options = parser.parse_args()
    error = math.sqrt(LEVEL * (1 - LEVEL) / options.runs)
    about = (
        f"Coverage of intervals at {LEVEL:.0%} by numbers of classes and images, with a standard "
        f"error of {error:.2%}: in {options.runs:,} simulations, of shares and coefficients of "
        f"agreement {options.runs // 4:,} for each value that is averaged over."
    )
    print(about)
    text = options.page.read_text() if options.page else ""
    judged, skewed = (
        table(kinds, options.kinds, options.runs, text.splitlines()) for kinds in (KINDS, SKEWED)
    )
    rates = [float(rate) / 100 for line in judged for rate in re.findall(r"([\d.]+)%", line)]
    wrong = [rate for rate in rates if not WANTED[0] <= rate <= WANTED[1]]
    result = f"{len(rates)} coverages, from {min(rates):.1%} to {max(rates):.1%}."
    if options.page:
        lines = [START, about, "", *judged, "", result, "", *skewed, END]
        before, after = text.split(START)[0], text.split(END)[1]
        options.page.write_text(before + "\n".join(lines) + after)
    if wrong:
        sys.exit(f"{len(wrong)} are not between {WANTED[0]:.0%} and {WANTED[1]:.0%}: {result}")
    print(result)


if __name__ == "__main__":
    main()
