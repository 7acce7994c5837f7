"""The dataset's configurations and splits, and how images are assigned to splits."""

import hashlib
from collections import Counter
from collections.abc import Iterable

CONFIGURATIONS = {"default": "data", "failed": "failed"}
"""The dataset's configurations, and the folders of their files."""

SPLITS = TRAIN, VALIDATION, TEST = ("train", "validation", "test")


def splits(images: Iterable[tuple[str, str]], test: int, validation: int) -> dict[str, str]:
    """Return the split of each image.

    In each class, images are ordered by the reversed SHA-256 of their image_id (unreversed, it
    decides the shard, and the test set would be in the first shards). The first are the test set,
    the next the validation set, the rest is for training. So every class is in each split, as far
    as it has images, and their order and number do not matter. An added image moves only those
    after it, at most one from each split of its class to the next.

    `images` are image_id and class of every image of the sample; `test` and `validation` are the
    numbers of images of each class in these splits.
    """
    taken = Counter[str]()
    found = {}
    for image_id, wnid in sorted(images, key=lambda image: _place(image[0])):
        ahead = taken[wnid]
        found[image_id] = (
            TEST if ahead < test else VALIDATION if ahead < test + validation else TRAIN
        )
        taken[wnid] += 1
    return found


def _place(image_id: str) -> bytes:
    return hashlib.sha256(image_id.encode()).digest()[::-1]
