"""The outputs of the whole workflow on the miniature."""

import shutil

import polars as pl
import pytest

from compile_paper import compile_paper
from imagenet_think.report import products

from .conftest import MINIATURE, ROOT

pytestmark = pytest.mark.slow


def test_everything_is_there(miniature):
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
    assert [name for name in expected if not (miniature / name).stat().st_size] == []


def test_latex_prints_no_warnings(miniature):
    assert "WARNING" not in (miniature / "logs" / "compile_paper.log").read_text()


def test_the_paper_compiles_to_the_same_bytes(miniature, tmp_path, caplog):
    numbers = tmp_path / "numbers.tex"
    shutil.copy(miniature / "paper" / "numbers.tex", numbers)
    made = [numbers, miniature / "comparison.tex", miniature / "audit.tex"]
    files = {
        "sources": [*(ROOT / "paper").glob("*.*"), *made],
        "tables": list((miniature / "tables").glob("*.tex")),
        "figures": list((miniature / "figures").glob("*.pdf")),
    }
    compile_paper(**files, output=tmp_path / "again" / "paper.pdf")
    assert [path.name for path in (tmp_path / "again").iterdir()] == ["paper.pdf"]
    first = (miniature / "paper.pdf").read_bytes()
    assert (tmp_path / "again" / "paper.pdf").read_bytes() == first
    assert first.startswith(b"%PDF")
    # The text that only the paper's own run prints compiles too.
    numbers.write_text(numbers.read_text().replace(r"\PaperRunfalse", r"\PaperRuntrue"))
    compile_paper(**files, output=tmp_path / "own" / "paper.pdf")
    assert (tmp_path / "own" / "paper.pdf").read_bytes() != first
    assert [r.message for r in caplog.records if r.levelname == "WARNING"] == []


def test_a_second_run_has_nothing_to_do(demo):
    said = demo.snakemake("--configfile", MINIATURE, "--cores", "2", "all", "paper")
    assert "Nothing to be done" in said


def test_the_sample_is_the_configured_one(miniature):
    sample = pl.read_parquet(miniature / "images" / "sample.parquet")
    counts = sample.group_by("wnid").len()["len"]
    assert (len(sample), len(counts)) == (144, 12)
    assert 10 <= counts.min() <= counts.max() <= 14
    assert sample["image_id"].is_unique().all()
    assert sample.select(pl.min_horizontal("width", "height").min()).item() >= 224
    # Planted flaws are rejected with their reasons.
    exclusions = pl.read_parquet(miniature / "images" / "exclusions.parquet")
    reasons = set(exclusions["reason"])
    assert {"too_small", "undecodable", "not_an_image", "low_contrast", "near_duplicate"} <= reasons


def test_every_model_has_a_row_for_every_image_and_most_can_be_parsed(miniature):
    sample = pl.read_parquet(miniature / "images" / "sample.parquet")
    annotations = pl.read_parquet(miniature / "annotations" / "*" / "*.parquet")
    responses = pl.read_parquet(miniature / "responses" / "*" / "*.parquet")
    for frame in (annotations, responses):
        assert len(frame) == 7 * len(sample)
        assert frame.select("image_id", "model").is_unique().all()
        assert set(frame["image_id"]) == set(sample["image_id"])
    assert (responses["image_tokens"] > 0).all()
    assert responses["error"].is_null().all()
    shares = annotations.group_by("model").agg((pl.col("status") == "ok").mean().alias("ok"))
    assert (shares["ok"] > 0.9).all(), shares
