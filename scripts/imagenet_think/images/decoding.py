"""Opening and decoding image files that may be damaged or hostile."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager

import simplejpeg
from PIL import Image, PngImagePlugin, UnidentifiedImageError

from imagenet_think.images import contents, jpeg, png
from imagenet_think.images.rejections import RejectionError

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "AVIF", "JPEG2000", "PPM")
"""Formats that are opened; among Pillow's others are programs (EPS) and containers."""

MAX_SCANS = 50
"""Scans a JPEG may have; progressive ones have about ten."""

_JPEGS = ("JPEG", "MPO")

# The number of pixels is checked before decoding, against the config's limit.
Image.MAX_IMAGE_PIXELS = None
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY = png.MAX_PROFILE
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

    It is `undecodable` if it begins like an image and has a broken header, `unsupported_format` if
    its format is not read, else `not_an_image`. Of a PNG, only what determines its pixels is read.
    """
    with decoding():
        file = png.pixels(data) if data.startswith(png.SIGNATURE) else data
        try:
            return Image.open(io.BytesIO(file), formats=FORMATS)
        except UnidentifiedImageError:
            start = data[: contents.SHOWN]
            if unread := contents.unread_format(start):
                raise RejectionError("unsupported_format", unread) from None
            known = {name: Image.OPEN[name][1] for name in FORMATS}
            claimed = [name for name, begins in known.items() if begins and begins(start) is True]
            if claimed:
                raise RejectionError("undecodable", f"broken {claimed[0]} header") from None
            what = contents.described(start) or f"beginning {start[:8].hex(' ')}"
            raise RejectionError("not_an_image", f"{len(data)} bytes, {what}") from None


def require_few_scans(image: Image.Image, data: bytes) -> None:
    """Reject a JPEG that would take too long to decode (`too_many_scans`).

    Each scan of a progressive JPEG, even of a few bytes, covers the whole image. With the limits on
    bytes, pixels and scans no image takes longer than some seconds, so no timeout is needed.
    """
    scans = jpeg.pixels(data).scans if image.format in _JPEGS else 0
    if scans > MAX_SCANS:
        raise RejectionError("too_many_scans", f"{scans} scans, above {MAX_SCANS}")


def require_intact(image: Image.Image, data: bytes) -> None:
    """Reject a JPEG or PNG of whose compressed data a part is lost or damaged (`undecodable`).

    If data are lost inside a JPEG (a disk block of zeros, say), libjpeg warns, fills in grey and
    goes on, and Pillow hides the warnings. So the data, without what does not determine pixels, are
    decoded once more, at an eighth of the scale, with warnings as errors (`simplejpeg`). A single
    wrong bit mostly goes unnoticed, as a JPEG has no checksum.
    """
    if image.format == "PNG":
        width, height = image.size
        png.require_all_data(data, 2 * (8 * width + 1) * height)
    if image.format not in _JPEGS:
        return
    stripped = jpeg.pixels(data)
    if stripped.missing:
        detail = f"JPEG: {stripped.missing} coefficients are in no scan"
        raise RejectionError("undecodable", detail)
    try:
        simplejpeg.decode_jpeg(
            stripped.data,
            colorspace="GRAY",
            min_height=1,
            min_width=1,
            min_factor=1,
            strict=True,
        )
    except ValueError as error:
        raise RejectionError("undecodable", f"libjpeg: {error}") from error
