import os
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregate_scores import aggregate_scores, read_scores
from imagenet_think.aggregation import METRICS, Intervals, aggregate, bootstrap, resamples
from imagenet_think.parsing import PARTS
from imagenet_think.schemas import AGGREGATES, SCORE_COLUMNS, scores

INTERVALS = Intervals(draws=200, level=0.95, seed=7)
SCORES = st.one_of(st.none(), st.floats(-1, 1))


def frames(values, models=("m",)):
    """Scores files where every metric of image i and part full holds the pair values[i]."""
    result = {}
    for kind, schema in ((kind, scores(kind)) for kind in SCORE_COLUMNS):
        rows = [
            {"image_id": f"i{place:03}", "model": model, "part": part}
            | {
                f"{name}_{k}": pair[k - 1] if part == "full" else None
                for name in SCORE_COLUMNS[kind]
                for k in (1, 2)
            }
            | ({"seen": 0.5, "seen_1": 0.2, "seen_2": 0.4} if "seen" in schema else {})
            for place, pair in enumerate(values)
            for model in models
            for part in PARTS
        ]
        result[kind] = pl.DataFrame(rows, schema=schema)
    return result


def one(frame, **keys):
    return frame.filter(**keys).row(0, named=True)


def test_means_by_hand():
    frame = aggregate(frames([(0.2, 0.6), (0.5, 0.1), (0.3, None)]), ["m"], INTERVALS)
    assert frame.schema == AGGREGATES
    for metric in METRICS:
        avg = one(frame, metric=metric, part="full", aggregate="avg")
        best = one(frame, metric=metric, part="full", aggregate="max")
        assert avg["value"] == pytest.approx((0.4 + 0.3) / 2)
        assert best["value"] == pytest.approx((0.6 + 0.5) / 2)
        assert (avg["images"], avg["left_out"]) == (2, 1)
        assert avg["low"] <= avg["value"] <= avg["high"]


def test_nothing_scored_is_null_and_counted():
    frame = aggregate(frames([(0.2, 0.6), (0.5, 0.1)]), ["m"], INTERVALS)
    row = one(frame, metric="rouge1", part="think", aggregate="avg")
    assert (row["value"], row["low"], row["high"]) == (None, None, None)
    assert (row["images"], row["left_out"]) == (0, 2)


def test_bertscore_is_its_f1_and_every_metric_is_there():
    files = frames([(0.2, 0.6)])
    files["bertscore"] = files["bertscore"].with_columns(f1_1=pl.lit(0.9), f1_2=pl.lit(0.7))
    frame = aggregate(files, ["m"], INTERVALS)
    assert one(frame, metric="bertscore", part="full", aggregate="max")["value"] == 0.9
    assert frame["metric"].unique(maintain_order=True).to_list() == [
        *("bertscore", "sbert", "rouge1", "rougeL", "jaccard", "overlap"),
        *("tfidf", "tfidf_pair", "cosine"),
    ]


def test_the_share_of_tokens_seen():
    frame = aggregate(frames([(0.2, 0.6), (None, 0.6)]), ["m"], INTERVALS)
    row = one(frame, metric="sbert", part="full", aggregate="avg")
    assert row["seen"] == pytest.approx(0.5)
    assert row["seen_references"] == pytest.approx(0.3)
    assert one(frame, metric="rouge1", part="full", aggregate="avg")["seen"] is None


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(SCORES, SCORES), min_size=1, max_size=8))
def test_max_is_never_below_avg(values):
    frame = aggregate(frames(values), ["m"], Intervals(draws=20, level=0.9, seed=1))
    pairs = frame.pivot("aggregate", index=["model", "part", "metric"], values="value")
    pairs = pairs.drop_nulls()
    assert (pairs["max"] >= pairs["avg"]).all()
    complete = [pair for pair in values if None not in pair]
    assert len(pairs) == (len(METRICS) if complete else 0)
    if complete:
        row = one(frame, metric="cosine", part="full", aggregate="max")
        assert row["value"] == pytest.approx(np.mean([max(pair) for pair in complete]))


def test_models_stand_in_the_order_given():
    frame = aggregate(frames([(0.1, 0.2)], models=("a", "b")), ["b", "a"], INTERVALS)
    assert frame["model"].unique(maintain_order=True).to_list() == ["b", "a"]


def test_rows_in_any_order_give_the_same():
    files = frames([(0.1, 0.2), (0.3, 0.9), (0.8, 0.5)])
    mixed = {kind: frame.sample(fraction=1, shuffle=True, seed=3) for kind, frame in files.items()}
    assert aggregate(files, ["m"], INTERVALS).equals(aggregate(mixed, ["m"], INTERVALS))


