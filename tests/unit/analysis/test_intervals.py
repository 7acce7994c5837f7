import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import scipy.linalg
import scipy.stats
from tests.benchmarks.interval_coverage import END, KINDS, START, Design

from imagenet_think.analysis import intervals as module
from imagenet_think.analysis.intervals import (
    Classes,
    Intervals,
    classes_of,
    influence_margin,
    margins,
    shares,
)
from imagenet_think.analysis.populations import DRAWN, FIXED, LEAST

ROOT = Path(__file__).parents[3]
STRATA, CLUSTERS = Intervals(0.9, FIXED), Intervals(0.9, DRAWN)


def one_class(images: int) -> Classes:
    return Classes(np.zeros(images, np.int64))


def own_classes(images: int) -> Classes:
    return Classes(np.arange(images))


def values(images: int, rows: int = 1) -> np.ndarray:
    return np.random.default_rng(images).beta(2, 5, (rows, images))


def test_independent_images_have_the_interval_of_the_t_distribution():
    found = values(40, 3)
    expected = scipy.stats.t.ppf(0.95, 39) * scipy.stats.sem(found, axis=1)
    assert margins(found, one_class(40), STRATA) == pytest.approx(expected)
    assert margins(found, own_classes(40), CLUSTERS) == pytest.approx(expected)


@pytest.mark.parametrize("count", [0, 7, 40])
def test_independent_judgements_have_wilson_s_interval(count):
    judged = np.arange(40)[None] < count
    ends = scipy.stats.binomtest(count, 40).proportion_ci(0.9, method="wilson")
    for classes, intervals in ((one_class(40), STRATA), (own_classes(40), CLUSTERS)):
        found = shares(judged.astype(float), np.ones((1, 40)), classes, intervals)
        assert np.ravel(found) == pytest.approx([count / 40, ends.low, ends.high], abs=1e-12)


def test_clusters_are_those_of_cr2_and_satterthwaite():
    """Equations of Bell and McCaffrey with whole matrices, for the intercept of a regression."""
    draw = np.random.default_rng(3)
    codes = draw.integers(0, 12, 70)
    found = draw.normal(size=70) + draw.normal(size=12)[codes]
    residuals = np.eye(70) - np.full((70, 70), 1 / 70)
    parts, variance = [], 0.0
    for code in np.unique(codes):
        own = np.flatnonzero(codes == code)
        adjusted = np.linalg.inv(scipy.linalg.sqrtm(residuals[np.ix_(own, own)]).real)
        weights = adjusted @ np.ones(len(own)) / 70
        variance += (weights @ (found - found.mean())[own]) ** 2
        parts.append(residuals[own].T @ weights)
    # A total has a variance of its size to the power of 1.5.
    covariance = (codes[:, None] == codes) / np.sqrt(np.bincount(codes))[codes]
    products = np.array(parts) @ covariance @ np.array(parts).T
    freedom = np.trace(products) ** 2 / np.trace(products @ products)
    expected = scipy.stats.t.ppf(0.95, freedom) * np.sqrt(variance)
    assert margins(found[None], Classes(codes), CLUSTERS) == pytest.approx([expected])


def test_strata_are_those_of_a_stratified_mean():
    draw = np.random.default_rng(4)
    sizes = [5, 2, 9]
    codes = np.repeat(np.arange(3), sizes)
    found = draw.normal(size=16) + 3 * codes
    variance = sum(size * found[codes == code].var(ddof=1) for code, size in enumerate(sizes))
    expected = scipy.stats.t.ppf(0.95, 16 - 3) * np.sqrt(variance) / 16
    order = draw.permutation(16)
    assert margins(found[None, order], Classes(codes[order]), STRATA) == pytest.approx([expected])
    # A class of one image has the mean variance of the others.
    more = np.append(found, 0.5)
    within = [(size - 1) * found[codes == code].var(ddof=1) for code, size in enumerate(sizes)]
    whole = np.sqrt(variance + sum(within) / 13) / 17
    single = margins(more[None], Classes(np.append(codes, 3)), STRATA)
    assert single == pytest.approx([scipy.stats.t.ppf(0.95, 13) * whole])


