"""Where images come from: one module a layout, all with the same three names.

- `list_place(place, labels)` yields an `Entry` for everything in a place: a class archive, a class
  folder, an archive of samples of many classes, or the whole source folder. Nothing is decoded.
- `opened(place)` is a context manager that gives a function `read(member, offset, size)`, which
  returns the bytes of one member.
- `image_id(member)` is what a member is called: the same in every layout for the same file name.
"""

import importlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar, cast

BY_CLASS = {
    "class_tars": "{wnid}.tar",
    "outer_archive": "{wnid}.tar",
    "drawings": "{wnid}.tar",
    "class_folders": "{wnid}",
}
"""Layouts whose places hold one class each, and how those are called.

Each group of classes lists its own places.
"""

MIXED = {"webdataset": "**/*.tar", "hub_parquet": "**/*.parquet", "folder": "."}
"""Layouts whose places hold many classes, and where those lie.

Places are listed in groups and the rows sorted by class afterwards, so that each is listed once:
were each group of classes to look for its own, it would have to read them all.
"""

_SAME_AS_CLASS_TARS = ("outer_archive", "drawings")  # once unpacked or drawn

Read = Callable[[str, int | None, int | None], bytes]
Row = TypeVar("Row", bound=Mapping[str, Any])


class Entry(NamedTuple):
    """A member of a place; `reason` and `detail` say why it cannot be read, if so.

    `offset` is where its content begins (bytes), or its row in a parquet file, or 0 for a file of
    its own. `size` is in bytes as stored, None where only reading the content would tell.
    """

    wnid: str | None
    member: str | None
    offset: int | None
    size: int | None
    reason: str | None = None
    detail: str | None = None


class Source(Protocol):
    """What the module of a layout offers."""

    def list_place(self, place: Path, labels: Sequence[str]) -> Iterator[Entry]:
        """Yield what lies in a place."""

    def opened(self, place: Path) -> AbstractContextManager[Read]:
        """Open a place for reading members."""

    def image_id(self, member: str) -> str:
        """Return what a member is called."""


def get(kind: str) -> Source:
    """Return the module of a layout (`images.source.kind`).

    Raises
    ------
    ValueError
        If there is none of this name.
    """
    known = BY_CLASS | MIXED
    if kind not in known:
        raise ValueError(f"images.source.kind: {kind!r} is none of {', '.join(known)}")
    return cast(Source, importlib.import_module(f"{__name__}.{module_name(kind)}"))


def module_name(kind: str) -> str:
    """Return the name of the module that reads a layout: some layouts share one."""
    return "class_tars" if kind in _SAME_AS_CLASS_TARS else kind


def places(kind: str, folder: str | Path, classes: Sequence[str]) -> list[str]:
    """Return the places in a source folder that hold images, relative to it.

    Parameters
    ----------
    kind
        A layout, a key of `BY_CLASS` or `MIXED`.
    folder
        The source folder, which need not exist.
    classes
        Classes whose archives or folders are wanted, in the order of the result; where places hold
        many classes, they are all wanted, in name order.
    """
    if not os.path.isdir(folder):  # nor is a name too long for the file system
        return []
    folder = Path(folder)
    if kind in BY_CLASS:
        names = set(os.listdir(folder))
        return [place for wnid in classes if (place := BY_CLASS[kind].format(wnid=wnid)) in names]
    found = [folder] if MIXED[kind] == "." else folder.glob(MIXED[kind])
    return sorted(path.relative_to(folder).as_posix() for path in found if path.exists())


def opened(rows: Iterable[Row], folder: Path, layout: Source) -> Iterator[tuple[Row, Read]]:
    """Yield each row of a catalogue with what reads from its archive, by archive and place in it.

    Parameters
    ----------
    rows
        With `source`, `offset` and `member`.
    folder
        The source folder.
    layout
        What `get` returns.
    """
    by_place = sorted(rows, key=lambda row: (row["source"], row["offset"], row["member"]))
    for name, members in groupby(by_place, key=lambda row: row["source"]):
        with layout.opened(folder / name) as read:
            for row in members:
                yield row, read