def test_a_missing_row_is_an_error():
    files = frames([(0.1, 0.2), (0.3, 0.9)])
    files["sets"] = files["sets"].slice(1)
    with pytest.raises(ValueError, match="scores of sets: m, full has 1 rows for 2 images"):
        aggregate(files, ["m"], INTERVALS)


def test_intervals_equal_an_explicit_resampling():
    """Each image taken as often as its weight says, and the mean of what was taken."""
    generator = np.random.default_rng(5)
    values = generator.uniform(-0.2, 1, (1203, 3))
    values[generator.random((1203, 3)) < 0.2] = np.nan
    intervals = Intervals(draws=50, level=0.8, seed=11)
    weights = np.concatenate([block for _, block in resamples(1203, intervals)], axis=1)
    assert weights.shape == (50, 1203)
    means = [
        [np.nanmean(np.repeat(column, draw.astype(int))) for column in values.T] for draw in weights
    ]
    low, high = bootstrap(values, intervals)
    expected = np.quantile(means, [0.1, 0.9], axis=0)
    assert np.abs(np.stack([low, high]) - expected).max() < 1e-9


def test_resamples_are_poisson_counts_and_differ_between_blocks():
    blocks = [weights for _, weights in resamples(1000, Intervals(400, 0.95, 3))]
    assert [block.shape for block in blocks] == [(400, 500), (400, 500)]
    assert not np.array_equal(*blocks)
    weights = np.concatenate(blocks, axis=1)
    assert weights.mean() == pytest.approx(1, abs=0.01)
    assert weights.var() == pytest.approx(1, abs=0.02)


def test_an_interval_covers_the_true_mean_about_as_often_as_it_says():
    generator = np.random.default_rng(8)
    truth, covered = 0.5, 0
    values = generator.beta(2, 2, (80, 300))
    low, high = bootstrap(values, Intervals(400, 0.9, 2))
    covered = ((low <= truth) & (truth <= high)).mean()
    assert 0.82 < covered < 0.95


def test_one_image_and_equal_scores_have_an_interval_of_no_width():
    low, high = bootstrap(np.array([[0.25]]), Intervals(300, 0.95, 1))
    assert (low[0], high[0]) == (0.25, 0.25)
    low, high = bootstrap(np.full((40, 1), 0.75), Intervals(300, 0.95, 1))
    assert (low[0], high[0]) == (0.75, 0.75)


def test_the_seed_decides():
    values = np.random.default_rng(1).random((60, 2))
    again = [bootstrap(values, Intervals(100, 0.9, seed)) for seed in (1, 1, 2)]
    assert np.array_equal(again[0], again[1])
    assert not np.array_equal(again[0], again[2])


def test_any_number_of_threads_gives_the_same_bytes():
    program = (
        "import sys; sys.path.insert(0, 'scripts')\n"
        "import numpy as np\n"
        "from imagenet_think.aggregation import Intervals, bootstrap\n"
        "values = np.random.default_rng(1).random((900, 40))\n"
        "low, high = bootstrap(values, Intervals(300, 0.95, 1))\n"
        "print(low.tobytes().hex(), high.tobytes().hex())\n"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"OPENBLAS_NUM_THREADS": threads, "OMP_NUM_THREADS": threads},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for threads in ("1", "2")
    }
    assert len(outputs) == 1


def test_the_script_reads_every_kind_by_its_columns(tmp_path):
    paths = []
    for kind, frame in frames([(0.1, 0.2), (0.3, 0.9)]).items():
        for shard in ("a", "b"):
            paths.append(tmp_path / f"{kind}-{shard}.parquet")
            images = ["i000"] if shard == "a" else ["i001"]
            frame.filter(pl.col("image_id").is_in(images)).write_parquet(paths[-1])
    output = tmp_path / "aggregate.parquet"
    aggregate_scores(
        paths,
        output,
        models=["m"],
        teachers=["x", "y"],
        intervals={"draws": 50, "level": 0.95},
        seed=1,
    )
    row = one(pl.read_parquet(output), metric="overlap", part="full", aggregate="max")
    assert row["value"] == pytest.approx((0.2 + 0.9) / 2)
    with pytest.raises(ValueError, match="no scores file of bertscore"):
        read_scores(paths[2:])
    strange = tmp_path / "strange.parquet"
    pl.DataFrame({"a": [1]}).write_parquet(strange)
    with pytest.raises(ValueError, match=r"strange\.parquet.*no scores file"):
        read_scores([*paths, strange])
