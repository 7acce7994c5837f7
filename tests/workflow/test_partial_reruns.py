"""What runs again when the config or the sample changes: jobs, and pairs, are counted."""

import re

import polars as pl
import pytest
import yaml

pytestmark = pytest.mark.slow

METRICS = ["bertscore", "rouge", "sbert", "sets", "vectors"]
PARTS = 3


@pytest.fixture
def finished(demo, tmp_path):
    """A copy of the finished miniature, which a test may change."""
    return demo.copy(tmp_path / "project")


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
    stats = said.split("Job stats:", 1)[1].split("\ntotal", 1)[0]
    return {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", stats, re.M)}


def pairs(project, metric):
    """Return how many pairs the jobs of a metric computed, and how many they knew."""
    logs = project.root.glob(f"results/miniature/logs/score_{metric}/*.log")
    text = "".join(path.read_text() for path in logs)
    found = re.findall(r"(\d+) pairs computed, (\d+) known", text)
    assert found
    return tuple(sum(int(pair[k]) for pair in found) for k in (0, 1))


def test_another_window_of_sentence_bert(finished):
    def edit(config):
        config["benchmark"]["sbert"]["max_tokens"] = 64

    config = change(finished, edit)
    counts = run(finished, "tables")
    once = ["aggregate_agreement", "aggregate_groups", "aggregate_scores", "compare_models"]
    once += ["table_ablation", "table_agreement", "table_groups", "table_parts", "table_ranks"]
    # Of Tables 3 to 6, only the one that prints it.
    once += ["table_benchmark", "tables"]
    shards = config["sharding"]["blocks"] * config["sharding"]["shards_per_block"]
    assert counts == {"score_sbert": shards} | dict.fromkeys(once, 1)
    computed, known = pairs(finished, "sbert")
    assert computed > known  # known are those of equal texts, computed once


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


def test_a_larger_sample_computes_its_own_pairs(finished):
    def edit(config):
        config["images"] |= {"total": 150}

    results = finished.root / "results" / "miniature"
    before = set(pl.read_parquet(results / "images" / "sample.parquet")["image_id"])
    change(finished, edit)
    counts = run(finished, "tables")
    after = set(pl.read_parquet(results / "images" / "sample.parquet")["image_id"])
    new = len(after - before)
    assert len(after) == 150
    assert counts["fit_document_frequencies"] == 1
    # A new image's texts with both teachers' and the teachers' own; it may have become a partner
    # too, and so may others have got another partner.
    most = (new + 0.25 * len(after)) * (5 * 2 + 1 + 4) * PARTS
    for metric in METRICS:
        computed, known = pairs(finished, metric)
        if metric == "vectors":
            # Its weights are those of the references, which are more now.
            assert computed > known
        else:
            assert new < computed <= most, metric
            assert known > computed, metric


def test_deleted_scores_come_back_without_a_pair_computed(finished):
    results = finished.root / "results" / "miniature"
    before = {path: path.read_bytes() for path in results.glob("scores/*/[0-9]*.parquet")}
    for path in before:
        path.unlink()
    run(finished, *(str(path.relative_to(finished.root)) for path in before))
    for metric in METRICS:
        computed, known = pairs(finished, metric)
        assert (computed, known > 0) == (0, True), metric
    assert {path: path.read_bytes() for path in before} == before


def test_the_policy_for_missing_responses_scores_nothing_anew(finished):
    def edit(config):
        config["benchmark"]["missing"] = "zero"

    change(finished, edit)
    counts = run(finished, "tables")
    assert counts["aggregate_scores"] == len(METRICS)
    assert not [name for name in counts if name.startswith(("score_", "table_agreement"))]
    table = (finished.root / "results" / "miniature" / "tables" / "table3.md").read_text()
    assert "it scores 0 in every metric" in table
