"""`snakemake status` on finished, changed, failed and running workflows."""

import hashlib
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from .conftest import BIN, TINY, job_counts

pytestmark = pytest.mark.slow

MINIATURE = ("--configfile", "config/miniature.yaml")
SMALL = ("--configfile", TINY)
STATES = ("done", "outdated", "running", "waiting", "failed")


def status(project, *config):
    return project.snakemake(*config, "--quiet", "host", "--cores", "1", "status")


def table(said, first):
    """Return the rows of one of the tables that `status` prints, by their first cells."""
    lines = said.splitlines()
    (start,) = [place for place, line in enumerate(lines) if line.startswith(f"{first} ")]
    spans = [found.span() for found in re.finditer("-+", lines[start + 1])]
    rows, stage = {}, ""
    for line in lines[start + 2 : lines.index("", start)]:
        cells = [line[slice(*span)].strip() for span in spans]
        if first == "stage":
            stage = cells[0] or stage
            rows[stage, cells[1]] = dict(zip(STATES, map(int, cells[2:]), strict=True))
        else:
            rows[cells[0]] = cells[1:]
    return rows


def states(said):
    """Return the jobs in each state, by stage and model or metric; check widths and sums."""
    assert all(len(line) <= 80 for line in said.splitlines() if not line.startswith("failed: "))
    rows = table(said, "stage")
    everything = rows[("all", "")]
    parts = [row for name, row in rows.items() if name != ("all", "")]
    assert everything == {name: sum(row[name] for row in parts) for name in STATES}
    return rows


def dry_run(project, *options):
    """Return how many jobs with outputs a run of everything would have."""
    said = project.snakemake(*options, "-n", "--quiet", "rules", "all")
    jobs = job_counts(said)
    return sum(jobs.values()) - jobs["all"]


def digest(root):
    """Return the digests of all files except the logs and scripts of Snakemake itself."""
    own = {root / ".snakemake" / name for name in ("log", "scripts", "status.log", "auxiliary")}
    files = (path for path in sorted(root.rglob("*")) if own.isdisjoint([path, *path.parents]))
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_a_finished_run_is_finished_and_every_job_is_counted(demo):
    said = status(demo, *MINIATURE)
    counts = states(said)
    total = dry_run(demo, *MINIATURE, "--forceall")
    assert counts["all", ""] == dict.fromkeys(STATES, 0) | {"done": total}
    assert counts["inference", "kimi-vl"]["done"] == 1
    assert table(said, "model")["kimi-vl"] == ["144/144", "–", "–"]
    assert f"Finished: all {total} jobs are done for this config." in said.splitlines()
    assert said.splitlines()[-1] == "No Snakemake is running in this folder."


def test_jobs_to_replace_are_outdated_and_jobs_to_add_are_waiting(finished):
    config = finished.root / TINY
    text = config.read_text()
    config.write_text(re.sub("token_pattern: .*", "token_pattern: '[a-z]+'", text))
    assert config.read_text() != text
    counts = states(status(finished, *SMALL))
    outdated = dry_run(finished, *SMALL)
    assert counts["all", ""]["outdated"] == outdated > 0
    assert counts["all", ""]["waiting"] == 0
    assert counts["metrics", "sets"]["done"] == 0
    assert counts["metrics", "rouge"]["outdated"] < counts["metrics", "sets"]["outdated"]

    (finished.root / "results/tiny/scores/rouge/00.parquet").unlink()
    said = status(finished, *SMALL)
    counts = states(said)
    assert counts["metrics", "rouge"]["waiting"] == 1
    assert counts["all", ""]["waiting"] == 1
    assert counts["all", ""]["outdated"] == dry_run(finished, *SMALL) - 1 > outdated
    assert "outdated: config, code or inputs changed" in said


def test_a_job_that_failed_is_named_until_it_succeeds(finished):
    script = finished.root / "scripts" / "report" / "table_groups.py"
    text = script.read_text()
    script.write_text(f"raise RuntimeError('broken on purpose')\n{text}")
    target = (*SMALL, "--cores", "1", "results/tiny/tables/groups.csv")
    finished.snakemake(*target, check=False)
    said = status(finished, *SMALL)
    assert states(said)["all", ""]["failed"] == 1
    assert "failed: table_groups, see results/tiny/logs/table_groups.log" in said.splitlines()

    script.write_text(text)
    finished.snakemake(*target)
    said = status(finished, *SMALL)
    assert states(said)["all", ""]["failed"] == 0
    assert "failed: " not in said


def test_a_run_that_was_never_started_and_one_that_cannot_be_planned(project):
    said = status(project, *MINIATURE)
    everything = states(said)["all", ""]
    assert everything == dict.fromkeys(STATES, 0) | {"waiting": everything["waiting"]}
    assert f"Never started: no job of {everything['waiting']} has run." in said
    # The paper's run, without its images.
    said = status(project)
    assert "Run paper cannot be planned, so its jobs are unknown." in said
    assert "data/imagenet21k" in said
    assert not list((project.root / "results").glob("*/"))


@pytest.fixture
def at_work(tiny, tmp_path):
    """A run with nothing but its images, whose Snakemake and job are stopped while it generates."""
    project = tiny.copy(tmp_path / "project")
    made = project.root / "results" / "tiny"
    for path in made.iterdir():
        if path.is_file():
            path.unlink()
        elif path.name not in ("images", "source"):
            shutil.rmtree(path)
    command = [BIN / "snakemake", *SMALL, "--cores", "1", "tables"]
    with (tmp_path / "log").open("w") as log:
        running = subprocess.Popen(
            command, cwd=project.root, stdout=log, stderr=log, start_new_session=True
        )
    try:
        while not (lock := next(made.glob("journal/*/00.lock"), None)):
            assert running.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.05)
        os.killpg(running.pid, signal.SIGSTOP)
        yield project, lock.parent.name, running
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
            running.wait()


def locks(root: Path):
    return sorted(path.name for path in (root / ".snakemake/locks").iterdir())


def test_status_during_a_run_changes_nothing_and_leaves_its_lock(at_work):
    project, model, running = at_work
    before = digest(project.root)
    held = locks(project.root)
    assert held
    said = status(project, *SMALL)
    counts = states(said)
    assert counts["inference", model] == dict.fromkeys(STATES, 0) | {"running": 1}
    assert table(said, "model")[model][0].endswith("/12")
    assert counts["all", ""]["waiting"] > 0
    assert counts["all", ""]["done"] > 0
    assert counts["all", ""]["outdated"] == counts["all", ""]["failed"] == 0
    assert said.splitlines()[-1] == "A Snakemake is running in this folder."
    assert digest(project.root) == before
    assert locks(project.root) == held
    said = project.snakemake(*SMALL, "--cores", "1", "tables", check=False)
    assert "Directory cannot be locked" in said

    # Killed, with its lock and marks left behind.
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    said = status(project, *SMALL)
    assert states(said)["inference", model] == dict.fromkeys(STATES, 0) | {"waiting": 1}
    assert "A Snakemake was killed in this folder" in said
    assert locks(project.root) == held
    project.snakemake(*SMALL, "--unlock")
    assert status(project, *SMALL).endswith("No Snakemake is running in this folder.\n")
