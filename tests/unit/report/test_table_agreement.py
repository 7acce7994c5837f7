import csv
from itertools import chain
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.agreeing import COMPARISONS, TEACHERS, agreement, sample, write_files

from aggregate_agreement import aggregate_agreement, measured
from imagenet_think.analysis.resampling import Intervals
from imagenet_think.core.schemas import AGREEMENT_AGGREGATES
from imagenet_think.metrics import registry
from imagenet_think.parsing import PARTS
from imagenet_think.report import table_captions
from imagenet_think.run import configuration
from table_agreement import table_agreement

METRICS = registry.measures()
SBERT = registry.get("sbert")

ROOT = Path(__file__).parents[3]
CONFIG = configuration.check(
    yaml.safe_load((ROOT / "config" / "miniature.yaml").read_text(encoding="utf-8")), "miniature"
)
SETTINGS = CONFIG["benchmark"] | {
    "teachers": TEACHERS,
    "names": {"glm": "GLM_4.1", "kimi": "Kimi"},
    "intervals": {"draws": 200, "level": 0.9},
}
IMAGES = 12


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The aggregate of twelve images, and its tables."""
    folder = tmp_path_factory.mktemp("agreement")
    intervals = Intervals(**SETTINGS["intervals"], seed=3, least=1)
    frame = aggregate_agreement(
        **write_files(folder, IMAGES), teachers=TEACHERS, intervals=intervals
    )
    frame.write_parquet(folder / "aggregate.parquet")
    table_agreement(
        folder / "aggregate.parquet", folder / "agreement", folder / "domains", SETTINGS
    )
    return folder


def read(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def rows_of(kind, model, part, against, column, images=None):
    """Numbers of a comparison by image, straight from the rows."""
    frame = agreement(kind, IMAGES).filter(
        pl.col("model") == model, pl.col("part") == part, pl.col("against") == against
    )
    chosen = frame.filter(pl.col("image_id").is_in(images)) if images is not None else frame
    return dict(chosen.drop_nulls(column).select("image_id", column).iter_rows())


def found(frame, **keys):
    keys = {"grouping": "all", "minus": None} | keys
    chosen = frame.filter(pl.col(name).eq_missing(pl.lit(key)) for name, key in keys.items())
    assert len(chosen) == 1, keys
    return chosen.row(0, named=True)


def test_means_are_those_of_the_rows(run):
    frame = pl.read_parquet(run / "aggregate.parquet")
    assert frame.schema == AGREEMENT_AGGREGATES
    for metric, measure in METRICS.items():
        own, column = registry.metric_of(metric), measure.score_column
        for part in PARTS:
            for model, against in COMPARISONS:
                row = found(frame, metric=metric, part=part, model=model, against=against)
                numbers = rows_of(own.name, model, part, against, column)
                assert row["value"] == pytest.approx(np.mean(list(numbers.values())), abs=1e-15)
                assert row["low"] < row["value"] < row["high"]
                assert (row["images"], row["left_out"]) == (len(numbers), IMAGES - len(numbers))
                assert row["unpaired"] == (0 if against == "teacher_2" else 4)
                assert (row["seen"] is not None) == own.coverage


def test_differences_are_on_images_that_have_both(run):
    frame = pl.read_parquet(run / "aggregate.parquet")
    for metric, measure in METRICS.items():
        kind, column = registry.metric_of(metric).name, measure.score_column
        between = rows_of(kind, "glm", "think", "teacher_2", column)
        for teacher in TEACHERS:
            same = rows_of(kind, teacher, "think", "same_class", column)
            both = [between[image] - same[image] for image in between.keys() & same.keys()]
            keys = {"metric": metric, "part": "think", "model": teacher, "against": "teacher_2"}
            row = found(frame, **keys, minus="same_class")
            assert row["value"] == pytest.approx(np.mean(both), abs=1e-15)
            assert row["images"] == len(both) < len(between)
            assert row["unpaired"] == 4


def test_the_largest_domain_comes_first(run):
    frame = pl.read_parquet(run / "aggregate.parquet").filter(grouping="domain")
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
    one, two = (
        measured(frame, registry.get("sets"), images, TEACHERS) for frame in (rows, shuffled)
    )
    assert list(one) == list(two)
    for series in one:
        assert np.array_equal(one[series].values, two[series].values, equal_nan=True)


def test_rows_that_are_wrong():
    rows, images = agreement("sbert", IMAGES), sample(IMAGES)["image_id"]
    double = pl.concat([rows, rows.filter(image_id="i03", part="full", against="teacher_2")])
    with pytest.raises(ValueError, match="agreement of sbert, glm, full, teacher_2: image i03 app"):
        measured(double, SBERT, images, TEACHERS)
    with pytest.raises(ValueError, match="image i11 is not in the sample"):
        measured(rows, SBERT, images.head(11), TEACHERS)
    with pytest.raises(ValueError, match="1 of 12 images have no row, the first being i05"):
        measured(rows.filter(pl.col("image_id") != "i05"), SBERT, images, TEACHERS)


def test_no_pair_at_all(tmp_path):
    """Where no shard holds two images of a class there are no baselines, and no error."""
    files = write_files(tmp_path)
    for path in chain(*files["files"].values()):
        rows = pl.read_parquet(path).filter(against="teacher_2")
        rows.write_parquet(path)
    output = tmp_path / "aggregate.parquet"
    intervals = Intervals(**SETTINGS["intervals"], seed=1)
    frame = aggregate_agreement(**files, teachers=TEACHERS, intervals=intervals)
    frame.write_parquet(output)
    none = frame.filter((pl.col("against") != "teacher_2") | pl.col("minus").is_not_null())
    assert none.select("value", "low", "high").null_count().row(0) == (len(none),) * 3
    assert set(none.filter(grouping="all")["unpaired"]) == {IMAGES}
    table_agreement(output, tmp_path / "agreement", tmp_path / "domains", SETTINGS)
    text = (tmp_path / "agreement.md").read_text()
    assert f"{IMAGES} images are in no mean of a baseline" in text
    assert "| – | – | – |" in text


def test_the_csvs_hold_every_number(run):
    frame = pl.read_parquet(run / "aggregate.parquet")
    for name, grouping in (("agreement", "all"), ("domains", "domain")):
        written = read(run / f"{name}.csv")
        wanted = frame.filter(grouping=grouping)
        assert len(written) == len(wanted)
        for row, one in zip(written, wanted.iter_rows(named=True), strict=True):
            assert row["metric"] == one["metric"]
            assert float(row["value"]) == one["value"]
            assert row["minus"] == (one["minus"] or "")
            assert row.get("group", "all") == one["group"]
    assert {row["metric"] for row in read(run / "agreement.csv")} == set(METRICS)


def test_what_is_printed(run):
    frame = pl.read_parquet(run / "aggregate.parquet")
    lines = (run / "agreement.md").read_text().splitlines()
    assert len(lines) == 4 + 8 * 3
    headings = list(table_captions.HEADINGS.values())
    assert [line.split(" | ")[0] for line in lines[4::3]] == [f"| {h}" for h in headings]
    cells = lines[4 + 3 * headings.index("ROUGE-L") + 2].strip("| ").split(" | ")
    keys = {"metric": "rougeL", "part": "answer"}
    between = found(frame, **keys, model="glm", against="teacher_2")
    other = found(frame, **keys, model="kimi", against="other_class")
    less = found(frame, **keys, model="kimi", against="teacher_2", minus="same_class")
    assert cells[0] == "Answer"
    assert cells[1].startswith(f"{between['value']:.3f} ({between['low']:.3f}")
    assert cells[-2] == f"{other['value']:.3f}"
    assert cells[-1].startswith(f"{less['value']:.3f} ({less['low']:.3f}")


def test_what_is_printed_by_domain(run):
    frame = pl.read_parquet(run / "aggregate.parquet")
    lines = (run / "domains.md").read_text().splitlines()
    assert [line.split(" | ")[:3] for line in lines[4:]] == [
        ["| animal", "6", "4"],
        ["| plant", "3", "2"],
    ]
    keys = {"grouping": "domain", "group": "plant", "metric": "rougeL", "part": "full"}
    last = found(frame, **keys, model="kimi", against="same_class")
    assert lines[-1].strip("| ").split(" | ")[-1] == f"{last['value']:.3f}"


def test_captions(run):
    text = (run / "agreement.md").read_text().splitlines()[0].replace("\\", "")
    for words in (
        "GLM_4.1 and Kimi",
        "Full: M = 12 images between the teachers (0 left out because a text is missing), 8 in",
        "Thinking: M = 9 images between the teachers (3 left out",
        "4 images are in no mean of a baseline: their shard has no image left to pair",
        "On average the window held",
        "90% intervals from 200 resamples",
    ):
        assert words in text
    text = (run / "domains.md").read_text().splitlines()[0].replace("\\", "")
    assert "GLM_4.1 (1) and Kimi (2)" in text
    assert r"GLM\_4.1" in (run / "agreement.tex").read_text()


def test_the_configured_variant_of_tfidf_is_printed(run, tmp_path):
    frame = pl.read_parquet(run / "aggregate.parquet")
    variant = SETTINGS | {"printed_tfidf": "tfidf_pair"}
    table_agreement(run / "aggregate.parquet", tmp_path / "a", tmp_path / "d", variant)
    row = found(frame, metric="tfidf_pair", part="full", model="glm", against="teacher_2")
    line = (tmp_path / "a.md").read_text().splitlines()[4 + 3 * 6]
    assert line.startswith(f"| TF-IDF Cosine Similarity | Full | {row['value']:.3f} ")


def test_an_aggregate_that_lacks_a_number_is_an_error(run, tmp_path):
    frame = pl.read_parquet(run / "aggregate.parquet").filter(pl.col("metric") != "rouge1")
    frame.write_parquet(tmp_path / "aggregate.parquet")
    with pytest.raises(KeyError, match="rouge1"):
        table_agreement(tmp_path / "aggregate.parquet", tmp_path / "a", tmp_path / "d", SETTINGS)
