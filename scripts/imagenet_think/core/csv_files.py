"""Csv files that people open in spreadsheets.

A spreadsheet computes a cell that begins like a formula, so a name such as `=cmd()` would run. In a
text column such a cell gets an apostrophe in front, as OWASP's page on CSV injection advises;
`read_csv` removes it. An apostrophe in front of such a beginning is doubled, so that every text is
read as it was written.
"""

from pathlib import Path
from typing import Any

import polars as pl
from polars import selectors

from imagenet_think.core.files import atomic_path

_FORMULA = r"'*[=+\-@\t\r\n＝＋－＠]"
"""How a cell begins that a spreadsheet would compute, or that has been quoted."""


_MODELS = dict.fromkeys(("model", "key"), pl.String)


def write_csv(frame: pl.DataFrame, path: str | Path) -> None:
    """Write a frame as csv, atomically; nulls are empty, and formulas are quoted."""
    quoted = selectors.string().str.replace(f"^({_FORMULA})", "'$1")
    with atomic_path(path) as temporary:
        frame.with_columns(quoted).write_csv(temporary)


def read_csv(path: str | Path, **options: Any) -> pl.DataFrame:
    """Read a csv that `write_csv` wrote; the options are those of polars.

    Keys and names of models are text, even if all of them are numbers.
    """
    types = {**_MODELS, **options.pop("schema_overrides", {})}
    frame = pl.read_csv(path, schema_overrides=types, **options)
    return frame.with_columns(selectors.string().str.replace(f"^'({_FORMULA})", "$1"))
