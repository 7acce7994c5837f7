"""How an image is stored: upright, sRGB on white, its longest side bounded."""

import hashlib
import io
import math
import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, ImageOps

from imagenet_think.core.pools import Budget
from imagenet_think.images import archives, criteria, decoding
from imagenet_think.images.rejections import RejectionError

_SPACES = {
    **dict.fromkeys(("RGB", "RGBA", "P"), "RGB "),
    **dict.fromkeys(("1", "L", "LA", "I;16", "I;16L", "I;16B"), "GRAY"),
    "CMYK": "CMYK",
}
"""The colour space that a profile must have to count, by the image's mode."""

Levels = NDArray[Any]
_ROWS = 64  # of which numbers are converted at a time: a whole large image takes gigabytes

PIXELS_IN_FLIGHT = 100_000_000
"""Pixels that the threads of a job decode at a time; one larger image is decoded alone.

At most about 20 bytes a pixel are in memory: 2 GB.
"""
_IN_FLIGHT = Budget(PIXELS_IN_FLIGHT)


class Prepared(NamedTuple):
    """A prepared image: the bytes to store, and its pixels (RGB) before any compression."""

    data: bytes
    image: Image.Image

    def stored(self) -> dict[str, Any]:
        """Return what is stored: `width`, `height`, `sha256`, and the bytes as `image`."""
        return {
            "width": self.image.width,
            "height": self.image.height,
            "sha256": hashlib.sha256(self.data).hexdigest(),
            "image": self.data,
        }


def orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 (upright) to 8; 1 if there is none that can be read."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except (SyntaxError, ValueError, KeyError, struct.error):
        return 1  # a broken EXIF block says nothing about the pixels
    return value if value in range(1, 9) else 1


def foreign_profile(image: Image.Image) -> ImageCms.ImageCmsProfile | None:
    """Return the embedded colour profile, if it is intact, fits the image and is not sRGB."""
    data = image.info.get("icc_profile")
    if not data or image.mode not in _SPACES:
        return None
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
        space, name = profile.profile.xcolor_space, ImageCms.getProfileDescription(profile)
    except (OSError, ImageCms.PyCMSError):
        return None
    return None if space != _SPACES[image.mode] or "sRGB" in name else profile


