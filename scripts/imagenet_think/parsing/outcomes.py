"""All statuses of a response, and its outcome: done, failed or excluded, with the reason."""

import re

from imagenet_think.core import plugins
from imagenet_think.parsing import statuses, tagged

DONE, FAILED, EXCLUDED = "done", "failed", "excluded"


def _all_statuses() -> dict[str, str]:
    found = statuses.PARSED | tagged.FAILURES
    for name in reversed(plugins.names("parsing.formats")):
        found |= plugins.get("parsing.formats", name).FAILURES
    return found | statuses.EMPTY | statuses.UNFINISHED


STATUSES = _all_statuses()
"""Every status with its meaning, in the order in which tables list them."""

FAILURES = {
    status: meaning
    for status, meaning in STATUSES.items()
    if status not in (statuses.OK, statuses.ERROR)
}
"""Reasons for which a response failed, with their meanings: the model was prompted, but its text
was cut off, went into a loop, or cannot be parsed."""

EXCLUSIONS = {
    "unreadable_image": "The image cannot be read.",
    "image_dropped": "The model's inputs would not contain the image.",
    "image_token": "A text of the conversation contains the model's image token.",
    "aspect_ratio": "The image is too narrow for the model.",
    "context": "The conversation does not fit into the model's context.",
    "memory": "The device's memory is too small even for this image alone.",
    "not_imported": "The file of the model's responses has none for the image.",
    "refused": "The model rejects the prompt for another reason, given in the response's error.",
}
"""Reasons for which there is no response, with their meanings: the model could not be prompted
with the image, and could not be in another run either, with the same memory."""

_MESSAGES = {
    "not_imported": r"^no (response|text) in ",
    "unreadable_image": r"image cannot be read",
    "image_dropped": r"no image token|same as the number of images",
    "image_token": r"image token",
    "aspect_ratio": r"aspect ratio|must stay below",
    "memory": r"out of memory",
    "context": r"context|too long|longer than|maximum (model )?length",
}
"""Patterns in the errors of excluded responses; the first match decides."""


def reason(status: str, error: str | None) -> str:
    """Return why a response is not done: one of `FAILURES` or `EXCLUSIONS`, or `ok`.

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
    if status not in STATUSES:
        raise ValueError(f"unknown status {status!r}; known: {', '.join(STATUSES)}")
    if status != statuses.ERROR:
        return status
    found = (name for name, text in _MESSAGES.items() if re.search(text, error or "", re.I))
    return next(found, "refused")
