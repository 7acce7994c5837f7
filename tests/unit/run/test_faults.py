"""Runs that are killed at any moment, or stopped by a full disk, and then resumed."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from itertools import cycle
from pathlib import Path

import polars as pl
import pytest
import yaml
from disks import run_again_as_root, small_disk
from generation_runs import write_shard
from journal_rows import journal_rows
from pictures import encoded

from generate_responses import generate_responses
from imagenet_think.inference.generation import Task
from imagenet_think.inference.journal import JournalError
from imagenet_think.miniature.drawings import NAMES, draw, scene_of

ROOT = Path(__file__).parents[3]
IMAGES_PER_SHARD = 12


@pytest.fixture(scope="module")
def call(tmp_path_factory):
    """The arguments of `generate_responses` except journal and outputs."""
    folder = tmp_path_factory.mktemp("shards")
    config = yaml.safe_load((ROOT / "config" / "miniature.yaml").read_text())
    key = "glm-4.1v"
    model = config["models"][key] | {"key": key}
    model["repository"] = str(ROOT / model["repository"])
    files = []
    for shard, seed in (("00", 0), ("01", 1)):
        pictures = []
        for i, name in zip(range(IMAGES_PER_SHARD), cycle(sorted(NAMES)), strict=False):
            pictures.append((f"{shard}_{i}", encoded(draw(scene_of(7, name, seed + i)), "PNG")))
        files.append(write_shard(folder / f"{shard}.parquet", pictures))
    task = {
        "settings": {
            "model": model,
            "prompt": {"id": "section_3_2", "text": config["prompts"]["section_3_2"]},
            "preparation": config["images"]["preparation"],
            "length_policy": config["length_policy"],
            "seed": 1,
        },
        "inference": config["inference"] | {"device": "cpu", "batch_size": 4, "engines": {}},
        "threads": 1,
    }
    return {"images": files, "task": task}


def outputs(folder, call):
    return [folder / "responses" / Path(file).name for file in call["images"]]


def generate(call, folder):
    paths = [str(out) for out in outputs(folder, call)]
    generate_responses(Task(**call["task"]), call["images"], paths, str(folder / "journal"))


def responses(folder):
    """Return image and fingerprint of each response in a run's journals."""
    rows = journal_rows(*sorted((folder / "journal").glob("*.jsonl")))
    return [(row["image_id"], row["fingerprint"]) for row in rows]


@pytest.mark.slow
def test_a_run_killed_at_a_hundred_moments_ends_like_an_undisturbed_one(tmp_path, call):
    plan = {"call": call, "folder": str(tmp_path), "kills": 100, "share": 0.5, "seed": 9}
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    done = subprocess.run(
        [sys.executable, Path(__file__).parents[1] / "killed_runs.py", tmp_path / "plan.json"],
        env=os.environ
        | {"PYTHONPATH": f"{ROOT}/scripts:{ROOT}/scripts/inference", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=7200,
    )
    assert done.returncode == 0, done.stderr
    runs = json.loads(done.stdout)
    ends = Counter(attempt["end"] for run in runs for attempt in run)
    assert ends == {-signal.SIGKILL: ends[-signal.SIGKILL], 0: len(runs)}, done.stderr
    assert ends[-signal.SIGKILL] >= 100
    images = [f"{shard}_{i}" for shard in ("00", "01") for i in range(IMAGES_PER_SHARD)]
    whole = [out.read_bytes() for out in outputs(tmp_path / "whole", call)]
    undisturbed = pl.read_parquet(outputs(tmp_path / "whole", call))
    assert undisturbed["finish_reason"].unique().to_list() == ["stop"]
    assert undisturbed["text"].n_unique() > IMAGES_PER_SHARD
    for number, run in enumerate(runs):
        folder = tmp_path / str(number)
        assert [out.read_bytes() for out in outputs(folder, call)] == whole
        keys = responses(folder)
        assert len(keys) == len(set(keys))
        assert sorted(image_id for image_id, _ in keys) == sorted(images)
        left = {file.name for file in (folder / "journal").iterdir()}
        assert {name for name in left if not name.startswith(".")} == {"00.jsonl", "01.jsonl"}
        for attempt in run:
            # No response is lost or generated twice, except the one that was being written and
            # those that the engine had not returned yet.
            taken, given = Counter(attempt["taken"]), Counter(attempt["given"])
            assert not taken.keys() & set(attempt["before"])
            assert given <= taken
            assert set(taken.values()) <= {1}
            new = set(attempt["after"]) - set(attempt["before"])
            assert new <= given.keys()
            assert len(given.keys() - new) <= (attempt["end"] != 0)
            assert set(attempt["before"]) <= set(attempt["after"])
    assert max(len(run) for run in runs) > 2
    assert any(attempt["torn"] and attempt["end"] != 0 for run in runs for attempt in run)


@pytest.mark.slow
def test_a_run_whose_disk_is_full_continues_when_there_is_room(request, tmp_path, call):
    if run_again_as_root(request):
        return
    generate(call, tmp_path / "whole")
    with small_disk(tmp_path / "disk", "256k") as folder:
        ballast = folder / "ballast"
        ballast.write_bytes(b"x" * 236_000)
        with pytest.raises(JournalError, match=r"\.jsonl cannot .*: No space left.*again"):
            generate(call, folder)
        assert not any(out.exists() for out in outputs(folder, call))
        files = sorted((folder / "journal").glob("*.jsonl"))
        before = [file.read_bytes() for file in files]
        assert 0 < len(journal_rows(*files)) < 2 * IMAGES_PER_SHARD
        ballast.unlink()
        generate(call, folder)
        for file, lines in zip(files, before, strict=True):
            assert lines[-1:] in (b"", b"\n")
            assert file.read_bytes().startswith(lines)
        assert len(responses(folder)) == len(set(responses(folder))) == 2 * IMAGES_PER_SHARD
        for out, undisturbed in zip(
            outputs(folder, call), outputs(tmp_path / "whole", call), strict=True
        ):
            assert out.read_bytes() == undisturbed.read_bytes()