def test_images_without_a_value_are_a_part_that_might_be_another():
    """Cochran's variance of the mean of a part, in whose classes all images count."""
    draw = np.random.default_rng(5)
    codes = np.repeat(np.arange(4), 15)
    found = draw.normal(size=60) + codes
    found[draw.random(60) < 0.6] = np.nan
    present = ~np.isnan(found)
    linear = np.where(present, found - np.nanmean(found), 0) / present.sum()
    variance = sum(15 * linear[codes == code].var(ddof=1) for code in range(4))
    number = present.sum()
    variance *= number / (number - 1) * 59 / 60
    expected = scipy.stats.t.ppf(0.95, number - 4) * np.sqrt(variance)
    assert margins(found[None], Classes(codes), STRATA) == pytest.approx([expected])
    # Of one class they change nothing.
    known = margins(found[present][None], one_class(number), STRATA)
    assert margins(found[None], one_class(60), STRATA) == pytest.approx(known)


def test_numbers_of_too_few_images_or_classes_have_no_interval():
    codes = np.arange(40) % LEAST
    assert np.isfinite(margins(values(40), Classes(codes), CLUSTERS)).all()
    assert np.isnan(margins(values(40), Classes(codes % (LEAST - 1)), CLUSTERS)).all()
    judged = np.ones((1, 40))
    share, low, high = shares(judged, judged, Classes(codes % (LEAST - 1)), CLUSTERS)
    assert share == [1]
    assert np.isnan([low, high]).all()
    for images, few in ((LEAST, False), (LEAST - 1, True)):
        assert np.isnan(margins(values(images), one_class(images), STRATA)) == few
        classes = Classes(np.append(np.zeros(images), 1))
        assert np.isnan(margins(values(images + 1), classes, STRATA)) == few
    assert np.isnan(margins(values(40), own_classes(40), STRATA)).all()
    assert np.isnan(margins(np.full((2, 20), np.nan), one_class(20), STRATA)).all()
    assert np.isnan(margins(np.zeros((2, 0)), one_class(0), CLUSTERS)).all()
    assert np.isnan(shares(np.zeros((1, 0)), np.zeros((1, 0)), one_class(0), STRATA)).all()


