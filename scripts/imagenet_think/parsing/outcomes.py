"""How a model's answer to an image ended: done, failed for a reason, or excluded for a reason."""

import re

from imagenet_think.parsing import statuses

DONE, FAILED, EXCLUDED = "done", "failed", "excluded"

FAILURES = {
    status: meaning
    for status, meaning in statuses.STATUSES.items()
    if status not in (statuses.OK, statuses.ERROR)
}
"""Reasons for which an answer failed, with their meanings: the model was asked, and what it said
was cut off, a loop, or cannot be taken apart."""

EXCLUSIONS = {
    "unreadable_image": "The image cannot be read.",
    "image_dropped": "The model's inputs would not hold the image.",
    "image_token": "A text of the conversation holds the model's image token.",
    "aspect_ratio": "The image is too narrow for the model.",
    "context": "The conversation does not fit into the model's context.",
    "memory": "The device's memory does not suffice for the image alone.",
    "not_imported": "The file of the model's responses holds none to the image.",
    "refused": "The model cannot be asked for another reason: the response's error says it.",
}
"""Reasons for which there is no response at all, with their meanings: the model could not be asked
about the image, and could not the next time, with as much memory."""

_MESSAGES = {
    "not_imported": r"^no (response|text) in ",
    "unreadable_image": r"image cannot be read",
    "image_dropped": r"no image token|same as the number of images",
    "image_token": r"image token",
    "aspect_ratio": r"aspect ratio|must stay below",
    "memory": r"out of memory",
    "context": r"context|too long|longer than|maximum (model )?length",
}
"""What the error of an exclusion holds; the first that fits counts."""


def reason(status: str, error: str | None) -> str:
    """Return why an answer is not done: one of `FAILURES` or `EXCLUSIONS`, or `ok`.

    Parameters
    ----------
    status
        The annotation's status.
    error
        The response's error.

    Raises
    ------
    ValueError
        If the status is unknown.
    """
    if status not in statuses.STATUSES:
        raise ValueError(f"unknown status {status!r}; known: {', '.join(statuses.STATUSES)}")
    if status != statuses.ERROR:
        return status
    found = (name for name, text in _MESSAGES.items() if re.search(text, error or "", re.I))
    return next(found, "refused")
