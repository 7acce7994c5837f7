"""Whatever happens to a run, the same command ends in the files of an undisturbed one.

The settings of a finished run are changed one by one, from the images downwards, and each time an
accident happens to a job that the change affects. The undisturbed run has one core, the other two.
"""

import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.pretended_runs import planned

from .conftest import TINY, Project, clone, differences, outcome

pytestmark = pytest.mark.slow

R = "results/tiny"
MODEL = "openvlthinker"
BARE = ("--workflow-profile", "none")  # a profile only adds comfort
KEPT = ("score_cache/", "canary/")
"""Folders that keep what earlier settings needed, or that contain times."""


@dataclass(frozen=True)
class Step:
    """A change of a key of the config, and an accident of the job that makes a file."""

    key: str
    value: object
    fault: str
    file: str  # in the run's folder
    targets: list[str]
    then: list[list[str]] = field(default_factory=list)  # later targets; the same ones if empty


STEPS = {
    "candidates": Step(
        *("images.preparation.longest_side", 224, "kill", "images/candidates/0.parquet"),
        ["sampling"],
    ),
    "inference": Step(
        *(f"models.{MODEL}.system", "Be brief.", "kill", f"responses/{MODEL}/00.parquet"),
        ["accounting"],
    ),
    "parsing": Step(
        *(f"models.{MODEL}.output", "think", "refuse", f"annotations/{MODEL}/00.parquet"),
        ["accounting"],
    ),
    "score": Step(
        *("benchmark.rouge.stemmer", True, "kill", "scores/rouge/00.parquet"),
        ["tables"],
        [["figures"], ["tables"]],
    ),
    "aggregate": Step(
        *("benchmark.intervals.level", 0.9, "blackout", "scores/sbert/aggregate.parquet"),
        ["tables"],
    ),
    "table": Step(
        *(f"models.{MODEL}.name", "Another name", "interrupt", "tables/table3.md"),
        [f"{R}/tables/table3.md"],
    ),
    "figure": Step(*("figures.samples", 1, "refuse", "figures/figure_sample.png"), ["figures"]),
    "dataset": Step(
        *("dataset.test", 1, "orphan", "dataset/data/test-00000-of-00001.parquet"), ["dataset"]
    ),
}


def change(project: Project, key: str, value: object) -> None:
    *above, last = key.split(".")
    with project.editing() as section:
        for name in above:
            section = section.setdefault(name, {})
        assert section.get(last) != value
        section[last] = value


def made_of(project: Project, file: str, targets: list[str]) -> list[Path]:
    """Return the outputs of the job that makes a file and, for some targets, of its consumers."""
    with planned(project.root, project.root / TINY, targets) as workflow:
        dag = workflow.dag
        (job,) = (job for job in dag.jobs if file in job.output)
        jobs = dag.bfs(dag.depending, job)
        return [project.root / output for each in jobs for output in each.output]


def run(project: Project, *arguments: str) -> str:
    """Run Snakemake and return what it printed."""
    status, said = outcome(project, *BARE, *arguments)
    assert status == 0, said
    return said


def disturb(project: Project, step: Step) -> None:
    """Change the config, let the accident happen, and run the same command again."""
    change(project, step.key, step.value)
    file = f"{R}/{step.file}"
    status, said = outcome(project, *BARE, *step.targets, fault=f"{step.fault} {file}")
    assert status != 0, said
    if step.fault in ("kill", "refuse", "interrupt"):
        missing = said.partition("Not made by this run")[2]
        assert file in missing or re.search(r"and [\d,]+ more\n", missing), said
    if step.fault in ("blackout", "orphan"):  # the folder is still locked
        status, said = outcome(project, *BARE, *step.targets)
        assert (status, "--unlock" in said) == (1, True), said
        run(project, "--unlock", *step.targets)
    mark = project.root / "mark"
    mark.touch()
    for targets in step.then or [step.targets]:
        again = made_of(project, file, targets)
        run(project, *targets)
        old = [path for path in again if path.stat().st_mtime_ns < mark.stat().st_mtime_ns]
        assert not old, (step, targets, old)


def delete_responses(project: Project) -> None:
    """Delete responses, which are restored from the journal."""
    file = f"{R}/responses/kimi-vl/00.parquet"
    (project.root / file).unlink()
    again = made_of(project, file, ["all"])
    mark = project.root / "mark"
    mark.touch()
    run(project, "all")
    assert not [path for path in again if path.stat().st_mtime_ns < mark.stat().st_mtime_ns]


def test_accidents_and_the_number_of_cores_change_no_byte(tiny, tmp_path):
    project = tiny.copy(tmp_path / "disturbed")
    before = {step.file: (project.root / R / step.file).read_bytes() for step in STEPS.values()}
    for step in STEPS.values():
        disturb(project, step)
    delete_responses(project)
    assert "Nothing to be done" in run(project, "-n", "all")
    undisturbed = clone(tmp_path / "undisturbed")
    shutil.copy(project.root / TINY, undisturbed.root / TINY)
    run(undisturbed, "--cores", "1", "all")
    for file, content in before.items():
        assert (undisturbed.root / R / file).read_bytes() != content, file
    different = differences(undisturbed.root / R, project.root / R)
    # A killed job leaves behind the temporary file that it was about to rename.
    left = [file for file in different if not Path(file).name.startswith(".")]
    assert [file for file in left if not file.startswith(KEPT)] == []
