import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from score_files import FILES, PAIRS, frames, full, one, write

from aggregate_scores import aggregate_scores
from imagenet_think.analysis.aggregation import largest_first, read_scores, without_thinking
from imagenet_think.analysis.resampling import Intervals
from imagenet_think.core.schemas import AGGREGATES
from imagenet_think.metrics import registry

MEASURES = registry.measures()
SETS, ROUGE = registry.get("sets"), registry.get("rouge")
CELLS = [("m", "think"), ("m", "answer"), ("thinker", "full"), ("thinker", "think")]
INTERVALS = Intervals(draws=200, level=0.95, seed=7, least=1)


def aggregated_files(files, models=("m",), intervals=INTERVALS, missing="leave_out"):
    """The numbers of every metric, from lists of its files."""
    return pl.concat(
        aggregate_scores(
            read_scores(registry.get(metric), paths, models, missing=missing), intervals
        )
        for metric, paths in files.items()
    )


def written(files, folder, name="00"):
    return {metric: [path] for metric, path in write(files, folder, name).items()}


def aggregated(pairs, folder, **keys):
    return aggregated_files(written(frames(pairs), folder), **keys)


@pytest.mark.parametrize(("missing", "images", "left_out"), [("leave_out", 2, 2), ("zero", 3, 1)])
def test_means_by_hand(tmp_path, missing, images, left_out):
    pairs = full((0.2, 0.6), (0.5, 0.1), "reference", "response")
    frame = aggregated(pairs, tmp_path, missing=missing)
    assert frame.schema == AGGREGATES
    for metric in MEASURES:
        avg = one(frame, metric=metric, part="full", aggregate="avg")
        best = one(frame, metric=metric, part="full", aggregate="max")
        assert avg["value"] == pytest.approx((0.4 + 0.3) / images)
        assert best["value"] == pytest.approx((0.6 + 0.5) / images)
        assert (avg["images"], avg["left_out"], avg["no_response"]) == (images, left_out, 1)
        assert avg["low"] <= avg["value"] <= avg["high"]
    # Coverage is averaged over the texts that exist.
    assert one(frame, metric="sbert", part="full", aggregate="avg")["seen"] == 0.5


@pytest.mark.parametrize("missing", ["leave_out", "zero"])
def test_thinking_that_a_model_is_not_meant_to_have_is_no_zero(tmp_path, missing):
    pairs = {(f"i{place}", "m", "full"): (0.2, 0.6) for place in range(3)}
    pairs |= {(image, model, part): "response" for image, _, _ in pairs for model, part in CELLS}
    models = {"m": {"output": "plain"}, "thinker": {"output": "think"}}
    unthinking = without_thinking(models)
    paths = written(frames(pairs), tmp_path)["rouge"]
    scored = read_scores(ROUGE, paths, [*models], missing=missing, unthinking=unthinking)
    frame = aggregate_scores(scored, INTERVALS)
    for model, part in CELLS:
        row = one(frame, metric="rouge1", model=model, part=part, aggregate="avg")
        zero = missing == "zero" and (model, part) != ("m", "think")
        assert (row["value"], row["images"]) == ((0.0, 3) if zero else (None, 0))
        assert (row["left_out"], row["no_response"]) == (0 if zero else 3, 3)


def test_who_is_not_meant_to_think():
    models = {
        "generated": {"output": "kimi"},
        "plain": {"output": "plain"},
        "raw": {"output": "think", "responses": {}},
        "columns": {"responses": {"think": "thoughts"}},
        "answers": {"responses": {}},
    }
    assert without_thinking(models) == {"plain", "answers"}


def test_nothing_scored_is_null_and_counted(tmp_path):
    frame = aggregated(full((0.2, 0.6), (0.5, 0.1)), tmp_path)
    row = one(frame, metric="rouge1", part="think", aggregate="avg")
    assert (row["value"], row["low"], row["high"]) == (None, None, None)
    assert (row["images"], row["left_out"], row["no_response"]) == (0, 2, 0)


def test_each_metric_is_read_from_its_own_columns(tmp_path):
    files = frames(full((0.0, 0.0)))
    places = {name: 0.1 * p for m in registry.metrics() for p, name in enumerate(m.score_columns)}
    for metric in registry.metrics():
        numbers = {name: places[name] + 0.01 * len(metric.name) for name in metric.score_columns}
        files[metric.name] = files[metric.name].with_columns(
            pl.when(pl.col("missing").is_null()).then(value + 0.001 * k).alias(f"{name}_{k}")
            for name, value in numbers.items()
            for k in (1, 2)
        )
    frame = aggregated_files(written(files, tmp_path))
    for metric in registry.metrics():
        for measure in metric.measures:
            expected = places[measure.score_column] + 0.01 * len(metric.name)
            row = one(frame, metric=measure.name, part="full", aggregate="max")
            assert row["value"] == pytest.approx(expected + 0.002)
    assert frame["metric"].unique(maintain_order=True).to_list() == list(MEASURES)


def test_coverage_of_the_window(tmp_path):
    pairs = full((0.2, 0.6), (0.3, 0.3), (0.4, 0.1), "response")
    files = frames(pairs)
    whole = pl.when(pl.col("image_id") == "i001").then(1.0).otherwise("seen").alias("seen")
    for metric in registry.metrics():
        if metric.coverage:
            files[metric.name] = files[metric.name].with_columns(whole)
    frame = aggregated_files(written(files, tmp_path))
    row = one(frame, metric="sbert", part="full", aggregate="avg")
    assert row["seen"] == pytest.approx((0.5 + 1 + 0.5) / 3)
    assert row["seen_references"] == pytest.approx(0.3)
    assert row["cut"] == pytest.approx(2 / 3)
    row = one(frame, metric="rouge1", part="full", aggregate="avg")
    windows = ("seen", "seen_references", "cut", "cut_references")
    assert [row[name] for name in windows] == [None] * 4


