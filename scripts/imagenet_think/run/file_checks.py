"""Checks of the files that a config names, before any job runs.

Each function takes a path from the config, and raises an `OSError` or a `ValueError` that says what
is wrong.
"""

import os
import re
import symtable
from pathlib import Path

COLUMNS = ("wnid", "lemmas", "domain", "hypernym")
"""Columns of a table of classes, in any order."""


def text(path: str) -> str:
    """Return the text of a file in UTF-8."""
    try:
        return Path(path).read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise FileNotFoundError("no such file") from None
    except OSError as error:
        raise OSError(f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ValueError(f"line {line} is not UTF-8; save the file as UTF-8") from None


def folder(path: str) -> None:
    """Require a folder."""
    if not os.path.isdir(path):
        raise NotADirectoryError("not a folder" if os.path.exists(path) else "no such folder")


def output(path: str) -> None:
    """Require a path that Snakemake does not take for a pattern of outputs."""
    if found := sorted(set("{}<>") & set(path)):
        raise ValueError(f"the pipeline cannot write to a path with {' or '.join(found)}")


def executable(path: str) -> None:
    """Require a file if a path is given; a name without a slash is looked up where the jobs run."""
    if "/" in path and not os.path.isfile(path):
        raise FileNotFoundError("no such file")


def class_ids(path: str) -> list[str]:
    """Return the classes of a table in its order."""
    header, *rows = text(path).removeprefix("\ufeff").removesuffix("\n").split("\n")
    columns = header.rstrip("\r").split("\t")
    if missing := [name for name in COLUMNS if name not in columns]:
        raise ValueError(
            f"columns missing: {', '.join(missing)}; a table of classes is separated by tabs, and "
            f"its first line names {', '.join(COLUMNS)}"
        )
    if not rows:
        raise ValueError("the table has no class")
    place = columns.index("wnid")
    found = []
    for number, row in enumerate(rows, start=2):
        cells = row.rstrip("\r").split("\t")
        if place >= len(cells) or not cells[place]:
            raise ValueError(f"line {number} names no class")
        found.append(cells[place])
    if len(set(found)) < len(found):
        twice = next(wnid for wnid in found if found.count(wnid) > 1)
        raise ValueError(f"the class {twice} is listed more than once")
    return found


def function(place: str) -> None:
    """Require the function of `path/to/file.py:function`, without running the file.

    A function of a module, `module:function`, is looked up where the jobs run, perhaps in another
    environment.
    """
    path, _, name = place.rpartition(":")
    if not path.endswith(".py"):
        return
    try:
        code = text(path)
        symbols = symtable.symtable(code, path, "exec").get_symbols()
    except SyntaxError as error:
        raise ValueError(f"line {error.lineno}: {error.msg}") from None
    defined = {
        symbol.get_name() for symbol in symbols if symbol.is_assigned() or symbol.is_imported()
    }
    if name not in defined and not re.search(r"\bimport\s+\*", code):
        raise ValueError(f"the file defines no {name}")
