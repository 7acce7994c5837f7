"""The outputs of the whole workflow on the miniature."""

import polars as pl
import pytest

from imagenet_think.report import products

pytestmark = pytest.mark.slow

MINIATURE = ["--configfile", "config/miniature.yaml", "--cores", "2"]


def results(project, run="miniature"):
    return project.root / "results" / run


def test_everything_is_there(demo):
    made = results(demo)
    assert len(products.tables()) >= 14
    assert len(products.figures()) >= 6
    made_by_rows = (*products.tables(), *products.figures())
    expected = [file for product in made_by_rows for file in product.files]
    expected += [
        f"{name}{form}" for name in ("comparison", "audit") for form in (".csv", ".tex", ".md")
    ]
    expected += [f"{name}{form}" for name in ("accounting", "cost") for form in (".csv", ".md")]
    expected += [
        "images/sample.parquet",
        "images/exclusions.parquet",
        "images/report.html",
        *("dataset/README.md", "dataset/croissant.json", "review/index.html"),
        *("config.yaml", "versions.json", "paper.pdf"),
    ]
    assert [name for name in expected if not (made / name).stat().st_size] == []


def test_latex_prints_no_warnings(demo):
    assert "WARNING" not in (results(demo) / "logs" / "compile_paper.log").read_text()


def test_a_second_run_has_nothing_to_do(demo):
    said = demo.snakemake(*MINIATURE, "all", "paper")
    assert "Nothing to be done" in said


def test_the_sample_is_the_configured_one(demo):
    sample = pl.read_parquet(results(demo) / "images" / "sample.parquet")
    counts = sample.group_by("wnid").len()["len"]
    assert (len(sample), len(counts)) == (144, 12)
    assert 10 <= counts.min() <= counts.max() <= 14
    assert sample["image_id"].is_unique().all()
    assert sample.select(pl.min_horizontal("width", "height").min()).item() >= 224


def test_planted_flaws_are_rejected_with_their_reasons(demo):
    exclusions = pl.read_parquet(results(demo) / "images" / "exclusions.parquet")
    reasons = set(exclusions["reason"])
    assert {"too_small", "undecodable", "not_an_image", "low_contrast", "near_duplicate"} <= reasons


def test_every_image_has_a_row_by_every_model(demo):
    sample = pl.read_parquet(results(demo) / "images" / "sample.parquet")
    annotations = pl.read_parquet(results(demo) / "annotations" / "*" / "*.parquet")
    responses = pl.read_parquet(results(demo) / "responses" / "*" / "*.parquet")
    for frame in (annotations, responses):
        assert len(frame) == 7 * len(sample)
        assert frame.select("image_id", "model").is_unique().all()
        assert set(frame["image_id"]) == set(sample["image_id"])
    assert (responses["image_tokens"] > 0).all()
    assert responses["error"].is_null().all()


def test_most_responses_can_be_parsed(demo):
    annotations = pl.read_parquet(results(demo) / "annotations" / "*" / "*.parquet")
    shares = annotations.group_by("model").agg((pl.col("status") == "ok").mean().alias("ok"))
    assert (shares["ok"] > 0.9).all(), shares
