"""What turns an image away: the inclusion criteria of section 3.1, one function each.

Every function takes what it judges and its limit from the config (`images.criteria`), and raises
`RejectionError` with its reason and the measured value. The paper names the criteria and, apart
from 224×224, no thresholds.
"""

import importlib
import importlib.util
import io
import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
from PIL import Image, UnidentifiedImageError

from imagenet_think.images.luma import Grey
from imagenet_think.images.rejections import RejectionError

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF")
"""What is opened at all; among Pillow's other formats are programs (EPS) and containers."""

MAX_SCANS = 50
"""Scans a JPEG may have; progressive ones have about ten."""

_HARMLESS = ("Invalid SOS parameters", "Unknown Adobe color transform")
"""Warnings of libjpeg about headers, after which every pixel is decoded."""

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


def require_few_scans(image: Image.Image, data: bytes) -> None:
    """`too_many_scans`: a JPEG that would take too long to decode.

    Each scan of a progressive JPEG goes over the whole image, and one of a few bytes is enough: the
    size bounds the work of every other format, but not of this one. Start-of-scan markers are
    counted; inside compressed data their two bytes cannot stand next to each other. With the
    bounds on bytes, pixels and scans no image takes longer than some seconds, so that no watch
    over the decoder is needed.
    """
    scans = data.count(b"\xff\xda") if image.format in ("JPEG", "MPO") else 0
    if scans > MAX_SCANS:
        raise RejectionError("too_many_scans", f"{scans} scans, above {MAX_SCANS}")


def require_intact(image: Image.Image, data: bytes) -> None:
    """`undecodable`: a JPEG in whose compressed data libjpeg finds something wrong.

    Where data are lost inside a JPEG (a disk block of zeros, say), libjpeg warns, fills in grey and
    goes on, and Pillow does not pass the warnings on. So the data are decoded once more, at an
    eighth of the scale, by the same library with warnings as errors (`simplejpeg`). A JPEG has no
    checksum: a single wrong bit mostly goes unnoticed here too, and changes a few blocks.
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
    """Return the variance of the Laplacian (J. L. Pech-Pacheco et al., ICPR 2000).

    The kernel is [[0, 1, 0], [1, -4, 1], [0, 1, 0]], taken where it lies wholly inside.
    """
    beside = grey[1:-1, :-2] + grey[1:-1, 2:]
    above_and_below = grey[:-2, 1:-1] + grey[2:, 1:-1]
    return float((beside + above_and_below - 4 * grey[1:-1, 1:-1]).var())


def require_sharpness(grey: Grey, min_sharpness: float) -> None:
    """`blurred`: variance of the Laplacian below `min_sharpness` (no clear visual content)."""
    _require("blurred", "sharpness", sharpness(grey), least=min_sharpness)


def noise(grey: Grey) -> float:
    """Return the fast estimate of the noise's standard deviation.

    J. Immerkær, Fast noise variance estimation, CVIU 64(2), 1996: the mean magnitude of a filter
    that is blind to planes and edges, scaled for Gaussian noise. Dense texture counts in part.
    The kernel, [[1, -2, 1], [-2, 4, -2], [1, -2, 1]], is a second difference along each axis.
    """
    down = grey[:-2] - 2 * grey[1:-1] + grey[2:]
    both = down[:, :-2] - 2 * down[:, 1:-1] + down[:, 2:]
    return math.sqrt(math.pi / 2) / 6 * float(np.abs(both).mean())


def require_little_noise(grey: Grey, max_noise: float) -> None:
    """`noisy`: noise above `max_noise` grey levels (section 3.1 excludes excessive noise)."""
    _require("noisy", "noise", noise(grey), most=max_noise)


def require_score(image: Image.Image, scorer: str | None) -> None:
    """`scorer`: the user's own function (`images.criteria.scorer`) speaks against the image.

    Parameters
    ----------
    image
        The prepared image (upright, RGB).
    scorer
        `module:function` or `path/to/file.py:function`; None for none. The function gets the image
        and returns None or, in words, what is wrong with it.

    Raises
    ------
    TypeError
        If it returns anything else. Its own errors are not caught: they say nothing about the
        image.
    """
    if scorer is None:
        return
    found = load_scorer(scorer)(image)
    if isinstance(found, str) and found:
        raise RejectionError("scorer", found)
    if found is not None:
        raise TypeError(f"{scorer} returned {found!r}; it must return None or what is wrong")


@cache
def load_scorer(scorer: str) -> Callable[[Image.Image], str | None]:
    """Import the user's function, `module:function` or `path/to/file.py:function`."""
    place, _, name = scorer.rpartition(":")
    if place.endswith(".py"):
        spec = importlib.util.spec_from_file_location(Path(place).stem, place)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    else:
        module = importlib.import_module(place)
    return getattr(module, name)


def with_deny_files(criteria: Mapping[str, Any]) -> dict[str, Any]:
    """Return the criteria with the deny files' entries added to the deny lists, as sets.

    A file (`denied_classes_file`, `denied_images_file`) holds one class or image_id a line; empty
    lines and lines that begin with `#` are passed over.
    """
    criteria = dict(criteria)
    for key in ("denied_classes", "denied_images"):
        criteria[key] = frozenset(criteria[key]) | _listed(criteria.get(f"{key}_file"))
    return criteria


def _listed(path: str | Path | None) -> Collection[str]:
    if path is None:
        return frozenset()
    lines = (line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines())
    return frozenset(line for line in lines if line and not line.startswith("#"))


def _require(
    reason: str, name: str, value: float, least: float = -math.inf, most: float = math.inf
) -> None:
    """Raise with `reason` where `value` is not between `least` and `most`."""
    if value < least:
        raise RejectionError(reason, f"{name} {value:.2f}, below {least}")
    if value > most:
        raise RejectionError(reason, f"{name} {value:.2f}, above {most}")
