import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import signal

from imagenet_think.images.complexity import draw_order, spatial_information, strata


def test_spatial_information_by_definition_and_a_blank_image_and_a_ramp_have_none():
    grey = np.random.default_rng(1).integers(0, 256, (30, 40)).astype(float)
    sobel = np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]])
    x = signal.convolve2d(grey, sobel, mode="valid")
    y = signal.convolve2d(grey, sobel.T, mode="valid")
    assert abs(spatial_information(grey) - np.sqrt(x**2 + y**2).std()) < 1e-6
    assert spatial_information(np.full((10, 10), 9.0)) == 0
    assert spatial_information(np.tile(np.arange(10.0), (10, 1))) == 0


def test_strata_are_terciles_of_the_probe():
    assert strata([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 0.0, 99.0], 3, 6) == [1, 1, 2, 2, 3, 3, 1, 3]
    assert strata([], 3, 6) == []
    assert strata([7.0], 1, 6) == [1]


@given(st.lists(st.floats(0, 200), min_size=1, max_size=40), st.integers(1, 5), st.integers(1, 12))
def test_strata_do_not_move_when_images_follow(values, count, probe):
    half = values[: max(probe, len(values) // 2)]
    assert strata(values, count, probe)[: len(half)] == strata(half, count, probe)


@given(st.lists(st.integers(1, 3), max_size=30), st.integers(0, 10**9))
def test_draw_order_takes_all_and_balances(members, first):
    order = draw_order(members, 3, first)
    assert sorted(order) == list(range(len(members)))
    counts = [members.count(k) for k in (1, 2, 3)]
    for n in range(3 * min(counts) + 1):
        drawn = [members[k] for k in order[:n]]
        shares = [drawn.count(k) for k in (1, 2, 3)]
        assert max(shares) - min(shares) <= 1
    for stratum in (1, 2, 3):
        inside = [k for k in order if members[k] == stratum]
        assert inside == sorted(inside)


def test_the_first_stratum_varies():
    assert [draw_order([1, 2, 3], 3, first)[0] for first in range(3)] == [0, 1, 2]
