"""Tables that users bring, read row by row: parquet, JSON Lines and csv.

The format is known by the content (parquet; gzip around the others) or the suffix. A row of JSON
Lines may leave out columns. Text that is empty or white space counts as missing.
"""

import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from imagenet_think.core import line_files
from imagenet_think.core.digest_cache import DigestCache
from imagenet_think.core.digests import digest_settings

# Parquet files are read by a module that is imported when there is one: planning should be fast.

TEXT, LABELS, NAMES, IMAGES = (
    "text",
    "text or integers",
    "text, or the hub's images (bytes and path)",
    "the hub's images with their bytes",
)
"""What a column may hold besides nulls."""

Columns = Mapping[str, str]
"""What each column to be read may hold, by name."""

Row = dict[str, Any]

_PARQUET, _JSON_LINES, _CSV = "parquet", "JSON Lines", "csv"
_SUFFIXES = {
    ".parquet": _PARQUET,
    ".jsonl": _JSON_LINES,
    ".ndjson": _JSON_LINES,
    ".json": _JSON_LINES,
    ".csv": _CSV,
}
_MAGIC = b"PAR1"

_CLOCK = 2.0  # seconds in which a file may change twice and keep its time
_CACHE = DigestCache(".snakemake/user_tables.json")


def rows(path: str, columns: Columns, optional: Collection[str] = ()) -> Iterator[Row]:
    """Yield each row's values of some columns; few are in memory at a time.

    Of `NAMES` and `IMAGES`, the value is the name.

    Parameters
    ----------
    path
        The file.
    columns
        The columns to read.
    optional
        Those of them that the file need not have; then their values are None.

    Raises
    ------
    ValueError
        As from `check`, and if a value cannot be read or is not what its column should hold.
    """
    needed = {name: kind for name, kind in columns.items() if name not in optional}
    kind = _format(path)
    if kind == _PARQUET:
        from imagenet_think.core import parquet_columns

        yield from map(_without_blanks, parquet_columns.rows(path, columns, optional))
        return
    _check(path, needed)
    read = line_files.csv_rows if kind == _CSV else line_files.json_lines
    for where, row in read(path):
        values = {name: _value(row.get(name), columns[name], name, where) for name in columns}
        yield _without_blanks(values)


def check(path: str, columns: Columns) -> None:
    """Require columns of a file. This reads little of it, and nothing if it was checked before.

    Raises
    ------
    ValueError
        If the file is none that can be read, lacks a column, has it twice, or it is a column of
        parquet that holds something else.
    OSError
        If it cannot be read on this machine.
    """
    _remembered("check", path, [*columns.items()], lambda: _check(path, columns))


def count(path: str) -> int:
    """Return the number of rows; known without reading the file if it was counted before."""
    return _remembered("count", path, [], lambda: _count(path))


def metadata(path: str) -> Mapping[bytes, bytes]:
    """Return the metadata of a parquet file's columns; none for the other formats."""
    if _format(path) != _PARQUET:
        return {}
    from imagenet_think.core import parquet_columns

    with parquet_columns.opened(path) as file:
        return file.schema_arrow.metadata or {}


def is_parquet(path: str) -> bool:
    """Return whether a file is parquet, or is named so."""
    return _format(path) == _PARQUET


def save() -> None:
    """Save what was found out, so that no other process needs to read the files."""
    _CACHE.save(keep=True)


def _remembered(what: str, path: str, about: object, find: Callable[[], Any]) -> Any:
    """Return what was found out about a file; find it out again if its size or time has changed."""
    stat = os.stat(path)
    if stat.st_mtime > time.time() - _CLOCK:
        return find()
    state = [what, os.path.abspath(path), stat.st_size, stat.st_mtime_ns, about]
    return _CACHE.get(digest_settings(state), find)


def _check(path: str, columns: Columns) -> None:
    kind = _format(path)
    if kind == _PARQUET:
        from imagenet_think.core import parquet_columns

        parquet_columns.check(path, columns)
        return
    for column, content in columns.items():
        if content == IMAGES:
            raise ValueError(
                f"{path}: column {column!r} cannot hold {content}, as the file is {kind}: write it "
                "as parquet, or remove images.source.pictures"
            )
    found = line_files.csv_columns(path) if kind == _CSV else _json_columns(path, columns)
    if found is None:
        return
    for column in columns:
        if column not in found:
            hint = ""
            if kind == _CSV and len(found) < 2:
                hint = ". Columns are separated by commas, and the first line names them"
            raise ValueError(
                f"{path} has no column {column!r}; there are {', '.join(found) or 'none'}{hint}"
            )
        if found.count(column) > 1:
            raise ValueError(f"{path} has several columns {column!r}: rename all but one")


def _json_columns(path: str, wanted: Collection[str]) -> list[str] | None:
    """Return the columns of the first rows that together have the wanted ones; None without rows.

    All rows are read if a column is in none.
    """
    found: dict[str, None] = {}
    row = None
    for _, row in line_files.json_lines(path):
        found.update(dict.fromkeys(row))
        if found.keys() >= set(wanted):
            break
    return None if row is None else list(found)


def _count(path: str) -> int:
    kind = _format(path)
    if kind == _PARQUET:
        from imagenet_think.core import parquet_columns

        return parquet_columns.count(path)
    read = line_files.csv_rows if kind == _CSV else line_files.json_lines
    return sum(1 for _ in read(path))


def _format(path: str) -> str:
    with open(path, "rb") as file:
        if file.read(len(_MAGIC)) == _MAGIC:
            return _PARQUET
    suffix = Path(path.lower().removesuffix(".gz")).suffix
    if suffix not in _SUFFIXES:
        raise ValueError(
            f"{path}: neither parquet nor JSON Lines (.jsonl) nor csv (.csv), with or without .gz: "
            "convert it, or give a path or pattern without it"
        )
    return _SUFFIXES[suffix]


def _value(value: Any, kind: str, column: str, where: str) -> Any:
    """Return a value of JSON or csv; ValueError if it is not what the column should hold."""
    if kind == NAMES and isinstance(value, dict):
        value = value.get("path")
    if value is None or value != value:  # NaN, as pandas writes a missing text
        return None
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise ValueError(
                f"{where}: column {column!r} holds text that is not UTF-8 ({error}): "
                f"{line_files.REMEDY}"
            ) from error
        return value
    if kind == LABELS and isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError(
        f"{where}: column {column!r} holds {_JSON_TYPES[type(value)]}, not {kind}: convert it, or "
        "name another column"
    )


_JSON_TYPES = {
    bool: "a truth value",
    int: "a number",
    float: "a number",
    list: "an array",
    dict: "an object",
}


def _without_blanks(row: Row) -> Row:
    return {
        name: None if isinstance(value, str) and not value.strip() else value
        for name, value in row.items()
    }
