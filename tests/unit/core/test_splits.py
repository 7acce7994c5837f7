import hashlib
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagenet_think.core.shards import names, shard_of
from imagenet_think.core.splits import (
    SPLITS,
    TEST,
    TRAIN,
    VALIDATION,
    numbering_problems,
    splits,
)

IMAGES = st.dictionaries(st.text("abcdef/_0123", min_size=1), st.sampled_from("xyz"), max_size=40)
COUNTS = st.integers(0, 4)
ORDER = [TEST, VALIDATION, TRAIN]


def place(image):
    return hashlib.sha256(image.encode()).digest()[::-1]


@given(IMAGES, COUNTS, COUNTS, st.randoms(use_true_random=False))
def test_a_class_gives_its_first_images_in_hash_order(images, test, validation, rng):
    rows = list(images.items())
    found = splits(rows, test, validation)
    assert found.keys() == images.keys()
    for wnid in set(images.values()):
        own = sorted((image for image, of in rows if of == wnid), key=place)
        assert {image for image in own if found[image] == TEST} == set(own[:test])
        assert {image for image in own if found[image] == TRAIN} == set(own[test + validation :])
    rng.shuffle(rows)
    assert splits(rows, test, validation) == found


@given(IMAGES, IMAGES, COUNTS, COUNTS)
def test_more_images_only_displace_those_behind_them(images, more, test, validation):
    before = splits(images.items(), test, validation)
    grown = images | {image: wnid for image, wnid in more.items() if image not in images}
    after = splits(grown.items(), test, validation)
    for image, wnid in images.items():
        moved = ORDER.index(after[image]) - ORDER.index(before[image])
        ahead = [new for new in grown.keys() - images if grown[new] == wnid]
        assert moved >= 0
        if moved:
            assert min(map(place, ahead)) < place(image)
    for wnid in set(grown.values()):
        lost = [i for i in images if images[i] == wnid and before[i] == TEST != after[i]]
        assert len(lost) <= sum(grown[new] == wnid for new in grown.keys() - images)


def test_sizes_are_the_same_in_every_class():
    images = {f"{wnid}_{n}": wnid for wnid in ("n1", "n2", "n3") for n in range(24)}
    found = splits(images.items(), test=2, validation=1)
    for wnid in ("n1", "n2", "n3"):
        own = Counter(split for image, split in found.items() if images[image] == wnid)
        assert own == {TRAIN: 21, VALIDATION: 1, TEST: 2}


def test_every_shard_has_its_share_of_every_split():
    images = {f"n{c:04d}_{n}": f"n{c:04d}" for c in range(400) for n in range(24)}
    found = splits(images.items(), test=2, validation=1)
    shards = Counter((shard_of(image, 4, 2), split) for image, split in found.items())
    for split, count in zip(SPLITS, (8400, 400, 800), strict=True):
        shares = [shards[shard, split] for shard in names(4, 2)]
        assert sum(shares) == count
        assert max(abs(share - count / 8) for share in shares) < 5 * (count / 8) ** 0.5


WHOLE = [f"{split}-{number:05d}-of-00003.parquet" for split in SPLITS for number in range(3)]


@pytest.mark.parametrize(
    ("names", "problems"),
    [
        (WHOLE, []),
        (["train-all.parquet", "train-more.parquet"], []),
        ([], []),
        ([*WHOLE, "train-99999.parquet"], ["data/train-*: train-99999.parquet: not numbered"]),
        (
            [*WHOLE, "test-00000-of-00064.parquet"],
            ["data/test-*: the names say that there are 3 and"],
        ),
        (WHOLE[1:], ["data/train-*: 2 of 3 files are there"]),
        (
            [*WHOLE[1:], "validation-00003-of-00003.parquet"],
            ["data/train-*: 2 of 3", "data/validation-*: 4 of 3"],
        ),
    ],
)
def test_files_that_are_not_one_complete_dataset_are_named(names, problems):
    found = numbering_problems(Path("copy", "data", name) for name in names)
    assert len(found) == len(problems)
    assert all(text.startswith(start) for text, start in zip(found, problems, strict=True))
