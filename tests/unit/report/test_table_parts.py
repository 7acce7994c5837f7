import csv

import polars as pl
import pytest
from test_table_benchmark import MODELS, SETTINGS

from imagenet_think.core.schemas import AGGREGATES, GROUPS
from imagenet_think.metrics import registry
from imagenet_think.parsing import PARTS
from imagenet_think.report import table_captions
from table_parts import table_parts

METRICS = registry.measures()

QUARTERS = {"a": ["1 (5–8 tokens)", "4 (9 tokens)"], "b": ["1 (2–3 tokens)"]}


def value(model, length, part, metric, aggregate):
    """A number that tells where it comes from."""
    number = 0.3 * MODELS.index(model) + 0.1 * ["full", "think", "answer"].index(part)
    number += 0.002 * list(METRICS).index(metric) + (0.05 if length == "all" else 0.01)
    return number + (0.001 if aggregate == "max" else 0)


def numbers(model, length):
    return [
        {"model": model, "part": part, "metric": metric, "aggregate": name}
        | {"value": value(model, length, part, metric, name)}
        | {"low": value(model, length, part, metric, name) - 0.01}
        | {"high": value(model, length, part, metric, name) + 0.01}
        | {"images": 100, "left_out": 5, "no_response": 2 if part == "full" else 4}
        for part in PARTS
        for metric in METRICS
        for name in ("avg", "max")
    ]


@pytest.fixture
def files(tmp_path):
    everything = [row for model in ("a", "b") for row in numbers(model, "all")]
    pl.DataFrame(everything, schema=AGGREGATES).write_parquet(tmp_path / "aggregate.parquet")
    rows = [
        {"grouping": "length", "group": length} | row
        for model, lengths in QUARTERS.items()
        for length in lengths
        for row in numbers(model, length)
    ]
    rows += [row | {"grouping": "domain", "group": "plant", "value": 9.0} for row in rows]
    pl.DataFrame(rows, schema=GROUPS).write_parquet(tmp_path / "groups.parquet")
    return tmp_path / "aggregate.parquet", tmp_path / "groups.parquet"


def test_the_csv_holds_every_metric_of_every_model_and_length(files, tmp_path):
    table_parts(*files, tmp_path / "parts", SETTINGS)
    with open(tmp_path / "parts.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == (2 + 3) * 8
    for row in rows:
        for part in PARTS:
            for name in ("avg", "max"):
                expected = value(row["key"], row["length"], part, row["metric"], name)
                assert float(row[f"{part}_{name}"]) == expected
                assert float(row[f"{part}_{name}_low"]) == expected - 0.01
        assert (row["full_no_response"], row["think_no_response"]) == ("2", "4")
    places = list(dict.fromkeys((row["key"], row["length"]) for row in rows))
    by_length = [(model, length) for model in MODELS for length in QUARTERS[model]]
    assert places == [("b", "all"), ("a", "all"), *by_length]


def test_the_printed_table(files, tmp_path):
    table_parts(*files, tmp_path / "parts", SETTINGS)
    caption, _, head, _, *rows = (tmp_path / "parts.md").read_text().splitlines()
    assert head.startswith("| Model and length | Metric | Full Output Avg. | Full Output Max |")
    assert len(rows) == 2 * 8 + 3 * 3
    assert rows[0].startswith("| Model B | BERTScore | 0.050 (0.040–0.060) | 0.051 (")
    assert rows[1].startswith("|  | Sentence-BERT Cosine Similarity | 0.052 (")
    assert rows[8].startswith("| Model\\_A | BERTScore |")
    assert rows[16].startswith("| Model B, quarter 1 (2–3 tokens) | BERTScore | 0.010 (")
    assert rows[-1].startswith("|  | ROUGE-L |")
    assert "Thinking tokens: M = 100 of 105 images (response missing: 4;" in caption
    assert r"\begin{longtable}" in (tmp_path / "parts.tex").read_text()


def test_the_printed_variant_of_tfidf_is_as_configured(files, tmp_path):
    table_parts(*files, tmp_path / "parts", SETTINGS | {"printed_tfidf": "tfidf_pair"})
    with open(tmp_path / "parts.csv", newline="") as file:
        rows = {(row["key"], row["length"], row["metric"]): row for row in csv.DictReader(file)}
    number = float(rows["a", "all", "tfidf"]["full_avg"])
    assert number == value("a", "all", "full", "tfidf_pair", "avg")
    assert {metric for _, _, metric in rows} == set(table_captions.HEADINGS)


def test_the_caption_says_what_windows_held_of_each_part(files, tmp_path):
    """Thinking and answer are shorter, so that more of them is read."""
    in_full = pl.when(pl.col("part") == "full")
    rows = pl.read_parquet(files[0]).with_columns(
        seen=in_full.then(0.25).otherwise(1.0),
        seen_references=in_full.then(0.5).otherwise(1.0),
        cut=in_full.then(0.75).otherwise(0.0),
        cut_references=in_full.then(0.6).otherwise(0.0),
    )
    rows.write_parquet(files[0])
    table_parts(*files, tmp_path / "parts", SETTINGS)
    caption = (tmp_path / "parts.md").read_text().splitlines()[0]
    read = "full 25.0% of a response's tokens and 50.0% of a teacher's (75.0% and 60.0% of these"
    assert read in caption
    assert (
        "answer 100.0% of a response's tokens and 100.0% of a teacher's (0.0% and 0.0%" in caption
    )


def test_without_lengths_there_are_only_the_rows_of_all_images(files, tmp_path):
    pl.DataFrame(schema=GROUPS).write_parquet(files[1])
    table_parts(*files, tmp_path / "parts", SETTINGS)
    assert len((tmp_path / "parts.md").read_text().splitlines()) == 4 + 2 * 8
