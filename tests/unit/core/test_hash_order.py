import hashlib

from hypothesis import given
from hypothesis import strategies as st

from imagenet_think.core.hash_order import order_key

NAMES = st.lists(st.text(max_size=12), unique=True, max_size=30)


def order(seed, names):
    return sorted(names, key=lambda name: order_key(seed, "n1", name))


@given(NAMES, st.integers(0, 10**6))
def test_items_keep_their_order_when_others_go(names, seed):
    rest = names[::2]
    assert [name for name in order(seed, names) if name in rest] == order(seed, rest)


def test_the_seed_and_every_part_matter_and_the_order_is_the_same_everywhere():
    keys = {order_key(1, "a", "bc"), order_key(2, "a", "bc"), order_key(1, "ab", "c")}
    assert len(keys) == 3
    expected = hashlib.blake2b(b"9:n000057873:a.J", key=b"2510", digest_size=16).digest()
    assert order_key(2510, "n00005787", "a.J") == expected


def test_the_order_looks_random():
    names = [f"n1_{k}.JPEG" for k in range(2_000)]
    first = [int(name[3:-5]) for name in order(2510, names)[:400]]
    assert 900 < sum(first) / len(first) < 1_100
