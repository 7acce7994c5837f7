"""Scoring without generating: a run of texts that were made elsewhere, with no picture at hand."""

import re
import shutil

import polars as pl
import pytest
import yaml
from polars.testing import assert_frame_equal

from .conftest import clone
from .test_accounting import planned

pytestmark = pytest.mark.slow

RUN = ["--configfile", "listed.yaml", "--cores", "2"]
METRICS = ["bertscore", "sbert", "rouge", "sets", "vectors"]


def imported(config, folder):
    """Make every model of a config an imported one; the teachers are those of one table."""
    for key, model in config["models"].items():
        if key in config["teachers"]:
            place = config["teachers"].index(key) + 1
            columns = {"think": f"think_{place}", "answer": f"answer_{place}"}
            entry = {"responses": {"path": f"{folder}/published.parquet"} | columns}
        else:
            path = {"path": f"{folder}/{key}/*.parquet", "image": "file", "text": "said"}
            entry = {"responses": path, "output": model["output"]}
        config["models"][key] = {"name": model["name"]} | entry


def publish(made, teachers, path):
    """Write the teachers' texts as the published dataset has them: a row an image, in any order."""
    frames = []
    for place, teacher in enumerate(teachers, start=1):
        texts = pl.read_parquet(made / "annotations" / teacher / "*.parquet")
        assert set(texts["status"]) == {"ok"}  # what failed is not published
        columns = {f"{part}_{place}": part for part in ("think", "answer")}
        frames.append(texts.select("image_id", **columns))
    rows = frames[0].join(frames[1], on="image_id").sample(fraction=1, shuffle=True, seed=1)
    name = pl.struct(
        pl.lit(None, pl.Binary).alias("bytes"), pl.format("{}.JPEG", "image_id").alias("path")
    )
    path.parent.mkdir(parents=True)
    rows.with_columns(image=name, question=pl.lit("What is this?")).drop("image_id").write_parquet(
        path
    )


def deliver(made, model, folder):
    """Write a model's raw texts as a user may have them: in two files, images by their paths."""
    rows = pl.read_parquet(made / "responses" / model / "*.parquet").select(
        pl.format("val/{}/{}.JPEG", pl.col("image_id").str.head(9), "image_id").alias("file"),
        pl.col("text").alias("said"),
    )
    rows = rows.sample(fraction=1, shuffle=True, seed=2)
    folder.mkdir()
    rows[:50].write_parquet(folder / "0.parquet")
    rows[50:].write_parquet(folder / "1.parquet")


@pytest.fixture(scope="module")
def original(demo):
    return demo.root / "results" / "miniature"


