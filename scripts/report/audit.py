"""Audit the paper: compute whether its own numbers contradict its statements."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from imagenet_think.core.files import write_text
from imagenet_think.core.job import start_job
from imagenet_think.core.settings import Values
from imagenet_think.report import escaping
from imagenet_think.report.audit_checks import (
    CHECKS,
    CONTRADICTS,
    NUMBER_WORDS,
    VERDICTS,
    Printed,
    read_number,
)
from imagenet_think.report.tables import Column, latex, markdown, write_csv

MARKS = r"[*$]"
"""Marks of bold words and formulas in the text that the quotes were taken from."""

KINDS = {
    "hard": (
        "Hard contradictions",
        "The paper's own numbers or counts exclude each other, and rounding does not explain it.",
    ),
    "argued": (
        "Argued",
        "These rest on a reading that one can question; the verdict says what the numbers alone "
        "decide.",
    ),
    "quote": (
        "By quotation only",
        "Two places of the text, or one that leaves open what it means; nothing to compute.",
    ),
}
"""Kinds of entries in the order to print, with heading and meaning."""

READING = "reading"
"""Kind of the rows that state how this project reads the paper."""

SCHEMA = pl.Schema(
    dict.fromkeys(
        ("id", "kind", "name", "where", "quotes", "note", "formula", "computed", "verdict"),
        pl.String,
    )
)

COMPUTED = [
    Column("id", "No."),
    Column("where", "Where", width=0.11),
    Column("quotes", "The paper says", width=0.27),
    Column("found", "What its numbers say", width=0.36),
    Column("verdict", "Verdict", width=0.095),
]
QUOTED = [
    *COMPUTED[:2],
    Column("quotes", "The paper says", width=0.37),
    Column("note", "Note", width=0.37),
]
READINGS = [
    Column("id", "No."),
    Column("name", "Question", width=0.15),
    Column("note", "Our reading", width=0.37),
    Column("computed", "Numbers", width=0.33),
]
FORMULAS = [Column("id", "No."), Column("formula", "What is computed")]


def audit(
    entries: str | Path, reported: str | Path, resources: Sequence[str | Path], stem: str | Path
) -> None:
    """Write the audit as `<stem>.csv`, `<stem>.md` and `<stem>.tex`.

    Parameters
    ----------
    entries
        The audit's entries and readings (YAML, `resources/audit.yaml`).
    reported
        What the paper reports (YAML).
    resources
        Tables with a heading; checks use their numbers of rows.
    stem
        Path of the audit without ending.
    """
    texts = {Path(path).name: Path(path).read_text(encoding="utf-8") for path in resources}
    frame = examine(
        yaml.safe_load(Path(entries).read_text(encoding="utf-8")),
        yaml.safe_load(Path(reported).read_text(encoding="utf-8")),
        {name: len(text.splitlines()) - 1 for name, text in texts.items()},
    )
    write_csv(frame, [Column(name, name) for name in SCHEMA], f"{stem}.csv")
    write_text(page(frame), f"{stem}.md")
    write_text(typeset(frame), f"{stem}.tex")


def examine(document: Values, reported: Values, resources: Mapping[str, int]) -> pl.DataFrame:
    """Return the entries and readings as rows of `SCHEMA`, with the results of their checks.

    Raises
    ------
    ValueError
        If a check refers to a number, resource or quote that does not exist; names the entry.
    """
    quotes = {entry["id"]: entry["quotes"] for entry in document["entries"]}
    rows = []
    for entry in document["entries"]:
        result = _checked(entry, entry["quotes"], reported, resources)
        words = {name: entry[name] for name in ("id", "kind", "name", "where", "note")}
        rows.append(words | {"quotes": " ".join(f"“{q}”" for q in entry["quotes"])} | result)
    for place, reading in enumerate(document["readings"], start=1):
        own = quotes.get(reading.get("quotes_of"), [])
        result = _checked(reading, own, reported, resources) | {"verdict": None}
        words = {"id": f"R{place:02}", "kind": READING, "name": reading["question"]}
        rows.append(words | {"note": reading["reading"]} | result)
    return pl.DataFrame(rows, schema=SCHEMA)


def _checked(
    entry: Values, quotes: Sequence[str], reported: Values, resources: Mapping[str, int]
) -> dict[str, str | None]:
    """Return the result of an entry's check; empty for an entry without one."""
    if "check" not in entry:
        return {}
    try:
        formula, check = CHECKS[entry["check"]["name"]]
        computed, holds = check(**arguments(entry["check"], quotes, reported, resources))
        return {"formula": formula, "computed": computed, "verdict": VERDICTS[holds]}
    except (KeyError, ValueError) as error:
        name = entry.get("id", entry.get("question"))
        raise ValueError(f"audit, {name}: {error}") from error


