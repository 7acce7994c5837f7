"""Tables as files: csv in full precision, LaTeX (booktabs) and Markdown for reading."""

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import polars as pl

from imagenet_think.core.files import atomic_path, write_text
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
        Whether the greatest value is printed bold and the second underlined.
    interval
        Whether `<name>_low` and `<name>_high` are in the frame, to be printed with each value.
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
    printed: bool = True
    width: float | None = None

    @property
    def names(self) -> list[str]:
        """Names of its columns in the frame and in the csv."""
        return with_interval(self.name) if self.interval else [self.name]


def with_interval(name: str) -> list[str]:
    """Return the columns of a number and of its interval."""
    return [f"{name}{end}" for end in ENDS.values()]


def write_table(
    frame: pl.DataFrame,
    columns: Sequence[Column],
    caption: str,
    stem: str | Path,
    *,
    printed: tuple[pl.DataFrame, Sequence[Column]] | None = None,
    long: bool = False,
) -> None:
    """Write `<stem>.csv`, `<stem>.tex` and `<stem>.md`.

    Parameters
    ----------
    frame
        One row per row of the table, in the order to print.
    columns
        The columns in the order to print.
    caption
        Plain text; it is escaped here.
    stem
        Path without suffix. The LaTeX label is `tab:` and its last part.
    printed
        Frame and columns of the LaTeX and Markdown tables, where they differ from those of the csv.
    long
        Let the LaTeX table break over pages (`longtable`).

    Raises
    ------
    ValueError
        If a frame lacks a column.
    """
    write_csv(frame, columns, f"{stem}.csv")
    shown = printed or (frame, columns)
    write_text(latex(*shown, caption, f"tab:{Path(stem).name}", long=long), f"{stem}.tex")
    write_text(markdown(*shown, caption), f"{stem}.md")


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
    index = order.columns
    named = rows.with_columns(name.alias("name"))
    wanted = order.join(pl.DataFrame({"name": names}), how="cross")
    missing = wanted.join(named, on=wanted.columns, how="anti")
    if len(missing):
        raise KeyError(f"no number of {', '.join(map(str, missing.row(0)))}")
    wide = named.group_by(index).agg(
        *(
            pl.col(column).filter(pl.col("name") == own).first().alias(f"{own}{end}")
            for own in names
            for column, end in values.items()
        ),
        pl.col(list(kept)).first(),
    )
    return order.join(wide, on=index, how="left", maintain_order="left")


def write_csv(frame: pl.DataFrame, columns: Sequence[Column], path: str | Path) -> None:
    """Write the columns and their intervals in full precision; nulls are empty."""
    names = [name for column in columns for name in column.names]
    _check(frame, columns)
    with atomic_path(path) as temporary:
        frame.select(names).write_csv(temporary)


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
    _check(frame, columns)
    columns = [column for column in columns if column.printed]
    ranks = [_ranks(frame, column) for column in columns]
    body = []
    for index, row in enumerate(frame.iter_rows(named=True)):
        cells = [
            _latex_value(row[column.name], column.format, ranks[place].get(index, 0))
            for place, column in enumerate(columns)
        ]
        body.append(_latex_row(cells))
        intervals = [_interval(row, column) for column in columns]
        if any(intervals):
            small = [rf"{{\scriptsize {_latex_text(text)}}}" if text else "" for text in intervals]
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
    _check(frame, columns)
    columns = [column for column in columns if column.printed]
    ranks = [_ranks(frame, column) for column in columns]
    lines = [
        escaping.markdown(caption),
        "",
        _markdown_row(escaping.markdown(f"{c.group} {c.heading}".strip()) for c in columns),
        _markdown_row("---" if _is_text(frame, column) else "---:" for column in columns),
    ]
    for index, row in enumerate(frame.iter_rows(named=True)):
        cells = []
        for place, column in enumerate(columns):
            text = escaping.markdown(_printed(row[column.name], column.format, missing="–"))
            text = {1: f"**{text}**", 2: f"<ins>{text}</ins>"}.get(ranks[place].get(index, 0), text)
            interval = _interval(row, column)
            cells.append(f"{text} ({escaping.markdown(interval)})" if interval else text)
        lines.append(_markdown_row(cells))
    return "\n".join([*lines, ""])