@given(st.lists(PAIRS, min_size=1, max_size=12))
@FILES
def test_averages_and_maxima_agree_with_a_plain_computation(tmp_path, pairs):
    frame = aggregated(full(*pairs), tmp_path, intervals=Intervals(50, 0.95, 7, 1))
    rows = {
        name: one(frame, metric="tfidf", part="full", aggregate=name) for name in ("avg", "max")
    }
    complete = [pair for pair in pairs if not isinstance(pair, str)]
    assert rows["avg"]["images"] == len(complete)
    assert rows["avg"]["left_out"] == len(pairs) - len(complete)
    assert rows["avg"]["no_response"] == pairs.count("response")
    if complete:
        assert rows["avg"]["value"] == pytest.approx(np.mean(complete))
        assert rows["max"]["value"] == pytest.approx(np.mean([max(pair) for pair in complete]))
        assert rows["max"]["value"] >= rows["avg"]["value"]
        for row in rows.values():
            assert row["low"] - 1e-8 <= row["high"]


@given(st.lists(PAIRS, min_size=1, max_size=12))
@FILES
def test_zero_raises_no_mean_and_leaves_out_no_more(tmp_path, pairs):
    few = Intervals(20, 0.95, 7, 1)
    kept, zero = (
        aggregated(full(*pairs), tmp_path, intervals=few, missing=missing)
        for missing in ("leave_out", "zero")
    )
    both = kept.join(zero, on=["model", "part", "metric", "aggregate"], suffix="_zero")
    scored = both.drop_nulls("value")
    assert (scored["value_zero"] <= scored["value"]).all()
    assert (both["images_zero"] == both["images"] + both["no_response"]).all()
    assert (both["images_zero"] + both["left_out_zero"] == both["images"] + both["left_out"]).all()
    assert both["no_response"].equals(both["no_response_zero"])


@given(st.randoms(), st.integers(1, 4))
@FILES
def test_order_of_rows_and_division_into_files_change_nothing(tmp_path, draw, shards):
    pairs = full(*((place / 7, place / 9) for place in range(7)), "response")
    few = Intervals(20, 0.95, 7, 1)
    expected = aggregated(pairs, tmp_path, intervals=few)
    paths = {metric.name: [] for metric in registry.metrics()}
    shard = {image: draw.randrange(shards) for image, _, _ in pairs}
    for place in range(shards):
        some = {
            kind: frame.filter(
                pl.col("image_id").is_in([i for i, of in shard.items() if of == place])
            ).sample(fraction=1, shuffle=True, seed=draw.randrange(99))
            for kind, frame in frames(pairs).items()
        }
        for kind, path in write(some, tmp_path, str(place)).items():
            paths[kind].append(path)
            draw.shuffle(paths[kind])
    assert aggregated_files(paths, intervals=few).equals(expected)


def test_models_are_in_the_given_order(tmp_path):
    pairs = full((0.1, 0.2), model="a") | full((0.3, 0.2), model="b")
    frame = aggregated(pairs, tmp_path, models=["b", "a"])
    assert frame["model"].unique(maintain_order=True).to_list() == ["b", "a"]


def test_a_missing_row_and_one_too_many_are_errors(tmp_path):
    rows = frames(full((0.1, 0.2), (0.3, 0.9)))["sets"]
    less = write({"sets": rows.slice(1)}, tmp_path, "less")
    with pytest.raises(ValueError, match="scores of sets: m, full has 0 rows of image i000"):
        read_scores(SETS, [less["sets"]], ["m"])
    more = write({"sets": pl.concat([rows, rows[:1]])}, tmp_path, "more")
    with pytest.raises(ValueError, match="scores of sets: m, full has 2 rows of image i000"):
        read_scores(SETS, [more["sets"]], ["m"])
    whole = write({"sets": rows}, tmp_path)
    with pytest.raises(ValueError, match="scores of sets: image i000 appears more than once"):
        read_scores(SETS, [whole["sets"]] * 2, ["m"])


def test_a_null_without_a_reason_is_an_error(tmp_path):
    files = frames(full((0.1, 0.2)))
    files["rouge"] = files["rouge"].with_columns(pl.lit(None, pl.Float64).alias("rougeL_2"))
    with pytest.raises(ValueError, match=r"rouge-00\.parquet: m, full, i000 has a null score"):
        read_scores(ROUGE, [write(files, tmp_path)["rouge"]], ["m"])


def test_a_shard_without_images_is_no_error(tmp_path):
    pairs = full((0.1, 0.2))
    expected = aggregated(pairs, tmp_path)
    empty = write({kind: frame.clear() for kind, frame in frames(pairs).items()}, tmp_path, "01")
    paths = write(frames(pairs), tmp_path)
    assert aggregated_files({kind: [empty[kind], paths[kind]] for kind in paths}).equals(expected)


def test_the_largest_group_comes_first():
    groups = pl.Series(["plant", None, "animal", None, "food", None, "animal"])
    assert largest_first(groups) == ["animal", "food", "plant"]
