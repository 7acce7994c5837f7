"""Columns of users' parquet files: their types, and their values row by row."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
from pyarrow.parquet import ParquetFile

from imagenet_think.core.user_tables import IMAGES, LABELS, NAMES, TEXT, Columns

ROWS = 1024
"""Rows read at a time."""

_TEXTS = {pa.string(), pa.large_string(), pa.string_view(), pa.null()}
_BYTES = {pa.binary(), pa.large_binary(), pa.binary_view(), pa.null()}


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


def check(path: str, columns: Columns) -> None:
    """Check columns as `check_column` does."""
    with opened(path, *columns) as file:
        for column, wanted in columns.items():
            check_column(file, path, column, wanted)


def check_column(file: ParquetFile, path: str, column: str, wanted: str = TEXT) -> None:
    """Raise ValueError unless a column exists once and has the wanted type (or a dictionary)."""
    schema = file.schema_arrow
    if column not in schema.names:
        raise ValueError(f"{path} has no column {column!r}; there are {', '.join(schema.names)}")
    if schema.names.count(column) > 1:
        raise ValueError(f"{path} has several columns {column!r}: rename all but one")
    kind = schema.field(column).type
    if not _holds(kind, wanted):
        remedy = ", or remove images.source.pictures" if wanted == IMAGES else ""
        raise ValueError(
            f"{path}: column {column!r} holds {kind}, not {wanted}: convert it, or name another "
            f"column{remedy}"
        )


def _holds(kind: pa.DataType, wanted: str) -> bool:
    kind = _plain(kind)
    if wanted in (NAMES, IMAGES) and (parts := image_parts(kind)):
        path, data = (_plain(parts.get(name, pa.null())) for name in ("path", "bytes"))
        return path in _TEXTS and data in _BYTES and (wanted == NAMES or "bytes" in parts)
    if pa.types.is_integer(kind):
        return wanted == LABELS
    return wanted != IMAGES and kind in _TEXTS


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def image_parts(kind: pa.DataType) -> dict[str, pa.DataType]:
    """Return the types of `bytes` and `path` in the hub's images, as far as they exist."""
    fields = kind if pa.types.is_struct(kind) else ()
    return {field.name: field.type for field in fields if field.name in {"bytes", "path"}}


def count(path: str) -> int:
    """Return the number of rows."""
    with opened(path) as file:
        return int(file.metadata.num_rows)


def rows(path: str, columns: Columns, optional: Collection[str] = ()) -> Iterator[dict[str, Any]]:
    """Yield the values of some columns, as `imagenet_think.core.user_tables.rows` does.

    Bytes of images are not read.
    """
    with opened(path, *columns) as file:
        schema = file.schema_arrow
        present = [name for name in columns if name not in optional or name in schema.names]
        for column in present:
            check_column(file, path, column, columns[column])
        parts = {column: image_parts(schema.field(column).type) for column in present}
        # Of the hub's images, the paths; of those that have none, nothing.
        read = {
            column: f"{column}.path" if parts[column] else column
            for column in present
            if not parts[column] or "path" in parts[column]
        }
        for batch in file.iter_batches(ROWS, columns=list(read.values())):
            values = {column: batch.column(column).to_pylist() for column in read}
            for number in range(batch.num_rows):
                row: dict[str, Any] = dict.fromkeys(columns)
                for column in read:
                    value = values[column][number]
                    row[column] = value and value["path"] if parts[column] else value
                yield row
