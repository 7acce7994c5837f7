"""The criteria that images have to meet (section 3.1 of the paper), as one list.

Each criterion is a function of an image and of its threshold in the config (`images.criteria`).
Everything that is reported of a criterion derives from its entry in `CRITERIA`. The paper names the
criteria and, apart from 224×224, no thresholds.
"""

import importlib
import importlib.util
import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from imagenet_think.images import rejections
from imagenet_think.images.luma import Grey, luma
from imagenet_think.images.rejections import RejectionError

Stage = Literal["name", "decoding", "header", "pixels", "comparison"]
"""When a criterion is checked: before an image is read; before it is decoded, to limit the work; on
the size in its header; on the prepared image; by comparison with other images."""


@dataclass(frozen=True)
class Candidate:
    """An image to check, of which each stage knows more than the one before.

    Contrast, sharpness and noise depend on the scale, so they are measured on the `prepared` image
    (upright, RGB), whose pixels the models see.
    """

    wnid: str = ""
    image_id: str = ""
    size: tuple[int, int] = (0, 0)
    prepared: Image.Image | None = None

    @property
    def image(self) -> Image.Image:
        """The prepared image."""
        if self.prepared is None:
            raise ValueError(f"{self.image_id} is not prepared yet")
        return self.prepared

    @cached_property
    def grey(self) -> Grey:
        """Luma of the prepared image."""
        return luma(self.image)


Check = Callable[[Candidate, Any], str | None]


@dataclass(frozen=True)
class Criterion:
    """A reason to reject an image.

    Attributes
    ----------
    reason, threshold
        Its name in the column `reason`, and its key in `images.criteria`. Without a value there, it
        is not applied.
    meaning, rule
        What the reason means, in tables; and the end of "An image is rejected if it …", with `{}`
        for the threshold.
    stages
        When it is checked.
    check
        Returns what was measured if the threshold is not met, else None. None for a criterion that
        compares images (`imagenet_think.images.near_duplicates`).
    """

    reason: str
    threshold: str
    meaning: str
    rule: str
    stages: tuple[Stage, ...]
    check: Check | None = None


CRITERIA: list[Criterion] = []
"""All criteria, in the order in which they are checked."""


def criterion(threshold: str, meaning: str, rule: str, *stages: Stage) -> Callable[[Check], Check]:
    """Add a function to `CRITERIA`; its name is the reason. For parameters see `Criterion`."""

    def add(check: Check) -> Check:
        CRITERIA.append(Criterion(check.__name__, threshold, meaning, rule, stages, check))
        return check

    return add


def applied(
    thresholds: Mapping[str, Any], stage: Stage | None = None
) -> Iterator[tuple[Criterion, Any]]:
    """Yield the criteria with a threshold, at one stage or (None) at any, and their thresholds."""
    for each in CRITERIA:
        threshold = thresholds.get(each.threshold)
        unused = threshold is None or (isinstance(threshold, Collection) and not threshold)
        if not unused and stage in (None, *each.stages):
            yield each, threshold


def require(stage: Stage, candidate: Candidate, thresholds: Mapping[str, Any]) -> None:
    """Raise `RejectionError` with the first criterion of a stage that is not met.

    Deny lists must be complete (`with_deny_files`).
    """
    for each, threshold in applied(thresholds, stage):
        if each.check and (detail := each.check(candidate, threshold)):
            raise RejectionError(each.reason, detail)


def rules(thresholds: Mapping[str, Any]) -> list[str]:
    """Return the rule of each criterion that a config applies, with its threshold in words."""

    def words(threshold: Any) -> str:
        if isinstance(threshold, frozenset):
            return f"{len(threshold):,}"
        return threshold if isinstance(threshold, str) else f"{threshold:,.10g}"

    found = applied(with_deny_files(thresholds))
    return [each.rule.format(words(threshold)) for each, threshold in found]


BY_USER = ("denied_classes", "denied_images", "scorer")
"""Criteria by which the user may judge anything, as a list or a function; by their thresholds."""


def by_user(thresholds: Mapping[str, Any]) -> list[str]:
    """Return those of `BY_USER` that a config applies."""
    found = applied(with_deny_files(thresholds))
    return [each.threshold for each, _ in found if each.threshold in BY_USER]


def with_deny_files(thresholds: Mapping[str, Any]) -> dict[str, Any]:
    """Return the thresholds with deny lists as sets, which include those of the deny files.

    A file (`denied_classes_file`, `denied_images_file`) holds one class or image_id per line; empty
    lines and lines that begin with `#` are ignored.
    """
    complete = dict(thresholds)
    for key, value in thresholds.items():
        if isinstance(value, list | frozenset):
            complete[key] = frozenset(value) | _listed(thresholds.get(f"{key}_file"))
    return complete


def _listed(path: str | Path | None) -> frozenset[str]:
    if path is None:
        return frozenset()
    lines = (line.strip() for line in Path(path).read_text(encoding="utf-8-sig").splitlines())
    return frozenset(line for line in lines if line and not line.startswith("#"))


# The criteria ------------------------------------------------------------------------------------