def _check(frame: pl.DataFrame, columns: Sequence[Column]) -> None:
    missing = [n for column in columns for n in column.names if n not in frame.columns]
    if missing:
        raise ValueError(f"the table's frame lacks {missing}; it has {frame.columns}")


def _ranks(frame: pl.DataFrame, column: Column) -> dict[int, int]:
    """Map row to 1 (best) or 2 (second). Values that are printed alike rank alike."""
    if not column.ranked:
        return {}
    printed = {
        row: float(format(value, column.format).replace(",", ""))
        for row, value in enumerate(frame[column.name])
        if not _missing(value)
    }
    if len(printed) < 2:
        return {}
    places = {value: place for place, value in enumerate(sorted(set(printed.values()))[::-1], 1)}
    return {row: places[value] for row, value in printed.items() if places[value] <= 2}


def _is_text(frame: pl.DataFrame, column: Column) -> bool:
    return frame.schema[column.name] == pl.String


def _missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _printed(value: object, specification: str, missing: str) -> str:
    """Return a value as plain text."""
    if _missing(value):
        return missing
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = value if isinstance(value, str) else format(value, specification)
    # What rounds to zero has no sign.
    return text.lstrip("-") if not isinstance(value, str) and not text.strip("-0.,%") else text


def _interval(row: dict[str, object], column: Column) -> str:
    """Return an interval as plain text, or "" where there is none."""
    if not column.interval or _missing(row[f"{column.name}_low"]):
        return ""
    low, high = (_printed(row[name], column.format, missing="–") for name in column.names[1:])
    # A dash next to a minus sign would be read as one.
    return f"{low} to {high}" if "-" in low + high else f"{low}–{high}"


def _latex_value(value: object, specification: str, rank: int) -> str:
    text = _latex_text(_printed(value, specification, missing="–"), isinstance(value, str))
    return {1: rf"\textbf{{{text}}}", 2: rf"\underline{{{text}}}"}.get(rank, text)


def _latex_text(text: str, words: bool = False) -> str:
    """Escape a cell. The sign of a number is a minus; a hyphen in a word stays one."""
    return escaping.latex(text if words else text.replace("-", "−"))


def _latex_row(cells: Sequence[str]) -> str:
    return rf"{' & '.join(cells)} \\"


def _latex_alignment(frame: pl.DataFrame, column: Column, long: bool) -> str:
    width, is_text = column.width, _is_text(frame, column)
    # A table that breaks over pages cannot be scaled down.
    if (
        width is None
        and long
        and is_text
        and frame[column.name].str.len_chars().gt(LONG_TEXT).any()
    ):
        width = WRAPPED
    if width is not None:
        return rf">{{\raggedright\arraybackslash}}p{{{width}\linewidth}}"
    return "l" if is_text else "r"


def _latex_headings(columns: Sequence[Column]) -> list[str]:
    headings = _latex_row([escaping.latex(column.heading) for column in columns])
    if not any(column.group for column in columns):
        return [headings]
    cells, rules, start = [], [], 1
    for group, members in groupby(columns, key=lambda column: column.group):
        span = len(list(members))
        # A heading wider than its columns would stretch the last of them.
        text = escaping.spelled(group)
        broken = max(map(len, text.split()), default=0) > LONG_TEXT
        lines = textwrap.wrap(text, GROUP_WIDTH * span, break_long_words=broken) or [""]
        stack = r"\\".join(escaping.latex(line) for line in lines)
        stack = rf"\shortstack{{{stack}}}" if len(lines) > 1 else stack
        cells.append(rf"\multicolumn{{{span}}}{{c}}{{{stack}}}")
        if group:
            rules.append(rf"\cmidrule(lr){{{start}-{start + span - 1}}}")
        start += span
    return [_latex_row(cells), " ".join(rules), headings]


def _markdown_row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
