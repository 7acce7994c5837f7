"""Benchmark of the plan: what Snakemake takes to find out what is to do in the paper's run.

Run as `python tests/benchmarks/plan.py`. In a folder with an empty archive for each class, the run
is planned from nothing (`snakemake -n all`), pretended to be finished, and planned again, when
nothing is to be done. Then single jobs are planned, as each does for itself where it starts on a
cluster; and it is counted how many jobs of Slurm the run would be. That the finished run is one for
Snakemake is checked: with another window of Sentence-BERT, its blocks are scored again and nothing
else is. Times are the fastest of a few runs: seconds of the clock, and of the processor.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

import submissions
from tests import pretended_runs
from tests.pretended_runs import ROOT

Config = dict[str, Any]
LIMITS = {"plan": 7, "finished": 6}
"""Seconds of the clock that the paper's run may take on two idle cores."""

# A job of one block, and the one with most inputs.
JOBS = {"score": "score:block=0,metric=rouge", "account_responses": "account_responses:"}
FINISHED = "Nothing to be done (all requested files are present and up to date)."


def paper(shards_per_block: int) -> Config:
    """Return the paper's config with made-up revisions and a number of shards."""
    text = (ROOT / "config" / "config.yaml").read_text(encoding="utf-8")
    config = yaml.safe_load(text.replace("revision: null", f"revision: {'a' * 40}"))
    config["sharding"] = {"blocks": 16, "shards_per_block": shards_per_block}
    return config


def place_archives(folder: Path, config: Config) -> None:
    """Make an empty archive for each class."""
    source = folder / config["images"]["source"]["path"]
    source.mkdir(parents=True)
    classes = (ROOT / config["images"]["classes"]).read_text(encoding="utf-8")
    for line in classes.splitlines()[1:]:
        (source / f"{line.split()[0]}.tar").touch()


def measure(folder: Path, runs: int, *arguments: str) -> tuple[str, str]:
    """Run Snakemake in a folder; return the seconds of the fastest run, and what it said."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
    command += ["--cores", "2", "--configfile", "paper.yaml", "--dry-run", *arguments]
    times = []
    for _ in range(runs):
        start, before = time.perf_counter(), os.times()
        done = subprocess.run(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        after = os.times()
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}")
        processor = sum(after[2:4]) - sum(before[2:4])  # of the children
        times.append((time.perf_counter() - start, processor))
    clock, processor = min(times)
    return f"{clock:.1f} ({processor:.1f})", done.stdout


def handed_in(folder: Path) -> int:
    """Return how many jobs of Slurm the run of a folder would be, with the Slurm profile."""
    with tempfile.TemporaryDirectory() as name:
        clone = submissions.project(Path(name))
        (clone / "data").symlink_to(folder / "data")
        command = [sys.executable, submissions.__file__, "--configfile", f"{folder}/paper.yaml"]
        said = subprocess.check_output([*command, "-n", "all"], cwd=clone, text=True)
    return int(said.splitlines()[-1])


def check(folder: Path, config: Config) -> None:
    """Refuse a finished run in which another window of Sentence-BERT reruns anything else."""
    other = deepcopy(config)
    other["benchmark"]["sbert"]["max_tokens"] += 1
    with pretended_runs.planned(folder, other, ["all"]) as workflow:
        again = Counter(job.rule.name for job in pretended_runs.again(workflow))
    blocks = config["sharding"]["blocks"]
    per_block = {name: count for name, count in again.items() if count >= blocks}
    if per_block != {"score_embeddings": blocks}:
        raise RuntimeError(f"another window of Sentence-BERT runs {again}")


def row(shards_per_block: int, runs: int) -> list[str]:
    """Return a row of the table: shards, jobs, submissions, and the seconds of each plan."""
    config = paper(shards_per_block)
    shards = config["sharding"]["blocks"] * config["sharding"]["shards_per_block"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pretended_runs.workplace(folder)
        place_archives(folder, config)
        (folder / "paper.yaml").write_text(yaml.safe_dump(config, allow_unicode=True))
        planned, said = measure(folder, runs, "all")
        jobs = int(re.search(r"^total +(\d+)$", said, re.M)[1])
        submitted = handed_in(folder)
        pretended_runs.pretend(folder, config, ["all"])
        finished, said = measure(folder, runs, "all")
        if FINISHED not in said:
            raise RuntimeError(f"the run is not finished:\n{said}")
        check(folder, config)
        # As an executor starts a job, but for --dry-run.
        alone = ("--force", "--nolock", "--allowed-rules")
        starts = [
            measure(folder, runs, *alone, rule, "--target-jobs", job)[0]
            for rule, job in JOBS.items()
        ]
    return [f"{shards}", f"{jobs:,}", f"{submitted}", planned, finished, *starts]


def main() -> None:
    """Measure the paper's shards, and four times as many."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2, help="of which the fastest counts")
    runs = parser.parse_args().runs
    limits = " and ".join(f"{seconds} s ({what})" for what, seconds in LIMITS.items())
    print(f"Seconds of the clock (of the processor) on {os.cpu_count()} cores.")
    print(f"At most {limits} are wanted of the paper's shards.\n")
    starts = [f"start of {rule}" for rule in JOBS]
    names = ["shards", "jobs", "submissions", "plan", "finished", *starts]
    print(f"| {' | '.join(names)} |\n|{' ---: |' * len(names)}", flush=True)
    for shards_per_block in (4, 16):
        print(f"| {' | '.join(row(shards_per_block, runs))} |", flush=True)


if __name__ == "__main__":
    main()
