"""What runs again when the config changes: jobs, and pairs, are counted."""

import re
import shutil

import pytest
import yaml

from tests.workflow.conftest import Project

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("demo")]

METRICS = ["bertscore", "rouge", "sbert", "sets", "vectors"]
PARTS = 3


@pytest.fixture
def finished(demo, tmp_path):
    """A copy of the finished miniature, which a test may change."""
    shutil.copytree(demo.root, tmp_path / "project", symlinks=True)
    return Project(tmp_path / "project")


def change(project, edit):
    path = project.root / "config" / "miniature.yaml"
    config = yaml.safe_load(path.read_text())
    edit(config)
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return config


def run(project, *targets):
    """Make targets and return how often each rule ran."""
    for path in project.root.glob("results/miniature/logs/score_*/*.log"):
        path.unlink()
    said = project.snakemake("--configfile", "config/miniature.yaml", "--cores", "2", *targets)
    jobs = re.findall(r"^(?:local)?rule (\w+):|^(\w+): \d", said, re.M)
    counts = {}
    for name, _ in jobs:
        if name:
            counts[name] = counts.get(name, 0) + 1
    return counts


def pairs(project, metric):
    """Return how many pairs the jobs of a metric computed, and how many they knew."""
    logs = project.root.glob(f"results/miniature/logs/score_{metric}/*.log")
    text = "".join(path.read_text() for path in logs)
    found = re.findall(r"(\d+) pairs computed, (\d+) known", text)
    return tuple(sum(int(pair[k]) for pair in found) for k in (0, 1))


def test_another_window_of_sentence_bert(finished):
    def edit(config):
        config["benchmark"]["sbert"]["max_tokens"] = 128

    change(finished, edit)
    counts = run(finished, "tables")
    ran = {name for name in counts if name.startswith(("score", "aggregate", "fit", "generate"))}
    assert {"score_sbert", "aggregate_scores"} <= ran
    assert not ran & {f"score_{metric}" for metric in METRICS if metric != "sbert"}
    assert not {"generate_responses", "parse_responses", "fit_document_frequencies"} & set(counts)
    # Tables 4 to 6 do not print it.
    assert counts["table_benchmark"] == 1
    computed, known = pairs(finished, "sbert")
    assert computed > 0
    assert known < computed


def test_a_sixth_model_computes_its_own_pairs(finished):
    def edit(config):
        config["models"]["sixth"] = config["models"]["vl-rethinker"] | {"name": "A sixth model"}
        config["models"]["sixth"]["prefix"] = "So"
        config["benchmarked"].append("sixth")

    config = change(finished, edit)
    counts = run(finished, "tables")
    images = config["images"]["total"]
    assert counts["generate_responses"] == config["sharding"]["blocks"]
    assert "fit_document_frequencies" not in counts
    for metric in METRICS:
        computed, known = pairs(finished, metric)
        assert 0 < computed <= images * 2 * PARTS, metric
        assert known >= images * 5 * 2 * PARTS * 0.9, metric


def test_deleted_scores_come_back_without_a_pair_computed(finished):
    results = finished.root / "results" / "miniature"
    before = {path: path.read_bytes() for path in results.glob("scores/*/*.parquet")}
    for path in before:
        path.unlink()
    run(finished, "tables")
    assert {metric: pairs(finished, metric)[0] for metric in METRICS} == dict.fromkeys(METRICS, 0)
    assert {path: path.read_bytes() for path in before} == before


def test_the_policy_for_missing_responses_scores_nothing_anew(finished):
    def edit(config):
        config["benchmark"]["missing"] = "zero"

    change(finished, edit)
    counts = run(finished, "tables")
    assert "aggregate_scores" in counts
    assert not any(name.startswith("score_") for name in counts)
    table = (finished.root / "results" / "miniature" / "tables" / "table3.md").read_text()
    assert "0" in table
