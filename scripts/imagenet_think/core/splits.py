"""The dataset's configurations and splits, and how images are assigned to splits."""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

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


def numbering_problems(files: Iterable[Path]) -> list[str]:
    """Return why files of a dataset, found in a folder, are not those of one complete dataset.

    The files of a split are numbered, `train-00000-of-00064.parquet`. Further ones would be read as
    further rows, and missing ones would be missing rows. Other names are accepted if no file of the
    split is numbered: other software may have written them.
    """
    found: dict[str, dict[str, re.Match[str] | None]] = defaultdict(dict)
    for file in files:
        part = f"{file.parent.name}/{file.name.partition('-')[0]}"
        found[part][file.name] = _NUMBERED.fullmatch(file.name)
    problems = []
    for part, names in found.items():
        numbers = {(int(match[1]), int(match[2])) for match in names.values() if match}
        if not numbers:
            continue
        odd = [name for name, match in names.items() if match is None]
        counts = sorted({count for _, count in numbers})
        if odd:
            problems.append(f"{part}-*: {', '.join(odd[:5])}: not numbered as the other files are")
        elif len(counts) > 1:
            problems.append(
                f"{part}-*: the names say that there are {' and '.join(map(str, counts))} files"
            )
        elif numbers != {(number, counts[0]) for number in range(counts[0])}:
            problems.append(f"{part}-*: {len(numbers)} of {counts[0]} files are there")
    return problems


_NUMBERED = re.compile(r"\w+-(\d{5})-of-(\d{5})\.parquet")


def _place(image_id: str) -> bytes:
    return hashlib.sha256(image_id.encode()).digest()[::-1]
