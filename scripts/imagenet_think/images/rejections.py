"""Rejected images: the error, and the reasons that are not selection criteria."""

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

READING = {
    "damaged_archive": "the archive or the member in it cannot be read",
    "unsafe_name": "a name that leads out of its archive or folder, or cannot be written down",
    "clashing_archive": "the class has an archive already",
    "no_class": "its class is not known",
    "not_an_image": "the content is not an image, whatever its name",
    "unsupported_format": "an image in a format that is not read; the detail names it",
    "undecodable": "an image that cannot be decoded to its last pixel",
    "too_many_bytes": "too large to be read (decompression bomb)",
    "too_many_scans": "a JPEG whose decoding would take too long (decompression bomb)",
    "extra_image": "a further image of a webdataset sample, of which one is used",
    "clashing_id": "another image already has this image_id",
}
"""Reasons found while images are listed, read and decoded, and what they mean.

Those of the criteria are in `imagenet_think.images.criteria`, and all in its `REASONS`.
"""


class RejectionError(Exception):
    """An image is rejected for a reason (`criteria.REASONS`); the detail says what was found."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@contextmanager
def recorded(row: MutableMapping[str, Any]) -> Iterator[None]:
    """Record a rejection in an image's row, as reason and detail, instead of raising it."""
    try:
        yield
    except RejectionError as rejection:
        row.update(reason=rejection.reason, detail=rejection.detail)
