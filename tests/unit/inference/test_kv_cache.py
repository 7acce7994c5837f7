from itertools import pairwise

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imagenet_think.inference.engines import kv_cache
from imagenet_think.inference.engines.kv_cache import BLOCK, KVCache, arrange

HEADS, SIZES, LAYERS = (2, 1), (4, 3), 2


def parts(layer, tokens):
    """Keys and values (1, heads, tokens, size) that differ by token, layer, head and column."""
    return tuple(
        (torch.tensor(tokens)[:, None] * 100.0 + layer * 10)
        + torch.arange(heads)[None, :, None, None]
        + torch.arange(size) / 100
        for heads, size in zip(HEADS, SIZES, strict=True)
    )


def new_cache(rows=4, budget=4096):
    return KVCache([parts(layer, [0]) for layer in range(LAYERS)], rows, budget)


class Model:
    """Rows as lists of tokens, next to a cache that holds the same."""

    def __init__(self):
        self.cache = new_cache()
        self.rows: list[list[int]] = []
        self.next = 0

    def new(self, count):
        self.next += count
        return list(range(self.next - count, self.next))

    def fits(self, *extra):
        return self.cache.fits([len(row) + 1 for row in self.rows] + list(extra))

    def admit(self, *counts):
        if not self.fits(*counts):
            return
        first, new = len(self.rows), [self.new(count) for count in counts]
        self.rows += new
        self.cache.reserve([len(row) for row in self.rows])
        longest = max(counts)
        prompts = [
            [
                torch.cat(rows)
                for rows in zip(
                    *(parts(layer, [-1] * (longest - len(row)) + row) for row in new), strict=True
                )
            ]
            for layer in range(LAYERS)
        ]
        self.cache.insert(prompts, first, list(counts))
        self.keep(range(len(self.rows)))

    def step(self):
        if not self.rows or not self.fits():
            return
        lengths = [len(row) for row in self.rows]
        self.cache.reserve([length + 1 for length in lengths])
        self.cache.begin(lengths)
        new = self.new(len(self.rows))
        for layer in range(LAYERS):
            self.cache.update(*(part.transpose(0, 2) for part in parts(layer, new)), layer)
        for row, token in zip(self.rows, new, strict=True):
            row.append(token)
        self.check()

    def drop(self, index):
        if self.rows:
            dropped = index % len(self.rows)
            self.keep(i for i in range(len(self.rows)) if i != dropped)

    def keep(self, rows):
        lengths = [len(row) for row in self.rows]
        order = arrange(lengths, rows)
        self.cache.reorder(order, [lengths[row] for row in order])
        self.rows = [self.rows[row] for row in order]
        self.check()

    def check(self):
        for i, tokens in enumerate(self.rows):
            for layer, held in enumerate(self.cache.layers):
                for part, expected in zip(held, parts(layer, tokens), strict=True):
                    assert torch.equal(part[i, :, : len(tokens)], expected[0])


@pytest.mark.parametrize("others", [((), {}), ((None,), {}), ((), {"kwargs": {"use_cache": True}})])
def test_what_layers_of_any_version_pass_is_taken(others):
    """transformers 5.24 passes all of its own keyword arguments on, under a name."""
    cache = new_cache()
    cache.reserve([1])
    cache.begin([0])
    positional, named = others
    keys, values = cache.update(*parts(1, [7]), 1, *positional, **named)
    assert torch.equal(keys[:1, :, :1], parts(1, [7])[0])
    assert torch.equal(values[:1, :, :1], parts(1, [7])[1])


LENGTHS = st.integers(1, 2 * BLOCK + 3)
ACTIONS = st.one_of(
    st.tuples(st.just("admit"), LENGTHS),
    st.tuples(st.just("admit"), LENGTHS, LENGTHS),
    st.tuples(st.just("step")),
    st.tuples(st.just("drop"), st.integers(0, 3)),
)


@pytest.fixture(params=[1, 2, 4, 8])
def segments(request, monkeypatch):
    monkeypatch.setattr(kv_cache, "SEGMENTS", request.param)
    return request.param


@settings(max_examples=40, deadline=None)
@given(actions=st.lists(ACTIONS, max_size=25))
def test_a_cache_keeps_its_contents_as_rows_come_and_go(actions):
    model = Model()
    for name, *arguments in actions:
        getattr(model, name)(*arguments)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lengths=st.lists(st.integers(1, 9), max_size=20), data=st.data())
def test_segments_hold_the_longest_rows_first_and_few_rows_move(segments, lengths, data):
    kept = [row for row in range(len(lengths)) if data.draw(st.booleans())]
    order = arrange(lengths, kept)
    assert sorted(order) == kept
    parted = [order[part] for part in kv_cache._segments(len(order))]
    assert len(parted) <= segments
    for former, latter in pairwise(parted):
        assert min(lengths[row] for row in former) >= max(lengths[row] for row in latter)
    places = dict(zip(order, range(len(order)), strict=True))
    for part in kv_cache._segments(len(order)):
        here = range(len(order))[part]
        assert all(places[row] == row for row in order[part] if row in here)
    assert arrange([lengths[row] for row in order], range(len(order))) == list(range(len(order)))


def test_rows_and_tokens_are_both_bounded():
    cache = new_cache(rows=3, budget=4 * BLOCK)
    assert cache.fits([])
    assert cache.fits([BLOCK, BLOCK, BLOCK])
    assert not cache.fits([1, 1, 1, 1])
    assert not cache.fits([2 * BLOCK, 2 * BLOCK, 1])
    assert not cache.fits([5 * BLOCK])


def test_each_segment_reads_as_far_as_its_longest_row(monkeypatch):
    monkeypatch.setattr(kv_cache, "SEGMENTS", 2)
    cache = new_cache()
    cache.reserve([6, 4, 3])
    cache.begin([5, 3, 2])
    assert [(rows.start, rows.stop) for rows, _ in cache.segments] == [(0, 2), (2, 3)]
    first, second = (mask[:, 0, 0].exp().tolist() for _, mask in cache.segments)
    assert first == [[1.0] * 6, [1.0] * 4 + [0.0] * 2]
    assert second == [[1.0] * 3]


def test_the_capacity_is_little_more_than_the_longest_row():
    for length in range(1, 2**17, 7):
        capacity = kv_cache._capacity(length)
        assert length <= capacity <= max(length + BLOCK - 1, 1.25 * length)
        assert capacity % BLOCK == 0


def test_the_capacity_changes_with_the_rows():
    cache = new_cache(rows=8, budget=2048)
    shapes = []
    for lengths in ([10], [256, 3], [257], [3] * 4, [3] * 5):
        cache.reserve(lengths)
        shapes.append(tuple(cache.layers[0][0].shape[0::2]))
    assert shapes == [(8, 256), (8, 256), (4, 512), (4, 512), (8, 256)]


def test_a_resize_for_which_memory_runs_out_can_be_repeated(monkeypatch):
    model = Model()
    model.admit(BLOCK - 1, 3)
    resized, calls = kv_cache._resized, []

    def limited(*arguments):
        calls.append(arguments)
        if len(calls) == 3:  # one layer is resized
            raise torch.OutOfMemoryError
        return resized(*arguments)

    monkeypatch.setattr(kv_cache, "_resized", limited)
    model.step()
    with pytest.raises(torch.OutOfMemoryError):
        model.step()
    model.check()
    model.step()
    assert {part.shape[2] for layer in model.cache.layers for part in layer} == {2 * BLOCK}
