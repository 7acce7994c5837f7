"""Which class a sample belongs to, where an archive holds samples of many classes."""

import re
from collections.abc import Sequence
from typing import Any

_NAMED = re.compile(r"(?:^|/)(n\d{8})[_/]")


def class_of(name: str, label: Any, labels: Sequence[str]) -> str | None:
    """Return the class of a sample, or None if it is not known.

    ImageNet's file names begin with the class (`n00005787_11054`, or the folder `n00005787/`). If a
    name does not, the label decides: an integer is an index of `labels`, a text is the class.

    Parameters
    ----------
    name
        Name of the image: the key of the sample, its image_id or its path.
    label
        The label, if there is one: an integer or a text (of digits, it is an integer).
    labels
        The classes that integers count, from 0.

    Raises
    ------
    ValueError
        If name and label name different classes: then the integers count a different list.
    """
    named = match[1] if (match := _NAMED.search(name)) else None
    labelled = None
    if isinstance(label, str) and not label.strip().isdecimal():
        labelled = label.strip() or None
    elif isinstance(label, int | str) and 0 <= int(label) < len(labels):
        labelled = labels[int(label)]
    if named and labelled and named != labelled:
        raise ValueError(
            f"{name} says class {named}, but its label {label} says {labelled}: the labels count "
            "another list of classes; name the right one as images.source.labels in the config"
        )
    return named or labelled
