"""`snakemake status` beside a Snakemake at work, in a copy of the project."""

import hashlib
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from .conftest import BIN, clone, shrink

QUIET = ("--quiet", "host", "rules", "progress", "--cores", "1")


def rows(said):
    """Return a table's numbers (done, running, waiting, failed) by stage and part, and the rest."""
    found, stage = {}, ""
    for line in said.splitlines():
        name, of, rest = line[:11].strip(), line[13:26].strip(), line[26:].split()
        stage = name or stage
        if len(rest) >= 4 and all(each.isdigit() for each in rest[:4]):
            found[stage, of] = [int(each) for each in rest[:4]], rest[4:]
    return found


def digest(root):
    """Return the contents of all files but the logs and scripts of Snakemake's own calls."""
    own = {root / ".snakemake" / name for name in ("log", "scripts", "status.log", "auxiliary")}
    files = (path for path in sorted(root.rglob("*")) if own.isdisjoint([path, *path.parents]))
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.mark.slow
def test_a_finished_run_is_done_and_every_job_is_counted(demo):
    miniature = ("--configfile", "config/miniature.yaml")
    counts = rows(demo.snakemake(*miniature, *QUIET, "status"))
    assert counts["responses", "kimi-vl"] == ([1, 0, 0, 0], ["144/144", "–", "–"])
    total = counts.pop(("all", ""))[0]
    assert total[1:] == [0, 0, 0]
    assert [sum(each) for each in zip(*(c for c, _ in counts.values()), strict=True)] == total
    planned = demo.snakemake(*miniature, "-n", "--forceall", "--quiet", "rules", "all")
    jobs = dict(line.split() for line in planned.splitlines() if len(line.split()) == 2)
    assert total[0] == int(jobs["total"]) - int(jobs["all"])


@pytest.fixture
def at_work(tmp_path):
    """A copy in which Snakemake holds the lock and a model is at work, both stopped for now."""
    project = clone(tmp_path / "project")
    config = shrink(project)
    command = [BIN / "snakemake", "--configfile", config, "--cores", "1", "tables"]
    with (tmp_path / "log").open("w") as log:
        running = subprocess.Popen(
            command, cwd=project.root, stdout=log, stderr=log, start_new_session=True
        )
    try:
        deadline = time.monotonic() + 1800
        while not (lock := next(project.root.glob("results/small/journal/*/00.lock"), None)):
            assert running.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.05)
        os.killpg(running.pid, signal.SIGSTOP)
        yield project, config, lock.parent.name, running
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
            running.wait()


def locks(root: Path):
    return sorted(path.name for path in (root / ".snakemake/locks").iterdir())


@pytest.mark.slow
def test_status_beside_a_run_changes_nothing_and_leaves_its_lock(at_work):
    project, config, model, running = at_work
    before = digest(project.root)
    held = locks(project.root)
    assert held
    counts = rows(project.snakemake("--configfile", config, *QUIET, "status"))
    assert counts["responses", model][0] == [0, 1, 0, 0]
    assert counts["responses", model][1][0].endswith("/36")
    assert counts["tables", ""][0][2] > 0
    assert counts["all", ""][0][0] > 0
    assert digest(project.root) == before
    assert locks(project.root) == held
    said = project.snakemake("--configfile", config, "--cores", "1", "tables", check=False)
    assert "Directory cannot be locked" in said

    # Killed, with its lock and marks left behind.
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    counts = rows(project.snakemake("--configfile", config, *QUIET, "status"))
    assert locks(project.root) == held
    project.snakemake("--configfile", config, "--unlock")
    counts = rows(project.snakemake("--configfile", config, *QUIET, "status"))
    assert counts["responses", model][0] == [0, 0, 1, 0]
    assert counts["all", ""][0][1] == 0
