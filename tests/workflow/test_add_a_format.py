"""A new output format with its own parse failure is one module; all other places derive from it."""

import json

import polars as pl
import pytest

from .additions import CONFIG, RESULTS, documented
from .conftest import listed

pytestmark = pytest.mark.slow

MODULE = "scripts/imagenet_think/parsing/formats/neighbours.py"
MEANING = "No two things are side by side."
RULE = "Thinking is what precedes the first mention of neighbours, the answer what follows it."
FORMAT = f'''"""Texts about two things that are side by side."""

from imagenet_think.parsing.marks import ANSWER, THINK, Piece, Split
from imagenet_think.parsing.statuses import OK

RULE = "{RULE}"
MARKS = ("side by side",)
SINGLE = "single"
FAILURES = {{SINGLE: "{MEANING}"}}
OPEN = frozenset({{SINGLE}})


def split(text: str) -> Split:
    """Split a text without special tokens."""
    before, mark, after = text.partition(MARKS[0])
    pieces = [Piece(THINK, before.strip()), Piece(ANSWER, after.replace(mark, "").strip())]
    return Split(pieces, OK) if mark else Split([Piece(None, text)], SINGLE)
'''


def test_a_format_is_one_module(finished):
    results = finished.root / RESULTS
    journals = {path: path.read_bytes() for path in results.glob("journal/*/*.jsonl")}

    (finished.root / MODULE).write_text(FORMAT)
    with finished.editing() as config:
        model = config["teachers"][0]
        config["models"][model]["output"] = "neighbours"
    said = finished.snakemake(*CONFIG, "accounting", "dataset", "review")

    assert listed(said)["parse_responses"] == 1
    assert "generate_responses" not in listed(said)
    assert {path: path.read_bytes() for path in results.glob("journal/*/*.jsonl")} == journals

    rows = pl.read_parquet(results / "annotations" / model / "*.parquet")
    assert set(rows["status"]) == {"ok", "single"}
    assert not rows.filter(pl.col("status") == "ok")["full"].str.contains("side by side").any()
    failed = (rows["status"] == "single").sum()

    account = pl.read_csv(results / "accounting.csv")
    columns = [name for name in account.columns if name.startswith("failed_")]
    assert columns.index("failed_single") == columns.index("failed_answer_inside_think") + 2
    assert account.filter(pl.col("model") == model)["failed_single"].to_list() == [failed]
    assert account["failed_single"].sum() == failed
    for page in ("accounting.md", "dataset/README.md", "review/index.html"):
        assert MEANING in (results / page).read_text(), page
    assert f"- Parsing: {RULE}" in (results / "dataset/README.md").read_text()
    files = sorted(results.glob("dataset/*/*.parquet"))
    published = pl.concat([pl.read_parquet(file, columns=["status_1"]) for file in files])
    assert (published["status_1"] == "single").sum() == failed
    json.loads((results / "dataset/croissant.json").read_text())

    docs = documented(finished)
    (row,) = [line for line in docs.splitlines() if "`models.<name>.output`" in line]
    assert "`neighbours`: Texts about two things that are side by side." in row
    assert "one of boxed, kimi, neighbours, plain, think," in row

    # Rewording the failure reruns the jobs that print it.
    (finished.root / MODULE).write_text(FORMAT.replace(MEANING, "There are no neighbours."))
    planned = listed(finished.snakemake(*CONFIG, "-n", "accounting", "dataset", "review"))
    assert {"account_responses", "write_card", "review"} <= planned.keys()
