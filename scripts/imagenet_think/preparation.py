"""How an image is stored: upright, RGB on white, its longest side bounded."""

import io
import struct
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageOps


class Prepared(NamedTuple):
    """A prepared image: the bytes to store, and its pixels (RGB) before any compression."""

    data: bytes
    image: Image.Image


def orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 (upright) to 8; 1 where there is none or it is unreadable."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except (SyntaxError, ValueError, KeyError, struct.error):
        return 1  # Pillow's complaints about a broken EXIF block; the pixels are as good as ever
    return value if value in range(1, 9) else 1


def to_rgb(image: Image.Image) -> Image.Image:
    """Return an image of any mode as 8-bit RGB.

    Transparency is laid on white. 16-bit grey is scaled to 8 bits (Pillow's own conversion clips in
    some modes); 32-bit integers and floats, which have no fixed white, are stretched over their
    range. CMYK is converted without a colour profile.
    """
    if image.mode.startswith("I;16"):
        levels = np.asarray(image).astype(np.uint32)
        image = Image.fromarray(((levels + 128) // 257).astype(np.uint8))
    elif image.mode in ("I", "F"):
        levels = np.nan_to_num(np.asarray(image, dtype=np.float64))
        span = np.ptp(levels) or 1.0
        image = Image.fromarray(((levels - levels.min()) / span * 255).round().astype(np.uint8))
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        image = Image.alpha_composite(white, layer)
    return image.convert("RGB")


def prepare(data: bytes, image: Image.Image, longest_side: int, jpeg_quality: int) -> Prepared:
    """Prepare an image for storage and for the models.

    An upright RGB JPEG within the bound keeps its bytes, so that nothing is compressed twice;
    anything else becomes such a JPEG. The same input gives the same bytes (for one version of
    Pillow and its libjpeg).

    Parameters
    ----------
    data
        The image file.
    image
        The same, opened; of an animation, the first frame counts.
    longest_side
        Bound of width and height in pixels; a larger image is scaled down (Lanczos).
    jpeg_quality
        Quality of a new JPEG, 1 to 95.

    Raises
    ------
    Exception
        Whatever Pillow raises for a file that cannot be decoded wholly.
    """
    image.load()
    turned = orientation(image) != 1
    if (
        image.format == "JPEG"
        and image.mode == "RGB"
        and not turned
        and max(image.size) <= longest_side
    ):
        return Prepared(data, image)
    if turned:
        image = ImageOps.exif_transpose(image)
    image = to_rgb(image)
    image.thumbnail((longest_side, longest_side), Image.Resampling.LANCZOS, reducing_gap=None)
    image.info.clear()  # or Pillow would copy the source's comment
    file = io.BytesIO()
    image.save(file, format="JPEG", quality=jpeg_quality)
    return Prepared(file.getvalue(), image)
