"""What a changed config, sample or code runs again: jobs, responses and pairs are counted."""

import json
import os
import re
import shutil
from collections import Counter

import polars as pl
import pytest
from pictures import encoded, write_tar

from imagenet_think.inference.journal import read_lines
from imagenet_think.miniature.drawings import draw, scene_of

from .conftest import TINY, job_counts

pytestmark = pytest.mark.slow

METRICS = ["bertscore", "rouge", "sbert", "sets", "vectors"]
PARTS = 3
SCORES = [f"results/tiny/scores/{metric}/00.parquet" for metric in METRICS]


def results(project):
    return project.root / "results" / "tiny"


def run(project, *targets):
    """Make targets and return how many jobs of each rule ran."""
    for path in results(project).glob("logs/score/*/*.log"):
        path.unlink()
    return job_counts(project.snakemake("--configfile", TINY, "--cores", "2", *targets))


def pairs(project, metric):
    """Return how many pairs the jobs of a metric computed, and how many they knew."""
    logs = results(project).glob(f"logs/score/{metric}/*.log")
    text = "".join(path.read_text() for path in logs)
    found = re.findall(r"(\d+) pairs computed, (\d+) known", text)
    assert found
    return tuple(sum(int(pair[k]) for pair in found) for k in (0, 1))


def responses(project):
    """Count the responses in the journals of each model."""
    return Counter(
        path.parent.name
        for path in results(project).glob("journal/*/*.jsonl")
        for record in read_lines(path)
        if record["kind"] == "response"
    )


def contents(project, pattern):
    """Return the contents of the results whose paths match a pattern."""
    return {path: path.read_bytes() for path in results(project).glob(pattern)}


def sample(project):
    """Return the class of each image."""
    frame = pl.read_parquet(results(project) / "images" / "sample.parquet")
    return dict(frame.select("image_id", "wnid").iter_rows())


def draw_class(project, wnid):
    """Add the archive of one more class to those that were drawn."""
    drawn = {n: encoded(draw(scene_of(1, "n02782093", n))) for n in range(8)}
    archive = results(project) / "source" / f"{wnid}.tar"
    write_tar(archive, {f"{wnid}_{n}.JPEG": data for n, data in drawn.items()})


def test_another_pattern_of_tokens_scores_one_metric(finished):
    with finished.editing() as config:
        config["benchmark"]["sets"]["token_pattern"] = "[a-z]+"
    counts = run(finished, "tables")
    once = ["aggregate_agreement", "aggregate_groups", "aggregate_scores", "compare_models"]
    once += ["table_ablation", "table_agreement", "table_groups", "table_parts", "table_ranks"]
    once += [
        "table_domain",
        "table_benchmark",
        "tables",
    ]  # of Tables 3 to 6, only the one that prints it
    blocks = config["sharding"]["blocks"]
    assert counts == dict.fromkeys(["score", "measure_domain"], blocks) | dict.fromkeys(once, 1)
    computed, known = pairs(finished, "sets")
    assert computed > known  # pairs of equal texts are computed once


def test_only_an_added_model_generates_and_is_scored(finished):
    before = contents(finished, "journal/*/*")
    with finished.editing() as config:
        added = config["models"]["openvlthinker"] | {"name": "An added model", "prefix": "So"}
        config["models"]["added"] = added
        config["benchmarked"].append("added")
    # BERTScore, the slowest, is left to the test below.
    metrics = [metric for metric in METRICS if metric != "bertscore"]
    counts = run(finished, *(path for path in SCORES if "bertscore" not in path))
    images = config["images"]["total"]
    assert counts["generate_responses"] == config["sharding"]["blocks"]
    assert responses(finished)["added"] == images
    assert {path: path.read_bytes() for path in before} == before
    assert "fit_document_frequencies" not in counts
    for metric in metrics:
        computed, known = pairs(finished, metric)
        assert 0 < computed <= images * 2 * PARTS, metric
        assert known >= images * (len(config["benchmarked"]) - 1) * 2 * PARTS * 0.9, metric


def test_only_added_images_and_classes_are_generated_and_scored(finished):
    draw_class(finished, "n06874185")
    before, generated = sample(finished), responses(finished)
    with finished.editing() as config:
        config["images"] |= {"total": 18, "class_count": 5}
        config["images"]["source"] = {"kind": "class_tars", "path": "results/tiny/source"}
    counts = run(finished, *SCORES)
    after = sample(finished)
    new = after.keys() - before.keys()
    assert (len(after), len(set(after.values()))) == (18, 5)
    # Images of the new class, and more of the others.
    assert {"n06874185"} < {after[image] for image in new}
    assert responses(finished) - generated == {model: len(new) for model in generated}
    assert counts["fit_document_frequencies"] == 1
    # The pairs of the new images: each model with both teachers, and the teachers with each other.
    # Any image's texts may have new partners of the same and of another class.
    most = (len(new) * (len(config["benchmarked"]) * 2 + 1) + len(after) * 4) * PARTS
    for metric in METRICS:
        computed, known = pairs(finished, metric)
        if metric == "vectors":
            # The new references change its weights.
            assert computed > known
        else:
            assert len(new) < computed <= most, metric
            assert known > computed, metric


def test_only_a_missing_metric_is_scored(finished):
    """Deleted scores are restored without computing a pair."""
    before = contents(finished, "scores/*/0*.parquet")
    never, deleted = "rouge", ("bertscore", "sets")
    for folder in ("scores", "agreement", "score_cache"):
        shutil.rmtree(results(finished) / folder / never)
    for metric in deleted:
        for path in results(finished).glob(f"scores/{metric}/0*.parquet"):
            path.unlink()
    counts = run(finished, *SCORES)
    assert counts == {"score": 2, "score_embeddings": 1}
    computed, known = pairs(finished, never)
    assert computed > known  # pairs of equal texts are computed once
    for metric in deleted:
        assert pairs(finished, metric) == (0, computed + known), metric
    assert contents(finished, "scores/*/0*.parquet") == before


def test_after_an_edit_of_their_code_all_responses_are_in_the_journal(finished):
    before = [contents(finished, kind) for kind in ("journal/*/*", "responses/*/*")]
    module = finished.root / "scripts" / "imagenet_think" / "inference" / "conversations.py"
    time = module.stat().st_mtime
    module.write_text(module.read_text() + "\nEDITED = True\n")
    os.utime(module, (time, time))
    models = [path.name for path in results(finished).glob("responses/*")]
    counts = run(finished, *(f"results/tiny/responses/{model}/00.parquet" for model in models))
    assert counts == {"generate_responses": len(models)}
    for model in models:
        log = (results(finished) / "logs" / "generate_responses" / model / "0.log").read_text()
        # The only line: no model was loaded.
        assert re.fullmatch(rf"[\d:]+ INFO {re.escape(model)}: 12 of 12 in the journal\n", log)
    # A run that generates anything, or fails to, adds its record to the journal.
    assert [contents(finished, kind) for kind in ("journal/*/*", "responses/*/*")] == before


def test_the_policy_for_missing_responses_scores_nothing_again(finished):
    with finished.editing() as config:
        config["benchmark"]["missing"] = "zero"
    counts = run(finished, "tables")
    assert counts["aggregate_scores"] == len(METRICS)
    assert not [name for name in counts if name.startswith(("score", "table_agreement"))]
    definitions = (results(finished) / "tables" / "table3.definitions.json").read_text()
    assert json.loads(definitions)["missing"] == "zero"
