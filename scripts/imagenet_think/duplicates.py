"""Repetitions: images that look like an earlier one, or have its name."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import imagehash
from PIL import Image

from imagenet_think.rejections import RejectionError

BITS = 64


def perceptual_hash(image: Image.Image) -> int:
    """Return the 64-bit perceptual hash of an image (pHash: low frequencies of its DCT).

    Images that differ in scale, compression or slight retouching differ in few bits (`imagehash`,
    after C. Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions, 2010).
    """
    return int(str(imagehash.phash(image, hash_size=8)), 16)


class NearDuplicates:
    """Hashes seen so far, searched for one within a Hamming radius: exact, and in little time.

    Two hashes that differ in at most `radius` bits agree wholly in at least one of `radius + 1`
    parts (pigeonhole; multi-index hashing, M. Norouzi, A. Punjani and D. J. Fleet, CVPR 2012), so
    only hashes that share a part are compared. A part takes every (radius + 1)-th bit, which
    spreads the telling low frequencies over all parts.

    Parameters
    ----------
    radius
        Greatest number of differing bits, 0 to 63.
    """

    def __init__(self, radius: int) -> None:
        if not 0 <= radius < BITS:
            raise ValueError(f"near_duplicate_bits: {radius} is not between 0 and {BITS - 1}")
        self._radius = radius
        parts = radius + 1
        self._masks = [sum(1 << bit for bit in range(part, BITS, parts)) for part in range(parts)]
        self._tables: list[dict[int, list[int]]] = [defaultdict(list) for _ in self._masks]
        self._hashes: list[int] = []
        self._names: list[str] = []

    def find(self, value: int) -> tuple[str, int] | None:
        """Return name and distance (bits) of the first hash added within the radius, or None."""
        hashes, radius = self._hashes, self._radius
        first = None
        for mask, table in zip(self._masks, self._tables, strict=True):
            for index in table.get(value & mask, ()):
                if first is not None and index >= first:
                    break
                if (hashes[index] ^ value).bit_count() <= radius:
                    first = index
                    break
        if first is None:
            return None
        return self._names[first], (hashes[first] ^ value).bit_count()

    def add(self, value: int, name: str) -> None:
        """Add a hash under a name."""
        for mask, table in zip(self._masks, self._tables, strict=True):
            table[value & mask].append(len(self._hashes))
        self._hashes.append(value)
        self._names.append(name)


class Repetitions:
    """Images kept so far; of several that repeat each other, the first that comes is kept.

    Parameters
    ----------
    radius
        Greatest number of differing bits of near-duplicates (`near_duplicate_bits`).
    """

    def __init__(self, radius: int) -> None:
        self._looks = NearDuplicates(radius)
        self._places: dict[str, str] = {}

    def keep(self, image: Mapping[str, Any]) -> None:
        """Keep an image (image_id, source, member, perceptual_hash), or turn it away.

        Raises
        ------
        RejectionError
            `clashing_id`, or `near_duplicate` with the other's image_id.
        """
        name = image["image_id"]
        if name in self._places:
            raise RejectionError("clashing_id", f"{self._places[name]} is called {name} too")
        if found := self._looks.find(image["perceptual_hash"]):
            other, distance = found
            raise RejectionError("near_duplicate", f"{distance} bits from {other}")
        self._places[name] = f"{image['source']}/{image['member']}"
        self._looks.add(image["perceptual_hash"], name)
