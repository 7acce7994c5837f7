"""A plain folder of one's own images, with or without classes.

An image in a folder inside belongs to the class of that folder's name (the first level counts); an
image directly in the folder to the class of the folder's own name. The image_id is the path
relative to the folder, without the ending, so that `cats/1.jpg` and `dogs/1.jpg` do not clash.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from imagenet_think.images.archives import ENDINGS
from imagenet_think.images.sources import Entry
from imagenet_think.images.sources.class_folders import list_files, opened

__all__ = ["image_id", "list_place", "opened"]


def image_id(member: str) -> str:
    """Return the relative path without the ending.

    Examples
    --------
    >>> image_id("cats/holiday.2019.JPG"), image_id("cats/holiday.2019")
    ('cats/holiday.2019', 'cats/holiday.2019')
    """
    path = PurePosixPath(member)
    while path.suffix.lower() in ENDINGS:
        path = path.with_suffix("")
    return str(path)


def list_place(place: Path, labels: Sequence[str] = ()) -> Iterator[Entry]:
    """Yield every file of the folder and of the folders in it."""
    own = place.resolve().name
    for name, size, reason, detail in list_files(place):
        first, slash, _ = name.partition("/")
        yield Entry(first if slash else own, name, 0, size, reason, detail)