@pytest.fixture(scope="module")
def listed(original, tmp_path_factory):
    """A clone without checkpoints and pictures, its tables made of the demo's texts."""
    project = clone(tmp_path_factory.mktemp("listed"))
    shutil.rmtree(project.root / "resources" / "miniatures")
    config = yaml.safe_load((project.root / "config" / "miniature.yaml").read_text())
    publish(original, config["teachers"], project.root / "texts" / "published.parquet")
    for model in config["benchmarked"]:
        deliver(original, model, project.root / "texts" / model)
    imported(config, "texts")
    source = {"kind": "listing", "path": "texts/published.parquet"}
    config |= {
        "run": "listed",
        "images": {"classes": config["images"]["classes"], "source": source},
    }
    # The same texts have the same scores: with those of the demo at hand, none is computed again.
    shutil.copytree(original / "score_cache", project.root / "results" / "listed" / "score_cache")
    (project.root / "listed.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    project.snakemake(*RUN, "tables", "accounting", "cost", "sampling")
    return project


def test_the_scores_are_those_of_the_demo(listed, original):
    made = listed.root / "results" / "listed"
    for metric in METRICS:
        for path in sorted((original / "scores" / metric).glob("*.parquet")):
            own, theirs = (
                pl.read_parquet(made / "scores" / metric / path.name),
                pl.read_parquet(path),
            )
            if path.stem == "groups":  # a listing knows no complexity
                theirs = theirs.filter(pl.col("grouping") != "stratum")
            assert_frame_equal(own, theirs, check_exact=True)
        logs = "".join(path.read_text() for path in made.glob(f"logs/score_{metric}/*.log"))
        assert ": 0 pairs computed, " in logs
        assert not re.search(r": [1-9]\d* pairs computed", logs)
    for n in range(1, 8):
        name = f"tables/table{n}.csv"
        assert (made / name).read_bytes() == (original / name).read_bytes()


def test_no_model_was_asked_and_no_picture_seen(listed):
    made = listed.root / "results" / "listed"
    for name in ("journal", "canary", "images/shards", "images/candidates", "pilot"):
        assert not (made / name).exists()
    assert not list(made.glob("logs/generate_responses*"))
    assert "all responses were imported" in (made / "cost.md").read_text()
    account = pl.read_csv(made / "accounting.csv")
    assert (account["asked"] == 144).all()
    assert account["excluded"].sum() == 0
    for path in made.glob("imported/*.csv"):
        assert path.read_text() == "image,reason\n"


@pytest.mark.parametrize("name", ["figures/figure_sample.png", "images/shards/00.parquet"])
def test_what_needs_pictures_says_so(name, listed):
    said = listed.snakemake(*RUN, "-n", f"results/listed/{name}", check=False)
    assert "images.source is of kind listing" in said


def test_a_pilot_of_no_model_says_so(listed):
    said = listed.snakemake(*RUN, "-n", "pilot", check=False)
    assert "every model of the config has `responses`" in said


def test_fewer_images_leave_the_teachers_alone(listed, original):
    made = listed.root / "results" / "listed"
    teachers = ["glm-4.1v", "kimi-vl"]

    def times():
        paths = (path for key in teachers for path in made.glob(f"responses/{key}/*.parquet"))
        return {path: path.stat().st_mtime_ns for path in paths}

    before = times()
    config = yaml.safe_load((listed.root / "listed.yaml").read_text())
    config["benchmark"]["images"] = 30
    (listed.root / "some.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    some = ["--configfile", "some.yaml", "--cores", "2"]
    jobs = planned(listed.snakemake(*some, "-n", "tables", "accounting", "--quiet", "rules"))
    assert (jobs["select_evaluated"], jobs["import_responses"]) == (1, 5)
    listed.snakemake(*some, "accounting", "results/listed/scores/rouge/00.parquet")
    assert times() == before
    evaluated = pl.read_parquet(made / "images" / "evaluated.parquet")
    assert len(evaluated) == 30
    account = pl.read_csv(made / "accounting.csv")
    assert account["asked"].to_list() == [144, 144, 30, 30, 30, 30, 30]
    scores = pl.read_parquet(made / "scores" / "rouge" / "00.parquet")
    whole = pl.read_parquet(original / "scores" / "rouge" / "00.parquet")
    assert_frame_equal(scores, whole.join(evaluated, on="image_id", how="semi"), check_exact=True)


def test_an_imported_model_beside_generated_ones(demo, original, tmp_path):
    """Nothing is generated again for a model that is added to a finished run."""
    deliver(original, "vl-rethinker", tmp_path / "texts")
    config = yaml.safe_load((demo.root / "config" / "miniature.yaml").read_text())
    path = {"path": str(tmp_path / "texts"), "image": "file", "text": "said"}
    config["models"]["mine"] = {"name": "Mine", "responses": path, "output": "boxed"}
    config["benchmarked"].append("mine")
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    said = demo.snakemake(
        "--configfile", str(tmp_path / "mine.yaml"), "-n", "tables", "--quiet", "rules"
    )
    jobs = planned(said)
    assert jobs["import_responses"] == 1
    assert not jobs.keys() & {"generate_responses", "parse_responses", "sample_images"}
