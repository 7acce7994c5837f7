"""The images in users' tables, and the image that a name refers to."""

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator

from pyarrow.parquet import ParquetFile

from imagenet_think.core.parquet_columns import check_column, image_parts, opened
from imagenet_think.core.user_tables import IMAGES, is_parquet
from imagenet_think.images import image_ids

_READ = 16  # images in memory at a time

_TWICE = re.compile(r"(?<![^/])(n\d{8})_(?=\1_)")
"""A class that a name repeats, as the names of the published dataset do."""

_LONGEST = 255
"""Characters of the longest name of a class, which may be that of a folder."""


def read_digests(path: str, column: str, rows: Collection[int]) -> dict[int, str]:
    """Return the SHA-256 (hex) of the images' bytes in some rows; rows without bytes are omitted.

    Row groups without them are not read, and nothing of a file that is not parquet.

    Raises
    ------
    ValueError
        If the file is damaged.
    OSError
        If it cannot be read on this machine.
    """
    wanted, digests, first = set(rows), dict[int, str](), 0
    if not wanted or not is_parquet(path):
        return digests
    with opened(path, column) as file:
        if "bytes" not in image_parts(file.schema_arrow.field(column).type):
            return digests
        for group in range(file.metadata.num_row_groups):
            end = first + file.metadata.row_group(group).num_rows
            if not wanted.isdisjoint(range(first, end)):
                for row, data in enumerate(pictures(file, group, column), start=first):
                    if row in wanted and data is not None:
                        digests[row] = hashlib.sha256(data).hexdigest()
            first = end
    return digests


def read_pictures(path: str, column: str) -> Iterator[bytes | None]:
    """Yield the bytes of each row's image, or None; ValueError if the column holds none."""
    with opened(path, column) as file:
        check_column(file, path, column, IMAGES)
        for group in range(file.metadata.num_row_groups):
            yield from pictures(file, group, column)


def pictures(file: ParquetFile, group: int, column: str) -> Iterator[bytes | None]:
    """Yield the bytes of each image in a row group; few are in memory at a time."""
    for batch in file.iter_batches(_READ, row_groups=[group], columns=[f"{column}.bytes"]):
        for picture in batch.column(column):
            yield picture["bytes"].as_py() if picture.is_valid else None


class ImageNames:
    """The image of a sample that a name refers to.

    From a file name or path, its ending and then leading folders are removed until it is an
    image_id: `/home/me/pictures/cats/12.jpg` is `cats/12`. `n00005787_n00005787_11054`, as in the
    published dataset, is `n00005787_11054`.
    """

    def __init__(self, images: Iterable[str]):
        self._images = set(images)
        self._folders = max((image.count("/") for image in self._images), default=0)
        # If ids contain folders, `dogs/12.jpg` is not the image `12` outside of them.
        self._flat = not any("/" in image for image in self._images)

    def image(self, name: str) -> str | None:
        """Return the image_id that a name refers to; None if it is no image of the sample."""
        if name in self._images:
            return name
        whole = image_ids.relative_path(name)
        return self._cut(whole) or self._cut(_TWICE.sub("", whole))

    def _cut(self, whole: str) -> str | None:
        """Return the longest end of a path that is an image_id."""
        # No end with more folders is one: a hostile name may have thousands.
        parts = whole.rsplit("/", self._folders + 1)
        shorter = ("/".join(parts[first:]) for first in range(1, len(parts)))
        allowed = [whole, *(cut for cut in shorter if self._flat or "/" in cut)]
        return next((cut for cut in allowed if cut in self._images), None)


def listed_id(name: str, classes: Collection[str]) -> str:
    """Return the image_id of an image that a file lists by image_id, file name or path.

    This is the name without ending and folders, its class not repeated. If the name does not begin
    with a class but a folder is one, as with your own images, the path from that folder on.
    """
    *folders, stem = parts = _TWICE.sub("", image_ids.relative_path(name)).split("/")
    if class_in(stem, classes) is None:
        place = next((n for n, part in enumerate(folders) if part in classes), None)
        if place is not None:
            return "/".join(parts[place:])
    return stem


def class_in(image: str, classes: Collection[str]) -> str | None:
    """Return the class in an image_id: its first folder, or what precedes a `_`.

    Examples
    --------
    >>> class_in("n00005787_11054", {"n00005787"}), class_in("cats/12", {"cats"})
    ('n00005787', 'cats')
    """
    folder, slash, stem = image.rpartition("/")
    if slash and (first := folder.split("/")[0]) in classes:
        return first
    ends = (match.start() for match in re.finditer("_", stem[: _LONGEST + 1]))
    return next((stem[:end] for end in sorted(ends, reverse=True) if stem[:end] in classes), None)
