"""The table of classes as a file; the only place that reads it, before a run and in jobs."""

import unicodedata
from collections import Counter
from pathlib import Path

from imagenet_think.core import paths

COLUMNS = ("wnid", "lemmas", "domain", "hypernym")
"""Columns of a table of classes, in any order, perhaps among others."""


def read(path: str | Path) -> tuple[list[str], list[list[str | None]]]:
    """Return the names of the columns, and the cells of each row; empty ones are None.

    Classes are in Unicode's composed form (NFC), in which they are compared everywhere.

    Raises
    ------
    ValueError
        If it is no such table; the message names the file, the line and a remedy.
    OSError
        If the file cannot be read.
    """
    lines = _text(path).removeprefix("\ufeff").replace("\r\n", "\n").rstrip("\n").split("\n")
    columns = lines[0].split("\t")
    if missing := [name for name in COLUMNS if name not in columns]:
        raise ValueError(
            f"{path}: columns missing: {', '.join(missing)}; a table of classes is separated by "
            f"tabs, and its first line names {', '.join(COLUMNS)}"
        )
    if twice := [name for name in COLUMNS if columns.count(name) > 1]:
        raise ValueError(f"{path}: the column {twice[0]} appears twice")
    rows: list[list[str | None]] = []
    place = columns.index("wnid")
    for number, line in enumerate(lines[1:], start=2):
        cells: list[str | None] = [cell or None for cell in line.split("\t")]
        if len(cells) > len(columns):
            raise ValueError(
                f"{path}: line {number} has {len(cells)} columns, the first line {len(columns)}"
            )
        cells += [None] * (len(columns) - len(cells))
        if (wnid := cells[place]) is None:
            raise ValueError(f"{path}: line {number} names no class")
        cells[place] = composed(wnid)
        rows.append(cells)
    if not rows:
        raise ValueError(f"{path}: the table has no class")
    counts = Counter(str(row[place]) for row in rows)
    if twice := [wnid for wnid, count in counts.items() if count > 1]:
        raise ValueError(f"{path}: classes listed more than once: {', '.join(twice)}")
    return columns, rows


def class_ids(path: str | Path) -> list[str]:
    """Return the classes of a table in its order; errors as for `read`."""
    columns, rows = read(path)
    place = columns.index("wnid")
    return [str(row[place]) for row in rows]


def composed(name: str) -> str:
    """Return a name in Unicode's composed form; folders from macOS are often decomposed."""
    return unicodedata.normalize("NFC", name)


def _text(path: str | Path) -> str:
    try:
        return paths.read_text(str(path))
    except (OSError, ValueError) as error:
        raise type(error)(f"{path}: {error}") from None
