import csv

import numpy as np
import polars as pl
import pytest
from aggregates import MEASURES, SETTINGS, rows
from hypothesis import given, settings
from hypothesis import strategies as st

from imagenet_think.core.schemas import AGGREGATES, DIFFERENCES
from imagenet_think.metrics import registry
from imagenet_think.report import table_captions
from table_ranks import alike, rank, table_ranks

METRICS = registry.measures()

MODELS = ["a", "b", "c"]
NAMES = {"a": "Model_A", "b": "Model B", "c": "Model C"}
CHOSEN = SETTINGS | {"models": MODELS, "names": SETTINGS["names"] | NAMES}


def differences(gaps, metrics=("sbert",), margin=0.05):
    """Differences of pairs of models, every one with the same margin."""
    rows = [
        {"metric": metric, "aggregate": name, "model": model, "other": other, "difference": gap}
        | ({} if gap is None else {"low": gap - margin / 2, "high": gap + margin / 2})
        | ({} if gap is None else {"all_low": gap - margin, "all_high": gap + margin})
        | {"images": 0 if gap is None else 40}
        for metric in metrics
        for name in ("avg", "max")
        for (model, other), gap in gaps.items()
    ]
    return pl.DataFrame(rows, schema=DIFFERENCES)


def ranks(gaps, models=MODELS, **keys):
    frame = rank(differences(gaps, **keys).filter(aggregate="avg"), models)
    return {row[0]: row[1:] for row in frame.iter_rows()}


def test_ranks_by_hand():
    gaps = {("a", "b"): -0.1, ("a", "c"): -0.12, ("b", "c"): -0.02}
    assert ranks(gaps) == {"a": (3, 3, 3), "b": (2, 1, 2), "c": (1, 1, 2)}
    assert ranks(gaps, margin=0.0) == {"a": (3, 3, 3), "b": (2, 2, 2), "c": (1, 1, 1)}
    assert ranks(gaps, margin=1.0) == {"a": (3, 1, 3), "b": (2, 1, 3), "c": (1, 1, 3)}
    assert alike(differences(gaps).filter(aggregate="avg")) == [("b", "c")]


def test_models_without_common_images_are_not_ranked_against_each_other():
    gaps = {("a", "b"): 0.1, ("a", "c"): None, ("b", "c"): None}
    assert ranks(gaps) == {"a": (1, 1, 2), "b": (2, 2, 3), "c": (None, None, None)}
    assert alike(differences(gaps).filter(aggregate="avg")) == [("a", "c"), ("b", "c")]
    assert ranks({}, ["a"]) == {"a": (1, 1, 1)}


@given(st.lists(st.floats(0, 1), min_size=2, max_size=6), st.floats(0, 0.5))
@settings(max_examples=50, deadline=None)
def test_ranks_are_those_of_the_means_and_lie_inside_their_ranges(means, margin):
    models = [f"m{place}" for place in range(len(means))]
    gaps = {
        (models[i], models[j]): means[i] - means[j]
        for i in range(len(means))
        for j in range(i + 1, len(means))
    }
    found = ranks(gaps, models, margin=margin)
    for model, own in zip(models, means, strict=True):
        place, low, high = found[model]
        assert place == 1 + sum(other > own for other in means)
        assert 1 <= low <= place <= high <= len(models)
    assert all(low == 1 for place, low, _ in found.values() if place == 1)


@pytest.fixture
def aggregate(tmp_path):
    counts = {"images": 40, "left_out": 0, "no_response": 0}
    found = list(rows(lambda *_: 0.5, MODELS, **counts))
    path = tmp_path / "aggregate.parquet"
    pl.DataFrame(found, schema=AGGREGATES).write_parquet(path)
    return path


