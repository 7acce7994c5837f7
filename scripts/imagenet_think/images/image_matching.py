"""Parquet files that name images, and the image that a name refers to."""

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa
from pyarrow.parquet import ParquetFile

from imagenet_think.images import image_ids

TEXT, LABELS, IMAGES = "text", "text or integers", "text, or the hub's images (bytes and path)"
"""What a column may hold besides nulls."""

_TEXTS = {pa.string(), pa.large_string(), pa.string_view(), pa.null()}
_BYTES = {pa.binary(), pa.large_binary(), pa.binary_view(), pa.null()}

_READ = 16  # images in memory at a time

_TWICE = re.compile(r"(?<![^/])(n\d{8})_(?=\1_)")
"""A class that a name repeats, as the names of the published dataset do."""

_LONGEST = 255
"""Characters of the longest name of a class, which may be that of a folder."""


@contextmanager
def opened(path: str, *columns: str) -> Iterator[ParquetFile]:
    """Open a user's parquet file, of which `columns` are read, as a stream.

    Raises
    ------
    ValueError
        If it is not a parquet file, is damaged, or holds text that is not UTF-8. The message names
        the file, the columns and a remedy.
    OSError
        If it cannot be read on this machine.
    """
    names = " or ".join(repr(column) for column in columns)
    try:
        with ParquetFile(path, buffer_size=2**20, pre_buffer=False) as file:
            yield file
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: column {names} holds text that is not UTF-8 ({error}): write the file "
            "again with text in UTF-8, or name another column"
        ) from error
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        if getattr(error, "errno", None) is not None:
            raise
        raise ValueError(
            f"{path}: column {names} cannot be read, as the file is damaged or not a parquet file "
            f"({error}): create or download it again, or give a path or pattern without it"
        ) from error


def check_column(file: ParquetFile, path: str, column: str, wanted: str = TEXT) -> None:
    """Raise ValueError unless a column exists once and has the wanted type (or a dictionary)."""
    schema = file.schema_arrow
    if column not in schema.names:
        raise ValueError(f"{path} has no column {column!r}; there are {', '.join(schema.names)}")
    if schema.names.count(column) > 1:
        raise ValueError(f"{path} has several columns {column!r}: rename all but one")
    kind = schema.field(column).type
    if not _holds(kind, wanted):
        raise ValueError(
            f"{path}: column {column!r} holds {kind}, not {wanted}: convert it, or name another "
            "column"
        )


def _holds(kind: pa.DataType, wanted: str) -> bool:
    kind = _plain(kind)
    if wanted == IMAGES and (parts := _parts(kind)):
        path, data = (_plain(parts.get(name, pa.null())) for name in ("path", "bytes"))
        return path in _TEXTS and data in _BYTES
    return kind in _TEXTS or (wanted == LABELS and pa.types.is_integer(kind))


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _parts(kind: pa.DataType) -> dict[str, pa.DataType]:
    """Return the types of `bytes` and `path` in the hub's images, as far as they exist."""
    fields = kind if pa.types.is_struct(kind) else ()
    return {field.name: field.type for field in fields if field.name in {"bytes", "path"}}


def read_names(files: Sequence[str], column: str) -> list[str | None]:
    """Return each row's name of its image, None without a name; bytes are not read.

    The column holds names as text, or the hub's images, whose `path` is the name.

    Raises
    ------
    ValueError
        As for `opened` and `check_column`.
    """
    names: list[str | None] = []
    for path in files:
        with opened(path, column) as file:
            check_column(file, path, column, IMAGES)
            parts = _parts(file.schema_arrow.field(column).type)
            if "path" in parts:
                rows = file.read([f"{column}.path"])[column].to_pylist()
                names += [row and row["path"] for row in rows]
            elif parts:
                names += [None] * file.metadata.num_rows
            else:
                names += file.read([column])[column].to_pylist()
    return names


def read_digests(files: Sequence[str], column: str, rows: Collection[int]) -> dict[int, str]:
    """Return the SHA-256 (hex) of the images' bytes in some rows; rows without bytes are omitted.

    Rows are numbered across all files. Row groups without them are not read.
    """
    wanted = set(rows)
    digests, first = {}, 0
    for path in files:
        with opened(path, column) as file:
            holds = "bytes" in _parts(file.schema_arrow.field(column).type)
            for group in range(file.metadata.num_row_groups):
                end = first + file.metadata.row_group(group).num_rows
                if holds and not wanted.isdisjoint(range(first, end)):
                    for row, data in enumerate(pictures(file, group, column), start=first):
                        if row in wanted and data is not None:
                            digests[row] = hashlib.sha256(data).hexdigest()
                first = end
    return digests


def read_pictures(path: str, column: str) -> Iterator[bytes | None]:
    """Yield the bytes of each row's image, or None; ValueError if the column holds none."""
    with opened(path, column) as file:
        check_column(file, path, column, IMAGES)
        kind = file.schema_arrow.field(column).type
        if "bytes" not in _parts(kind):
            raise ValueError(
                f"{path}: column {column!r} holds {kind}, without bytes: remove "
                "images.source.pictures, or name a column of images as images.source.image"
            )
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
