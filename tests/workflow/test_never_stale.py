"""Whatever happens to a run, the same command ends in the files of an undisturbed one.

A finished run gets other settings, one after the other and from the images downwards, and each time
something happens to a job that they affect.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from tests.pretended_runs import planned

from .conftest import Project, clone, differences, outcome

pytestmark = pytest.mark.slow

R = "results/tiny"
MODEL = "openvlthinker"
BROKEN = "[a-z0-9+"
BARE = ("--workflow-profile", "none")  # a profile adds comfort only
KEPT = ("score_cache/", "canary/")
"""What keeps what earlier settings needed, or tells of time."""


@dataclass(frozen=True)
class Step:
    """A change of the config, and what happens meanwhile.

    Attributes
    ----------
    key
        What is changed.
    value
        What it becomes.
    fault
        What befalls the job that makes a file.
    file
        The file, in the run's folder.
    targets
        What is wanted.
    then
        What is wanted afterwards, one after the other; the targets if there is nothing else.
    """

    key: str
    value: object
    fault: str
    file: str
    targets: list[str]
    then: list[list[str]] = field(default_factory=list)


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
    "figure": Step(
        *("figures.samples", 1, "refuse", "figures/figure_sample.png"),
        ["figures"],
    ),
    "dataset": Step(
        *("dataset.test", 1, "orphan", "dataset/data/test-00000-of-00001.parquet"),
        ["dataset"],
    ),
}


def change(project: Project, key: str, value: object) -> None:
    path = project.root / "config" / "tiny.yaml"
    config = yaml.safe_load(path.read_text())
    section = config
    *above, last = key.split(".")
    for name in above:
        section = section.setdefault(name, {})
    assert section.get(last) != value
    section[last] = value
    path.write_text(yaml.safe_dump(config, sort_keys=False))


def made_of(project: Project, file: str, targets: list[str]) -> list[Path]:
    """Return what the job that makes a file makes, and all that is made of it for some targets."""
    config = project.root / "config" / "tiny.yaml"
    with planned(project.root, config, targets) as workflow:
        dag = workflow.dag
        (job,) = (job for job in dag.jobs if file in job.output)
        jobs = dag.bfs(dag.depending, job)
        return [project.root / output for each in jobs for output in each.output]


def run(project: Project, *arguments: str) -> str:
    """Run Snakemake; return what it printed."""
    status, said = outcome(project, *BARE, *arguments)
    assert status == 0, said
    return said


def befall(project: Project, step: Step) -> None:
    """Change the config, let the fault happen, and run the same command again."""
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


def break_the_pattern(project: Project) -> None:
    """A pattern that does not compile is refused every time, and no table shows it."""
    key, table = "benchmark.sets.token_pattern", f"{R}/tables/table5.md"
    change(project, key, BROKEN)
    for _ in range(2):
        status, said = outcome(project, *BARE, "tables")
        assert status == 1, said
        assert BROKEN in said or "score" in said
        path = project.root / table
        assert not path.exists() or BROKEN not in path.read_text()
    change(project, key, "[a-z]+")


def delete_responses(project: Project) -> None:
    """What README advises after a bad response: the file is made of the journal again."""
    file = f"{R}/responses/kimi-vl/00.parquet"
    (project.root / file).unlink()
    again = made_of(project, file, ["all"])
    mark = project.root / "mark"
    mark.touch()
    run(project, "all")
    assert not [path for path in again if path.stat().st_mtime_ns < mark.stat().st_mtime_ns]


def test_what_happens_to_jobs_leaves_nothing_old(tiny, tmp_path):
    project = tiny.copy(tmp_path / "disturbed")
    before = {step.file: (project.root / R / step.file).read_bytes() for step in STEPS.values()}
    for name, step in STEPS.items():
        if name == "score":
            break_the_pattern(project)
        befall(project, step)
    delete_responses(project)
    assert "Nothing to be done" in run(project, "-n", "all")
    undisturbed = clone(tmp_path / "undisturbed")
    (undisturbed.root / "config" / "tiny.yaml").write_bytes(
        (project.root / "config" / "tiny.yaml").read_bytes()
    )
    run(undisturbed, "all")
    for file, content in before.items():
        assert (undisturbed.root / R / file).read_bytes() != content, file
    different = differences(undisturbed.root / R, project.root / R)
    # A killed job leaves the temporary file behind that it was about to rename.
    left = [file for file in different if not Path(file).name.startswith(".")]
    assert [file for file in left if not file.startswith(KEPT)] == []