def test_fixed_classes_most_of_which_have_no_image_count_as_drawn():
    sample = pl.DataFrame({"image_id": [f"i{n}" for n in range(120)]})
    sample = sample.with_columns(wnid=pl.int_range(120) // 2)
    few = classes_of(sample["image_id"][:24:2], sample)
    assert few.seen == 0.2
    found = values(12)
    assert margins(found, few, STRATA) == margins(found, own_classes(12), CLUSTERS)
    more = classes_of(sample["image_id"][:40:2], sample)
    assert np.isnan(margins(values(20), more, STRATA)).all()


def test_an_image_that_is_not_in_the_sample_is_an_error():
    sample = pl.DataFrame({"image_id": ["a"], "wnid": ["n1"]})
    with pytest.raises(ValueError, match="image b is not in the sample"):
        classes_of(pl.Series(["a", "b"]), sample)


def test_several_judgements_of_an_image_that_agree_are_one_observation():
    judged = (np.random.default_rng(6).random((1, 120)) < 0.3).astype(float)
    for codes, intervals in ((np.arange(120) // 10, STRATA), (np.arange(120) // 6, CLUSTERS)):
        once = shares(judged, np.ones((1, 120)), Classes(codes), intervals)
        twice = shares(2 * judged, np.full((1, 120), 2.0), Classes(codes), intervals)
        assert np.ravel(once) == pytest.approx(np.ravel(twice), abs=2e-3)


def test_where_all_agree_images_or_classes_count_once():
    none, judged, codes = np.zeros((1, 60)), np.full((1, 60), 2.0), np.arange(60) % 15
    ends = [scipy.stats.binomtest(0, n).proportion_ci(0.9, method="wilson") for n in (60, 15)]
    _, low, high = shares(none, judged, Classes(codes), STRATA)
    assert (low, high) == (0, pytest.approx(ends[0].high, rel=0.03))
    _, low, high = shares(none, judged, Classes(codes), CLUSTERS)
    assert (low, high) == (0, pytest.approx(ends[1].high, rel=0.2))
    assert high > ends[1].high  # of 14 degrees of freedom


def test_what_images_change_gives_the_interval_of_a_mean():
    found, codes = values(200)[0], np.arange(200) % 20
    without = (found.sum() - found) / 199
    for intervals in (STRATA, CLUSTERS):
        expected = margins(found[None], Classes(codes), intervals)[0]
        got = influence_margin(found.mean() - without, Classes(codes), intervals)
        assert got == pytest.approx(expected, rel=0.01)


def test_equal_scores_have_an_interval_of_no_width():
    assert margins(np.full((1, 40), 0.75), one_class(40), STRATA) == [0]


def test_rows_that_are_processed_in_steps_give_the_same_numbers(monkeypatch):
    found, codes = values(60, 7), Classes(np.arange(60) % 12)
    whole = margins(found, codes, CLUSTERS)
    monkeypatch.setattr(module, "AT_ONCE", 120)
    assert margins(found, codes, CLUSTERS).tolist() == whole.tolist()


def test_the_differences_of_all_pairs_hold_at_once_by_the_studentized_range():
    found, codes = values(48, 3), Classes(np.arange(48) % 4)
    expected = scipy.stats.studentized_range.ppf(0.9, 5, 44) / np.sqrt(2)
    single = margins(found, codes, STRATA) / scipy.stats.t.ppf(0.95, 44)
    assert margins(found, codes, STRATA, compared=5) == pytest.approx(expected * single)
    assert np.isnan(margins(found[:, :8], Classes(np.zeros(8)), STRATA, compared=5)).all()


def test_fixed_classes_some_of_which_have_images_are_a_two_stage_sample():
    """Cochran's estimate for images of 12 of 20 classes, Satterthwaite's degrees of freedom."""
    draw = np.random.default_rng(7)
    found = draw.normal(size=(12, 4)) + draw.normal(size=(12, 1))
    between = found.mean(axis=1).var(ddof=1) / 12
    within = found.var(axis=1, ddof=1).mean() / 48
    parts = np.array([0.4 * between, 0.6 * within])
    freedom = parts.sum() ** 2 / (parts**2 / [11, 36]).sum()
    expected = scipy.stats.t.ppf(0.95, freedom) * np.sqrt(parts.sum())
    classes = Classes(np.repeat(np.arange(12), 4), seen=0.6)
    assert margins(found.reshape(1, -1), classes, STRATA) == pytest.approx([expected])
    assert margins(np.ones((1, 48)), classes, STRATA) == [0]
    few = Classes(np.repeat(np.arange(LEAST - 1), 4), seen=0.6)
    assert np.isnan(margins(found[: LEAST - 1].reshape(1, -1), few, STRATA)).all()


ROWS = [
    (kind, population) for kind, (populations, _) in KINDS.items() for population in populations
]


@pytest.mark.parametrize(("kind", "population"), ROWS)
def test_intervals_cover_the_true_value_as_often_as_they_say(kind, population):
    """A smaller seeded form of the benchmark: images of about the miniature's number of classes."""
    design = Design(population, 0.3, 24 if "half" in kind else 12, 144)
    runs = 400 if "share" in kind else 1200 if kind in ("kappa", "alpha, three judges") else 600
    covered = KINDS[kind][1](design, runs)
    assert np.isfinite(covered).mean() > 0.8
    assert 0.92 < np.nanmean(covered) < 0.98


def test_the_page_names_every_script_that_makes_intervals_and_every_kind():
    page = (ROOT / "docs" / "intervals.md").read_text()
    made = re.compile(r"\b(margins|influence_margin|shares|krippendorff|cohen|summarise)\(")
    own = ROOT / "scripts" / "imagenet_think"
    scripts = [path for path in (ROOT / "scripts").rglob("*.py") if own not in path.parents]
    makers = [
        path for path in scripts if "Intervals" in (text := path.read_text()) and made.search(text)
    ]
    assert len(makers) >= 5
    prose = page[: page.index(START)]
    assert not [path.stem for path in makers if f"`{path.stem}`" not in prose]
    measured = page[page.index(START) : page.index(END)]
    assert not [row for row in ROWS if f"| {row[0]} | {row[1]} | 0.3 |" not in measured]
    assert not [kind for kind in KINDS if f"*{kind}*" not in prose]
