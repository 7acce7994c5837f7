"""The class of a sample in an archive of many classes."""

import re
from collections.abc import Sequence
from typing import Any

_NAMED = re.compile(r"(?:^|/)(n\d{8})[_/]")


def class_of(name: str, label: Any, labels: Sequence[str]) -> str | None:
    """Return the class of a sample, or None if it is not known.

    ImageNet's file names begin with the class (`n00005787_11054`, or the folder `n00005787/`). If a
    name (key, image_id or path) does not, the label decides: an integer, or a text of digits, is an
    index of `labels`; any other text is the class.

    Raises
    ------
    ValueError
        If name and label contradict each other: then the integers index a different list.
    """
    named = match[1] if (match := _NAMED.search(name)) else None
    labelled = None
    if isinstance(label, str) and not label.strip().isdecimal():
        labelled = label.strip() or None
    elif isinstance(label, int | str) and 0 <= int(label) < len(labels):
        labelled = labels[int(label)]
    if named and labelled and named != labelled:
        raise ValueError(
            f"{name} says class {named}, but its label {label} says {labelled}: the labels index a "
            "different list of classes; name the right one as images.source.labels in the config"
        )
    return named or labelled
