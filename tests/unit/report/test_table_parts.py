from itertools import product

import polars as pl
import pytest
from aggregates import MODELS, PRINTED, SETTINGS, rows, value
from written_tables import read_table

from imagenet_think.core.schemas import AGGREGATES, GROUPS
from imagenet_think.parsing import PARTS
from table_parts import quarters, table_parts
from table_parts import sizes as quarter_sizes

QUARTERS = {"a": ["1 (5–8 tokens)", "4 (9 tokens)"], "b": ["1 (2–3 tokens)"]}


@pytest.fixture
def files(tmp_path):
    pl.DataFrame(list(rows()), schema=AGGREGATES).write_parquet(tmp_path / "aggregate.parquet")
    groups = [
        row
        for model, lengths in QUARTERS.items()
        for length in lengths
        for row in rows(models=[model], above=1, grouping="length", group=length)
    ]
    groups += [row | {"grouping": "domain", "group": "plant", "value": 9.0} for row in groups]
    pl.DataFrame(groups, schema=GROUPS).write_parquet(tmp_path / "groups.parquet")
    return tmp_path / "aggregate.parquet", tmp_path / "groups.parquet"


def test_the_table(files, tmp_path):
    table_parts(*files, [], tmp_path / "parts", SETTINGS)
    frame, caption, (head, *rows) = read_table(tmp_path / "parts")
    assert len(frame) == (2 + 3) * 8
    for row in frame.iter_rows(named=True):
        for part, name in product(PARTS, ("avg", "max")):
            expected = value(row["key"], part, PRINTED[row["metric"]], name)
            expected += 0 if row["length"] == "all" else 1
            assert row[f"{part}_{name}"] == expected
            assert row[f"{part}_{name}_low"] == expected - 0.01
        assert (row["full_images"], row["think_images"]) == (140, 130)
    places = frame.select("key", "length").unique(maintain_order=True).rows()
    by_length = [(model, length) for model in MODELS for length in QUARTERS[model]]
    assert places == [("b", "all"), ("a", "all"), *by_length]
    assert head[:4] == ["Model and length", "Metric", "Full Output Avg.", "Full Output Max"]
    assert len(rows) == 2 * 8 + 3 * 3
    n = "n = 140 / 130 / 130"
    assert rows[0][:3] == [f"Model B, {n}", "BERTScore", "0.000 (−0.010 to 0.020)"]
    assert rows[1][:2] == ["", "Sentence-BERT Cosine Similarity"]
    assert rows[8][:2] == [f"Model_A, {n}", "BERTScore"]
    title = f"Model B, quarter 1 (2–3 tokens), {n}"
    assert rows[16][:3] == [title, "BERTScore", "1.000 (0.990–1.020)"]
    assert rows[-1][:2] == ["", "ROUGE-L"]
    assert (
        "Thinking tokens and answer tokens: M = 130 of 144 images (response missing: 1 to 3;"
        in caption
    )
    assert r"\begin{longtable}" in (tmp_path / "parts.tex").read_text()


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ({"a": [36, 36, 36, 36], "b": [35, 36, 35, 35]}, ""),
        ({"a": [36, 36, 36, 36], "b": [30, 42, 35, 35]}, "they have 30 to 42 images"),
        ({"a": [9, 9, 9, 9], "b": [100, 44]}, "they have 44 to 100 images"),
    ],
)
def test_the_caption_says_how_quarters_differ_in_size(sizes, words):
    groups = [
        row | {"images": size - 1, "left_out": 1}
        for model, of_model in sizes.items()
        for place, size in enumerate(of_model)
        for row in rows(models=[model], parts=["full"], grouping="length", group=str(place))
    ]
    found = quarter_sizes(pl.DataFrame(groups, schema=GROUPS))
    assert found == sizes
    said = quarters({"groups": {"length": {"sizes": found}}})
    assert words in said if words else said == ""


def test_the_caption_says_what_windows_held_of_each_part(files, tmp_path):
    """Thinking and answer are shorter, so that more of them is read."""
    shares = {"seen": (0.25, 1), "seen_references": (0.5, 1), "cut": (0.75, 0)}
    rows = pl.read_parquet(files[0]).with_columns(
        pl.when(part="full").then(full).otherwise(short).alias(name)
        for name, (full, short) in (shares | {"cut_references": (0.6, 0)}).items()
    )
    rows.write_parquet(files[0])
    table_parts(*files, [], tmp_path / "parts", SETTINGS)
    _, caption, _ = read_table(tmp_path / "parts")
    for words in (
        "full 25.0% of a response's tokens and 50.0% of a teacher's (75.0% and 60.0% of these",
        "answer 100.0% of a response's tokens and 100.0% of a teacher's (0.0% and 0.0%",
    ):
        assert words in caption


def test_without_lengths_there_are_only_the_rows_of_all_images(files, tmp_path):
    pl.DataFrame(schema=GROUPS).write_parquet(files[1])
    table_parts(*files, [], tmp_path / "parts", SETTINGS)
    assert len(read_table(tmp_path / "parts")[2]) == 1 + 2 * 8