def read_rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_the_table(aggregate, tmp_path):
    gaps = {("a", "b"): -0.1, ("a", "c"): -0.12, ("b", "c"): -0.02}
    apart = {pair: 2 * gap - 0.1 for pair, gap in gaps.items()}
    frame = pl.concat([differences(apart, ["bertscore"]), differences(gaps, list(MEASURES)[1:])])
    frame.write_parquet(tmp_path / "differences.parquet")
    table_ranks(tmp_path / "differences.parquet", aggregate, tmp_path / "ranks", CHOSEN)
    lines = (tmp_path / "ranks.md").read_text().splitlines()
    assert lines[4].startswith("| A | Model\\_A | 3 (3–3) | 3 (3–3) |")
    assert lines[5].startswith("| B | Model B | 2 (2–2) | 2 (1–2) |")
    assert lines[6].startswith("| C | Model C | 1 (1–1) | 1 (1–2) |")
    assert "Pairs not told apart: BERTScore: none; Sentence-BERT" in lines[0]
    assert "Cosine Similarity: B–C. The csv" in lines[0]
    assert "all pairs of models (3) of a metric" in lines[0]
    assert "M = 40 of 40 images" in lines[0]
    found = read_rows(tmp_path / "ranks.csv")
    assert len(found) == 8 * 2 * 6
    by_pair = {(r["metric"], r["aggregate"], r["key"], r["other_key"]): r for r in found}
    row = by_pair["rougeL", "max", "c", "b"]
    assert [row[name] for name in ("model", "rank", "rank_low", "rank_high", "images")] == [
        *("Model C", "1", "1", "2", "40")
    ]
    ends = ("difference_low", "difference_high", "all_low", "all_high")
    assert [float(row[name]) for name in ("difference", *ends)] == pytest.approx(
        [0.02, 0.02 - 0.025, 0.02 + 0.025, 0.02 - 0.05, 0.02 + 0.05]
    )
    assert float(by_pair["rougeL", "max", "b", "c"]["all_low"]) == pytest.approx(-0.07)


def test_nothing_apart_and_one_model_alone(aggregate, tmp_path):
    path = tmp_path / "differences.parquet"
    gaps = dict.fromkeys([("a", "b"), ("a", "c"), ("b", "c")], 0.001)
    differences(gaps, MEASURES).write_parquet(path)
    table_ranks(path, aggregate, tmp_path / "ranks", CHOSEN)
    caption = (tmp_path / "ranks.md").read_text().splitlines()[0]
    assert f"Pairs not told apart: {', '.join(table_captions.HEADINGS.values())}: all." in caption
    differences({}).write_parquet(path)
    table_ranks(path, aggregate, tmp_path / "ranks", CHOSEN | {"models": ["b"]})
    found = read_rows(tmp_path / "ranks.csv")
    assert {(row["key"], row["rank"], row["other"]) for row in found} == {("b", "1", "")}
    text = (tmp_path / "ranks.md").read_text()
    assert "| A | Model B | 1 (1–1) |" in text
    assert "pairs" not in text
    assert "differences" not in text


def test_models_whose_difference_has_no_interval_are_not_told_apart(aggregate, tmp_path):
    gaps = {("a", "b"): -0.1, ("a", "c"): -0.12, ("b", "c"): -0.02}
    ends = pl.when(pl.col("model") != "b").then(pl.col("low", "high", "all_low", "all_high"))
    frame = differences(gaps, MEASURES, margin=0.001).with_columns(ends)
    assert alike(frame.filter(metric="sbert", aggregate="avg")) == [("b", "c")]
    assert rank(frame.filter(metric="sbert", aggregate="avg"), MODELS).rows() == [
        *(("a", 3, 3, 3), ("b", 2, 1, 2), ("c", 1, 1, 2))
    ]
    frame.write_parquet(tmp_path / "differences.parquet")
    table_ranks(tmp_path / "differences.parquet", aggregate, tmp_path / "ranks", CHOSEN)
    lines = (tmp_path / "ranks.md").read_text().splitlines()
    assert "Cosine Similarity: B–C. The csv" in lines[0]
    assert lines[5].startswith("| B | Model B | 2 (1–2) |")


def test_the_printed_variant_of_tfidf_is_as_configured(aggregate, tmp_path):
    path = tmp_path / "differences.parquet"
    gaps = {metric: 0.2 if metric == "tfidf_pair" else -0.2 for metric in MEASURES}
    pl.concat(
        differences(dict.fromkeys([("a", "b"), ("a", "c"), ("b", "c")], gap), [metric])
        for metric, gap in gaps.items()
    ).write_parquet(path)
    table_ranks(path, aggregate, tmp_path / "ranks", CHOSEN | {"printed_tfidf": "tfidf_pair"})
    of_a = [row for row in read_rows(tmp_path / "ranks.csv") if row["key"] == "a"]
    assert {row["metric"] for row in of_a if row["rank"] == "1"} == {"tfidf"}
    assert np.isclose(float(of_a[0]["difference"]), -0.2)
