"""Runs that are pretended to be finished, to see what another config would run again.

Each file of a plan is made, empty, and recorded as Snakemake records the files that jobs make.
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
"""What of the project jobs read, by paths from where they run."""

RECORD = "record_run"
"""The rule that records config and commit: it runs again with every change, and is left out."""

Config = Mapping[str, Any] | Path
"""A config, or its file."""


def workplace(folder: Path) -> None:
    """Let jobs find the project's files from a folder in which runs are planned."""
    for name in FOLDERS:
        (folder / name).symlink_to(ROOT / name)


@contextmanager
def planned(folder: Path, config: Config, targets: Iterable[str]) -> Iterator["Workflow"]:
    """Yield the workflow with the plan of a config in a folder."""
    if not isinstance(config, Path):
        file = folder / "planned.yaml"
        file.write_text(yaml.safe_dump(dict(config), allow_unicode=True), encoding="utf-8")
        config = file
    with workflow_hooks.planned(ROOT / "Snakefile", folder, config, targets) as workflow:
        yield workflow


def pretend(folder: Path, config: Config, targets: Iterable[str]) -> None:
    """Make the files that a config's plan lacks, all empty, and record that its jobs made them."""
    with planned(folder, config, targets) as workflow:
        made = [job for job in workflow.dag.jobs if not all(map(os.path.exists, job.output))]
        for job in made:
            for file in job.output:
                Path(file).parent.mkdir(parents=True, exist_ok=True)
                if file.is_directory:
                    Path(file).mkdir()
                file.touch_or_create()
            if job.benchmark:  # as much a product as an output, where a rule is the target
                Path(job.benchmark).parent.mkdir(parents=True, exist_ok=True)
                Path(job.benchmark).touch()
        workflow.iocache.deactivate()  # it remembers that they were missing
        now = time.time()  # one time for all: no file is newer than what is made of it
        for job in made:
            for file in job.output:
                place = Path(file, ".snakemake_timestamp") if file.is_directory else file
                os.utime(place, (now, now))
        for job in made:
            workflow.async_run(workflow.persistence.finished(job))


def jobs(workflow: "Workflow") -> list["Job"]:
    """Return the jobs of a plan that make something, except the one that records the run."""
    return [job for job in workflow.dag.jobs if not job.is_norun and job.rule.name != RECORD]


def again(workflow: "Workflow") -> list["Job"]:
    """Return those of them that would run."""
    return [job for job in jobs(workflow) if workflow.dag.needrun(job)]


def with_consumers(workflow: "Workflow", some: Iterable["Job"]) -> set["Job"]:
    """Return some jobs of a plan and all that need their files, directly or not."""
    found = {job for first in some for job in workflow.dag.bfs(workflow.dag.depending, first)}
    return {job for job in found if not job.is_norun and job.rule.name != RECORD}
