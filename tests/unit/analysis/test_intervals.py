import os
import subprocess
import sys

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from imagenet_think.analysis.resampling import (
    COUNTS,
    LEAST,
    Intervals,
    bootstrap,
    percentiles,
    share,
    weigh,
)


def all_weights(images, intervals, block=500):
    """Every resample's weight of every image."""
    blocks = [
        np.concatenate([w for _, w in weigh(start, min(block, images - start), intervals)])
        for start in range(0, images, block)
    ]
    return np.concatenate(blocks, axis=1)


def test_the_share_of_each_count_is_its_probability():
    shares = np.bincount(COUNTS.astype(int)) / len(COUNTS)
    counts = np.arange(len(shares))
    assert np.abs(shares - scipy.stats.poisson.pmf(counts, 1)).max() <= 2**-16
    assert scipy.stats.poisson.sf(counts[-1], 1) <= 2**-16
    assert COUNTS.mean() == 1
    assert COUNTS.var() == 1 - 2**-15


def test_weights_are_poisson_counts():
    intervals = Intervals(700, 0.95, 3)
    weights = all_weights(1003, intervals)
    assert weights.shape == (700, 1003)
    observed = np.bincount(weights.astype(int).ravel(), minlength=5)
    expected = np.bincount(COUNTS.astype(int)) / len(COUNTS) * weights.size
    merged = [[*counts[:5], sum(counts[5:])] for counts in (observed, expected)]
    assert scipy.stats.chisquare(*merged).pvalue > 1e-3
    # Images, resamples and blocks are independent of each other.
    correlations = np.corrcoef(weights[:, ::50].T)
    assert np.abs(correlations[np.triu_indices(len(correlations), 1)]).max() < 0.2
    assert weights.mean(axis=1).std() == pytest.approx(1003**-0.5, rel=0.1)


def test_a_block_can_be_computed_separately():
    intervals = Intervals(600, 0.95, 3)
    [(first, weights), (rest, more)] = weigh(500, 40, intervals)
    assert (first, rest) == (slice(0, 500), slice(500, 600))
    assert np.array_equal(np.concatenate([weights, more]), all_weights(540, intervals)[:, 500:])


def test_intervals_equal_an_explicit_resampling():
    """Each image taken as often as its weight says, and the mean of what was taken."""
    generator = np.random.default_rng(5)
    values = generator.uniform(-0.2, 1, (1203, 3))
    values[generator.random((1203, 3)) < 0.2] = np.nan
    intervals = Intervals(draws=50, level=0.8, seed=11)
    means = [
        [np.nanmean(np.repeat(column, draw.astype(int))) for column in values.T]
        for draw in all_weights(1203, intervals)
    ]
    low, high = bootstrap(values, intervals)
    expected = np.quantile(means, [0.1, 0.9], axis=0)
    assert np.abs(np.stack([low, high]) - expected).max() < 1e-9


def test_intervals_are_those_of_scipy_s_bootstrap():
    values = np.random.default_rng(4).beta(2, 5, 700)
    low, high = bootstrap(values[:, None], Intervals(6000, 0.9, 1))
    reference = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=6000, confidence_level=0.9, method="percentile", rng=2
    ).confidence_interval
    width = reference.high - reference.low
    assert low[0] == pytest.approx(reference.low, abs=0.05 * width)
    assert high[0] == pytest.approx(reference.high, abs=0.05 * width)


def test_equal_scores_have_an_interval_of_no_width():
    low, high = bootstrap(np.full((40, 1), 0.75), Intervals(300, 0.95, 1))
    assert (low[0], high[0]) == (0.75, 0.75)


def test_few_values_have_no_interval():
    values = np.random.default_rng(2).random((LEAST + 5, 3))
    values[LEAST:, 1] = np.nan
    values[LEAST - 1 :, 2] = np.nan
    ends = np.stack(bootstrap(values, Intervals(300, 0.95, 1)))
    assert np.isnan(ends).tolist() == [[False, False, True]] * 2
    every = np.stack(bootstrap(values, Intervals(300, 0.95, 1, least=1)))
    assert not np.isnan(every).any()
    assert np.array_equal(every[:, :2], ends[:, :2])


@pytest.mark.parametrize(
    ("images", "least", "most"), [(2, 0.45, 0.6), (5, 0.8, 0.9), (LEAST, 0.88, 0.95), (80, 0.93, 1)]
)
def test_an_interval_covers_the_true_mean_about_as_often_as_it_says(images, least, most):
    """Except over few images: the figures with which the bound is documented."""
    values = np.random.default_rng(images).normal(0, 0.05, (images, 2000))
    low, high = bootstrap(values, Intervals(400, 0.95, 3, least=1))
    assert least < ((low <= 0) & (high >= 0)).mean() < most


def test_a_share_of_0_has_an_interval_with_a_width():
    assert share(0, 40, 0.95) == (0.0, 0.0, pytest.approx(0.0876, abs=1e-4))
    assert share(20, 40, 0.9)[0] == 0.5


def test_without_a_value_there_is_no_interval():
    values = np.array([[np.nan, 0.5], [np.nan, 0.25]])
    low, high = bootstrap(values, Intervals(300, 0.95, 1, least=1))
    assert np.isnan([low[0], high[0]]).all()
    assert (low[1], high[1]) == (0.25, 0.5)
    assert [len(end) for end in bootstrap(np.zeros((5, 0)), Intervals(10, 0.9, 1))] == [0, 0]
    assert np.isnan(bootstrap(np.zeros((0, 2)), Intervals(10, 0.9, 1))).all()


def test_percentiles_ignore_resamples_without_a_value():
    means = np.array([[0.0, np.nan], [1.0, 3.0], [2.0, np.nan], [3.0, 5.0], [4.0, np.nan]])
    low, high = percentiles(means, 0.5)
    assert (low.tolist(), high.tolist()) == ([1.0, 3.5], [3.0, 4.5])


def test_the_seed_decides():
    values = np.random.default_rng(1).random((60, 2))
    again = [bootstrap(values, Intervals(100, 0.9, seed)) for seed in (1, 1, 2)]
    assert np.array_equal(again[0], again[1])
    assert not np.array_equal(again[0], again[2])


@given(seed=st.integers(0, 99), images=st.integers(1, 1700), workers=st.integers(2, 5))
@settings(max_examples=15, deadline=None)
def test_any_number_of_workers_gives_the_same_bytes(seed, images, workers):
    values = np.random.default_rng(seed).uniform(-1, 1, (images, 3))
    values[::7, 1] = np.nan
    intervals = Intervals(30, 0.9, seed, least=1)
    one, many = (np.stack(bootstrap(values, intervals, n)).tobytes() for n in (1, workers))
    assert one == many


def test_any_number_of_threads_gives_the_same_bytes():
    program = (
        "import sys; sys.path.insert(0, 'scripts')\n"
        "import numpy as np\n"
        "from imagenet_think.analysis.resampling import Intervals, bootstrap\n"
        "values = np.random.default_rng(1).random((900, 40))\n"
        "low, high = bootstrap(values, Intervals(300, 0.95, 1), int(sys.argv[1]))\n"
        "print(low.tobytes().hex(), high.tobytes().hex())\n"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program, threads],
            env=os.environ | {"OPENBLAS_NUM_THREADS": threads, "OMP_NUM_THREADS": threads},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for threads in ("1", "2")
    }
    assert len(outputs) == 1
