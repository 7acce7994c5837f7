"""The dataset of the miniature, read by several libraries and rejoined with its images."""

import hashlib
import shutil
from collections import Counter

import datasets
import duckdb
import polars as pl
import pytest
import yaml
from pictures import write_tar
from PIL import Image
from polars.testing import assert_frame_equal
from source_forms import read_tar

from .conftest import clone, job_counts

pytestmark = pytest.mark.slow

RUN = ["--configfile", "config/miniature.yaml", "--cores", "2"]
SPLITS = ("train", "validation", "test")
TEXTS = ["question", "think_1", "answer_1", "think_2", "answer_2"]


@pytest.fixture(scope="module")
def project(demo, tmp_path_factory):
    """The miniature with every form of its dataset."""
    project = demo.copy(tmp_path_factory.mktemp("dataset") / "demo")
    project.snakemake(*RUN, "dataset", "dataset_full", "rejoin")
    return project


@pytest.fixture(scope="module")
def results(project):
    return project.root / "results" / "miniature"


@pytest.fixture(scope="module")
def expected(project, results):
    """The expected rows of the dataset, computed from the files that it is made of."""
    config = yaml.safe_load((project.root / "config" / "miniature.yaml").read_text())
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
    return rows.sort("image_id")


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


def test_each_class_gives_the_same_number_to_test_and_validation(results, expected):
    split = {
        name: path.name.split("-")[0]
        for path in (results / "dataset").glob("*/*.parquet")
        for name in pl.read_parquet(path, columns=["image_id"])["image_id"]
    }
    for (_,), own in expected.group_by("wnid"):
        order = sorted(
            own["image_id"], key=lambda name: hashlib.sha256(name.encode()).digest()[::-1]
        )
        assert [split[name] for name in order[:4]] == ["test", "test", "validation", "train"]
        assert Counter(split[name] for name in order)["train"] == len(order) - 3


def test_the_full_form_contains_the_images(results, tmp_path):
    shards = pl.read_parquet(results / "images" / "shards" / "*.parquet")
    image = dict(shards.select("image_id", "image").iter_rows())
    count = 0
    for _, reader, rows in load(results / "dataset_full", tmp_path):
        rows = rows if isinstance(rows, pl.DataFrame) else pl.from_arrow(rows)
        for name, found in rows.select("image_id", "image").iter_rows():
            assert found == image[name], reader
            count += 1
    assert count == 3 * len(shards)
    loaded = datasets.load_dataset(str(results / "dataset_full"), cache_dir=str(tmp_path))
    for row in loaded["test"]:
        assert isinstance(row["image"], Image.Image)
        assert row["image"].size == (row["width"], row["height"])


def test_the_rejoined_form_is_the_full_form(results, tmp_path):
    full, rejoined = results / "dataset_full", results / "dataset_rejoined"
    paths = sorted(full.glob("*/*.parquet"))
    assert len(paths) == 12
    for path in paths:
        assert_frame_equal(
            pl.read_parquet(path), pl.read_parquet(rejoined / path.relative_to(full))
        )
    assert len((rejoined / "missing.csv").read_text().splitlines()) == 1
    loaded = datasets.load_dataset(str(rejoined), cache_dir=str(tmp_path))
    assert sum(map(len, loaded.values())) == 144


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
    config = yaml.safe_load((own.root / "config" / "config.yaml").read_text())
    miniature = yaml.safe_load((own.root / "config" / "miniature.yaml").read_text())
    config |= {"run": "own", "dataset": {"rejoin": "published"}}
    config["images"] |= {
        "source": {"kind": "class_tars", "path": "archives"},
        "preparation": miniature["images"]["preparation"],
        "groups": 2,
    }
    (own.root / "own.yaml").write_text(yaml.safe_dump(config))
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
    assert len(found) == 142
    (own.root / "published").rename(own.root / "elsewhere")
    said = own.snakemake(*run, "-n", "rejoin", check=False)
    assert 'dataset.rejoin: "published": no such folder' in said


def test_another_split_builds_only_the_dataset_again(project):
    def jobs(**changes):
        config = yaml.safe_load((project.root / "config" / "miniature.yaml").read_text())
        config["dataset"] = config.get("dataset", {}) | changes
        (project.root / "changed.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
        said = project.snakemake(
            *("--configfile", "changed.yaml", "-n", "dataset", "--quiet", "rules")
        )
        return job_counts(said).keys() - {"dataset", "write_card", "write_croissant"}

    assert jobs() == set()
    assert jobs(test=3) == {"build_dataset"}
