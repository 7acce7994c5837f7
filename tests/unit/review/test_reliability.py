import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from nltk.metrics.agreement import AnnotationTask
from sklearn.metrics import cohen_kappa_score

from imagenet_think.analysis.intervals import Classes, Intervals
from imagenet_think.review.reliability import LEAST, MISSING, cohen, krippendorff

INTERVALS = Intervals(0.9, "fixed")


def alpha(values, categories=5):
    """Of images of one class."""
    return krippendorff(
        np.array(values), categories, Classes(np.zeros(len(values), int)), INTERVALS
    )


def kappa(values, categories=5):
    """Of images of one class."""
    return cohen(np.array(values), categories, Classes(np.zeros(len(values), int)), INTERVALS)


def units(*judges: str) -> np.ndarray:
    """Return values by unit from one text per judge: a digit per unit, or a point if missing."""
    return np.array(
        [[MISSING if mark == "." else int(mark) for mark in judge] for judge in judges]
    ).T


@pytest.mark.parametrize(
    ("judges", "wanted"),
    [
        (["0100000010", "1110010000"], 0.095),
        (["001132224330", "101112224333"], 0.692),
        (["123321412...", "1233224125.3", ".3332342251.", "12332441251."], 0.743),
    ],
)
def test_alpha_matches_the_worked_examples(judges, wanted):
    """Those of Krippendorff, Computing Krippendorff's Alpha-Reliability (2011)."""
    assert round(alpha(units(*judges), 6).value, 3) == wanted


VALUES = st.integers(1, 4).flatmap(
    lambda judges: st.lists(
        st.lists(st.integers(MISSING, 2), min_size=judges, max_size=judges), min_size=1, max_size=12
    )
)
BOTH = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=30)


@given(VALUES)
def test_alpha_matches_nltk(values):
    judged = [[(k, value) for k, value in enumerate(unit) if value != MISSING] for unit in values]
    kept = [unit for unit in judged if len(unit) > 1]
    data = [(judge, n, value) for n, unit in enumerate(kept) for judge, value in unit]
    if len({value for *_, value in data}) < 2:
        assert math.isnan(alpha(values, 3).value)
    else:
        assert alpha(values, 3).value == pytest.approx(AnnotationTask(data=data).alpha())


@given(BOTH)
def test_kappa_matches_scikit_learn(values):
    one, other = zip(*values, strict=True)
    if len(set(one) | set(other)) == 1:
        assert math.isnan(kappa(values).value)
    else:
        wanted = cohen_kappa_score(one, other, labels=[0, 1, 2])
        assert kappa(values, 3).value == pytest.approx(wanted, nan_ok=True)


def test_kappa_ignores_units_of_one_judge():
    both = [[0, 0], [1, 1], [0, 1], [1, 1]] * 10
    assert kappa([*both, [MISSING, 0], [1, MISSING]]) == kappa(both)


def test_full_agreement_is_one_and_has_no_interval():
    values = [[place % 3] * 2 for place in range(40)]
    for found in (alpha(values, 3), kappa(values, 3)):
        assert found.value == 1
        assert math.isnan(found.low)
        assert math.isnan(found.high)


@pytest.mark.parametrize("values", [[[0], [1]], [[MISSING, MISSING]], [[0, MISSING], [MISSING, 1]]])
def test_without_two_judges_of_a_unit_there_is_no_alpha(values):
    assert all(map(math.isnan, alpha(values)))


def noisy(images: int, share: float) -> np.ndarray:
    """Return three judges' values, with a share of them redrawn."""
    draw = np.random.default_rng(7)
    values = np.repeat(draw.integers(0, 3, (images, 1)), 3, axis=1)
    return np.where(draw.random(values.shape) < share, draw.integers(0, 3, values.shape), values)


@pytest.mark.slow
@pytest.mark.parametrize("coefficient", [alpha, kappa])
def test_intervals_match_a_bootstrap(coefficient):
    values = noisy(250, 0.4)[:, :2]
    found = coefficient(values, 3)
    draw = np.random.default_rng(3)
    again = [coefficient(values[draw.integers(0, 250, 250)], 3).value for _ in range(400)]
    low, high = np.quantile(again, [0.05, 0.95])
    assert found.low == pytest.approx(low, abs=0.02)
    assert found.high == pytest.approx(high, abs=0.02)
    assert found.low < found.value < found.high


def test_few_images_have_no_interval():
    few = alpha(noisy(LEAST - 1, 0.3), 3)
    assert not math.isnan(few.value)
    assert math.isnan(few.low)
    assert math.isnan(few.high)


def test_intervals_of_drawn_classes_are_the_jackknife_s_that_leaves_one_out():
    draw, classes, drawn = np.random.default_rng(3), 12, Intervals(0.9, "drawn")
    codes = np.repeat(np.arange(classes), 6)
    one, other = draw.integers(0, 3, (2, len(codes)))
    alike = draw.random(len(codes)) < draw.random(classes)[codes]
    values = np.stack([one, np.where(alike, one, other)], axis=1)
    found = cohen(values, 3, Classes(codes), drawn)
    logs = np.log1p([-kappa(values[codes != code], 3).value for code in range(classes)])
    error = math.sqrt((classes - 1) * logs.var())
    half = scipy.stats.t.ppf(0.95, classes - 1) * error
    ends = [1 - (1 - found.value) * math.exp(sign * half) for sign in (1, -1)]
    assert (found.low, found.high) == pytest.approx(ends)
    # Without the only class in which they differ, nothing is left to estimate from.
    values[codes > 0, 1] = values[codes > 0, 0]
    values[codes == 0, 1] = (values[codes == 0, 0] + 1) % 3
    assert math.isnan(cohen(values, 3, Classes(codes), drawn).low)
    assert not math.isnan(cohen(values, 3, Classes(codes), INTERVALS).low)
