"""One folder per class, named by it, such as `n00005787/n00005787_11054.JPEG`."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from imagenet_think.images import archives, image_ids
from imagenet_think.images.sources import Entry, Read, SampledSource


def list_place(place: Path, labels: Sequence[str] = ()) -> Iterator[Entry]:
    """Yield the files of a class folder and of the folders in it; its name is the class."""
    for entry in list_files(place):
        yield Entry(place.name, *entry[1:])


def list_files(place: Path, inside: str = "") -> Iterator[Entry]:
    """Yield every file below a folder by its relative name (with slashes), in name order.

    Links are not followed: they could lead out of the folder, or in circles.

    Raises
    ------
    OSError
        If the folder is gone or cannot be read; the error names it.
    """
    with os.scandir(place / inside) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        name = f"{inside}/{entry.name}" if inside else entry.name
        shown = archives.readable(name)
        if entry.is_symlink():
            yield Entry(None, shown, 0, None, "not_an_image", "a link; links are not followed")
        elif entry.is_dir():
            yield from list_files(place, name)
        elif not entry.is_file():
            yield Entry(None, shown, 0, None, "not_an_image", "not a plain file")
        elif shown != name:
            detail = "the name is no UTF-8; rename the file"
            yield Entry(None, shown, 0, None, "unsafe_name", detail)
        elif (size := entry.stat().st_size) > archives.MAX_BYTES:
            detail = f"{size} bytes, above {archives.MAX_BYTES}"
            yield Entry(None, name, 0, size, "too_many_bytes", detail)
        else:
            yield Entry(None, name, 0, size)


@contextmanager
def opened(place: Path) -> Iterator[Read]:
    """Open a folder: members are files in it."""

    def read(member: str, offset: int, size: int | None) -> bytes:
        with open(place / member, "rb") as file:
            return archives.read_member(file, 0, size)

    yield read


SOURCE = SampledSource(
    paper="files from one folder per class",
    pattern="{wnid}",
    place="class folder",
    example="folder per class, such as n00005787/,",
    list_place=list_place,
    opened=opened,
    image_id=image_ids.stem,
)
