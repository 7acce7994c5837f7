"""Which class a sample belongs to, where an archive holds samples of many classes."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from imagenet_think.images.classes import read_classes

_NAMED = re.compile(r"(?:^|/)(n\d{8})[_/]")


def read_labels(classes: str | Path, labels: str | Path | None) -> list[str]:
    """Return the classes that integer labels count, from 0.

    Parameters
    ----------
    classes
        Table of the classes. Sorted, they are what integers count where no file says otherwise:
        so it is in `timm/imagenet-w21-p`, whose 10,450 classes are those of ImageNet-21K-P.
    labels
        Text file with one class a line (its first column counts), in the order of the integers;
        None for the sorted class table.
    """
    if labels is None:
        return sorted(read_classes(classes)["wnid"])
    lines = Path(labels).read_text(encoding="utf-8").splitlines()
    return [line.split()[0] for line in lines if line.strip()]


def class_of(name: str, label: Any, labels: Sequence[str]) -> str | None:
    """Return the class of a sample, or None where nothing tells it.

    ImageNet's file names begin with the class (`n00005787_11054`, or the folder `n00005787/`):
    where a name does, it says the class. Else the label does: an integer counts `labels`, a text is
    the class.

    Parameters
    ----------
    name
        Name of the image: the key of the sample, its image_id or its path.
    label
        The label, if there is one: an integer or a text (of digits, it is an integer).
    labels
        What integers count.

    Raises
    ------
    ValueError
        If name and label say different classes: then the integers count another list.
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
