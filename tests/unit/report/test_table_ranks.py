from itertools import combinations

import polars as pl
import pytest
from aggregates import MEASURES, SETTINGS, rows
from hypothesis import given, settings
from hypothesis import strategies as st
from written_tables import read_table

from imagenet_think.core.schemas import AGGREGATES, DIFFERENCES
from imagenet_think.report import table_captions
from table_ranks import alike, arrange, table_ranks

MODELS = ["a", "b", "c"]
GAPS = {("a", "b"): -0.1, ("a", "c"): -0.12, ("b", "c"): -0.02}
NAMED = SETTINGS["models"] | {"c": {"name": "Model C"}}
CHOSEN = SETTINGS | {"benchmarked": MODELS, "models": NAMED}


def differences(gaps, metrics=("sbert",), margin=0.05):
    """Differences of pairs of models, every one with the same margin."""
    rows = [
        {"metric": metric, "aggregate": name, "model": model, "other": other, "difference": gap}
        for metric in metrics
        for name in ("avg", "max")
        for (model, other), gap in gaps.items()
    ]
    gap = pl.col("difference")
    return pl.DataFrame(rows, schema=DIFFERENCES).with_columns(
        low=gap - margin / 2,
        high=gap + margin / 2,
        all_low=gap - margin,
        all_high=gap + margin,
        images=pl.when(gap.is_null()).then(0).otherwise(40),
    )


def ranks(gaps, models=MODELS, **keys):
    frame = arrange(differences(gaps, **keys), dict(zip(models, models, strict=True)))
    rows = frame.filter(metric="sbert", aggregate="avg").select("key", "^rank.*$").unique()
    return {row[0]: row[1:] for row in rows.iter_rows()}


def test_ranks_by_hand():
    assert ranks(GAPS) == {"a": (3, 3, 3), "b": (2, 1, 2), "c": (1, 1, 2)}
    assert ranks(GAPS, margin=0.0) == {"a": (3, 3, 3), "b": (2, 2, 2), "c": (1, 1, 1)}
    assert ranks(GAPS, margin=1.0) == {"a": (3, 1, 3), "b": (2, 1, 3), "c": (1, 1, 3)}
    assert alike(differences(GAPS).filter(aggregate="avg")) == [("b", "c")]


def test_models_without_common_images_are_not_ranked_against_each_other():
    gaps = {("a", "b"): 0.1, ("a", "c"): None, ("b", "c"): None}
    assert ranks(gaps) == {"a": (1, 1, 1), "b": (2, 2, 2), "c": (None, None, None)}
    assert alike(differences(gaps).filter(aggregate="avg")) == [("a", "c"), ("b", "c")]
    assert ranks({}, ["a"]) == {"a": (None, None, None)}
    assert ranks(dict.fromkeys(gaps)) == dict.fromkeys(MODELS, (None, None, None))


@given(st.lists(st.floats(0, 1), min_size=2, max_size=6), st.floats(0, 0.5))
@settings(max_examples=50, deadline=None)
def test_ranks_are_those_of_the_means_and_lie_inside_their_ranges(means, margin):
    models = [f"m{place}" for place in range(len(means))]
    pairs = combinations(zip(models, means, strict=True), 2)
    gaps = {(one, other): mean - less for (one, mean), (other, less) in pairs}
    found = ranks(gaps, models, margin=margin)
    for model, own in zip(models, means, strict=True):
        place, low, high = found[model]
        assert place == 1 + sum(other > own for other in means)
        assert 1 <= low <= place <= high <= len(models)
    assert all(low == 1 for place, low, _ in found.values() if place == 1)


@pytest.fixture
def made(tmp_path):
    """Write the table of differences; return its csv, caption and cells."""
    counts = {"images": 40, "left_out": 0, "no_response": 0}
    aggregates = pl.DataFrame(list(rows(lambda *_: 0.5, MODELS, **counts)), schema=AGGREGATES)
    files = tmp_path / "differences.parquet", tmp_path / "aggregate.parquet"
    aggregates.write_parquet(files[1])

    def make(frame, **settings):
        frame.write_parquet(files[0])
        table_ranks(*files, [], tmp_path / "ranks", CHOSEN | settings)
        return read_table(tmp_path / "ranks")

    return make


def test_the_table(made):
    apart = {pair: 2 * gap - 0.1 for pair, gap in GAPS.items()}
    turned = {pair: -gap for pair, gap in GAPS.items()}
    others = [name for name in MEASURES if name not in ("bertscore", "tfidf")]
    not_printed = differences(turned, ["tfidf"])  # but another variant
    frames = differences(apart, ["bertscore"]), not_printed, differences(GAPS, others)
    frame, caption, (_, *cells) = made(pl.concat(frames))
    assert [row[:4] for row in cells] == [
        ["A", "Model_A", "3 (3–3)", "3 (3–3)"],
        ["B", "Model B", "2 (2–2)", "2 (1–2)"],
        ["C", "Model C", "1 (1–1)", "1 (1–2)"],
    ]
    for words in (
        "Pairs not told apart: BERTScore: none; Sentence-BERT",
        "Cosine Similarity: B–C. The csv",
        "all pairs of models (3) of a metric",
        "M = 40 of 40 images",
        "on the same images, the 40 on which all of them are scored.",
    ):
        assert words in caption
    assert len(frame) == 8 * 2 * 6
    assert set(frame.filter(key="c")["rank"]) == {1}
    pairs = frame.filter(metric="rougeL", aggregate="max").rows_by_key(["key", "other_key"])
    (row,) = pairs["c", "b"]
    assert row[2:7] == ("Model C", 1, 1, 2, "Model B")
    numbers = [0.02, 0.02 - 0.025, 0.02 + 0.025, 0.02 - 0.05, 0.02 + 0.05, 40]
    assert row[7:-1] == pytest.approx(numbers)
    (row,) = pairs["b", "c"]
    assert row[-4] == pytest.approx(-0.07)


def test_without_significant_differences_and_with_a_single_model(made):
    _, caption, _ = made(differences(dict.fromkeys(GAPS, 0.001), MEASURES))
    assert f"Pairs not told apart: {', '.join(table_captions.HEADINGS.values())}: all." in caption
    frame, caption, cells = made(differences({}), benchmarked=["b"])
    assert set(frame.select("key", "rank", "other").rows()) == {("b", None, None)}
    assert cells[1] == ["A", "Model B", *"––––––––"]
    assert "A single model has no rank." in caption
    assert "pairs" not in caption
    assert "differences" not in caption


def test_models_whose_difference_has_no_interval_are_not_told_apart(made):
    ends = pl.when(pl.col("model") != "b").then(pl.col("low", "high", "all_low", "all_high"))
    frame = differences(GAPS, MEASURES, margin=0.001).with_columns(ends)
    assert alike(frame.filter(metric="sbert", aggregate="avg")) == [("b", "c")]
    csv, caption, cells = made(frame)
    ranked = csv.filter(metric="sbert", aggregate="avg").select("key", "^rank.*$").unique()
    assert sorted(ranked.rows()) == [("a", 3, 3, 3), ("b", 2, 1, 2), ("c", 1, 1, 2)]
    assert "Cosine Similarity: B–C. The csv" in caption
    assert cells[2][:3] == ["B", "Model B", "2 (1–2)"]
