"""Simulated finished runs, to see what another config or a deletion would run again.

Each file of a plan is created, empty, and recorded as Snakemake records the outputs of jobs.
"""

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from imagenet_think.run import workflow_hooks

if TYPE_CHECKING:
    from snakemake.jobs import Job
    from snakemake.workflow import Workflow

ROOT = Path(__file__).resolve().parents[1]

FOLDERS = ("config", "paper", "resources", "scripts")
"""Folders of the project that jobs read by relative paths."""

RECORD = "record_run"
"""The rule that records config and commit: it runs again with every change, so it is left out."""

Config = Mapping[str, Any] | Path
"""A config or its file."""


def workplace(folder: Path) -> None:
    """Link the project's files into a folder in which runs are planned."""
    for name in FOLDERS:
        (folder / name).symlink_to(ROOT / name)


@contextmanager
def planned(folder: Path, config: Config, targets: Iterable[str]) -> Iterator["Workflow"]:
    """Yield the workflow of a config that is planned in a folder."""
    if not isinstance(config, Path):
        file = folder / "planned.yaml"
        file.write_text(yaml.safe_dump(dict(config), allow_unicode=True), encoding="utf-8")
        config = file
    with workflow_hooks.planned(ROOT / "Snakefile", folder, config, targets) as workflow:
        yield workflow


def pretend(folder: Path, config: Config, targets: Iterable[str]) -> None:
    """Create the missing files of a config's plan, all empty, as if its jobs had made them."""
    with planned(folder, config, targets) as workflow:
        made = [job for job in workflow.dag.jobs if not all(map(os.path.exists, job.output))]
        for job in made:
            for file in job.output:
                Path(file).parent.mkdir(parents=True, exist_ok=True)
                if file.is_directory:
                    Path(file).mkdir()
                file.touch_or_create()
            if job.benchmark:  # counts as an output where a rule is the target
                Path(job.benchmark).parent.mkdir(parents=True, exist_ok=True)
                Path(job.benchmark).touch()
        workflow.iocache.deactivate()  # it still holds them for missing
        now = time.time()  # one time for all: no file is newer than its consumers
        for job in made:
            for file in job.output:
                place = Path(file, ".snakemake_timestamp") if file.is_directory else file
                os.utime(place, (now, now))
        for job in made:
            workflow.async_run(workflow.persistence.finished(job))


def jobs(workflow: "Workflow") -> list["Job"]:
    """Return the jobs of a plan that have outputs, except the one that records the run."""
    return [job for job in workflow.dag.jobs if not job.is_norun and job.rule.name != RECORD]


def again(workflow: "Workflow") -> list["Job"]:
    """Return those that would run."""
    return [job for job in jobs(workflow) if workflow.dag.needrun(job)]


def with_consumers(workflow: "Workflow", some: Iterable["Job"]) -> set["Job"]:
    """Return some jobs of a plan and all that depend on them, directly or not."""
    found = {job for first in some for job in workflow.dag.bfs(workflow.dag.depending, first)}
    return {job for job in found if not job.is_norun and job.rule.name != RECORD}
