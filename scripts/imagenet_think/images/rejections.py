"""Why an image is turned away: the fixed list of reasons, and the error that carries one."""

REASONS = {
    "damaged_archive": "the archive or the member in it cannot be read",
    "unsafe_name": "a name that leads out of its archive or folder, or cannot be written down",
    "clashing_archive": "the class has an archive already",
    "no_class": "nothing says to which class it belongs",
    "not_an_image": "the content is no image, whatever the name says",
    "undecodable": "an image that cannot be decoded to its last pixel",
    "too_many_bytes": "too large to be read (decompression bomb)",
    "too_many_pixels": "too large to be decoded (decompression bomb)",
    "too_many_scans": "a JPEG whose decoding would take too long (decompression bomb)",
    "too_small": "a side below the least",
    "low_contrast": "blank or nearly so",
    "blurred": "no clear edge anywhere",
    "noisy": "more noise than picture",
    "near_duplicate": "looks like another image, which is named",
    "clashing_id": "another image already has this image_id",
    "denied_class": "on the config's list",
    "denied_image": "on the config's list",
    "scorer": "turned away by the user's own function",
}
"""Every value of `reason` in catalogue, candidates and exclusions, and what it means."""


class RejectionError(Exception):
    """An image is turned away.

    Parameters
    ----------
    reason
        One of `REASONS`.
    detail
        What was measured or found, and against which limit.

    Raises
    ------
    ValueError
        If the reason is not on the list.
    """

    def __init__(self, reason: str, detail: str) -> None:
        if reason not in REASONS:
            raise ValueError(f"{reason!r} is no reason for a rejection; known: {list(REASONS)}")
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
