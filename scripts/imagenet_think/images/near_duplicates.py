"""Images that look like an earlier one, or have its name."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import imagehash
from PIL import Image

from imagenet_think.images.rejections import RejectionError

BITS = 64
_TWIN = "{bits} bits from {image_id}"


def twin(detail: str) -> str:
    """Return the image_id of the other image, from the detail of a `near_duplicate`.

    Examples
    --------
    >>> twin("2 bits from n00005787_11054")
    'n00005787_11054'
    """
    return detail.partition(_TWIN.format(bits="", image_id=""))[2]


def perceptual_hash(image: Image.Image) -> int:
    """Return the 64-bit perceptual hash of an image (pHash: low frequencies of its DCT).

    Images that differ in scale, compression or slight retouching differ in few bits (`imagehash`,
    after C. Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions, 2010).
    """
    return int(str(imagehash.phash(image, hash_size=8)), 16)


class NearDuplicates:
    """Hashes seen so far: a fast exact search for one within a Hamming radius of 0 to 63 bits.

    If hashes are split into `radius // 2 + 1` parts, two that differ in at most `radius` bits have
    a part in which they differ in at most one bit (multi-index hashing, M. Norouzi, A. Punjani and
    D. J. Fleet, CVPR 2012), so only hashes with such a part are compared. Parts are interleaved,
    which spreads the informative low frequencies over all of them.
    """

    def __init__(self, radius: int) -> None:
        if not 0 <= radius < BITS:
            raise ValueError(f"near_duplicate_bits: {radius} is not between 0 and {BITS - 1}")
        self._radius = radius
        parts = radius // 2 + 1
        places = [range(part, BITS, parts) for part in range(parts)]
        self._masks = [sum(1 << bit for bit in bits) for bits in places]
        # XORed with a part's value, these give the value itself and those that differ in one bit.
        self._flips = [[0, *(1 << bit for bit in bits if radius)] for bits in places]
        self._tables: list[dict[int, list[int]]] = [defaultdict(list) for _ in self._masks]
        self._hashes: list[int] = []
        self._names: list[str] = []

    def find(self, value: int) -> tuple[str, int] | None:
        """Return name and distance (bits) of the first hash added within the radius, or None."""
        hashes, radius = self._hashes, self._radius
        first = len(hashes)
        for mask, flips, table in zip(self._masks, self._flips, self._tables, strict=True):
            part = value & mask
            for flip in flips:
                for index in table.get(part ^ flip, ()):
                    if index >= first:
                        break
                    if (hashes[index] ^ value).bit_count() <= radius:
                        first = index
        if first == len(hashes):
            return None
        return self._names[first], (hashes[first] ^ value).bit_count()

    def add(self, value: int, name: str) -> None:
        """Add a hash under a name."""
        for mask, table in zip(self._masks, self._tables, strict=True):
            table[value & mask].append(len(self._hashes))
        self._hashes.append(value)
        self._names.append(name)


class Repetitions:
    """Images seen so far: one that repeats an earlier one is rejected, even if that one was too.

    So an additional image can reject others but never brings one back: a sample of more classes
    keeps what it had of the others. Of the `thresholds`, `near_duplicate_bits` is used.
    """

    def __init__(self, thresholds: Mapping[str, Any]) -> None:
        self._looks = NearDuplicates(thresholds["near_duplicate_bits"])
        self._places: dict[str, str] = {}

    def keep(self, image: Mapping[str, Any]) -> None:
        """Add an image, or reject it as `clashing_id` or `near_duplicate` of another."""
        name = image["image_id"]
        namesake = self._places.setdefault(name, place := f"{image['source']}/{image['member']}")
        found = self._looks.find(image["perceptual_hash"])
        self._looks.add(image["perceptual_hash"], name)
        if namesake is not place:
            raise RejectionError("clashing_id", f"{namesake} is called {name} too")
        if found:
            detail = _TWIN.format(image_id=found[0], bits=found[1])
            raise RejectionError("near_duplicate", detail)
