"""Accidents in reruns of a finished run, on a real cluster."""

import os
import signal

import pytest
from tests.cluster.conftest import CONFIG, KILLED, Project, digests

pytestmark = pytest.mark.slow

TABLES = [f"results/tiny/tables/language.{form}" for form in ("csv", "tex", "md")]


@pytest.fixture(autouse=True)
def _steady(cluster):
    """Keep other tests from disrupting the cluster."""
    with cluster.in_use():
        yield


@pytest.fixture(scope="module")
def edited(undisturbed, tmp_path_factory) -> tuple[Project, dict[str, str]]:
    """A finished run with an edited config, and the digests of what a local rerun makes of it."""
    folder = tmp_path_factory.mktemp("edited")
    project = undisturbed.whole.copy(folder / "project")
    local = ("--configfile", CONFIG, "--cores", "2", *TABLES)
    project.snakemake(*local)
    before = digests(project, TABLES)
    with project.editing() as config:
        config["models"][KILLED]["output"] = "boxed"  # not the format of its texts
    whole = project.copy(folder / "whole")
    whole.snakemake(*local)
    made = digests(whole, TABLES)
    assert not before.items() & made.items()
    return project, made


@pytest.mark.parametrize(
    "rules", [("parse_responses", "measure_texts"), ("table_language",)], ids=["group", "job"]
)
def test_after_a_refusal_in_a_rerun_the_same_call_succeeds(cluster, edited, runs, tmp_path, rules):
    project = edited[0].copy(tmp_path / "project")
    closed = f"closed_{len(rules)}"
    elsewhere = [f"{rule}:slurm_partition='{closed}'" for rule in rules]
    arguments = ("--retries", "0", "--set-resources", *elsewhere, "--", *TABLES)
    cluster.call("scontrol", "create", f"partition={closed}", "nodes=ALL", "state=drain")
    try:
        refused = runs(project, *arguments)
        assert refused.end() != 0
        why = "sbatch: error: Batch job submission failed: Required partition not available"
        assert f"why:  {why}" in refused.text()
        cluster.call("scontrol", "update", f"partition={closed}", "state=up")
        again = runs(project, *arguments)
        assert again.end() == 0, again.text()
    finally:
        cluster.call("scontrol", "delete", f"partition={closed}")
    assert digests(project, TABLES) == edited[1]


def test_after_a_kill_in_a_rerun_the_same_call_succeeds(cluster, edited, runs, tmp_path):
    project = edited[0].copy(tmp_path / "project")
    arguments = ("--retries", "0", "--", *TABLES)
    killed = runs(project, *arguments)
    script = cluster.wait(lambda: killed.running("measure_texts"), "texts to be measured")
    os.kill(script, signal.SIGKILL)
    assert killed.end() != 0
    assert "why:  killed by SIGKILL" in killed.text()
    again = runs(project, *arguments)
    assert again.end() == 0, again.text()
    assert digests(project, TABLES) == edited[1]
