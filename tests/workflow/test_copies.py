"""Copies of finished runs, and runs that are interrupted or started twice."""

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import IO

import pytest

from tests.pretended_runs import pretend

from .conftest import TINY, Project, clone, cut_down, listed, outcome, start

pytestmark = pytest.mark.slow

RESULTS = Path("results/tiny")
DRAWN = "draw_images"  # its outputs are named in the config, whatever the run is called


def copy(source: Path, target: Path) -> None:
    """Copy a folder with all times, as `cp -a` does."""
    shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)


def dry_run(project: Project, *arguments: str) -> str:
    status, said = outcome(project, "-n", *arguments)
    assert status == 0, said
    return said


def everything(project: Project) -> dict[str, int]:
    """Return the counts of all jobs of the run."""
    return listed(dry_run(project, "--forceall", "all"))


def rename_run(project: Project, name: str) -> None:
    with project.editing() as config:
        config["run"] = name


def test_results_copied_to_another_runs_name_are_not_accepted(finished):
    copy(finished.root / RESULTS, finished.root / "results" / "other")
    rename_run(finished, "other")
    said = dry_run(finished, "all")
    assert "results/other/" in said.partition("without a record in .snakemake")[0]
    wanted = everything(finished)
    del wanted[DRAWN]
    assert listed(said) == wanted


def test_results_without_records_are_not_accepted(tiny, tmp_path):
    project = clone(tmp_path / "moved")
    cut_down(project)
    copy(tiny.root / RESULTS, project.root / RESULTS)
    said = dry_run(project, "all")
    assert "without a record in .snakemake" in said
    assert listed(said) == everything(project)


def test_results_of_another_run_copied_over_a_finished_run_are_detected(finished):
    rename_run(finished, "other")
    pretend(finished.root, finished.root / TINY, ["all"])
    assert "Nothing to be done" in dry_run(finished, "all")
    copy(finished.root / RESULTS, finished.root / "results" / "other")
    said = dry_run(finished, "all")
    assert "edited or copied" in said
    wanted = everything(finished)
    del wanted[DRAWN]
    assert listed(said) == wanted


def test_a_finished_run_in_a_fresh_clone_has_nothing_to_do(finished, tmp_path):
    git = ["git", "-c", "user.name=Test", "-c", "user.email=test@localhost", "-C", finished.root]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "All"]):
        subprocess.run([*git, *command], check=True)
    fresh = Project(tmp_path / "fresh")
    subprocess.run(["git", "clone", "-q", finished.root, fresh.root], check=True)
    for name in ("results", ".snakemake"):
        copy(finished.root / name, fresh.root / name)
    status, said = outcome(fresh, "all")
    assert (status, "Nothing to be done" in said) == (0, True), said


SECOND, FIRST = (f"{RESULTS}/figures/figure_coverage.{form}" for form in ("png", "pdf"))
"""Two files of one job. The first is in place when the accident happens to the second."""


def without_a_figure(project: Project) -> dict[str, bytes]:
    """Delete both files and return their contents."""
    held = {name: (project.root / name).read_bytes() for name in (FIRST, SECOND)}
    for name in held:
        (project.root / name).unlink()
    return held


@pytest.mark.parametrize("profile", [[], ["--workflow-profile", "none"]], ids=["own", "none"])
def test_after_an_interruption_the_same_command_continues(profile, finished):
    held = without_a_figure(finished)
    status, said = outcome(finished, *profile, "figures", fault=f"interrupt {SECOND}")
    assert status == 1, said
    status, said = outcome(finished, *profile, "figures")
    assert status == 0, said
    assert "edited or copied" not in said
    assert {name: (finished.root / name).read_bytes() for name in held} == held


def opened(pipe: Path, reader: subprocess.Popen) -> IO:
    """Open a named pipe for writing as soon as a process, or a child of it, reads it."""
    while True:
        try:
            return os.fdopen(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK), "w")
        except OSError:  # nobody reads it yet
            assert reader.poll() is None, reader.communicate()[0]
            time.sleep(0.05)


def test_a_second_snakemake_says_that_another_is_running(finished, tmp_path):
    held = without_a_figure(finished)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    first = start(finished, "figures", fault=f"hold {SECOND}", HOLD=str(pipe))
    with opened(pipe, first):
        assert (finished.root / FIRST).exists()
        status, said = outcome(finished, "figures")
    assert status == 1
    assert "cannot be locked" in said
    assert "ncomplete" not in said
    assert "edited or copied" not in said
    printed, _ = first.communicate()
    assert first.returncode == 0, printed
    assert {name: (finished.root / name).read_bytes() for name in held} == held
