"""Damage to image files, and metadata that do not affect their pixels."""

import io
import random
import struct
import zlib
from collections.abc import Callable, Iterator

import numpy as np
from pictures import encoded, photo
from PIL import Image, ImageCms

from imagenet_think.images import decoding
from imagenet_think.images.rejections import RejectionError

BLOCK = 512
"""Bytes of a disk block."""

Damage = Callable[[random.Random, bytes], bytes]


def flipped(rng: random.Random, data: bytes) -> bytes:
    """Flip one bit."""
    place = rng.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :]


def truncated(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.randrange(len(data))]


def zeroed(rng: random.Random, data: bytes) -> bytes:
    """Zero a block, at a multiple of its size."""
    start = BLOCK * rng.randrange(len(data) // BLOCK)
    return data[:start] + bytes(BLOCK) + data[start + BLOCK :]


def removed(rng: random.Random, data: bytes, count: int = BLOCK) -> bytes:
    start = rng.randrange(len(data) - count)
    return data[:start] + data[start + count :]


def inserted(rng: random.Random, data: bytes) -> bytes:
    """Insert a block of noise."""
    start = rng.randrange(len(data))
    return data[:start] + rng.randbytes(BLOCK) + data[start:]


LOST = {one.__name__: one for one in (truncated, zeroed, removed, inserted)}
"""Ways to lose or insert whole blocks."""


def damaged(data: bytes, count: int, *kinds: Damage, seed: int = 2510) -> Iterator[bytes]:
    """Yield damaged forms of a file, the kinds in turn."""
    rng = random.Random(seed)
    for number in range(count):
        yield kinds[number % len(kinds)](rng, data)


def pixels(data: bytes) -> np.ndarray | str:
    """Return the pixels of an image file, or why it is rejected."""
    try:
        image = decoding.open_image(data)
        decoding.require_few_scans(image, data)
        decoding.require_intact(image, data)
        with decoding.decoding():
            image.load()
            return np.asarray(image.convert("RGBA"))
    except RejectionError as rejection:
        return str(rejection)


def shown(data: bytes) -> np.ndarray | None:
    """Return the pixels that Pillow shows without any check; None if it shows none."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            return np.asarray(image.convert("RGBA"))
    except Exception:  # of many types
        return None


def outcome(data: bytes, good: np.ndarray) -> str:
    """Return `same` or `different` for the pixels of an accepted file, else `rejected`."""
    found = pixels(data)
    if isinstance(found, str):
        return "rejected"
    return "same" if np.array_equal(found, good) else "different"


# Files ------------------------------------------------------------------------------------------


def segment(code: int, content: bytes) -> bytes:
    """Return a JPEG segment."""
    return struct.pack(">BBH", 0xFF, code, 2 + len(content)) + content


def chunk(kind: bytes, content: bytes, checksum: int | None = None) -> bytes:
    """Return a PNG chunk, by default with its own checksum."""
    found = zlib.crc32(kind + content) if checksum is None else checksum
    return struct.pack(">I4s", len(content), kind) + content + struct.pack(">I", found)


def in_front(part: bytes) -> Callable[[bytes], bytes]:
    """Return a function that inserts a part behind a file's first segment or chunk."""

    def insert(data: bytes) -> bytes:
        place = 33 if data.startswith(b"\x89PNG") else 20  # IHDR, or JFIF
        return data[:place] + part + data[place:]

    return insert


def before_the_end(part: bytes) -> Callable[[bytes], bytes]:
    """Return a function that inserts a part before a PNG's end."""
    return lambda data: data[:-12] + part + data[-12:]


SCANS = b"\xff\xda\0\x0c" * 400
"""Bytes that look like the starts of scans."""

_LARGE = [segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + SCANS * 40)] * 64
_PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def _with(start: bytes, old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    def replace(data: bytes) -> bytes:
        place = data.index(start) + len(start)
        assert data[place : place + len(old)] == old
        return data[:place] + new + data[place + len(new) :]

    return replace


HARMLESS_JPEG: dict[str, Callable[[bytes], bytes]] = {
    "motion photo": lambda data: data + b"\0\0\0\x18ftypmp42" + SCANS * 2_500,
    "second picture": lambda data: data + data,
    "extended XMP": in_front(b"".join(_LARGE)),
    "large profile": in_front(segment(0xE2, b"ICC_PROFILE\0\1\1" + SCANS * 30)),
    "bad profile marker": in_front(segment(0xE2, b"ICC_PROFILE\0\7\3" + _PROFILE)),
    "profile in missing parts": in_front(segment(0xE2, b"ICC_PROFILE\0\1\2" + _PROFILE)),
    "JFIF 0.00": _with(b"JFIF\0", b"\1\1", b"\0\0"),
    "JFIF 2.01": _with(b"JFIF\0", b"\1\1", b"\2\1"),
    "strange Adobe transform": in_front(segment(0xEE, b"Adobe\0\x64\0\0\0\0\7")),
    "comment": in_front(segment(0xFE, SCANS)),
    "broken EXIF": in_front(segment(0xE1, b"Exif\0\0MM\0*\xff\xff\xff\xff" + SCANS)),
    "broken index of pictures": in_front(segment(0xE2, b"MPF\0MM\0*\0\0\0\x08\0\7")),
    "broken Photoshop block": in_front(segment(0xED, b"Photoshop 3.0\x008BIM\x04")),
    "padding": in_front(b"\xff" * 30),
}
"""What a JPEG may have without an effect on its pixels."""

HARMLESS_PNG: dict[str, Callable[[bytes], bytes]] = {
    "large text": in_front(chunk(b"zTXt", b"notes\0\0" + zlib.compress(bytes(2**24)))),
    "wrong checksum of a text": in_front(chunk(b"tEXt", b"notes\0by hand", 7)),
    "wrong checksum of a time": before_the_end(chunk(b"tIME", bytes(7), 7)),
    "broken gamma": in_front(chunk(b"gAMA", b"\1")),
    "broken animation": in_front(chunk(b"acTL", b"\1\2")),
    "an unknown chunk": in_front(chunk(b"prVt", b"\1\2")),
    "a broken profile": in_front(chunk(b"iCCP", b"mine\0\0no zlib")),
    "a profile of an unknown method": in_front(chunk(b"iCCP", b"mine\0\7" + _PROFILE)),
    "a profile without a name": in_front(chunk(b"iCCP", b"mine")),
    "a huge profile": in_front(chunk(b"iCCP", b"mine\0\0" + zlib.compress(bytes(2**22)))),
    "junk behind the end": lambda data: data + SCANS,
    "no end": lambda data: data[:-12],
    "half an end": lambda data: data[:-3],
    "cut short in a text at the end": lambda data: data[:-12] + chunk(b"tEXt", bytes(99))[:40],
}
"""What a PNG may have, or lack, without an effect on its pixels."""

JPEGS = {
    "sequential": {},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_blocks": 4},
    "grey": {"mode": "L"},
    "CMYK": {"mode": "CMYK"},
}


def jpeg_file(mode: str = "RGB", **options: object) -> bytes:
    return encoded(photo(3).convert(mode), **options)


def png_file(mode: str = "RGB") -> bytes:
    """Return a PNG with a text and, of a palette, a transparent colour."""
    image = photo(3, (120, 116)).convert(mode)
    options = {"transparency": image.getpixel((60, 60))} if mode == "P" else {}
    data = encoded(image, "PNG", **options)
    return in_front(chunk(b"tEXt", b"notes\0" + b"by hand " * 100))(data)
