"""One folder per class, named by it, such as `n00005787/n00005787_11054.JPEG`."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imagenet_think.images import archives, class_table, image_ids
from imagenet_think.images.labels import Classes
from imagenet_think.images.sources import Entry, Read, SampledSource

MAX_LINKS = 4
"""Links to folders that are followed within each other: links may multiply the files."""


def list_place(place: Path, classes: Classes) -> Iterator[Entry]:
    """Yield the files of a class folder and of the folders in it; its name is the class."""
    for entry in list_files(place):
        yield Entry(class_table.composed(place.name), *entry[1:])


def list_files(place: Path) -> Iterator[Entry]:
    """Yield every file below a folder by its relative name (with slashes), in name order.

    Links are followed, except to what is missing or contains them.

    Raises
    ------
    OSError
        If the folder is gone or cannot be read; the error names it.
    """
    for name, entry, problem in _walk(place):
        shown = archives.readable(name)
        if entry is None:
            continue
        if problem or not entry.is_file():
            yield Entry(None, shown, 0, None, "not_an_image", problem or "not a plain file")
        elif shown != name:
            detail = "the name is no UTF-8; rename the file"
            yield Entry(None, shown, 0, None, "unsafe_name", detail)
        elif (size := entry.stat().st_size) > archives.MAX_BYTES:
            detail = f"{size} bytes, above {archives.MAX_BYTES}"
            yield Entry(None, name, 0, size, "too_many_bytes", detail)
        else:
            yield Entry(None, name, 0, size)


def folders(place: Path) -> list[str]:
    """Return a folder and those below it, as `list_files` reads them."""
    return sorted(str(place / name) for name, entry, _ in _walk(place) if entry is None)


Found = tuple[str, os.DirEntry[str] | None, str | None]


def _walk(
    place: Path, inside: str = "", above: tuple[str, ...] = (), links: int = 0
) -> Iterator[Found]:
    """Yield each folder by its relative name, and what is in it, or what is wrong with a link.

    `above` has the real paths of the folders that contain this one, `links` how many of them are
    links.
    """
    here = os.path.realpath(place / inside)
    yield inside, None, None
    with os.scandir(here) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        name = f"{inside}/{entry.name}" if inside else entry.name
        linked = entry.is_symlink()
        problem = _broken(entry, (*above, here), links) if linked else None
        if not problem and entry.is_dir():
            yield from _walk(place, name, (*above, here), links + linked)
        else:
            yield name, entry, problem


def _broken(link: os.DirEntry[str], above: tuple[str, ...], links: int) -> str | None:
    """Return why a link is not followed, or None."""
    target = f"a link to {archives.readable(os.readlink(link.path))!r}"
    try:
        link.stat()
        if not link.is_dir():
            return None
    except OSError as error:
        return f"{target}: {error.strerror}"
    inside = os.path.realpath(link.path).rstrip("/") + "/"
    if any(f"{folder}/".startswith(inside) for folder in above):
        return f"{target}, which contains it"
    return f"{target}, inside {links} other links" if links >= MAX_LINKS else None


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
