import json
from collections import Counter

import datasets
import duckdb
import polars as pl
import pyarrow.parquet as pq
import pytest
import yaml
from dataset_shards import TEACHERS, build, picture, write_run
from hard_texts import FIXED
from polars.testing import assert_frame_equal

import build_dataset as built
from imagenet_think.core.schemas import DATASET
from imagenet_think.core.splits import CONFIGURATIONS, splits
from imagenet_think.dataset.hub_files import count_rows, data_files, schemas
from imagenet_think.parsing import statuses

IMAGES = {f"n{c}_{n}": (f"n{c}", "00" if (n + c) % 3 else "01") for c in (1, 2) for n in range(9)}
FAILURES = {
    ("one", "n1_3"): statuses.CUT_OFF,
    ("two", "n1_3"): statuses.LOOP,
    ("two", "n1_4"): statuses.ERROR,
    ("one", "n2_5"): "no_think",
}
SHARDS = ["00", "01"]


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "run", IMAGES, FAILURES)


def read(folder, configuration):
    """Return the rows of a configuration with their splits, by image_id."""
    frames = [
        pl.read_parquet(path).with_columns(split=pl.lit(path.name.split("-")[0]))
        for path in sorted((folder / CONFIGURATIONS[configuration]).glob("*.parquet"))
    ]
    return pl.concat(frames).sort("image_id")


def load(folder, configuration="default"):
    """Load a dataset by the front matter of its card."""
    head = yaml.safe_dump({"configs": data_files(count_rows(folder.glob("*/*.parquet")))})
    (folder / "README.md").write_text(f"---\n{head}---\n")
    return datasets.load_dataset(str(folder), configuration, cache_dir=str(folder / "cache"))


def test_every_column_comes_from_its_source(run, tmp_path):
    dataset = build(run, tmp_path / "dataset", SHARDS)
    sample = pl.read_parquet(run / "sample.parquet")
    rows = pl.concat(
        [read(dataset, "default"), read(dataset, "failed").select(*DATASET, "split")]
    ).sort("image_id")
    assert rows["image_id"].to_list() == sorted(IMAGES)
    shared = [name for name in DATASET if name in sample.schema]
    assert len(shared) == 8
    assert_frame_equal(rows.select(shared), sample.select(shared))
    assert rows["question"].unique().to_list() == ["What is it?"]
    for k, teacher in enumerate(TEACHERS, start=1):
        for kind in ("responses", "annotations"):
            source = pl.read_parquet(run / kind / teacher / "*.parquet").sort("image_id")
            own = {name: f"{name}_{k}" for name in source.columns if f"{name}_{k}" in DATASET}
            assert_frame_equal(rows.select(*own.values()), source.select(*own).rename(own))
        decoding = rows[f"decoding_{k}"].unique().to_list()
        assert [json.loads(text) for text in decoding] == [{"temperature": 0.5 if k == 1 else 0.0}]
    of_all = splits(((name, wnid) for name, (wnid, _) in IMAGES.items()), 2, 1)
    assert dict(rows.select("image_id", "split").iter_rows()) == of_all


def test_failed_responses_are_in_their_own_configuration(run, tmp_path):
    dataset = build(run, tmp_path / "dataset", SHARDS)
    good, failed = read(dataset, "default"), read(dataset, "failed")
    assert set(failed["image_id"]) == {"n1_3", "n1_4", "n2_5"}
    assert good.select("think_1", "answer_1", "think_2", "answer_2").null_count().row(0) == (0,) * 4
    assert "text_1" not in good.columns
    for k, teacher in enumerate(TEACHERS, start=1):
        raw = pl.read_parquet(run / "responses" / teacher / "*.parquet")
        both = failed.join(raw, on="image_id")
        assert both[f"text_{k}"].to_list() == both["text"].to_list()
    assert failed.row(1, named=True)["text_2"] is None
    assert failed["finish_reason_1"].to_list() == ["length", "stop", "stop"]
    # The split of an image does not depend on its responses.
    whole = build(write_run(tmp_path / "good", IMAGES), tmp_path / "whole", SHARDS)
    before = dict(pl.concat([good, failed.select(good.columns)]).select("image_id", "split").rows())
    assert dict(read(whole, "default").select("image_id", "split").rows()) == before


def test_the_full_form_is_the_same_with_images(run, tmp_path, monkeypatch):
    monkeypatch.setattr(built, "IMAGE_ROWS", 2)
    plain = build(run, tmp_path / "dataset", SHARDS)
    full = build(run, tmp_path / "full", SHARDS, full=True)
    for path in sorted(plain.glob("*/*.parquet")):
        rows, with_image = pl.read_parquet(path), pl.read_parquet(full / path.relative_to(plain))
        configuration = "failed" if path.parent.name == "failed" else "default"
        assert rows.schema == schemas(full=False)[configuration]
        assert with_image.schema == schemas(full=True)[configuration]
        assert_frame_equal(with_image.drop("image"), rows)
        assert rows["image_id"].is_sorted()
        for name, image in with_image.select("image_id", "image").iter_rows():
            assert image == {"bytes": picture(name), "path": f"{name}.jpg"}
        groups = pq.read_metadata(full / path.relative_to(plain))
        assert all(groups.row_group(n).num_rows <= 2 for n in range(groups.num_row_groups))
    assert count_rows(plain.glob("*/*.parquet")) == count_rows(full.glob("*/*.parquet"))


