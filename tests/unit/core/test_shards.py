import collections
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagenet_think.core import shards

COUNTS = st.integers(1, 16)


@given(st.text(max_size=20), COUNTS, COUNTS, COUNTS)
def test_every_image_has_a_named_shard_and_more_shards_leave_its_block(
    image_id, blocks, some, others
):
    name = shards.shard_of(image_id, blocks, some)
    assert name in shards.names(blocks, some)
    assert name[0] in shards.blocks(blocks, some)
    assert name[0] == shards.shard_of(image_id, blocks, others)[0]


def test_the_papers_shards():
    names = shards.names(16, 4)
    assert (len(names), names[0], names[-1]) == (64, "00", "f3")
    ids = [f"n00005787_{k}" for k in range(20_000)]
    counts = collections.Counter(shards.shard_of(image_id, 16, 4) for image_id in ids)
    assert sorted(counts) == names
    assert min(counts.values()) > 230
    assert max(counts.values()) < 400


def test_known_image():
    # SHA-256 of "n00005787_11054" begins with the two digits looked up here.
    first, second = hashlib.sha256(b"n00005787_11054").hexdigest()[:2]
    assert shards.shard_of("n00005787_11054", 16, 16) == first + second
    assert shards.shard_of("n00005787_11054", 1, 2) == f"0{int(second, 16) // 8}"


@pytest.mark.parametrize(("blocks", "count"), [(0, 4), (17, 4), (16, 0), (16, 17)])
def test_impossible_numbers_are_refused(blocks, count):
    with pytest.raises(ValueError, match="sharding"):
        shards.names(blocks, count)
