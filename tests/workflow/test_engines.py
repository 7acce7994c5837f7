"""Engines by model make one run, one journal and one accounting; a missing vLLM is one message."""

import json
import shutil
import stat
import sys
from pathlib import Path

import played_server
import polars as pl
import pytest
from transformers import AutoTokenizer

from .conftest import TINY, job_counts, listed

pytestmark = pytest.mark.slow

RUN = ["--configfile", TINY, "--cores", "2"]
GLM, KIMI = "glm-4.1v", "kimi-vl"
MISSING = "there is no such executable: run `make vllm`"


@pytest.fixture
def executable(tmp_path, monkeypatch):
    """A `vllm` that plays one, and answers in words of GLM's tokenizer."""
    play = played_server.Play(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(f"resources/miniatures/{GLM}")
    vocabulary = tokenizer.get_vocab().items()
    play.set(words=sorted(i for word, i in vocabulary if word[1:].isascii() and word[1:].isalpha()))
    path = tmp_path / "vllm"
    path.write_text(f'#!/bin/sh\nexec {sys.executable} {played_server.__file__} "$@"\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PLAY", str(tmp_path))
    return str(path)


def lines(project, model):
    files = sorted((project.root / "results/tiny/journal" / model).glob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.open(encoding="utf-8")]


def forget(project, model):
    """Delete a model's responses, also those in the journal."""
    for folder in ("journal", "responses"):
        shutil.rmtree(project.root / "results/tiny" / folder / model)


def use_vllm(project, command, model=GLM):
    with project.editing() as config:
        config["models"][model]["engine"] = "vllm"
        config["engines"] = {"vllm": {"command": command}}


def test_glm_by_vllm_and_kimi_by_transformers_are_one_run(finished, executable):
    before = lines(finished, "internvl3.5")
    use_vllm(finished, executable)
    # What is there is used, whichever engine made it.
    assert listed(finished.snakemake(*RUN, "-n", "all")) == {}
    assert played_server.Play(Path(executable).parent).notes("starts") == []
    forget(finished, GLM)
    forget(finished, KIMI)
    finished.snakemake(*RUN, "accounting")
    rows = pl.read_parquet(finished.root / "results/tiny/responses/*/*.parquet")
    by = rows.group_by("model").agg(pl.col("engine").unique(), pl.len()).rows_by_key("model")
    assert by[GLM] == [(["vllm"], 12)]
    assert by[KIMI] == by["internvl3.5"] == [(["transformers"], 12)]
    assert lines(finished, "internvl3.5") == before
    (computed,) = rows.filter(model=GLM)["attention"].unique()
    assert computed.startswith("vllm, float32, vllm 0.played, --limit-mm-per-prompt=")
    assert " --dtype=float32 " in computed
    (record,) = [line for line in lines(finished, GLM) if line["kind"] == "run"]
    assert record["batch_size"] == 512
    table = pl.read_csv(finished.root / "results/tiny/accounting.csv")
    for row in table.iter_rows(named=True):
        assert row["asked"] == 12 == row["done"] + row["failed"] + row["excluded"]


def test_a_missing_vllm_is_one_message_where_it_is_needed(finished):
    use_vllm(finished, "nowhere/bin/vllm")
    assert listed(finished.snakemake(*RUN, "all")) == {}  # nothing is generated
    forget(finished, GLM)
    said = finished.snakemake(*RUN, "all", check=False)
    assert said.count(MISSING) == said.count("Error: ") == 1
    assert "Traceback" not in said
    planned = finished.snakemake(*RUN, "-n", "all")
    assert "Only a dry run is possible so far: engines.vllm.command" in planned
    assert job_counts(planned)["generate_responses"] == 1
    # A job with a journal may find all it needs there; one that does not says so itself.
    (finished.root / f"results/tiny/journal/{GLM}").mkdir()
    (finished.root / f"results/tiny/journal/{GLM}/00.jsonl").touch()
    said = finished.snakemake(*RUN, "accounting", check=False)
    assert MISSING in said
    assert "generate_responses" in said


def test_the_paper_run_is_planned_without_vllm(project):
    """As far as its images, which are not here."""
    asked = ("-n", "--quiet", "rules", "--cores", "1", "all")
    said = project.snakemake(*asked, check=False)
    assert "data/imagenet21k" in said
    with project.editing("config/config.yaml") as config:
        config["inference"]["engine"] = "transformers"
    assert "vllm" not in project.snakemake(*asked, check=False)
