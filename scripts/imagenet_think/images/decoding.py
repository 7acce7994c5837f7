"""Opening and decoding image files that may be damaged or hostile."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager

import simplejpeg
from PIL import Image, UnidentifiedImageError

from imagenet_think.images.rejections import RejectionError

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF")
"""Formats that are opened; among Pillow's others are programs (EPS) and containers."""

MAX_SCANS = 50
"""Scans a JPEG may have; progressive ones have about ten."""

_HARMLESS = ("Invalid SOS parameters", "Unknown Adobe color transform")
"""Warnings of libjpeg about headers, after which every pixel is decoded."""

# The number of pixels is checked before decoding, against the config's limit.
Image.MAX_IMAGE_PIXELS = None
Image.init()  # here, once, and not by several threads at a time


@contextmanager
def decoding() -> Iterator[None]:
    """Turn the errors of a decoder, which are of many types, into the reason `undecodable`."""
    try:
        yield
    except (MemoryError, RejectionError):  # the first is about this machine
        raise
    except Exception as error:
        # An object's address would differ from run to run.
        message = re.sub(r"0x[0-9a-f]+", "0x…", str(error))
        raise RejectionError("undecodable", f"{type(error).__name__}: {message}") from error


def open_image(data: bytes) -> Image.Image:
    """Open an image without decoding it, or reject it.

    It is `undecodable` if it begins like an image and has a broken header, else `not_an_image`.
    """
    with decoding():
        try:
            return Image.open(io.BytesIO(data), formats=FORMATS)
        except UnidentifiedImageError:
            known = {name: Image.OPEN[name][1] for name in FORMATS}
            claimed = [name for name, begins in known.items() if begins and begins(data[:16])]
            if claimed:
                raise RejectionError("undecodable", f"broken {claimed[0]} header") from None
            start = data[:8].hex(" ")
            raise RejectionError("not_an_image", f"{len(data)} bytes, beginning {start}") from None


def require_few_scans(image: Image.Image, data: bytes) -> None:
    """Reject a JPEG that would take too long to decode (`too_many_scans`).

    Each scan of a progressive JPEG, even of a few bytes, covers the whole image. Start-of-scan
    markers are counted; compressed data never contain their two bytes in sequence. With the limits
    on bytes, pixels and scans no image takes longer than some seconds, so no timeout is needed.
    """
    scans = data.count(b"\xff\xda") if image.format in ("JPEG", "MPO") else 0
    if scans > MAX_SCANS:
        raise RejectionError("too_many_scans", f"{scans} scans, above {MAX_SCANS}")


def require_intact(image: Image.Image, data: bytes) -> None:
    """Reject a JPEG in whose compressed data libjpeg finds an error (`undecodable`).

    If data are lost inside a JPEG (a disk block of zeros, say), libjpeg warns, fills in grey and
    goes on, and Pillow hides the warnings. So the data are decoded once more, at an eighth of the
    scale, with warnings as errors (`simplejpeg`). A single wrong bit mostly goes unnoticed.
    """
    if image.format not in ("JPEG", "MPO"):
        return
    try:
        simplejpeg.decode_jpeg(
            data, colorspace="GRAY", min_height=1, min_width=1, min_factor=1, strict=True
        )
    except ValueError as error:
        if not str(error).startswith(_HARMLESS):
            raise RejectionError("undecodable", f"libjpeg: {error}") from error
