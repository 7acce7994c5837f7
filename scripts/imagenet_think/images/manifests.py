"""Parquet files that list images: what each row's image is called, and of which class it is."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from imagenet_think.core.schemas import CANDIDATES
from imagenet_think.images import archives, image_matching
from imagenet_think.images.classes import read_classes, read_labels
from imagenet_think.images.labels import class_of
from imagenet_think.images.rejections import RejectionError, recorded

IMAGE = "image"
"""Column that names the image where the config names none, as in the hub's datasets."""

WNID = "wnid"
"""Column that says the class where there is one and the config names none."""

LISTED = pl.Schema(
    {
        name: dtype
        for name, dtype in CANDIDATES.items()
        if name not in ("rank", "complexity", "perceptual_hash", "image")
    }
)
"""What is known of a row: what a candidate has, without its place in a class and its picture."""

Row = dict[str, Any]


class Classes(NamedTuple):
    """The classes that rows may be of.

    Attributes
    ----------
    known
        All of them.
    numbered
        What integer labels count.
    only
        The class where there is one alone: then it is that of every row that says none.
    """

    known: Collection[str]
    numbered: Sequence[str]
    only: str | None


def read(classes: str | Path, labels: str | Path | None) -> Classes:
    """Read the table of the classes, and the file that says what integers count, if there is one.

    Raises
    ------
    ValueError
        As for `imagenet_think.images.classes.read_classes`.
    """
    wnids = read_classes(classes)["wnid"].to_list()
    only = wnids[0] if len(wnids) == 1 else None
    return Classes(frozenset(wnids), read_labels(classes, labels), only)


def read_labels_of(path: str, label: str | None, count: int) -> list[object]:
    """Return what the rows of a file say of their class; None where they say nothing.

    Parameters
    ----------
    path
        The file.
    label
        The column; None for `wnid`, where there is one.
    count
        Rows of the file.
    """
    column = label or WNID
    with image_matching.opened(path, column) as file:
        if label is None and WNID not in file.schema_arrow.names:
            return [None] * count
        image_matching.check_column(file, path, column, image_matching.LABELS)
        return file.read([column])[column].to_pylist()


def identify(
    place: str, name: str | None, digest: str | None, label: object, classes: Classes
) -> Row:
    """Return what a row is about: columns `LISTED`, or why it is no image of the sample.

    Parameters
    ----------
    place
        The file.
    name
        What it calls the image; None where it does not.
    digest
        SHA-256 of the image's bytes, if it is known. It is the image_id where there is no name.
    label
        What the row says of the class.
    classes
        The classes.
    """
    row: Row = dict.fromkeys(LISTED) | {"source": place, "member": name, "source_sha256": digest}
    with recorded(row):
        called = name or digest
        if called is None:
            raise RejectionError("not_an_image", "the row names no image")
        row["image_id"] = image_matching.listed_id(called, classes.known)
        row["wnid"] = _labelled(called, label, classes.numbered)
        row["wnid"] = (
            row["wnid"] or image_matching.class_in(row["image_id"], classes.known) or classes.only
        )
        if not archives.safe_name(row["image_id"]):
            raise RejectionError("unsafe_name", f"{called} leads out of its folder")
        if row["wnid"] not in classes.known:
            raise RejectionError("no_class", f"{called}: {row['wnid'] or 'no class'}")
    return row


def _labelled(name: str, label: object, counted: Sequence[str]) -> str | None:
    """Return the class that a row's label says, if there is one; turn away what counts nothing."""
    if label is None or not str(label).strip():
        return None
    if class_of("", label, counted) is None:
        raise RejectionError("no_class", f"{name}: label {label} is none of {len(counted)} classes")
    return class_of(name, label, counted)


def turn_away_clashes(rows: pl.DataFrame) -> pl.DataFrame:
    """Turn away the rows whose image an earlier one is; those turned away already do not count."""
    usable = pl.col("reason").is_null()
    clashes = usable & (pl.int_range(pl.len()).over("image_id", usable) > 0)
    why = pl.format("{} is in the list already", "image_id")
    return rows.with_columns(
        reason=pl.when(clashes).then(pl.lit("clashing_id")).otherwise("reason"),
        detail=pl.when(clashes).then(why).otherwise("detail"),
    )