def forget(path, *names, **columns):
    """Rewrite a file with null in some columns, and other values in others."""
    rows = pl.read_parquet(path)
    unknown = {name: pl.lit(None, rows.schema[name]) for name in names}
    rows.with_columns(**unknown, **columns).write_parquet(path)


@pytest.mark.parametrize("imported", [(1,), (1, 2)])
def test_imported_responses_have_no_prompt_and_no_tokens(run, tmp_path, imported):
    unknown = ("prompt_id", "prompt_tokens", "completion_tokens", "seed", "forced")
    for k in imported:
        for path in (run / "responses" / TEACHERS[k - 1]).glob("*.parquet"):
            forget(path, *unknown, engine=pl.lit("imported"))
    decoding = [None if k in imported else {"top_k": 1} for k in (1, 2)]
    dataset = build(run, tmp_path / "dataset", SHARDS, decoding=decoding)
    rows = load(dataset)["train"].to_polars()
    unknown = rows.select("prompt_id_1", "decoding_1", "completion_tokens_1")
    assert unknown.null_count().row(0) == (len(rows),) * 3
    assert set(rows["question"]) == ({"What is it?"} if imported == (1,) else {None})
    assert set(rows["engine_1"]) == {"imported"}


def test_a_listing_has_no_image_columns(run, tmp_path):
    unknown = ("width", "height", "source_sha256", "sha256", "complexity", "source_bytes")
    forget(run / "sample.parquet", *unknown)
    rows = load(build(run, tmp_path / "dataset", SHARDS))["train"].to_polars()
    assert rows.select("width", "sha256").null_count().row(0) == (len(rows),) * 2
    assert rows["think_1"].null_count() == 0


def test_every_reader_reads_hard_texts_alike(tmp_path):
    texts = {f"n1_{n}": text for n, text in enumerate(FIXED.values())}
    images = {name: ("n1", "00") for name in texts}
    run = write_run(tmp_path / "run", images, texts=texts)
    dataset = build(run, tmp_path / "dataset", ["00"], full=True)
    pattern = str(dataset / "data" / "*.parquet")
    answers = {
        "polars": pl.scan_parquet(pattern).select("image_id", "answer_2").collect().rows(),
        "DuckDB": duckdb.sql(f"SELECT image_id, answer_2 FROM '{pattern}'").fetchall(),
        "datasets": [
            (row["image_id"], row["answer_2"])
            for split in load(dataset).values()
            for row in split.remove_columns("image")
        ],
    }
    assert {reader: dict(found) for reader, found in answers.items()} == dict.fromkeys(
        answers, texts
    )


def test_empty_files_and_empty_splits(tmp_path):
    """A file may be empty; a split without rows is left out of the card."""
    images = {f"n1_{n}": ("n1", "01") for n in range(5)} | {"n2_1": ("n2", "00")}
    run = write_run(tmp_path / "run", images, {("one", "n1_2"): "no_think"})
    dataset = build(run, tmp_path / "dataset", SHARDS, validation=0)
    of_all = splits(((name, wnid) for name, (wnid, _) in images.items()), 2, 0)
    good = Counter(split for name, split in of_all.items() if name != "n1_2")
    assert good.keys() == {"train", "test"}
    assert pq.read_metadata(dataset / "data" / "train-00000-of-00002.parquet").num_rows == 0
    assert {name: len(rows) for name, rows in load(dataset).items()} == good
    [(split, rows)] = load(dataset, "failed").items()
    assert (split, rows["image_id"][:]) == (of_all["n1_2"], ["n1_2"])
    for folder, count in (("data", 5), ("failed", 1)):
        pattern = f"{dataset}/{folder}/*.parquet"
        assert duckdb.sql(f"SELECT count(*) FROM '{pattern}'").fetchall() == [(count,)]
        assert len(pl.scan_parquet(pattern).collect()) == count


@pytest.mark.parametrize("place", ["responses/one", "annotations/two", "shards"])
@pytest.mark.parametrize("change", ["lacks", "repeats", "is of another shard"])
def test_files_with_other_images_are_reported(run, tmp_path, place, change):
    path = run / place / "00.parquet"
    rows, others = (pl.read_parquet(path.with_stem(shard)) for shard in SHARDS)
    changed = {"lacks": rows[1:], "repeats": pl.concat([rows, rows[:1]])}
    changed.get(change, others).write_parquet(path)
    with pytest.raises(ValueError, match=rf"{place}/00.parquet and the sample's shard 00 .*n\d_\d"):
        build(run, tmp_path / "dataset", ["00"], full=True)
    assert not list(tmp_path.glob("dataset/*/*.parquet"))


def test_responses_of_a_different_model_are_reported(run, tmp_path):
    with pytest.raises(ValueError, match=r"one/00.parquet has responses of one, not of three"):
        build(run, tmp_path / "dataset", SHARDS, teachers=("three", "two"))
