"""The segments of a JPEG file, as far as they determine its pixels (ITU-T T.81, annex B)."""

import re
from itertools import product
from typing import NamedTuple

_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
"""A marker that ends compressed data, in which FF is escaped (FF 00) or part of a restart."""

_END, _SCAN, _COMMENT = 0xD9, 0xDA, 0xFE
_STANDALONE = {0x01, 0xD8, _END}
_FRAMES = {0xC0, 0xC1, 0xC2, 0xC9, 0xCA}  # of blocks of 8×8; lossless ones are not read
_SEQUENTIAL = {0xC0, 0xC1, 0xC9}  # frames whose scans hold whole blocks
_WHOLE_BLOCK = bytes([0, 63, 0])  # spectral selection and approximation of their scans


class Pixels(NamedTuple):
    """A JPEG file reduced to what determines its pixels.

    Attributes
    ----------
    data
        The file without metadata (APP0 to APP15, comments) and without what follows its end.
    scans
        Number of scans.
    missing
        Coefficients, 64 a component, that no scan holds to their last bit.
    """

    data: bytes
    scans: int
    missing: int


def pixels(data: bytes) -> Pixels:
    """Split a JPEG into its segments.

    Nothing is repaired: bytes between segments stay, and a missing end is not added. Only the
    parameters of a sequential scan, which are constants that decoders ignore, get their values.
    """
    parts: list[bytes] = []
    place = scans = 0
    sequential = False
    missing = set[tuple[int, int]]()  # component and coefficient
    while marker := _MARKER.search(data, place):
        start, code = marker.start(), data[marker.start() + 1]
        parts.append(data[place:start])  # compressed data after a scan, else nothing
        place = start + 2
        if code not in _STANDALONE:
            place += int.from_bytes(data[place : place + 2])
        segment = data[start:place]
        if code in _FRAMES:
            sequential = code in _SEQUENTIAL
            missing = set(product(segment[10::3], range(64)))
        if code == _SCAN and len(segment) > len(_WHOLE_BLOCK):
            scans += 1
            if sequential:
                segment = segment[: -len(_WHOLE_BLOCK)] + _WHOLE_BLOCK
            first, last, bits = segment[-len(_WHOLE_BLOCK) :]
            if not bits & 15:
                missing.difference_update(product(segment[5:-3:2], range(first, last + 1)))
        metadata = 0xE0 <= code <= 0xEF or code == _COMMENT
        if not metadata or len(segment) < 4 or place > len(data):
            parts.append(segment)
        if code == _END:
            break
    else:
        parts.append(data[place:])
    return Pixels(b"".join(parts), scans, len(missing))
