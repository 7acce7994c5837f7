"""Tables as files: csv in full precision, LaTeX (booktabs) and Markdown, and what numbers mean."""

import json
import math
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import polars as pl

from imagenet_think.core import csv_files
from imagenet_think.core.files import write_text
from imagenet_think.core.numbers import MINUS, as_text, rounded
from imagenet_think.report import escaping

REAL = ".3f"
"""The paper prints three decimals."""

WHOLE = ",d"
"""Counts, with thousands separated."""

GROUP_WIDTH = 10
"""Characters of a group's heading for each of its columns, before it is broken."""

LONG_TEXT = 40
"""Characters of a text that is wrapped in a LaTeX table, of a word that is broken in a heading."""

WRAPPED = 0.3
"""Share of the text width that such a text gets."""

ENDS = {"value": "", "low": "_low", "high": "_high"}
"""Columns of an aggregated number and its interval, with the suffixes of a table's columns."""

MARKED = ENDS | {"mark": "_mark"}
"""The same, and why the number means nothing, null if it does."""

MARK = "†"
"""Printed after a number that means nothing."""


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes
    ----------
    name
        Its name in the frame and in the csv.
    heading
        Printed above it.
    group
        Printed above this column and its neighbours of the same group; "" for none.
    format
        Format specification of its numbers. Text is printed as it is.
    ranked
        Whether the greatest value is printed bold and the second underlined. Only rows are ranked
        in which the frame's column `compared` is true: all of them are means over the same images.
    interval
        Whether `<name>_low` and `<name>_high` are in the frame, to be printed with each value.
    marked
        Whether `<name>_mark` is in the frame: why a value means nothing, or null. Such a value is
        printed with `MARK` and is never the greatest.
    printed
        False for a column of the csv only.
    width
        Share of the text width for wrapped text in LaTeX; None sets each cell on one line.
    """

    name: str
    heading: str
    group: str = ""
    format: str = REAL
    ranked: bool = False
    interval: bool = False
    marked: bool = False
    printed: bool = True
    width: float | None = None

    @property
    def names(self) -> list[str]:
        """Names of its columns in the frame and in the csv."""
        names = with_interval(self.name) if self.interval else [self.name]
        return [*names, f"{self.name}{MARKED['mark']}"] if self.marked else names


def with_interval(name: str) -> list[str]:
    """Return the columns of a number and of its interval."""
    return [f"{name}{end}" for end in ENDS.values()]


def write_table(
    frame: pl.DataFrame,
    columns: Sequence[Column],
    definitions: Mapping[str, Any],
    caption: Callable[[Mapping[str, Any]], str],
    stem: str | Path,
    *,
    csv: pl.DataFrame | None = None,
    long: bool = False,
) -> None:
    """Write `<stem>.csv`, `<stem>.tex`, `<stem>.md` and `<stem>.definitions.json`.

    Parameters
    ----------
    frame
        One row per row of the table, in the order to print.
    columns
        The columns in the order to print.
    definitions
        What the numbers mean, as JSON values (`imagenet_think.report.definitions`).
    caption
        Returns the caption, plain text that is escaped here, given the definitions as they are in
        the file.
    stem
        Path without suffix. The LaTeX label is `tab:` and its last part.
    csv
        The content of the csv, if it differs from the printed columns.
    long
        Let the LaTeX table break over pages (`longtable`).

    Raises
    ------
    polars.exceptions.ColumnNotFoundError
        If the frame lacks a column.
    """
    defined = json.dumps(definitions, ensure_ascii=False, allow_nan=False, indent=1)
    text = caption(json.loads(defined))
    tex = latex(frame, columns, text, f"tab:{Path(stem).name}", long=long)
    if csv is None:
        write_csv(frame, columns, f"{stem}.csv")
    else:
        write_csv(csv, [Column(name, "") for name in csv.columns], f"{stem}.csv")
    write_text(tex, f"{stem}.tex")
    write_text(markdown(frame, columns, text), f"{stem}.md")
    write_text(f"{defined}\n", f"{stem}.definitions.json")


def spread(
    rows: pl.DataFrame,
    order: pl.DataFrame,
    name: pl.Expr,
    names: Sequence[str],
    values: Mapping[str, str] = ENDS,
    kept: Sequence[str] = (),
) -> pl.DataFrame:
    """Pivot numbers from one per row to the rows and columns of a table.

    Parameters
    ----------
    rows
        One row per number, with the columns of `order`, `values` and `kept`.
    order
        The columns that identify a row of the table, in the order to print.
    name
        What distinguishes the numbers of a row of the table.
    names
        Its values, in the order of the columns.
    values
        Columns to take, and how the table's columns of them end: `<name><end>`.
    kept
        Columns that are the same for all numbers of a row of the table.

    Raises
    ------
    KeyError
        If a number is missing; the message says which.
    """
    named = rows.with_columns(name.alias("name"))
    wanted = order.join(pl.DataFrame({"name": names}), how="cross")
    missing = wanted.join(named, on=wanted.columns, how="anti")
    if len(missing):
        raise KeyError(f"no number of {', '.join(map(str, missing.row(0)))}")
    wide = named.group_by(order.columns).agg(
        *(
            pl.col(column).filter(pl.col("name") == own).first().alias(f"{own}{end}")
            for own in names
            for column, end in values.items()
        ),
        pl.col(list(kept)).first(),
    )
    return order.join(wide, on=order.columns, how="left", maintain_order="left")


def write_csv(frame: pl.DataFrame, columns: Sequence[Column], path: str | Path) -> None:
    """Write the columns and their intervals in full precision; nulls are empty."""
    csv_files.write_csv(frame.select(name for column in columns for name in column.names), path)


def latex(
    frame: pl.DataFrame,
    columns: Sequence[Column],
    caption: str,
    label: str,
    *,
    long: bool = False,
    gap: int = 3,
) -> str:
    r"""Return a complete `table` environment, or a `longtable` with `gap` points between columns.

    Intervals are set in small type on a line below their values. The document needs `booktabs`,
    `array`, T1 fonts and, for long tables, `longtable`.
    """
    columns = [column for column in columns if column.printed]
    body = []
    for values, intervals in _rows(
        frame, columns, escaping.latex, r"\textbf{{{}}}", r"\underline{{{}}}"
    ):
        has_intervals = any(intervals)
        body.append(_latex_row(values, "*" if has_intervals else ""))  # both on one page
        if has_intervals:
            small = (rf"{{\scriptsize {text}}}" if text else "" for text in intervals)
            body.append(_latex_row(small))
    alignment = "".join(_latex_alignment(frame, column, long) for column in columns)
    title = [rf"\caption{{{escaping.latex(caption)}}}", rf"\label{{{label}}}"]
    headings = [r"\toprule", *_latex_headings(columns), r"\midrule"]
    if long:
        lines = [
            rf"{{\footnotesize\setlength{{\tabcolsep}}{{{gap}pt}}",
            rf"\begin{{longtable}}{{{alignment}}}",
            *title,
            r"\\",
            *headings,
            r"\endfirsthead",
            *headings,
            r"\endhead",
            r"\bottomrule",
            r"\endfoot",
            *body,
            r"\end{longtable}}",
        ]
    else:
        lines = [
            r"\begin{table}[t]",
            r"\centering\small\setlength{\tabcolsep}{4pt}",
            *title,
            rf"\begin{{tabular}}{{{alignment}}}",
            *headings,
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    return "\n".join([*lines, ""])


def markdown(frame: pl.DataFrame, columns: Sequence[Column], caption: str) -> str:
    """Return the caption and a pipe table; intervals follow their values in parentheses."""
    columns = [column for column in columns if column.printed]
    lines = [
        escaping.markdown(caption),
        "",
        _markdown_row(escaping.markdown(f"{c.group} {c.heading}".strip()) for c in columns),
        _markdown_row("---" if _is_text(frame, column) else "---:" for column in columns),
    ]
    for values, intervals in _rows(frame, columns, escaping.markdown, "**{}**", "<ins>{}</ins>"):
        pairs = zip(values, intervals, strict=True)
        lines.append(_markdown_row(f"{own} ({ends})" if ends else own for own, ends in pairs))
    return "\n".join([*lines, ""])


def _rows(
    frame: pl.DataFrame,
    columns: Sequence[Column],
    escape: Callable[[str], str],
    best: str,
    second: str,
) -> Iterator[tuple[list[str], list[str]]]:
    """Yield each row's values and their intervals ("" if none) as escaped text.

    `best` and `second` are the formats of ranked values.
    """
    marks: dict[int | None, str] = {1: best, 2: second}
    ranks = {column.name: _ranks(frame, column) for column in columns if column.ranked}
    needed = frame.select(name for column in columns for name in column.names)
    for place, row in enumerate(needed.iter_rows(named=True)):
        values, intervals = [], []
        for column in columns:
            value, *ends = (row[name] for name in column.names)
            marked = column.marked and ends.pop() is not None
            text = escape(_printed(value, column.format)) + (escape(MARK) if marked else "")
            rank = ranks[column.name][place] if column.ranked else None
            values.append(marks.get(rank, "{}").format(text))
            intervals.append(escape(_interval(ends, column)))
        yield values, intervals


def _ranks(frame: pl.DataFrame, column: Column) -> pl.Series:
    """Return the ranks of a column's compared rows, 1 for the greatest; null in other rows.

    Values that are printed alike rank alike. A missing or marked value has no rank, nor has a
    single one.
    """
    marks = frame[f"{column.name}{MARKED['mark']}"] if column.marked else [None] * len(frame)
    printed = [
        rounded(value, column.format) if compared and mark is None and not _missing(value) else None
        for value, compared, mark in zip(frame[column.name], frame["compared"], marks, strict=True)
    ]
    ranks = pl.Series(printed, dtype=pl.Float64).rank("dense", descending=True)
    return ranks if ranks.count() > 1 else pl.Series([None] * len(printed))


def _is_text(frame: pl.DataFrame, column: Column) -> bool:
    return frame.schema[column.name] == pl.String


def _missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _printed(value: Any, specification: str) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else as_text(value, specification)


def _interval(ends: Sequence[object], column: Column) -> str:
    if not ends or _missing(ends[0]):
        return ""
    low, high = (_printed(end, column.format) for end in ends)
    # A dash next to a minus sign would be read as one.
    return f"{low} to {high}" if MINUS in low + high else f"{low}–{high}"


def _latex_row(cells: Iterable[str], end: str = "") -> str:
    return rf"{' & '.join(cells)} \\{end}"


def _latex_alignment(frame: pl.DataFrame, column: Column, long: bool) -> str:
    width, is_text = column.width, _is_text(frame, column)
    # A table that breaks over pages cannot be scaled down.
    if long and is_text and frame[column.name].str.len_chars().gt(LONG_TEXT).any():
        width = width or WRAPPED
    if width is not None:
        return rf">{{\raggedright\arraybackslash}}p{{{width}\linewidth}}"
    return "l" if is_text else "r"


def _latex_headings(columns: Sequence[Column]) -> list[str]:
    headings = _latex_row(escaping.latex(column.heading) for column in columns)
    if not any(column.group for column in columns):
        return [headings]
    cells, rules, start = [], [], 1
    for group, members in groupby(columns, key=lambda column: column.group):
        span = len(list(members))
        # A heading wider than its columns would stretch the last of them.
        text = escaping.spelled(group)
        broken = max(map(len, text.split()), default=0) > LONG_TEXT
        lines = textwrap.wrap(text, GROUP_WIDTH * span, break_long_words=broken) or [""]
        stack = r"\\".join(map(escaping.latex, lines))
        stack = rf"\shortstack{{{stack}}}" if len(lines) > 1 else stack
        cells.append(rf"\multicolumn{{{span}}}{{c}}{{{stack}}}")
        if group:
            rules.append(rf"\cmidrule(lr){{{start}-{start + span - 1}}}")
        start += span
    return [_latex_row(cells), " ".join(rules), headings]


def _markdown_row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
