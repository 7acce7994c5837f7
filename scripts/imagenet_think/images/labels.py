"""The class that a label or a name says."""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from imagenet_think.core.logs import some
from imagenet_think.images import class_table

_NAMED = re.compile(r"(?:^|/)(n\d{8})[_/]")


class Classes(NamedTuple):
    """The classes that images may belong to, and what their labels mean.

    Attributes
    ----------
    known
        All classes of the table.
    numbered
        The classes that integer labels index, from 0; None if nothing says which.
    only
        The only class of the table, which an image without a label belongs to; else None.
    words
        What a file calls its labels, in their order, if not by the classes of the table.
    """

    known: Collection[str]
    numbered: Sequence[str] | None = None
    only: str | None = None
    words: Sequence[str] = ()


class UnknownOrderError(ValueError):
    """An integer label, of which nothing says what class it means."""


def read(
    classes: str | Path, labels: str | Path | None = None, count_classes: bool = False
) -> Classes:
    """Read the class table, and the file that integer labels index.

    `labels` is a text file with one class per line (its first column counts), in the order of the
    integers. Without it they have no meaning, unless they are said to count the sorted class table
    (`count_classes`), as in `timm/imagenet-w21-p`.
    """
    known = class_table.class_ids(classes)
    numbered = sorted(known) if count_classes else None
    if labels is not None:
        lines = Path(labels).read_text(encoding="utf-8-sig").splitlines()
        numbered = [class_table.composed(line.split()[0]) for line in lines if line.strip()]
        if not set(known).intersection(numbered):
            raise ValueError(
                f"{labels}: no line begins with a class of {classes} (such as {known[0]}); "
                "images.source.labels has one class per line, in the order of the labels from 0"
            )
    return Classes(frozenset(known), numbered, known[0] if len(known) == 1 else None)


def by_metadata(classes: Classes, metadata: Mapping[bytes, bytes] | None, column: str) -> Classes:
    """Return the classes with what a parquet file's metadata say of the labels in a column.

    The metadata are those of `datasets`. Names of classes in them are what integers mean.

    Raises
    ------
    ValueError
        If they name more or fewer labels, in other words, than `classes.numbered` has.
    """
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        words = [class_table.composed(str(name)) for name in features[column]["names"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        return classes
    if set(words).intersection(classes.known):
        return classes._replace(numbered=words)
    if words and classes.numbered is not None and len(words) != len(classes.numbered):
        raise ValueError(
            f"the file's metadata name {len(words)} labels ({some(words)}), but images.source has "
            f"{len(classes.numbered)} classes for integer labels: name a file with their classes, "
            "in this order, as images.source.labels"
        )
    return classes._replace(words=words)


def labelled(label: Any, classes: Classes) -> str | None:
    """Return the class that a label says; None if it says none.

    An integer, or a text of digits, is an index, unless that itself is a class. Any other text is
    the class.

    Raises
    ------
    UnknownOrderError
        If nothing says what integers mean.
    """
    if not isinstance(label, int | str):
        return None
    text = str(label).strip()
    if isinstance(label, str) and not text.isdecimal():
        return class_table.composed(text) or None
    if classes.numbered is not None:
        number = int(text)
        return classes.numbered[number] if 0 <= number < len(classes.numbered) else None
    if text in classes.known:
        return text
    if text.startswith("-"):  # no label, in `datasets`
        return None
    words = f" ({some(classes.words)}, by the file's metadata)" if classes.words else ""
    raise UnknownOrderError(
        f"the label {text} is an integer, and nothing says which classes integers mean{words}: "
        "name a file with one class per line, in the order of the labels, as images.source.labels "
        "in the config; or, only if they count the sorted class table (as in "
        "timm/imagenet-w21-p), write `count_classes: true` under images.source"
    )


def class_of(name: str, label: Any, classes: Classes) -> str | None:
    """Return the class of a sample, or None if it is not known.

    ImageNet's file names begin with the class (`n00005787_11054`, or the folder `n00005787/`). If a
    name (key, image_id or path) does not, the label decides.

    Raises
    ------
    ValueError
        If name and label contradict each other, for then the integers index a different list; or if
        the name says no class, and the label is an integer of unknown meaning.
    """
    named = match[1] if (match := _NAMED.search(name)) else None
    try:
        by_label = labelled(label, classes)
    except UnknownOrderError as error:
        if named is None:
            raise UnknownOrderError(f"{name}: {error}") from None
        by_label = None
    if named and by_label and named != by_label:
        raise ValueError(
            f"{name} says class {named}, but its label {label} says {by_label}: the labels index a "
            "different list of classes; name the right one as images.source.labels in the config"
        )
    return named or by_label