def arguments(
    section: Values, quotes: Sequence[str], reported: Values, resources: Mapping[str, int]
) -> dict[str, Any]:
    """Return the arguments of a check.

    Parameters
    ----------
    section
        The sources of the arguments: `reported`, `quoted`, `resource`, `given`.
    quotes
        The quotes in which patterns are searched.
    reported, resources
        What the paper reports, and the number of rows of each resource by file name.
    """
    return {
        **_each(section.get("reported", {}), lambda place: find(reported, place)),
        **_each(section.get("quoted", {}), lambda pattern: read_quoted(quotes, pattern)),
        **_each(section.get("resource", {}), resources.__getitem__),
        **section.get("given", {}),
    }


def _each(value: Any, function: Callable[[str], Any]) -> Any:
    """Apply a function to a text, or to each text in mappings and lists."""
    if isinstance(value, Mapping):
        return {key: _each(item, function) for key, item in value.items()}
    if isinstance(value, list):
        return [_each(item, function) for item in value]
    return function(value)


def find(reported: Values, place: str) -> Any:
    """Return the value at a dotted path; list items go by their dataset, and `*` selects all."""
    found: Any = reported
    names = place.split(".")
    for position, name in enumerate(names):
        if isinstance(found, list):
            found = {row["dataset"]: row for row in found}
        if name == "*":
            return {key: find(row, ".".join(names[position + 1 :])) for key, row in found.items()}
        if name not in found:
            raise KeyError(f"nothing is reported at {place}")
        found = found[name]
    return found


def read_quoted(quotes: Sequence[str], pattern: str) -> Printed | str | list[Printed | str]:
    """Return the groups of a pattern in the first quote that matches; a single one without list.

    Numbers are returned as `Printed`, other groups as text.

    Raises
    ------
    ValueError
        If no quote matches the pattern.
    """
    for quote in quotes:
        if match := re.search(pattern, quote):
            found = [
                read_number(text) if text[0].isdigit() or text in NUMBER_WORDS else text
                for text in match.groups()
            ]
            return found[0] if len(found) == 1 else found
    raise ValueError(f"no quote matches {pattern!r}")


def summary(frame: pl.DataFrame, kind: str) -> str:
    """State what the entries of a kind are, and how many of them the numbers contradict."""
    rows = frame.filter(pl.col("kind") == kind)
    text = f"{KINDS[kind][1]} {len(rows)} entries"
    if kind == "quote":
        return f"{text}."
    decided = rows.filter(pl.col("verdict") == CONTRADICTS)
    return f"{text}; in {len(decided)} of them the computed numbers contradict the statement."


def shown(frame: pl.DataFrame, kind: str) -> tuple[pl.DataFrame, list[Column]]:
    """Return the rows of a kind as printed, and the columns."""
    rows = frame.filter(pl.col("kind") == kind)
    found = pl.concat_str(pl.col("note"), pl.col("computed"), separator=" ", ignore_nulls=True)
    rows = rows.with_columns(found=found, quotes=pl.col("quotes").str.replace_all(MARKS, ""))
    return rows, {"quote": QUOTED, READING: READINGS}.get(kind, COMPUTED)


def page(frame: pl.DataFrame) -> str:
    """Return the audit as Markdown."""
    about = escaping.markdown(
        "Statements of arXiv 2510.01582 set beside its own numbers. Every number in the columns of "
        "what was found is computed from the paper's tables and the quotes. The audit is the same "
        "for every run."
    )
    readings = "What this project takes it to mean where it is silent."
    checked = frame.filter(pl.col("formula").is_not_null())
    sections = {
        "# Audit of the paper": about,
        **{
            f"## {heading}": markdown(*shown(frame, kind), summary(frame, kind))
            for kind, (heading, _) in KINDS.items()
        },
        "## How we read the paper": markdown(*shown(frame, READING), readings),
        "## What the checks compute": markdown(
            checked, FORMULAS, "By number of the entry or reading."
        ),
    }
    return "\n".join(f"{heading}\n\n{body.strip()}\n" for heading, body in sections.items())


def typeset(frame: pl.DataFrame) -> str:
    """Return the audit as long LaTeX tables, one per kind and one for the readings."""
    captions = {kind: f"{heading}. {summary(frame, kind)}" for kind, (heading, _) in KINDS.items()}
    captions[READING] = "How this project reads the paper where it is silent, and why."
    tables = [
        latex(*shown(frame, kind), text, f"tab:audit_{kind}", long=True, gap=5)
        for kind, text in captions.items()
    ]
    # Cells of several lines need space between the rows.
    return "\n".join([r"{\renewcommand{\arraystretch}{1.3}", *tables, "}", ""])


if __name__ == "__main__":
    snakemake = start_job()
    audit(
        entries=snakemake.input.entries,
        reported=snakemake.input.reported,
        resources=[snakemake.input.classes],
        stem=Path(snakemake.output[0]).with_suffix(""),
    )
