"""Runs of texts that were generated elsewhere, without pictures and with pictures."""

import json
import re
import shutil

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from .conftest import BIN, MINIATURE, clone, job_counts
from .recipes import follow

pytestmark = pytest.mark.slow

RUN = ["--configfile", "listed.yaml", "--cores", "2"]
METRICS = ["bertscore", "sbert", "rouge", "sets", "vectors"]
NEEDING_PICTURES = [
    "results/listed/figures/figure_sample.png",
    "results/listed/images/shards/00.parquet",
    "results/listed/review/index.html",
    "dataset_full",
]


def imported(config, folder):
    """Make every model of a config an imported one; one table has both teachers."""
    for key, model in config["models"].items():
        if key in config["teachers"]:
            place = config["teachers"].index(key) + 1
            columns = {"think": f"think_{place}", "answer": f"answer_{place}"}
            entry = {"responses": {"path": f"{folder}/published.parquet"} | columns}
        else:
            path = {"path": f"{folder}/{key}/*.parquet", "image": "file", "text": "said"}
            entry = {"responses": path, "output": model["output"]}
        config["models"][key] = {"name": model["name"]} | entry


def texts_of(made, teachers):
    """Return the texts of both teachers, one row per image, as the published dataset has them."""
    frames = []
    for place, teacher in enumerate(teachers, start=1):
        texts = pl.read_parquet(made / "annotations" / teacher / "*.parquet")
        assert set(texts["status"]) == {"ok"}  # failures are not published
        columns = {f"{part}_{place}": part for part in ("think", "answer")}
        frames.append(texts.select("image_id", **columns))
    return frames[0].join(frames[1], on="image_id")


def publish(made, teachers, path):
    """Write the teachers' texts like the published dataset, in any order."""
    rows = texts_of(made, teachers).sample(fraction=1, shuffle=True, seed=1)
    name = pl.struct(
        pl.lit(None, pl.Binary).alias("bytes"), pl.format("{}.JPEG", "image_id").alias("path")
    )
    path.parent.mkdir(parents=True)
    rows.with_columns(image=name, question=pl.lit("What is this?")).drop("image_id").write_parquet(
        path
    )


def deliver(made, model, folder):
    """Write a model's raw texts as users may have them: in two files, with paths of images."""
    rows = pl.read_parquet(made / "responses" / model / "*.parquet").select(
        pl.format("val/{}/{}.JPEG", pl.col("image_id").str.head(9), "image_id").alias("file"),
        pl.col("text").alias("said"),
    )
    rows = rows.sample(fraction=1, shuffle=True, seed=2)
    folder.mkdir()
    rows[:50].write_parquet(folder / "0.parquet")
    rows[50:].write_parquet(folder / "1.parquet")


@pytest.fixture(scope="module")
def listed(miniature, tmp_path_factory):
    """A clone without checkpoints and pictures, with tables of the demo's texts."""
    project = clone(tmp_path_factory.mktemp("listed"))
    shutil.rmtree(project.root / "resources" / "miniatures")
    with project.editing(MINIATURE, to="listed.yaml") as config:
        publish(miniature, config["teachers"], project.root / "texts" / "published.parquet")
        for model in config["benchmarked"]:
            deliver(miniature, model, project.root / "texts" / model)
        imported(config, "texts")
        source = {"kind": "listing", "path": "texts/published.parquet"}
        images = {"classes": config["images"]["classes"], "source": source}
        config |= {"run": "listed", "images": images}
    # The same texts have the same scores: none that the demo's cache holds is computed again.
    shutil.copytree(miniature / "score_cache", project.root / "results" / "listed" / "score_cache")
    project.snakemake(*RUN, "tables", "accounting", "cost", "sampling")
    return project


def test_the_scores_are_those_of_the_demo(listed, miniature):
    made = listed.root / "results" / "listed"
    for metric in METRICS:
        for path in sorted((miniature / "scores" / metric).glob("*.parquet")):
            own = pl.read_parquet(made / "scores" / metric / path.name)
            theirs = pl.read_parquet(path)
            if path.stem == "groups":  # a listing knows no complexity
                theirs = theirs.filter(pl.col("grouping") != "stratum")
            assert_frame_equal(own, theirs, check_exact=True)
        logs = "".join(path.read_text() for path in made.glob(f"logs/score/{metric}/*.log"))
        assert ": 0 pairs computed, " in logs
        assert not re.search(r": [1-9]\d* pairs computed", logs)
    for n in range(1, 8):
        name = f"tables/table{n}.csv"
        assert (made / name).read_bytes() == (miniature / name).read_bytes()


