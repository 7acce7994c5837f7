r"""LaTeX macros for the numbers of the paper's text, and how numbers are printed."""

import re
from collections.abc import Iterable, Mapping

import polars as pl

from imagenet_think.core.wording import series
from imagenet_think.report.escaping import latex

MISSING = "--"  # an en dash
WORDS = (
    *("no", "one", "two", "three", "four", "five", "six"),
    *("seven", "eight", "nine", "ten", "eleven", "twelve"),
)
"""Small counts, as running text spells them."""


def define(macros: Mapping[str, str], switches: Mapping[str, bool]) -> str:
    r"""Return LaTeX that defines macros and switches by name (`\ifPaperRun` for `PaperRun`).

    Raises
    ------
    ValueError
        If a name contains anything but letters.
    """
    wrong = [name for name in (*macros, *switches) if not re.fullmatch("[A-Za-z]+", name)]
    if wrong:
        raise ValueError(f"names of LaTeX macros contain letters only, not {wrong}")
    lines = [
        rf"\newif\if{name}\{name}{'true' if value else 'false'}" for name, value in switches.items()
    ]
    lines += [rf"\newcommand{{\{name}}}{{{value}}}" for name, value in macros.items()]
    return "\n".join(["% Written by the rule export_numbers; do not edit.", *lines, ""])


def number(value: float | None, decimals: int = 0) -> str:
    """Return a number with thousands separators, or an en dash for None."""
    return MISSING if value is None else f"{value:,.{decimals}f}".replace("-", "$-$")


def spelled(count: int) -> str:
    """Return a small count as a word, a larger one in digits."""
    return WORDS[count] if count < len(WORDS) else number(count)


def setting(value: float) -> str:
    """Return a number of the config with all its digits and thousands separators."""
    return f"{value:,.10g}".replace("-", "$-$")


def percent(part: float, whole: float) -> str:
    """Return a share in percent with one decimal."""
    return rf"{number(100 * part / whole, 1)}\%" if whole else MISSING


def counted(counts: pl.DataFrame, column: str) -> str:
    """Return the names in a column with their counts (`rows`), the most frequent first."""
    rows = counts.sort(["rows", column], descending=[True, False]).select(column, "rows")
    words = (f"{latex(name.replace('_', ' '))} ({number(rows)})" for name, rows in rows.iter_rows())
    return series(words) or "none"


def table_rows(rows: Iterable[Iterable[str]]) -> str:
    """Return rows of cells as the body of a LaTeX table."""
    return "\n".join(rf"{' & '.join(cells)} \\" for cells in rows)
