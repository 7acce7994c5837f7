"""What turns an image away: the inclusion criteria of section 3.1, one function each.

Every function takes what it judges and its limit from the config (`images.criteria`), and raises
`RejectionError` with its reason and the measured value. The paper names the criteria and, apart
from 224×224, no thresholds.
"""

import io
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image, UnidentifiedImageError

from imagenet_think.luma import Grey, filtered
from imagenet_think.rejections import RejectionError

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF")
"""What is opened at all; among Pillow's other formats are programs (EPS) and containers."""

_LAPLACE = np.array([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])
_IMMERKAER = np.array([[1.0, -2.0, 1.0], [-2.0, 4.0, -2.0], [1.0, -2.0, 1.0]])

# `require_pixels` checks the size before any decoding, with the config's limit.
Image.MAX_IMAGE_PIXELS = None
Image.init()  # here, once, and not by several threads at a time


@contextmanager
def decoding() -> Iterator[None]:
    """Turn whatever a decoder raises into the reason `undecodable`.

    Decoders of damaged files raise errors of many types, so all are taken but those that speak of
    this machine and not of the image.
    """
    try:
        yield
    except (MemoryError, RejectionError):
        raise
    except Exception as error:
        # An object's address would differ from run to run.
        message = re.sub(r"0x[0-9a-f]+", "0x…", str(error))
        raise RejectionError("undecodable", f"{type(error).__name__}: {message}") from error


def open_image(data: bytes) -> Image.Image:
    """Open an image without decoding it; `not_an_image` for content that only pretends.

    Raises
    ------
    RejectionError
        `not_an_image`, or `undecodable` where the content begins like an image and the header is
        broken.
    """
    with decoding():
        try:
            return Image.open(io.BytesIO(data), formats=FORMATS)
        except UnidentifiedImageError:
            claimed = [name for name in FORMATS if Image.OPEN[name][1](data[:16])]
            if claimed:
                raise RejectionError("undecodable", f"broken {claimed[0]} header") from None
            start = data[:8].hex(" ")
            raise RejectionError("not_an_image", f"{len(data)} bytes, beginning {start}") from None


def require_pixels(size: tuple[int, int], max_pixels: int) -> None:
    """`too_many_pixels`: more than `images.criteria.max_pixels`, known before decoding."""
    width, height = size
    if width * height > max_pixels:
        detail = f"{width}×{height} = {width * height} pixels, above {max_pixels}"
        raise RejectionError("too_many_pixels", detail)


def require_sides(size: tuple[int, int], min_side: int) -> None:
    """`too_small`: a side below `images.criteria.min_side` (224×224 in section 3.1)."""
    if min(size) < min_side:
        raise RejectionError("too_small", f"{size[0]}×{size[1]} pixels, a side below {min_side}")


def require_contrast(grey: Grey, min_contrast: float) -> None:
    """`low_contrast`: standard deviation of the grey levels below `min_contrast`.

    Root mean square contrast (E. Peli, Contrast in complex images, JOSA A 1990), on 0 to 255: a
    blank or nearly blank image has no visual content.
    """
    _require("low_contrast", "contrast", float(grey.std()), least=min_contrast)


def sharpness(grey: Grey) -> float:
    """Return the variance of the Laplacian (J. L. Pech-Pacheco et al., ICPR 2000)."""
    return float(filtered(grey, _LAPLACE).var())


def require_sharpness(grey: Grey, min_sharpness: float) -> None:
    """`blurred`: variance of the Laplacian below `min_sharpness` (no clear visual content)."""
    _require("blurred", "sharpness", sharpness(grey), least=min_sharpness)


def noise(grey: Grey) -> float:
    """Return the fast estimate of the noise's standard deviation.

    J. Immerkær, Fast noise variance estimation, CVIU 64(2), 1996: the mean magnitude of a filter
    that is blind to planes and edges, scaled for Gaussian noise. Dense texture counts in part.
    """
    return math.sqrt(math.pi / 2) / 6 * float(np.abs(filtered(grey, _IMMERKAER)).mean())


def require_little_noise(grey: Grey, max_noise: float) -> None:
    """`noisy`: noise above `max_noise` grey levels (section 3.1 excludes excessive noise)."""
    _require("noisy", "noise", noise(grey), most=max_noise)


def _require(
    reason: str, name: str, value: float, least: float = -math.inf, most: float = math.inf
) -> None:
    """Raise with `reason` where `value` is not between `least` and `most`."""
    if value < least:
        raise RejectionError(reason, f"{name} {value:.2f}, below {least}")
    if value > most:
        raise RejectionError(reason, f"{name} {value:.2f}, above {most}")
