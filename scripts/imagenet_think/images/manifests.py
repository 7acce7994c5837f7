"""Tables that list images: the image_id and the class of each row."""

from collections.abc import Iterable, Iterator
from typing import Any

import polars as pl

from imagenet_think.core import user_tables
from imagenet_think.core.schemas import CANDIDATES
from imagenet_think.images import archives, image_matching, labels
from imagenet_think.images.labels import Classes
from imagenet_think.images.rejections import RejectionError, recorded

IMAGE = "image"
"""Column of the image's name unless the config names one, as in the hub's datasets."""

WNID = "wnid"
"""Column of the class, if it exists and the config names none."""

_OTHERS = ("rank", "complexity", "perceptual_hash", "image")
LISTED = pl.Schema({name: CANDIDATES[name] for name in CANDIDATES if name not in _OTHERS})
"""The columns of a candidate except rank, measures and picture."""

ListedRow = dict[str, Any]


def read_names(
    path: str, image: str, label: str | None
) -> tuple[list[str | None], list[str | int | None]]:
    """Return each row's name of its image and its label, None where it has none.

    The label is in the column `label`; for None in `wnid`, if there is one.
    """
    wanted = label or WNID
    columns = {wanted: user_tables.LABELS, image: user_tables.NAMES}
    optional = {WNID} - {image} if label is None else ()
    rows = user_tables.rows(path, columns, optional)
    pairs = [(row[image], row[wanted]) for row in rows]
    return [name for name, _ in pairs], [label for _, label in pairs]


def with_metadata(path: str, label: str | None, classes: Classes) -> Classes:
    """Return the classes with what a file's metadata say of its labels, as `labels.by_metadata`."""
    try:
        return labels.by_metadata(classes, user_tables.metadata(path), label or WNID)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def identify(
    place: str, name: str | None, digest: str | None, label: object, classes: Classes
) -> ListedRow:
    """Return the columns `LISTED` of a row; with a reason if it is no image of the sample.

    `place` is the file, `name` what it calls the image, and `digest` the SHA-256 of the image's
    bytes, if known: the image_id of an image without a name.
    """
    named = {"source": place, "member": name, "source_sha256": digest}
    row: ListedRow = dict.fromkeys(LISTED) | named
    with recorded(row):
        called = name or digest
        if called is None:
            raise RejectionError("not_an_image", "the row names no image")
        image = row["image_id"] = image_matching.listed_id(called, classes.known)
        named_class = image_matching.class_in(image, classes.known)
        try:
            labelled = _labelled(called, label, classes)
        except labels.UnknownOrderError as error:
            if named_class is None:
                raise ValueError(f"{place}: {called}: {error}") from None
            labelled = None
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from None
        row["wnid"] = labelled or named_class or classes.only
        if not archives.safe_name(image):
            raise RejectionError("unsafe_name", f"{called} leads out of its folder")
        if row["wnid"] not in classes.known:
            raise RejectionError("no_class", f"{called}: {row['wnid'] or 'no class'}")
    return row


def _labelled(name: str, label: object, classes: Classes) -> str | None:
    """Return the class of a label, None for no label; reject a label that says no class."""
    if label is None:
        return None
    if labels.labelled(label, classes) is None:
        count = len(classes.numbered or classes.known)
        raise RejectionError("no_class", f"{name}: label {label} is none of {count} classes")
    return labels.class_of(name, label, classes)


def reject_clashes(rows: Iterable[ListedRow]) -> Iterator[ListedRow]:
    """Yield the rows; reject those that repeat an image of an earlier row that is not rejected."""
    taken: set[str] = set()
    for row in rows:
        if row["reason"] is None:
            with recorded(row):
                if row["image_id"] in taken:
                    raise RejectionError("clashing_id", f"{row['image_id']} is in the list already")
            taken.add(row["image_id"])
        yield row