def test_no_model_was_loaded_and_no_picture_read(listed):
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


@pytest.mark.parametrize("target", NEEDING_PICTURES)
def test_targets_that_need_pictures_are_refused(target, listed):
    said = listed.snakemake(*RUN, "-n", target, check=False)
    assert "images.source is of kind listing" in said


def test_the_dataset_has_the_published_texts_and_nulls(listed):
    splits = ("train", "validation", "test")
    names = [f"{split}-0000{n}-of-00002.parquet" for split in splits for n in (0, 1)]
    listed.snakemake(*RUN, *(f"results/listed/dataset/data/{name}" for name in names))
    rows = pl.read_parquet(listed.root / "results/listed/dataset/data/*.parquet").sort("image_id")
    texts = pl.read_parquet(listed.root / "texts" / "published.parquet")
    name = pl.col("image").struct["path"].str.strip_suffix(".JPEG")
    columns = ["image_id", "think_1", "answer_1", "think_2", "answer_2"]
    texts = texts.with_columns(image_id=name).select(columns).sort("image_id")
    assert_frame_equal(rows.select(columns), texts)
    unknown = ["question", "sha256", "width", "prompt_id_1", "decoding_2", "completion_tokens_2"]
    assert rows.select(unknown).null_count().row(0) == (144,) * len(unknown)


def test_fewer_evaluated_images_change_nothing_of_the_teachers(listed, miniature):
    made = listed.root / "results" / "listed"
    teachers = ["glm-4.1v", "kimi-vl"]

    def times():
        paths = (path for key in teachers for path in made.glob(f"responses/{key}/*.parquet"))
        return {path: path.stat().st_mtime_ns for path in paths}

    before = times()
    with listed.editing("listed.yaml", to="some.yaml") as config:
        config["benchmark"]["images"] = 30
    some = ["--configfile", "some.yaml", "--cores", "2"]
    jobs = job_counts(listed.snakemake(*some, "-n", "tables", "accounting", "--quiet", "rules"))
    assert (jobs["select_evaluated"], jobs["import_responses"]) == (1, 5)
    listed.snakemake(*some, "accounting", "results/listed/scores/rouge/00.parquet")
    assert times() == before
    evaluated = pl.read_parquet(made / "images" / "evaluated.parquet")
    assert len(evaluated) == 30
    account = pl.read_csv(made / "accounting.csv")
    assert account["asked"].to_list() == [144, 144, 30, 30, 30, 30, 30]
    scores = pl.read_parquet(made / "scores" / "rouge" / "00.parquet")
    whole = pl.read_parquet(miniature / "scores" / "rouge" / "00.parquet")
    assert_frame_equal(scores, whole.join(evaluated, on="image_id", how="semi"), check_exact=True)


# The recipes of the documentation -----------------------------------------------------------------

PAGE = "docs/own_responses.md"
SCORED, ASKED = "Responses that you have", "A model that describes the published pictures"
PAPER = "config/config.yaml"
OWN, GENERATING = "my-model", "openvlthinker"
"""The model of the recipes, and that of the miniature whose texts or weights it has."""


def without_downloads(project, **models):
    """Give the paper's config the miniature's models and encoders, and some more models."""
    own = project.config(MINIATURE)
    with project.editing(PAPER) as config:
        for key in ("models", "statistics", "benchmark", "inference"):
            config[key] = own[key]
        config["models"] |= models


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize("recipe", [SCORED, ASKED])
def test_the_recipes_fit_the_papers_config(recipe, project):
    """Nothing else than what the recipe names has to be changed."""
    image = {"bytes": b"", "path": "n02782093_1.JPEG"}
    texts = {f"{part}_{place}": ["a"] for part in ("think", "answer") for place in (1, 2)}
    (project.root / "imagenet-think").mkdir()
    pl.DataFrame({"image": [image], **texts}).write_parquet(
        project.root / "imagenet-think" / "train.parquet"
    )
    write_lines(project.root / "mine.jsonl", [{"image": "n02782093_1", "response": "a"}])
    config = follow(project, PAGE, recipe, run=False)
    check = ("-m", "imagenet_think.run.configuration", config)
    project.call("env", "PYTHONPATH=scripts", str(BIN / "python"), *check)


