"""One tar a class, named by it, as ImageNet distributes them (`n00005787.tar`).

The name decides: there is one archive of a class, `<wnid>.tar` directly in the source folder. Of
several in an outer archive the first counts, and the others are excluded as `clashing_archive`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from imagenet_think.images import archives
from imagenet_think.images.archives import image_id
from imagenet_think.images.sources import Entry, Read

__all__ = ["image_id", "list_place", "opened"]


def list_place(place: Path, labels: Sequence[str] = ()) -> Iterator[Entry]:
    """Yield the members of a class archive; its name is the class."""
    for member in archives.list_members(place):
        yield Entry(place.stem, *member)


@contextmanager
def opened(place: Path) -> Iterator[Read]:
    """Open an archive; members are read by offset, and decompressed where they are gzipped."""
    with open(place, "rb") as file:
        yield lambda member, offset, size: archives.read_member(file, offset, size)
