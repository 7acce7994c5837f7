"""Card and Croissant of the miniature's dataset, with some failed responses."""

import json

import datasets
import mlcroissant
import polars as pl
import pytest
import yaml

from imagenet_think.core.splits import CONFIGURATIONS, SPLITS
from imagenet_think.run import configuration

pytestmark = pytest.mark.slow

MINIATURE = "config/miniature.yaml"
RUN = ["--configfile", MINIATURE, "--cores", "2"]
TEACHERS = ("glm-4.1v", "kimi-vl")
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
    """A copy of the finished miniature with failures, and both forms of its dataset."""
    project = demo.copy(tmp_path_factory.mktemp("published") / "project")
    broken = break_responses(project.root / "results" / "miniature")
    # Otherwise the edits are noticed, and the files restored from the journal.
    project.snakemake(*RUN, "--touch", *(str(path.relative_to(project.root)) for path in broken))
    project.snakemake(
        *RUN, "dataset", "dataset_full", "accounting", "results/miniature/config.yaml"
    )
    return project


@pytest.fixture(scope="module")
def results(project):
    return project.root / "results" / "miniature"


def parts(path):
    """Return a card's front matter and its text."""
    _, front, body = path.read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(front), body


def table(body, heading):
    """Return the rows of the table whose first heading is given, by their first cell."""
    lines = body.split(f"| {heading} |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return {row[0].replace("\\", ""): row[1:] for row in rows}


def rows_of(folder, configuration, split="*"):
    return pl.read_parquet(folder / CONFIGURATIONS[configuration] / f"{split}-*.parquet")


@pytest.mark.parametrize("form", ["dataset", "dataset_full"])
def test_splits_are_those_of_the_files(form, results):
    front, body = parts(results / form / "README.md")
    told = table(body, "Split")
    sample = pl.read_parquet(results / "images" / "sample.parquet")
    for split in SPLITS:
        counts = [len(rows_of(results / form, name, split)) for name in CONFIGURATIONS]
        assert told[split] == [str(sum(counts)), *map(str, counts)]
    assert told["all"][0] == str(len(sample))
    for info in front["dataset_info"]:
        for split in info["splits"]:
            found = rows_of(results / form, info["config_name"], split["name"])
            assert split["num_examples"] == len(found) > 0


def test_numbers_are_those_of_the_tables(results):
    _, body = parts(results / "dataset" / "README.md")
    images = pl.read_csv(results / "tables" / "table2.csv").row(0, named=True)
    tokens = pl.read_csv(results / "tables" / "table1.csv").filter(dataset="ImageNet-Think")
    tokens = tokens.row(0, named=True)
    text = " ".join(body.split())
    assert (
        f"{images['images']} images of {images['classes']} classes, {images['min_per_class']} to "
        f"{images['max_per_class']} per class ({images['mean_per_class']:.1f} on average)"
    ) in text
    assert (
        f"has {tokens['min']:,} to {tokens['max']:,} tokens ({tokens['mean']:,.0f} on average, "
        f"{tokens['total']:,} in all, over the {tokens['images']:,} images of `default`)"
    ) in text
    assert tokens["images"] == len(rows_of(results / "dataset", "default"))
    assert (results / "tables" / "language.md").read_text() in body


def test_failures_are_those_of_the_accounts(results):
    _, body = parts(results / "dataset" / "README.md")
    told = table(body, "Status")
    accounts = pl.read_csv(results / "accounting.csv").rows_by_key("model", named=True, unique=True)
    for k, teacher in enumerate(TEACHERS):
        failed = {status: int(cells[1 + k]) for status, cells in told.items()}
        assert {status: n for status, n in failed.items() if n} == BROKEN[teacher]
        assert sum(failed.values()) == accounts[teacher]["failed"] + accounts[teacher]["excluded"]
        for status, number in failed.items():
            assert accounts[teacher][f"failed_{status}"] == number


def test_models_are_those_of_the_responses(results):
    _, body = parts(results / "dataset" / "README.md")
    told = body.replace("\\", "")
    for teacher in TEACHERS:
        responses = pl.read_parquet(results / "responses" / teacher / "*.parquet")
        (revision,), (engine,) = responses["revision"].unique(), responses["engine"].unique()
        assert f"the folder resources/miniatures/{teacher}, revision {revision}\n" in told
        assert f"- Engine: {engine}\n" in told
    config = yaml.safe_load((results / "config.yaml").read_text())
    assert f"“{config['prompts'][config['prompt']]}”" in told


def test_it_says_which_run_it_is_from(results):
    front, body = parts(results / "dataset" / "README.md")
    assert front["pretty_name"] == "ImageNet-Think (run miniature)"
    assert "not the paper's" in body
    assert "drawings" in body
    assert "miniature checkpoints" in body


@pytest.mark.parametrize("form", ["dataset", "dataset_full"])
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_mlcroissant_validates_and_reads(form, name, results):
    opened = mlcroissant.Dataset(jsonld=str(results / form / "croissant.json"))
    assert not opened.metadata.ctx.issues.errors
    rows = rows_of(results / form, name)
    records = list(opened.records(name))
    assert len(records) == len(rows) > 0
    for record, row in zip(records, rows.iter_rows(named=True), strict=True):
        for column, value in row.items():
            found = record[f"{name}/{column}"]
            if column == "image":
                assert found.size == (row["width"], row["height"])
            else:
                assert (found.decode() if isinstance(found, bytes) else found) == value


@pytest.mark.parametrize("form", ["dataset", "dataset_full"])
def test_datasets_loads_it_in_one_line(form, results, tmp_path):
    for name in CONFIGURATIONS:
        loaded = datasets.load_dataset(str(results / form), name, cache_dir=str(tmp_path))
        assert sum(map(len, loaded.values())) == len(rows_of(results / form, name))
    assert form == "dataset" or loaded["train"][0]["image"].size


def test_the_run_is_recorded(project, results):
    recorded = yaml.safe_load((results / "config.yaml").read_text())
    config = yaml.safe_load((project.root / MINIATURE).read_text())
    assert recorded.items() >= {key: config[key] for key in ("run", "seed", "prompts")}.items()
    assert set(recorded) >= set(configuration.schema()["required"])
    versions = json.loads((results / "versions.json").read_text())
    assert versions["packages"]["polars"] == pl.__version__
    assert versions["commit"] is versions["dirty"] is None  # the copy is not a git checkout


def test_the_recorded_config_runs_nothing_again(project):
    (project.root / "config" / "recorded.yaml").write_bytes(
        (project.root / "results" / "miniature" / "config.yaml").read_bytes()
    )
    said = project.snakemake("--configfile", "config/recorded.yaml", "-n", "dataset")
    assert "Nothing to be done" in said


def test_nothing_is_pushed_by_all(project):
    said = project.snakemake("--configfile", MINIATURE, "-n", "--forceall", "all")
    assert "table_images" in said
    assert "push_dataset" not in said


def test_pushing_says_what_it_would_do_and_uploads_nothing(project):
    said = project.snakemake("--configfile", MINIATURE, "--cores", "1", "push_dataset", check=False)
    assert "dataset.repository is null" in said
    config = yaml.safe_load((project.root / MINIATURE).read_text())
    config["dataset"] = {"repository": "me/think"}
    (project.root / "config" / "mine.yaml").write_text(yaml.safe_dump(config))
    said = project.snakemake("--configfile", "config/mine.yaml", "--cores", "1", "push_dataset")
    assert "run the same command with IMAGENET_THINK_PUSH=me/think set" in said
    assert "data/train-00000-of-00002.parquet" in said
    assert (
        'load_dataset("me/think")'
        in parts(project.root / "results" / "miniature" / "dataset" / "README.md")[1]
    )
