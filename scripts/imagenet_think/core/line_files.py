"""Text files with one row per line: JSON Lines and csv, compressed with gzip or not."""

import csv
import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from typing import Any

from imagenet_think.core import json_text

REMEDY = "repair or delete the line, or create or download the file again"

_GZIP = b"\x1f\x8b"

csv.field_size_limit(2**31 - 1)  # or a field may have 128 KiB


@contextmanager
def _opened(path: str) -> Iterator[Any]:
    """Open a file, decompressed; ValueError if its compressed content is damaged."""
    with open(path, "rb") as file:
        compressed = file.read(len(_GZIP)) == _GZIP
        file.seek(0)
        try:
            yield gzip.GzipFile(fileobj=file) if compressed else file
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(
                f"{path}: the compressed file is damaged ({error}): create or download it again"
            ) from error


def json_lines(path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the place and the object of each line that is not empty.

    Raises
    ------
    ValueError
        If a line is not a JSON object in UTF-8, or has a key twice; the message names the line.
    """
    with _opened(path) as file:
        for number, line in enumerate(file, start=1):
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            if not line.strip():
                continue
            where = f"{path}, line {number}"
            try:
                row = json_text.loads(line)
            except RecursionError as error:
                raise ValueError(f"{where}: nested too deeply: {REMEDY}") from error
            except ValueError as error:  # JSON or UTF-8
                raise ValueError(
                    f"{where}: not valid JSON ({error}). JSON Lines has one whole object per line: "
                    f"{REMEDY}"
                ) from error
            if not isinstance(row, dict):
                raise ValueError(f"{where}: not a JSON object: {REMEDY}")
            yield where, row


def csv_columns(path: str) -> list[str]:
    """Return the names of the columns: the fields of the first line.

    Raises
    ------
    ValueError
        If there is no first line, or it is not valid.
    """
    with _csv(path) as rows:
        return next(rows, [])


def csv_rows(path: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the place and the fields of each row by column; of equal columns, the last.

    Fields are separated by commas, and may be quoted and contain line breaks.

    Raises
    ------
    ValueError
        If the file is not valid csv in UTF-8, or a row does not have one field for each column; the
        message names the line.
    """
    with _csv(path) as rows:
        names: list[str] = next(rows, [])
        for row in filter(None, rows):
            where = f"{path}, line {rows.line_num}"
            if len(row) != len(names):
                raise ValueError(f"{where}: not {len(names)} fields, one for each column: {REMEDY}")
            yield where, dict(zip(names, row, strict=True))


@contextmanager
def _csv(path: str) -> Iterator[Any]:
    with _opened(path) as file, TextIOWrapper(file, "utf-8-sig", newline="") as text:
        rows = csv.reader(text, strict=True)
        try:
            yield rows
        except (csv.Error, UnicodeDecodeError) as error:
            where = f"{path}, line {max(rows.line_num, 1)} or later"
            raise ValueError(
                f"{where}: not valid csv ({error}): save it as UTF-8, with fields separated by "
                f"commas; {REMEDY}"
            ) from error
