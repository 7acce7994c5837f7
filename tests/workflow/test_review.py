"""The review page of a run, and the decisions that reviewers export from it."""

import json

import polars as pl
import pytest
from reviewed import export

from imagenet_think.review.form import CHOICES

from .conftest import DEMO, MINIATURE

pytestmark = pytest.mark.slow

CONFIG = ("--configfile", MINIATURE, "--cores", "1")


@pytest.fixture(scope="module")
def project(demo, tmp_path_factory):
    """The miniature with its review page and the decisions of two reviewers in a folder."""
    project = demo.copy(tmp_path_factory.mktemp("review") / "project")
    project.snakemake(*CONFIG, "review")
    sample = pl.read_parquet(project.root / DEMO / "review" / "sample.parquet")
    assert len(sample) == 144
    for shift, name in enumerate(("Ada", "Ben")):
        at = "2026-11-21T10:00:00Z"
        rows = list(sample.head(40).iter_rows(named=True))
        quality = [
            {"image": row["image_id"], "teacher": row["model_1"], "at": at}
            | {"split": "yes", "answer": "no" if place % (7 + shift) == 0 else "yes"}
            for place, row in enumerate(rows)
        ]
        blind = [
            {"image": row["image_id"], "at": at, "choice": list(CHOICES)[place % (3 + shift)]}
            for place, row in enumerate(rows)
        ]
        content = export(sample, quality, blind, name, run="miniature")
        path = project.root / "decisions" / f"{name}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content))
    with project.editing(MINIATURE) as config:
        config["review"] = {"decisions": "decisions"}
    return project


def test_decisions_become_a_table_and_a_figure(project):
    said = project.snakemake(*CONFIG, "review_results")
    made = project.root / DEMO
    assert "\nreview " not in said  # the page that they used is kept
    table = pl.read_csv(made / "tables" / "review.csv")
    row = table.filter(question="split").row(0, named=True)
    assert (row["share"], row["decided"], row["twice"]) == (1, 40, 40)
    questions = ["split", "answer", "preferred", "preferred", "tie", "both_bad", "left"]
    assert table["question"].to_list() == questions
    for form in ("pdf", "png"):
        assert (made / "figures" / f"figure_review.{form}").stat().st_size > 5000
    assert "Nothing to be done" in project.snakemake(*CONFIG, "review_results")


def test_decisions_on_another_run_are_refused(project):
    path = project.root / "decisions" / "Cleo.json"
    content = json.loads((path.with_name("Ada.json")).read_text())
    path.write_text(json.dumps(content | {"run": "paper", "reviewer": "Cleo"}))
    said = project.snakemake(*CONFIG, "review_results", check=False)
    assert "decisions/Cleo.json: it belongs to run \"paper\", not to 'miniature'" in said
    path.unlink()