@criterion(
    "denied_classes",
    "its class is on the config's deny list",
    "is of one of {} denied classes",
    "name",
)
def denied_class(candidate: Candidate, classes: Collection[str]) -> str | None:
    """Check the class against a deny list."""
    denied = candidate.wnid in classes
    return f"{candidate.wnid} is in images.criteria.denied_classes" if denied else None


@criterion("denied_images", "on the config's deny list", "is one of {} denied images", "name")
def denied_image(candidate: Candidate, images: Collection[str]) -> str | None:
    """Check the image_id against a deny list."""
    denied = candidate.image_id in images
    return f"{candidate.image_id} is in images.criteria.denied_images" if denied else None


@criterion(
    "max_pixels",
    "too large to be decoded (decompression bomb)",
    "has more than {} pixels",
    "decoding",
)
def too_many_pixels(candidate: Candidate, most: int) -> str | None:
    """Check the number of pixels, which is known before decoding."""
    width, height = candidate.size
    pixels = width * height
    return f"{width}×{height} = {pixels} pixels, above {most}" if pixels > most else None


@criterion(
    "min_side", "a side below the minimum", "has a side shorter than {} pixels", "header", "pixels"
)
def too_small(candidate: Candidate, least: int) -> str | None:
    """Check the shorter side (224×224 in section 3.1), also of the prepared image.

    Scaled down to the bound, a long strip may end up narrower than the paper allows.
    """
    width, height = candidate.size
    small = min(width, height) < least
    return f"{width}×{height} pixels, a side below {least}" if small else None


@criterion(
    "min_contrast",
    "blank or nearly so",
    "is blank (standard deviation of the grey levels below {})",
    "pixels",
)
def low_contrast(candidate: Candidate, least: float) -> str | None:
    """Check the standard deviation of the grey levels, 0 to 255.

    Root mean square contrast (E. Peli, Contrast in complex images, JOSA A 1990).
    """
    value = float(candidate.grey.std())
    return f"contrast {value:.2f}, below {least}" if value < least else None


def sharpness(grey: Grey) -> float:
    """Return the variance of the Laplacian (J. L. Pech-Pacheco et al., ICPR 2000).

    The kernel is [[0, 1, 0], [1, -4, 1], [0, 1, 0]], taken where it lies wholly inside.
    """
    beside = grey[1:-1, :-2] + grey[1:-1, 2:]
    above_and_below = grey[:-2, 1:-1] + grey[2:, 1:-1]
    return float((beside + above_and_below - 4 * grey[1:-1, 1:-1]).var())


@criterion(
    "min_sharpness",
    "no clear edge anywhere",
    "is blurred (variance of the Laplacian below {})",
    "pixels",
)
def blurred(candidate: Candidate, least: float) -> str | None:
    """Check the variance of the Laplacian (no clear visual content)."""
    value = sharpness(candidate.grey)
    return f"sharpness {value:.2f}, below {least}" if value < least else None


def noise(grey: Grey) -> float:
    """Return the fast estimate of the noise's standard deviation.

    J. Immerkær, Fast noise variance estimation, CVIU 64(2), 1996: the mean magnitude of a filter
    that is blind to planes and edges, scaled for Gaussian noise. Dense texture counts in part.
    The kernel, [[1, -2, 1], [-2, 4, -2], [1, -2, 1]], is a second difference along each axis.
    """
    down = grey[:-2] - 2 * grey[1:-1] + grey[2:]
    both = down[:, :-2] - 2 * down[:, 1:-1] + down[:, 2:]
    return math.sqrt(math.pi / 2) / 6 * float(np.abs(both).mean())


@criterion(
    "max_noise",
    "more noise than picture",
    "is noisy (estimated noise above {} grey levels)",
    "pixels",
)
def noisy(candidate: Candidate, most: float) -> str | None:
    """Check the noise in grey levels (section 3.1 excludes excessive noise)."""
    value = noise(candidate.grey)
    return f"noise {value:.2f}, above {most}" if value > most else None


@criterion(
    "scorer", "rejected by the user's own function", "is rejected by the function {}", "pixels"
)
def scorer(candidate: Candidate, function: str) -> str | None:
    """Call the user's function, `module:function` or `path/to/file.py:function`.

    It is given the prepared image and returns None or, in words, what is wrong with it. Its errors
    are not caught, and anything else is a TypeError: they say nothing about the image.
    """
    found = load_scorer(function)(candidate.image)
    if found is not None and not (isinstance(found, str) and found):
        raise TypeError(f"{function} returned {found!r}; it must return None or what is wrong")
    return found


@cache
def load_scorer(scorer: str) -> Callable[[Image.Image], str | None]:
    """Import the user's function (see `scorer`)."""
    place, _, name = scorer.rpartition(":")
    if place.endswith(".py"):
        spec = importlib.util.spec_from_file_location(Path(place).stem, place)
        if spec is None or spec.loader is None:
            raise ImportError(f"{place} cannot be imported")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    else:
        module = importlib.import_module(place)
    return getattr(module, name)


CRITERIA.append(
    Criterion(
        "near_duplicate",
        "near_duplicate_bits",
        "looks like another image, which is named",
        "nearly repeats another image (at most {} of 64 bits of their hashes differ)",
        ("comparison",),
    )
)

REASONS = rejections.READING | {each.reason: each.meaning for each in CRITERIA}
"""Every value of `reason` in catalogue, candidates and exclusions, and what it means."""
