import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from score_files import FILES, PAIRS, frames, full, one, write

from compare_models import compare_models
from imagenet_think.analysis.aggregation import read_scores
from imagenet_think.analysis.intervals import Intervals
from imagenet_think.analysis.populations import FIXED
from imagenet_think.core.schemas import DIFFERENCES
from imagenet_think.metrics import registry

INTERVALS = Intervals(0.9, FIXED)
METRIC = registry.get("rouge")
MODELS = ["a", "b", "c"]


def compared(pairs, folder, models=MODELS, intervals=INTERVALS, missing="leave_out"):
    paths = [write(frames(pairs), folder)[METRIC.name]]
    scored = read_scores(METRIC, paths, models, ["full"], missing)
    return compare_models(scored, models, intervals)


@pytest.fixture
def pairs():
    """Model a is surely better than b, and c is as good as b."""
    generator = np.random.default_rng(3)
    base = generator.uniform(0.3, 0.6, 80)
    noise = generator.normal(0, 0.02, (3, 80))
    shift = {"a": 0.1, "b": 0.0, "c": 0.0}
    return {
        key: pair
        for place, (model, more) in enumerate(shift.items())
        for key, pair in full(
            *((x, x + 0.05) for x in base + more + noise[place]), model=model
        ).items()
    }


def test_a_row_for_every_metric_aggregate_and_pair(tmp_path, pairs):
    frame = compared(pairs, tmp_path)
    assert frame.schema == DIFFERENCES
    metrics = [measure.name for measure in METRIC.measures]
    assert frame["metric"].unique(maintain_order=True).to_list() == metrics
    assert len(frame) == len(metrics) * 2 * 3
    chosen = frame.filter(metric="rouge1", aggregate="max")
    assert list(chosen.select("model", "other").iter_rows()) == [
        *(("a", "b"), ("a", "c"), ("b", "c"))
    ]


def test_differences_are_paired_and_their_intervals_those_of_the_t_distribution(tmp_path, pairs):
    frame = compared(pairs, tmp_path)
    values = {
        model: np.array([pairs[f"i{k:03}", model, "full"] for k in range(80)]) for model in MODELS
    }
    for name, of in (("avg", np.mean), ("max", np.max)):
        row = one(frame, metric="rougeL", aggregate=name, model="a", other="b")
        difference = of(values["a"], axis=1) - of(values["b"], axis=1)
        assert row["difference"] == pytest.approx(difference.mean())
        assert row["images"] == 80
        error = scipy.stats.sem(difference)
        single = scipy.stats.t.interval(0.9, 79, difference.mean(), error)
        assert (row["low"], row["high"]) == pytest.approx(single)
        # Games and Howell's: Tukey's studentized range of three means.
        half = scipy.stats.studentized_range.ppf(0.9, 3, 79) / np.sqrt(2) * error
        ends = (difference.mean() - half, difference.mean() + half)
        assert (row["all_low"], row["all_high"]) == pytest.approx(ends)


def test_only_images_on_which_both_are_scored(tmp_path):
    pairs = full((0.2, 0.4), (0.6, 0.8), "response", "reference", model="a")
    pairs |= full((0.1, 0.1), "response", (0.5, 0.5), "reference", model="b")
    row = one(compared(pairs, tmp_path, ["a", "b"]), metric="rougeL", aggregate="avg")
    assert (row["difference"], row["images"]) == (pytest.approx(0.2), 1)
    zero = one(
        compared(pairs, tmp_path, ["a", "b"], missing="zero"), metric="rougeL", aggregate="avg"
    )
    assert (zero["difference"], zero["images"]) == (pytest.approx((0.2 + 0.7 - 0.5) / 3), 3)


def test_models_without_a_common_image_have_no_difference(tmp_path):
    pairs = full((0.2, 0.4), "response", model="a") | full("response", (0.2, 0.4), model="b")
    row = one(compared(pairs, tmp_path, ["a", "b"]), metric="rougeL", aggregate="avg")
    assert row["images"] == 0
    assert all(row[name] is None for name in ("difference", "low", "high", "all_low", "all_high"))


def test_a_single_model_has_no_differences(tmp_path):
    frame = compared(full((0.2, 0.4), model="a"), tmp_path, ["a"])
    assert frame.schema == DIFFERENCES
    assert len(frame) == 0


def test_all_pairs_are_compared_on_the_same_images(tmp_path):
    """Model c is scored on the images on which a happens to be better than b; d on none."""
    pairs = full((0.5, 0.5), (0.5, 0.5), (0.1, 0.1), model="a")
    pairs |= full((0.4, 0.4), (0.4, 0.4), (0.9, 0.9), model="b")
    pairs |= full((0.5, 0.5), (0.5, 0.5), "response", model="c")
    pairs |= full("response", "response", "response", model="d")
    frame = compared(pairs, tmp_path, [*MODELS, "d"]).filter(metric="rouge1", aggregate="avg")
    found = {
        row[:2]: row[2:] for row in frame.select("model", "other", "difference", "images").rows()
    }
    assert found["a", "b"] == (pytest.approx(0.1), 2)
    assert found["a", "c"] == (0.0, 2)
    assert found["b", "c"] == (pytest.approx(-0.1), 2)
    assert [found[model, "d"] for model in MODELS] == [(None, 0)] * 3


def test_models_with_few_images_in_common_have_a_difference_without_an_interval(tmp_path, pairs):
    few = {key: pair for key, pair in pairs.items() if key[0] < "i009" or key[1] != "c"}
    few |= {(f"i{k:03}", "c", "full"): "response" for k in range(9, 80)}
    frame = compared(few, tmp_path).filter(metric="rougeL", aggregate="avg")
    assert frame["images"].to_list() == [9, 9, 9]
    assert frame["difference"].null_count() == 0
    for name in ("low", "high", "all_low", "all_high"):
        assert frame[name].null_count() == 3


@given(st.lists(st.tuples(PAIRS, PAIRS, PAIRS), min_size=8, max_size=16))
@FILES
def test_the_simultaneous_interval_contains_the_other_and_order_only_changes_signs(tmp_path, rows):
    pairs = {}
    for place, model in enumerate(MODELS):
        pairs |= full(*(row[place] for row in rows), model=model)
    frame = compared(pairs, tmp_path)
    known = frame.drop_nulls("difference")
    known = known.drop_nulls("low")
    assert (known["all_low"] <= known["low"]).all()
    assert (known["high"] <= known["all_high"]).all()
    turned = compared(pairs, tmp_path, MODELS[::-1])
    back = turned.rename({"model": "other", "other": "model"})
    both = frame.join(back, on=["metric", "aggregate", "model", "other"], suffix="_turned")
    assert len(both) == len(frame)
    for name, other in (("difference", "difference"), ("low", "high"), ("all_low", "all_high")):
        both_known = both.drop_nulls(name)
        gaps = both_known[name] + both_known[f"{other}_turned"]
        assert gaps.abs().max() is None or gaps.abs().max() < 1e-8