def to_srgb(image: Image.Image, profile: ImageCms.ImageCmsProfile) -> Image.Image:
    """Return an image of 8 bits in sRGB (perceptual intent, by LittleCMS), with its transparency.

    If that fails, it is returned as it is.
    """
    alpha = None
    if image.has_transparency_data:
        image = image.convert("RGBA" if _SPACES[image.mode] == "RGB " else "LA")
        alpha = image.getchannel("A")
    plain = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}[_SPACES[image.mode]]
    try:
        converted = ImageCms.profileToProfile(
            image.convert(plain), profile, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except ImageCms.PyCMSError:
        return image  # a profile without what the conversion needs
    if converted is None:
        return image
    if alpha is not None:
        converted.putalpha(alpha)
    return converted


def to_8_bits(image: Image.Image) -> Image.Image:
    """Return an image of more than 8 bits as 8-bit grey, any other as it is.

    16-bit grey is scaled (Pillow's own conversion clips in some modes); 32-bit integers and floats,
    which have no fixed white, are stretched over their range.
    """
    if image.mode.startswith("I;16") or (image.mode, image.format) == ("I", "PPM"):
        return _mapped(image, lambda levels: (levels.astype(np.uint32) + 128) // 257)
    if image.mode not in ("I", "F"):
        return image
    bounds = [(levels.min(), levels.max()) for levels in map(_finite, _by_rows(image))]
    least, most = min(low for low, _ in bounds), max(high for _, high in bounds)
    span = (most - least) or 1.0
    return _mapped(image, lambda levels: ((_finite(levels) - least) / span * 255).round())


def _finite(levels: Levels) -> Levels:
    return np.nan_to_num(levels.astype(np.float64))


def _by_rows(image: Image.Image) -> Iterator[Levels]:
    """Yield the numbers of a few rows at a time, shape (rows, width)."""
    for top in range(0, image.height, _ROWS):
        box = (0, top, image.width, min(top + _ROWS, image.height))
        yield np.asarray(image.crop(box))


def _mapped(image: Image.Image, function: Callable[[Levels], Levels]) -> Image.Image:
    """Return the 8-bit grey image of a function of the numbers."""
    grey = np.empty((image.height, image.width), np.uint8)
    for part, levels in enumerate(_by_rows(image)):
        grey[part * _ROWS : (part + 1) * _ROWS] = function(levels)
    return Image.fromarray(grey)


def to_rgb(image: Image.Image) -> Image.Image:
    """Return an image of any mode as 8-bit RGB, transparent ones composited on white."""
    image = to_8_bits(image)
    if image.has_transparency_data:
        layer = image if image.mode == "RGBA" else image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        image = Image.alpha_composite(white, layer)
    return image.convert("RGB")


def prepare(data: bytes, image: Image.Image, longest_side: int, jpeg_quality: int) -> Prepared:
    """Prepare an image for storage and for the models.

    An upright JPEG in sRGB within the bound keeps its bytes, so that nothing is compressed twice;
    anything else becomes such a JPEG. The same input gives the same bytes (for one version of
    Pillow and its libjpeg).

    Parameters
    ----------
    data, image
        The image file, and the same opened; of an animation, the first frame counts.
    longest_side
        Maximum width and height in pixels; a larger image is scaled down (Lanczos).
    jpeg_quality
        Quality of a new JPEG, 1 to 95.

    Raises
    ------
    Exception
        Whatever Pillow raises for a file that cannot be decoded completely.
    """
    image.load()
    turned, profile = orientation(image) != 1, foreign_profile(image)
    plain = image.format == "JPEG" and image.mode == "RGB" and not turned and profile is None
    if plain and max(image.size) <= longest_side:
        return Prepared(data, image)
    if turned:
        image = ImageOps.exif_transpose(image)
    if profile is not None:
        image = to_srgb(to_8_bits(image), profile)
    image = to_rgb(image)
    image.thumbnail((longest_side, longest_side), Image.Resampling.LANCZOS, reducing_gap=None)
    image.info.clear()  # or Pillow would copy the source's comment
    file = io.BytesIO()
    image.save(file, format="JPEG", quality=jpeg_quality)
    return Prepared(file.getvalue(), image)


def decode(
    data: bytes,
    thresholds: Mapping[str, Any],
    preparation: Mapping[str, int],
    intact: bool = True,
) -> Prepared:
    """Decode and prepare an image that may be damaged or hostile, or reject it.

    It is rejected if it is no image, cannot be decoded completely (one with missing or damaged
    data only if `intact`) or fast enough, or does not meet a criterion on what is known before.
    """
    opened = decoding.open_image(data)
    candidate = criteria.Candidate(size=opened.size)
    criteria.require("decoding", candidate, thresholds)
    criteria.require("header", candidate, thresholds)
    decoding.require_few_scans(opened, data)
    with _IN_FLIGHT.held(math.prod(opened.size)), decoding.decoding():
        if intact:
            decoding.require_intact(opened, data)
        return prepare(data, opened, **preparation)


def examine(
    data: bytes | None, thresholds: Mapping[str, Any], preparation: Mapping[str, int]
) -> dict[str, Any]:
    """Prepare an image as `decode` does, unless there are no bytes or too many; return columns."""
    if data is None:
        raise RejectionError("not_an_image", "the row holds no bytes")
    if len(data) > archives.MAX_BYTES:
        raise RejectionError("too_many_bytes", f"{len(data)} bytes")
    return {"source_bytes": len(data), **decode(data, thresholds, preparation).stored()}
