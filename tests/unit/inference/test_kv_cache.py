import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from imagenet_think.inference.engines.kv_cache import PAGE, PageStore, RowStore

HEADS, SIZES = (2, 1), (4, 3)


def prompt(sizes=SIZES):
    return [tuple(torch.zeros(1, h, 1, s) for h, s in zip(HEADS, sizes, strict=True))] * 2


def parts(layer, tokens):
    """Keys and values that tell tokens, layers, heads and columns apart."""
    return tuple(
        torch.stack([torch.full((h, s), float(t * 100 + layer * 10)) for t in tokens])
        + torch.arange(h * s).view(h, s) / 100
        for h, s in zip(HEADS, SIZES, strict=True)
    )


class Model:
    """Rows as lists of tokens, beside a store that holds the same."""

    def __init__(self, kind, rows=4, budget=4096):
        self.store = kind(prompt(), rows, budget)
        self.rows: list[list[int]] = []
        self.next = 0

    def new(self, count):
        tokens = list(range(self.next, self.next + count))
        self.next += count
        return tokens

    def fits(self, extra=()):
        return self.store.fits([len(row) + 1 for row in self.rows] + list(extra))

    def admit(self, count):
        if not self.fits([count]):
            return
        self.rows.append(self.new(count))
        self.store.reserve([len(row) for row in self.rows])
        row = torch.full((count,), len(self.rows) - 1)
        for layer in range(2):
            self.store.write(layer, row, torch.arange(count), *parts(layer, self.rows[-1]))
        self.check()

    def step(self):
        if not self.rows or not self.fits():
            return
        self.store.reserve([len(row) + 1 for row in self.rows])
        lengths = torch.tensor([len(row) for row in self.rows])
        self.store.begin(lengths, int(lengths.max()) + 1)
        new = self.new(len(self.rows))
        for layer in range(2):
            keys, values = (part[:, :, None] for part in parts(layer, new))
            self.store.update(keys, values, layer)
        for row, token in zip(self.rows, new, strict=True):
            row.append(token)
        self.check()

    def drop(self, index):
        if not self.rows:
            return
        index %= len(self.rows)
        self.store.release(index)
        last = self.rows.pop()
        if index < len(self.rows):
            self.store.move(len(self.rows), index, len(last))
            self.rows[index] = last
        self.check()

    def check(self):
        for i, tokens in enumerate(self.rows):
            for layer in range(2):
                held = self.held(layer, i, len(tokens))
                assert all(map(torch.equal, held, parts(layer, tokens)))

    def held(self, layer, row, length):
        found = self.store.layers[layer]
        if isinstance(self.store, RowStore):
            return [part[row, :, :length].transpose(0, 1) for part in found]
        pages = self.store.table[row].long()
        return [part[pages].flatten(0, 1)[:length] for part in found]


ACTIONS = st.one_of(
    st.tuples(st.just("admit"), st.integers(1, 2 * PAGE + 3)),
    st.tuples(st.just("step")),
    st.tuples(st.just("drop"), st.integers(0, 3)),
)


@pytest.mark.parametrize("kind", [RowStore, PageStore])
@settings(max_examples=40, deadline=None)
@given(actions=st.lists(ACTIONS, max_size=25))
def test_a_store_keeps_its_contents_as_rows_come_and_go(kind, actions):
    model = Model(kind)
    for name, *arguments in actions:
        getattr(model, name)(*arguments)


@pytest.mark.parametrize("kind", [RowStore, PageStore])
def test_rows_and_tokens_are_both_bounded(kind):
    store = kind(prompt(), rows=3, budget=4 * PAGE)
    assert store.fits([])
    assert store.fits([PAGE, PAGE, PAGE])
    assert not store.fits([1, 1, 1, 1])
    assert not store.fits([2 * PAGE, 2 * PAGE, 1])
    assert not store.fits([5 * PAGE])


def test_pages_are_freed():
    store = PageStore(prompt(), rows=2, budget=4 * PAGE)  # three pages, and one for nobody
    for _ in range(5):
        assert store.fits([3 * PAGE])
        store.reserve([3 * PAGE])
        store.release(0)
    assert store.table.eq(0).all()
    assert sorted(store._free) == [1, 2, 3]


def test_a_step_reads_rows_as_one_tensor():
    model = Model(RowStore)
    model.admit(3)
    model.admit(5)
    lengths = torch.tensor([3, 5])
    model.store.begin(lengths, 6)
    keys, values = model.store.update(*(part[:, :, None] for part in parts(0, [90, 91])), 0)
    assert keys.shape == (2, 2, 6, 4)
    assert values.shape == (2, 1, 6, 3)
    assert model.store.mask[:, 0, 0].tolist() == [[True] * 4 + [False] * 2, [True] * 6]
    assert torch.equal(keys[0, :, 3], parts(0, [90])[0][0])


def test_a_stretch_is_little_longer_than_the_longest_row():
    store = RowStore(prompt(), rows=1, budget=2**17)
    store.reserve([2**17])
    lengths = range(1, 2**17, 7)
    reaches = [store.reach(length) for length in lengths]
    for length, reach in zip(lengths, reaches, strict=True):
        assert length <= reach <= max(length + PAGE - 1, 1.25 * length)
        assert reach % PAGE == 0
    assert len(set(reaches)) == 32  # as many graphs at most, for one number of rows


def test_stretches_change_with_the_rows_and_then_memory_is_reallocated():
    store = RowStore(prompt(), rows=8, budget=2048)
    assert store.reserve([10])
    assert (store.room, store.stretch) == (8, 256)
    assert not store.reserve([256, 3])
    assert store.reserve([257])
    assert (store.room, store.stretch) == (4, 512)
    assert not store.reserve([3] * 4)
    assert [store.reach(n) for n in (1, 256, 257)] == [256, 256, 512]
    assert store.reserve([3] * 5)
    assert (store.room, store.stretch) == (8, 256)
