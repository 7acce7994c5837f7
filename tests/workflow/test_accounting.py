"""Accounting, costs and the pilot: what is planned, and what a whole run contains."""

import json
from collections import Counter

import polars as pl
import pytest

from .conftest import MINIATURE, job_counts

pytestmark = pytest.mark.slow

RUN = ["--configfile", MINIATURE]


def by_model(path):
    return pl.read_csv(path).rows_by_key("model", named=True, unique=True)


def test_the_pilot_needs_only_the_first_block(project):
    with project.editing(MINIATURE) as config:
        config["sharding"] = {"blocks": 4, "shards_per_block": 2}
    jobs = job_counts(project.snakemake(*RUN, "-n", "pilot", "--quiet", "rules"))
    assert (jobs["generate_pilot"], jobs["gather_shard"], jobs["pilot"]) == (7, 1, 1)
    assert "generate_responses" not in jobs
    everything = job_counts(project.snakemake(*RUN, "-n", "all", "--quiet", "rules"))
    assert everything["gather_shard"] == 4
    assert everything["account_responses"] == everything["cost"] == 1
    assert "generate_pilot" not in everything


def test_every_image_of_the_demo_is_accounted_for(miniature):
    table = pl.read_csv(miniature / "accounting.csv")
    sample = pl.read_parquet(miniature / "images" / "sample.parquet")
    annotations = pl.read_parquet(miniature / "annotations" / "*" / "*.parquet")
    assert len(table) == 7
    for row in table.iter_rows(named=True):
        assert row["asked"] == len(sample) == row["done"] + row["failed"] + row["excluded"]
        statuses = annotations.filter(pl.col("model") == row["model"])["status"].to_list()
        assert row["done"] == statuses.count("ok")
        assert row["excluded"] == statuses.count("error") == 0


def test_the_costs_of_the_demo(miniature):
    table = by_model(miniature / "cost.csv")
    responses = pl.read_parquet(miniature / "responses" / "*" / "*.parquet")
    everything = table["all"]
    assert everything["responses"] == len(responses)
    assert everything["completion_tokens"] == responses["completion_tokens"].sum()
    assert everything["seconds"] > 0
    assert everything["unrecorded_responses"] == 0
    assert everything["share_used"] == pytest.approx(1.0)
    assert table["paper"]["gpu_hours"] == 6000


def test_a_pilot_after_the_run_generates_nothing(demo, miniature):

    def journaled():
        lines = (
            json.loads(line) for path in miniature.glob("journal/*/*.jsonl") for line in path.open()
        )
        return Counter(line["kind"] for line in lines)

    before = journaled()
    demo.snakemake(*RUN, "--cores", "2", "pilot")
    assert journaled() == before
    table = by_model(miniature / "pilot.csv")
    assert table["glm-4.1v"]["images"] == 100
    assert table["glm-4.1v"]["job_responses"] == 144
    assert table["all"]["hours"] > 0
    assert "were in the journal already" in (miniature / "pilot.md").read_text()