def test_own_responses_are_scored_as_the_documentation_says(miniature, tmp_path):
    project = clone(tmp_path)
    without_downloads(project)
    teachers = project.config(MINIATURE)["teachers"]
    publish(miniature, teachers, project.root / "imagenet-think" / "train.parquet")
    texts = pl.read_parquet(miniature / "responses" / GENERATING / "*.parquet").sort("image_id")
    rows = [
        {"image": f"val/{image}.JPEG", "response": text}
        for image, text in texts[1:].select("image_id", "text").iter_rows()
    ]
    unused = [{"image": rows[0]["image"], "response": " \n"}, {"image": "n99999999_0.JPEG"}]
    write_lines(project.root / "mine.jsonl", unused + rows)
    made = project.root / "results" / "mine"
    shutil.copytree(miniature / "score_cache", made / "score_cache")
    follow(project, PAGE, SCORED)

    assert [path.name for path in made.glob("responses/*/*.parquet")] == ["00.parquet"] * 3
    reasons = dict(pl.read_csv(made / "imported" / f"{OWN}.csv").iter_rows())
    assert reasons == {rows[0]["image"]: "no text", "n99999999_0.JPEG": "not in the sample"}
    has_text = pl.col("image_id") != texts["image_id"][0]
    parsed = pl.read_parquet(miniature / "annotations" / GENERATING / "*.parquet").filter(has_text)
    account = pl.read_csv(made / "accounting.csv").filter(pl.col("model") == OWN)
    done = (parsed["status"] == "ok").sum()
    assert account.select("asked", "done").rows() == [(len(texts), done)]
    scores, theirs = (
        pl.read_parquet(f"{folder}/scores/rouge/[0-9]*.parquet")
        .filter(pl.col("model") == model, has_text)
        .drop("model")
        .sort("image_id", "part")
        for folder, model in ((made, OWN), (miniature, GENERATING))
    )
    assert_frame_equal(scores, theirs, check_exact=True)
    for n in range(1, 8):
        assert (made / "tables" / f"table{n}.md").exists()


SHOWN = 24
DRAWN = ["sample", "organisation", "coverage"]
"""Figures that show pictures or classes."""


