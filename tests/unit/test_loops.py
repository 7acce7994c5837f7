from hypothesis import given
from hypothesis import strategies as st

from imagenet_think.loops import is_loop


@given(
    head=st.lists(st.integers(0, 9), max_size=30),
    block=st.lists(st.integers(10, 19), min_size=1, max_size=40),
    rest=st.integers(0, 39),
)
def test_a_repeated_block_is_found_wherever_it_is_cut(head, block, rest):
    repeats = max(4, 64 // len(block) + 2)
    assert is_loop(head + block * repeats + block[: rest % len(block)])


def test_three_times_is_no_loop():
    block = list(range(100))
    assert not is_loop(block * 3)
    assert is_loop(block * 4)


def test_a_row_of_equal_marks_is_no_loop():
    text = list(range(300))
    assert not is_loop(text + [7] * 60)
    assert is_loop(text + [7] * 65)


def test_a_loop_that_ended_is_none():
    assert not is_loop([1, 2] * 200 + [3])


def test_short_texts_are_none():
    assert not is_loop([])
    assert not is_loop([5] * 64)
