"""Rejected images: the error, and the reasons that are no criteria of choice."""

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

READING = {
    "damaged_archive": "the archive or the member in it cannot be read",
    "unsafe_name": "a name that leads out of its archive or folder, or cannot be written down",
    "clashing_archive": "the class has an archive already",
    "no_class": "its class is not known",
    "not_an_image": "the content is not an image, whatever its name",
    "undecodable": "an image that cannot be decoded to its last pixel",
    "too_many_bytes": "too large to be read (decompression bomb)",
    "too_many_scans": "a JPEG whose decoding would take too long (decompression bomb)",
    "clashing_id": "another image already has this image_id",
}
"""Reasons found while images are listed, read and decoded, and what they mean.

Those of the criteria are in `imagenet_think.images.criteria`, and all in its `REASONS`.
"""


class RejectionError(Exception):
    """An image is rejected.

    Parameters
    ----------
    reason
        One of `imagenet_think.images.criteria.REASONS`.
    detail
        What was measured or found, and against which threshold.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@contextmanager
def recorded(row: MutableMapping[str, Any]) -> Iterator[None]:
    """Write the reason and the detail of a rejection into an image's row, instead of raising it."""
    try:
        yield
    except RejectionError as rejection:
        row.update(reason=rejection.reason, detail=rejection.detail)
