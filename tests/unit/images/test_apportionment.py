import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagenet_think.images.apportionment import allocate


@st.composite
def problems(draw):
    least = draw(st.integers(0, 5))
    a_class = st.tuples(st.floats(0.5, 3_000), st.integers(least, least + 12))
    classes = draw(st.lists(a_class, min_size=1, max_size=25))
    weights, capacities = [list(column) for column in zip(*classes, strict=True)]
    total = draw(st.integers(least * len(weights), sum(capacities)))
    return total, weights, least, capacities


@given(problems())
def test_a_larger_total_takes_from_no_class(problem):
    total, weights, least, capacities = problem
    if total == sum(capacities):
        return
    smaller, greater = (allocate(n, weights, least, capacities) for n in (total, total + 1))
    assert all(a <= b for a, b in zip(smaller, greater, strict=True))


@given(problems())
def test_the_total_is_exact_bounds_hold_and_no_image_would_be_better_placed(problem):
    # The optimality condition of Webster's method: no class that may still give has a stronger
    # claim to its next image than another had to its last.
    total, weights, least, capacities = problem
    images = allocate(*problem)
    assert sum(images) == total
    assert all(least <= n <= cap for n, cap in zip(images, capacities, strict=True))
    last = [w / (n - 0.5) for w, n in zip(weights, images, strict=True) if n > least]
    rows = zip(weights, images, capacities, strict=True)
    following = [w / (n + 0.5) for w, n, cap in rows if n < cap]
    if last and following:
        assert max(following) <= min(last) * (1 + 1e-12)


@given(problems())
def test_a_class_more_takes_its_share_and_nothing_else_moves(problem):
    # Divisor methods are coherent (M. L. Balinski and H. P. Young, 1982): what a class gets, the
    # others would share as they did without it. So a total that grows by that keeps every choice.
    total, weights, least, capacities = problem
    *others, new = allocate(*problem)
    assert others == allocate(total - new, weights[:-1], least, capacities[:-1])


@pytest.mark.parametrize(
    ("total", "weights", "least", "capacities", "expected"),
    [
        # 53,000 : 24,000 : 23,000 share 7 seats: quotas 3.71, 1.68, 1.61.
        (7, [53.0, 24.0, 23.0], 0, [9, 9, 9], [3, 2, 2]),
        # A full class passes its share on.
        (10, [1_000.0, 1.0, 1.0], 1, [4, 9, 9], [4, 3, 3]),
        # Equal weights favour the first.
        (7, [1.0, 1.0, 1.0], 1, [9, 9, 9], [3, 2, 2]),
    ],
)
def test_webster_by_hand(total, weights, least, capacities, expected):
    assert allocate(total, weights, least, capacities) == expected


@pytest.mark.parametrize(
    ("total", "capacities", "message"),
    [
        (5, [6, 6, 3], "3 classes × at least 2 = 6"),
        (16, [6, 6, 3], r"3 classes can give 15 \(at most 6 each\)"),
        (6, [6, 6, 1], "a class can give 1 images, fewer than 2"),
    ],
)
def test_the_impossible_is_refused_with_the_arithmetic(total, capacities, message):
    with pytest.raises(ValueError, match=message):
        allocate(total, [1.0, 1.0, 1.0], 2, capacities)
