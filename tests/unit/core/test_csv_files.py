"""No cell of a csv is a formula in a spreadsheet, and every text is read as it was written."""

import csv
import re

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from imagenet_think.core.csv_files import read_csv, write_csv

FORMULAS = [
    "=cmd|' /C calc'!A0",
    '=HYPERLINK("http://example.org?x="&A1,"open")',
    "+1+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(A1:A9)",
    "\t=1",
    "\r=1",
    "\n=1",
    "＝1",
]
TEXTS = st.text(
    st.one_of(st.sampled_from("=+-@'\t\r\n\",; ab＝"), st.characters(exclude_categories=["Cs"])),
    min_size=1,
)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("csv") / "names.csv"


def cells(file):
    """Return the cells of a csv as a spreadsheet reads them, without the header."""
    with file.open(newline="", encoding="utf-8") as lines:
        return [cell for row in list(csv.reader(lines))[1:] for cell in row]


@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), TEXTS), min_size=1))
@example(FORMULAS)
@example([f"{marks}{text}" for text in FORMULAS for marks in ("'", "''", " ", "a")])
def test_a_text_is_no_formula_and_is_read_back(file, texts):
    frame = pl.DataFrame({"name": texts}, {"name": pl.String})
    write_csv(frame, file)
    assert not [cell for cell in cells(file) if re.match(r"[=+\-@\t\r\n＝]", cell)]
    assert read_csv(file, infer_schema=False).equals(frame)


def test_other_texts_and_numbers_are_unchanged(file):
    frame = pl.DataFrame(
        {"name": ["a=b", "'tis", '"', "x,y", None], "value": [-1.5, 2e-9, None, 0.0, 1.0]}
    )
    write_csv(frame, file)
    assert file.read_text("utf-8") == frame.write_csv()


def test_a_model_may_be_called_like_a_number(file):
    frame = pl.DataFrame({"model": ["007", "1e5"], "key": ["7", None], "score": [1, 2]})
    write_csv(frame, file)
    assert read_csv(file).equals(frame)
    types = {"key": pl.Int64, "score": pl.Float64}
    assert read_csv(file, schema_overrides=types).schema == {"model": pl.String, **types}
