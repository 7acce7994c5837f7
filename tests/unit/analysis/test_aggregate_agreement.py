"""Agreement between the teachers: means, baselines, differences and their intervals."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.agreeing import COMPARISONS, TEACHERS, agreement, sample, write_files

from aggregate_agreement import aggregate_agreement, measured
from imagenet_think.analysis.intervals import Intervals
from imagenet_think.analysis.populations import FIXED, LEAST
from imagenet_think.core.schemas import AGREEMENT_AGGREGATES
from imagenet_think.metrics import registry
from imagenet_think.parsing import PARTS

IMAGES = 12
MEASURES = [(own, metric) for metric in registry.metrics() for own in metric.measures]


@pytest.fixture(scope="module")
def frame(tmp_path_factory):
    """The aggregate of twelve images."""
    return aggregated(tmp_path_factory.mktemp("agreement"))


def aggregated(folder, **files):
    files = files or write_files(folder, IMAGES)
    intervals = Intervals(0.9, FIXED)
    return aggregate_agreement(**files, teachers=TEACHERS, intervals=intervals)


def rows_of(metric, model, part, against, column, images=None):
    """Numbers of a comparison by image, straight from the rows."""
    frame = agreement(metric, IMAGES).filter(
        pl.col("model") == model, pl.col("part") == part, pl.col("against") == against
    )
    chosen = frame.filter(pl.col("image_id").is_in(images)) if images is not None else frame
    return dict(chosen.drop_nulls(column).select("image_id", column).iter_rows())


def found(frame, **keys):
    keys = {"grouping": "all", "minus": None} | keys
    chosen = frame.filter(pl.col(name).eq_missing(pl.lit(key)) for name, key in keys.items())
    assert len(chosen) == 1, keys
    return chosen.row(0, named=True)


def test_means_are_those_of_the_rows(frame):
    assert frame.schema == AGREEMENT_AGGREGATES
    for measure, metric in MEASURES:
        name, column = measure.name, measure.score_column
        for part in PARTS:
            for model, against in COMPARISONS:
                row = found(frame, metric=name, part=part, model=model, against=against)
                numbers = rows_of(metric.name, model, part, against, column)
                assert row["value"] == pytest.approx(np.mean(list(numbers.values())), abs=1e-15)
                if len(numbers) >= LEAST and against != "other_class":
                    assert row["low"] < row["value"] < row["high"]
                else:
                    assert (row["low"], row["high"]) == (None, None)
                assert (row["images"], row["left_out"]) == (len(numbers), IMAGES - len(numbers))
                assert row["unpaired"] == (0 if against == "teacher_2" else 4)
                assert (row["seen"] is not None) == metric.coverage


def test_comparisons_that_share_classes_have_no_interval(tmp_path):
    frame = aggregated(tmp_path, **write_files(tmp_path, 3 * IMAGES)).filter(grouping="all")
    none = frame.select("against", none=pl.col("low").is_null() & pl.col("high").is_null())
    expected = {("teacher_2", False), ("same_class", False), ("other_class", True)}
    assert set(none.iter_rows()) == expected


def test_differences_are_on_images_that_have_both(frame):
    for measure, metric in MEASURES:
        name, column = measure.name, measure.score_column
        between = rows_of(metric.name, "glm", "think", "teacher_2", column)
        for teacher in TEACHERS:
            same = rows_of(metric.name, teacher, "think", "same_class", column)
            both = [between[image] - same[image] for image in between.keys() & same.keys()]
            keys = {"metric": name, "part": "think", "model": teacher, "against": "teacher_2"}
            row = found(frame, **keys, minus="same_class")
            assert row["value"] == pytest.approx(np.mean(both), abs=1e-15)
            assert row["images"] == len(both) < len(between)
            assert row["unpaired"] == 4


def test_the_largest_domain_comes_first(frame):
    frame = frame.filter(grouping="domain")
    assert frame["group"].unique(maintain_order=True).to_list() == ["animal", "plant"]
    assert sorted(frame["part"].unique()) == sorted(PARTS)
    images = sample(IMAGES).filter(domain="animal")["image_id"].to_list()
    keys = {
        "grouping": "domain",
        "group": "animal",
        "metric": "rougeL",
        "part": "full",
        "model": "kimi",
    }
    row = found(frame, **keys, against="same_class")
    numbers = rows_of("rouge", "kimi", "full", "same_class", "rougeL", images)
    assert row["value"] == pytest.approx(np.mean(list(numbers.values())), abs=1e-15)
    assert row["images"] + row["left_out"] == len(images)


@settings(max_examples=15, deadline=None)
@given(st.permutations(range(IMAGES)))
def test_the_order_of_rows_does_not_matter(order):
    rows = agreement("sets", IMAGES)
    images = sample(IMAGES)["image_id"]
    shuffled = pl.concat([rows.filter(image_id=images[place]) for place in order])
    metric = registry.get("sets")
    one, two = (measured(frame, metric, images, TEACHERS) for frame in (rows, shuffled))
    assert list(one) == list(two)
    for series in one:
        assert np.array_equal(one[series].values, two[series].values, equal_nan=True)


def test_wrong_rows_are_errors():
    rows, images = agreement("sbert", IMAGES), sample(IMAGES)["image_id"]
    metric = registry.get("sbert")
    double = pl.concat([rows, rows.filter(image_id="i03", part="full", against="teacher_2")])
    with pytest.raises(ValueError, match="agreement of sbert, glm, full, teacher_2: image i03 app"):
        measured(double, metric, images, TEACHERS)
    with pytest.raises(ValueError, match="image i11 is not in the sample"):
        measured(rows, metric, images.head(11), TEACHERS)
    with pytest.raises(ValueError, match="1 of 12 images have no row, the first being i05"):
        measured(rows.filter(pl.col("image_id") != "i05"), metric, images, TEACHERS)


def test_without_pairs_there_are_no_baselines(tmp_path):
    """Where no shard holds two images of a class there are no baselines, and no error."""
    files = write_files(tmp_path)
    for path in (path for paths in files["files"].values() for path in paths):
        rows = pl.read_parquet(path).filter(against="teacher_2")
        rows.write_parquet(path)
    frame = aggregated(tmp_path, **files)
    none = frame.filter((pl.col("against") != "teacher_2") | pl.col("minus").is_not_null())
    assert none.select("value", "low", "high").null_count().row(0) == (len(none),) * 3
    assert set(none.filter(grouping="all")["unpaired"]) == {IMAGES}
