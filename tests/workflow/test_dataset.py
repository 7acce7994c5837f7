"""The dataset of the miniature, with some failed responses.

It is read by several libraries and rejoined with its images.
"""

import hashlib
import shutil
from collections import Counter

import datasets
import duckdb
import polars as pl
import pytest
from pictures import write_tar
from PIL import Image
from polars.testing import assert_frame_equal
from source_forms import read_tar

from .conftest import DEMO, MINIATURE, clone, job_counts

pytestmark = pytest.mark.slow

RUN = ["--configfile", MINIATURE, "--cores", "2"]
SPLITS = ("train", "validation", "test")
TEXTS = ["question", "think_1", "answer_1", "think_2", "answer_2"]
BROKEN = {"glm-4.1v": {"cut_off": 2, "unclosed_think": 1}, "kimi-vl": {"cut_off": 1}}
"""Failures of each teacher's responses."""


def break_responses(results):
    """Truncate some responses and remove the closing think tag from others; return the files."""
    files = []
    for teacher, wanted in BROKEN.items():
        path = results / "responses" / teacher / "00.parquet"
        rows = pl.read_parquet(path).with_row_index()
        cut = pl.col("index") < wanted["cut_off"]
        unclosed = ~cut & (pl.col("index") < sum(wanted.values()))
        rows = rows.with_columns(
            pl.when(cut).then(pl.lit("length")).otherwise("finish_reason").alias("finish_reason"),
            pl.when(unclosed)
            .then(pl.col("text").str.replace_all("</think>", "", literal=True))
            .otherwise("text")
            .alias("text"),
        )
        rows.drop("index").write_parquet(path)
        files.append(path)
    return files


@pytest.fixture(scope="module")
def project(demo, tmp_path_factory):
    """A copy of the finished miniature with failures, and every form of its dataset."""
    project = demo.copy(tmp_path_factory.mktemp("dataset") / "project")
    broken = break_responses(project.root / DEMO)
    # Otherwise the edits are noticed, and the files restored from the journal.
    project.snakemake(*RUN, "--touch", *(str(path.relative_to(project.root)) for path in broken))
    targets = ("dataset", "dataset_full", "rejoin", "accounting")
    project.snakemake(*RUN, *targets, "results/miniature/config.yaml")
    return project


@pytest.fixture(scope="module")
def results(project):
    return project.root / DEMO


@pytest.fixture(scope="module")
def expected(project, results):
    """The expected rows of the configuration `default`, from the files that it is made of."""
    config = project.config(MINIATURE)
    rows = pl.read_parquet(results / "images" / "sample.parquet").with_columns(
        question=pl.lit(config["prompts"][config["prompt"]])
    )
    for k, teacher in enumerate(config["teachers"], start=1):
        for kind in ("annotations", "responses"):
            said = pl.read_parquet(results / kind / teacher / "*.parquet")
            said = said.rename({name: f"{name}_{k}" for name in said.columns if name != "image_id"})
            rows = rows.join(said.drop(f"model_{k}", strict=False), on="image_id")
        rows = rows.with_columns(pl.lit(teacher).alias(f"model_{k}"))
    assert len(rows) == 144
    return rows.filter(status_1="ok", status_2="ok").sort("image_id")


def load(folder, cache):
    """Return the rows of each split by `datasets`, polars and DuckDB."""
    loaded = datasets.load_dataset(str(folder), cache_dir=str(cache))
    assert list(loaded) == list(SPLITS)
    for split in SPLITS:
        pattern = str(folder / "data" / f"{split}-*.parquet")
        yield split, "datasets", loaded[split].with_format("arrow")[:]
        yield split, "polars", pl.scan_parquet(pattern).collect()
        yield split, "DuckDB", duckdb.sql(f"SELECT * FROM '{pattern}'").arrow()


def test_every_reader_finds_every_row_and_column(results, expected, tmp_path):
    found = {}
    for split, reader, rows in load(results / "dataset", tmp_path):
        rows = rows if isinstance(rows, pl.DataFrame) else pl.from_arrow(rows)
        assert rows.columns[:5] == TEXTS
        assert rows.columns[5:9] == ["image_id", "wnid", "lemma", "domain"]
        found.setdefault(reader, []).append(rows.with_columns(split=pl.lit(split)))
    for frames in found.values():
        rows = pl.concat(frames).sort("image_id")
        names = [name for name in rows.columns if name in expected.columns]
        assert set(rows.columns) - set(names) == {"decoding_1", "decoding_2", "split"}
        assert_frame_equal(rows.select(names), expected.select(names))
        assert "max_new_tokens" in rows["decoding_1"][0]


def test_each_class_gives_the_same_number_to_test_and_validation(results):
    sample = pl.read_parquet(results / "images" / "sample.parquet")
    split = {
        name: path.name.split("-")[0]
        for path in (results / "dataset").glob("*/*.parquet")
        for name in pl.read_parquet(path, columns=["image_id"])["image_id"]
    }
    for (_,), own in sample.group_by("wnid"):
        order = sorted(
            own["image_id"], key=lambda name: hashlib.sha256(name.encode()).digest()[::-1]
        )
        assert [split[name] for name in order[:4]] == ["test", "test", "validation", "train"]
        assert Counter(split[name] for name in order)["train"] == len(order) - 3


def test_the_full_form_contains_the_images(results, expected, tmp_path):
    shards = pl.read_parquet(results / "images" / "shards" / "*.parquet")
    image = dict(shards.select("image_id", "image").iter_rows())
    count = 0
    for _, reader, rows in load(results / "dataset_full", tmp_path):
        rows = rows if isinstance(rows, pl.DataFrame) else pl.from_arrow(rows)
        for name, found in rows.select("image_id", "image").iter_rows():
            assert found == image[name], reader
            count += 1
    assert count == 3 * len(expected)
    loaded = datasets.load_dataset(str(results / "dataset_full"), cache_dir=str(tmp_path))
    for row in loaded["test"]:
        assert isinstance(row["image"], Image.Image)
        assert row["image"].size == (row["width"], row["height"])


