"""Checks of the files that a config names, before any job runs.

Each function takes a path from the config, and raises an `OSError` or a `ValueError` that says what
is wrong.
"""

import os
import re
import symtable

from imagenet_think.core import paths


def folder(path: str) -> None:
    """Require a folder."""
    if not os.path.isdir(path):
        raise NotADirectoryError("not a folder" if os.path.exists(path) else "no such folder")


def output(path: str) -> None:
    """Require a path that Snakemake does not take for a pattern of outputs."""
    if found := sorted(set("{}<>") & set(path)):
        raise ValueError(f"the pipeline cannot write to a path with {' or '.join(found)}")


def function(place: str) -> None:
    """Require the function of `path/to/file.py:function`, without running the file.

    A function of a module, `module:function`, is looked up where the jobs run, perhaps in another
    environment.
    """
    path, _, name = place.rpartition(":")
    if not path.endswith(".py"):
        return
    try:
        code = paths.read_text(path)
        symbols = symtable.symtable(code, path, "exec").get_symbols()
    except SyntaxError as error:
        raise ValueError(f"line {error.lineno}: {error.msg}") from None
    defined = {
        symbol.get_name() for symbol in symbols if symbol.is_assigned() or symbol.is_imported()
    }
    if name not in defined and not re.search(r"\bimport\s+\*", code):
        raise ValueError(f"the file defines no {name}")