def show(made, teachers, path):
    """Write some of the demo's texts with their pictures, every other one without a name.

    One more row has a truncated picture. Returns the image_ids by the pictures' SHA-256.
    """
    images = pl.read_parquet(made / "images" / "shards" / "*.parquet").sort("image_id")
    images = images.gather_every(len(images) // SHOWN).head(SHOWN)
    named = pl.format("{}_{}.JPEG", pl.col("image_id").str.head(9), "image_id")
    nameless = pl.int_range(pl.len()) % 2 == 1
    rows = images.select(
        "image_id",
        image=pl.struct(
            pl.col("image").struct["bytes"],
            pl.when(nameless).then(None).otherwise(named).alias("path"),
        ),
        question=pl.lit("What is this?"),
    )
    rows = rows.join(texts_of(made, teachers), on="image_id")
    data = rows["image"][0]["bytes"]
    broken = {"bytes": data[: len(data) // 2], "path": None}
    cut = rows.head(1).with_columns(image=pl.lit(broken, dtype=rows.schema["image"]))
    path.parent.mkdir(parents=True)
    pl.concat([rows, cut]).drop("image_id").write_parquet(path)
    return dict(images.select("sha256", "image_id").iter_rows())


@pytest.fixture(scope="module")
def published(miniature, tmp_path_factory):
    """The results of a model that gets published pictures, and the demo's ids of these.

    The recipe of the documentation is followed; the model is one of the miniature's.
    """
    project = clone(tmp_path_factory.mktemp("published"))
    other = {"solution": ["So it is.", None], "image_1": ["a", "b"]}
    pl.DataFrame(other).write_parquet(project.root / "emma.parquet")
    own = project.config(MINIATURE)
    known = show(miniature, own["teachers"], project.root / "imagenet-think" / "train.parquet")
    without_downloads(project, **{OWN: own["models"][GENERATING]})
    with project.editing(PAPER) as config:
        config["statistics"]["datasets"] = {"emma": "emma.parquet"}
    shutil.copytree(
        project.root / own["models"][GENERATING]["repository"], project.root / "me" / "my-model-7b"
    )
    # Pairs of the same texts have the same scores: none in the demo's cache is computed.
    made = project.root / "results" / "asked"
    shutil.copytree(miniature / "score_cache", made / "score_cache")
    config = follow(project, PAGE, ASKED)
    figures = [f"results/asked/figures/figure_{name}.png" for name in DRAWN]
    project.snakemake("--configfile", config, "--cores", "2", "sampling", *figures)
    return made, known


def test_a_model_describes_the_published_pictures(published, miniature):
    made, known = published
    sample = pl.read_parquet(made / "images" / "sample.parquet")
    assert len(sample) == SHOWN
    assert sample["sha256"].equals(sample["source_sha256"])  # already prepared
    called = {row["image_id"]: known[row["sha256"]] for row in sample.iter_rows(named=True)}
    assert sum(len(name) == 64 for name in called) == SHOWN // 2
    assert all(name == own for name, own in called.items() if len(name) != 64)

    def of_the_demo(pattern):
        rows = pl.read_parquet(made / pattern)
        return rows.with_columns(pl.col("image_id").replace_strict(called))

    theirs = pl.read_parquet(miniature / "responses" / GENERATING / "*.parquet")
    texts = of_the_demo(f"responses/{OWN}/*.parquet").select("image_id", "text", "finish_reason")
    theirs = theirs.join(texts, on="image_id", how="semi").select(texts.columns)
    assert_frame_equal(texts.sort("image_id"), theirs.sort("image_id"))
    for metric in METRICS:
        own = of_the_demo(f"scores/{metric}/[0-9]*.parquet")
        own = own.with_columns(pl.col("model").replace(OWN, GENERATING))
        theirs = pl.read_parquet(miniature / "scores" / metric / "[0-9]*.parquet")
        theirs = theirs.join(own, on=["image_id", "model", "part"], how="semi")
        # The weights of `tfidf` are of all references.
        own, theirs = (
            rows.drop(["tfidf_1", "tfidf_2"], strict=False).sort("image_id", "model", "part")
            for rows in (own, theirs)
        )
        assert_frame_equal(own, theirs, abs_tol=1e-6)


def test_no_teacher_generates_and_the_reports_say_how_images_are_identified(published):
    made, _ = published
    for name in ("journal", "logs/generate_responses"):
        assert [path.name for path in (made / name).iterdir()] == [OWN]
    imported = {path.name for path in (made / "imported" / "matched").iterdir()}
    assert imported == {"glm-4.1v.csv", "kimi-vl.csv"}
    account = pl.read_csv(made / "accounting.csv")
    assert account.select("model", "asked", "excluded").rows() == [
        ("glm-4.1v", SHOWN, 0),
        ("kimi-vl", SHOWN, 0),
        (OWN, SHOWN, 0),
    ]
    half = SHOWN // 2
    page = (made / "images" / "listing.md").read_text()
    assert f"{half} identified by their names, {half} without a name" in page
    assert "| undecodable |" in page
    excluded = pl.read_parquet(made / "images" / "exclusions.parquet")
    assert excluded["reason"].to_list() == ["undecodable"]
    account = (made / "accounting.md").read_text()
    assert (
        f"imagenet-think; {half} images matched by name, {half} by the SHA-256 of their bytes"
        in account
    )


def test_images_of_no_known_class_have_every_table_and_figure(published):
    made, _ = published
    images = pl.read_csv(made / "tables" / "table2.csv").row(0, named=True)
    assert (images["images"], images["classes"]) == (SHOWN, 1)
    assert pl.read_csv(made / "tables" / "mentions.csv")["synset"].null_count() > 0
    for name in DRAWN:
        assert (made / "figures" / f"figure_{name}.png").exists()
    rows = pl.read_csv(made / "tables" / "table1.csv")
    row = rows.row(by_predicate=pl.col("dataset") == "Emma", named=True)
    assert (row["images"], row["samples"], row["source"]) == (1, 1, "computed here")


def test_an_imported_model_next_to_generating_ones(demo, miniature, tmp_path):
    """Adding a model to a finished run generates nothing again."""
    deliver(miniature, "vl-rethinker", tmp_path / "texts")
    file = str(tmp_path / "mine.yaml")
    with demo.editing(MINIATURE, to=file) as config:
        path = {"path": str(tmp_path / "texts"), "image": "file", "text": "said"}
        config["models"]["mine"] = {"name": "Mine", "responses": path, "output": "boxed"}
        config["benchmarked"].append("mine")
    jobs = job_counts(demo.snakemake("--configfile", file, "-n", "tables", "--quiet", "rules"))
    assert jobs["import_responses"] == 1
    assert not jobs.keys() & {"generate_responses", "parse_responses", "sample_images"}