def test_the_rejoined_form_is_the_full_form(results, expected, tmp_path):
    full, rejoined = results / "dataset_full", results / "dataset_rejoined"
    paths = sorted(full.glob("*/*.parquet"))
    assert len(paths) == 12
    for path in paths:
        assert_frame_equal(
            pl.read_parquet(path), pl.read_parquet(rejoined / path.relative_to(full))
        )
    assert len((rejoined / "missing.csv").read_text().splitlines()) == 1
    loaded = datasets.load_dataset(str(rejoined), cache_dir=str(tmp_path))
    assert sum(map(len, loaded.values())) == len(expected)


def rewrite(tar, name, content):
    """Replace the content of a member of an archive; remove the member if it is None."""
    members = read_tar(tar)
    assert name in members
    members[name] = content
    write_tar(tar, {name: data for name, data in members.items() if data is not None})


def test_a_copy_of_the_dataset_is_rejoined_with_archives(results, expected, tmp_path):
    """Nothing is sampled or generated, and images that are missing or differ are named."""
    own = clone(tmp_path / "own")
    shutil.copytree(results / "dataset", own.root / "published")
    shutil.copytree(results / "source", own.root / "archives")
    gone, other = expected["image_id"][0], expected["image_id"][50]
    for name, content in ((gone, None), (other, b"no image")):
        rewrite(own.root / "archives" / f"{name[:9]}.tar", f"{name}.JPEG", content)
    with own.editing("config/config.yaml", to="own.yaml") as config:
        config |= {"run": "own", "dataset": {"rejoin": "published"}}
        config["images"] |= {
            "source": {"kind": "class_tars", "path": "archives"},
            "preparation": own.config(MINIATURE)["images"]["preparation"],
            "groups": 2,
        }
    run = ["--configfile", "own.yaml", "--cores", "2"]
    jobs = job_counts(own.snakemake(*run, "-n", "rejoin", "--quiet", "rules"))
    made = {"catalogue_images", "locate_images", "rejoin_images", "report_missing", "rejoin"}
    assert jobs.keys() == made
    own.snakemake(*run, "rejoin")
    rejoined = own.root / "results" / "own" / "dataset_rejoined"
    missing = pl.read_csv(rejoined / "missing.csv")
    assert dict(missing.select("image_id", "reason").iter_rows()) == {
        gone: "not_found",
        other: "another_source",
    }
    assert f"{other[:9]}.tar, {other}.JPEG" in missing.filter(image_id=other)["detail"][0]
    full = pl.read_parquet(results / "dataset_full" / "data" / "*.parquet").sort("image_id")
    found = pl.read_parquet(rejoined / "data" / "*.parquet").sort("image_id")
    assert_frame_equal(found, full.filter(~pl.col("image_id").is_in([gone, other])))
    assert len(found) == len(expected) - 2
    (own.root / "published" / "data" / "train-99999.parquet").touch()
    said = own.snakemake(*run, "-n", "rejoin", check=False)
    assert "dataset.rejoin: published/data/train-*: train-99999.parquet: not numbered" in said
    (own.root / "published").rename(own.root / "elsewhere")
    said = own.snakemake(*run, "-n", "rejoin", check=False)
    assert 'dataset.rejoin: "published": no such folder' in said


def test_the_card_lists_the_failures_of_the_accounts(results):
    card = (results / "dataset" / "README.md").read_text(encoding="utf-8")
    parts = pl.concat(
        pl.read_parquet(results / "annotations" / teacher / "*.parquet") for teacher in BROKEN
    )
    known = pl.all_horizontal(pl.col("think_status", "answer_status") == "ok").all()
    count = parts.group_by("image_id").agg(known.alias("known"))["known"].sum()
    assert f"over the {count} images for which there are these)" in " ".join(card.split())
    table = card.split("| Status |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table]
    accounts = pl.read_csv(results / "accounting.csv").rows_by_key("model", named=True, unique=True)
    for k, teacher in enumerate(BROKEN, start=2):
        failed = {row[0].replace("\\", ""): int(row[k]) for row in rows}
        assert {status: n for status, n in failed.items() if n} == BROKEN[teacher]
        assert sum(failed.values()) == accounts[teacher]["failed"] + accounts[teacher]["excluded"]
        for status, number in failed.items():
            assert accounts[teacher][f"failed_{status}"] == number


def test_the_recorded_config_runs_nothing_again(project, results):
    shutil.copy(results / "config.yaml", project.root / "recorded.yaml")
    said = project.snakemake("--configfile", "recorded.yaml", "-n", "dataset")
    assert "Nothing to be done" in said


def test_nothing_is_pushed_by_all(project):
    said = project.snakemake("--configfile", MINIATURE, "-n", "--forceall", "all")
    assert "table_images" in said
    assert "push_dataset" not in said


def test_pushing_says_what_it_would_do_and_uploads_nothing(project, results):
    said = project.snakemake(*RUN, "push_dataset", check=False)
    assert "dataset.repository is null" in said
    with project.editing(MINIATURE, to="config/mine.yaml") as config:
        config["dataset"] = {"repository": "me/think"}
    said = project.snakemake("--configfile", "config/mine.yaml", "--cores", "1", "push_dataset")
    assert "run the same command with IMAGENET_THINK_PUSH=me/think set" in said
    assert "data/train-00000-of-00002.parquet" in said
    assert 'load_dataset("me/think")' in (results / "dataset" / "README.md").read_text("utf-8")
