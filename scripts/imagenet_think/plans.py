"""What Snakemake would run again for another config: its own plan, made in this process.

A run is pretended to be finished: each file of its plan is made, empty, and recorded as Snakemake
records what it made. Plans of other configs in the same folder then tell what each runs again.
"""

import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from snakemake.api import SnakemakeApi
from snakemake.jobs import Job
from snakemake.settings.types import (
    ConfigSettings,
    DAGSettings,
    ExecutionSettings,
    GroupSettings,
    OutputSettings,
    RemoteExecutionSettings,
    ResourceSettings,
    SchedulingSettings,
)
from snakemake.workflow import Workflow
from snakemake_interface_executor_plugins.registry import ExecutorPluginRegistry

ROOT = Path(__file__).resolve().parents[2]
"""The project, whose workflow is planned."""

FOLDERS = ("config", "paper", "resources", "scripts")
"""What of the project the jobs read, by paths from where they run."""

Config = Mapping[str, Any] | Path
"""A config, or its file."""


@dataclass(frozen=True)
class Plan:
    """Jobs by rule, counted; rules that only name targets have none.

    Attributes
    ----------
    jobs
        All of the plan.
    changed
        Those whose params, inputs or outputs are others than recorded.
    again
        Those that would run: these, and all that need what they make.
    """

    jobs: Mapping[str, int]
    changed: Mapping[str, int]
    again: Mapping[str, int]


RECORD = "record_run"
"""The rule that records config and commit: it runs with every change, and is left out here."""


@dataclass(frozen=True)
class Rule:
    """A rule of the workflow that has jobs.

    Attributes
    ----------
    name
        Its name.
    file
        The rule file that it stands in, without its ending.
    script
        Its script.
    follows
        Rules of the plan whose jobs need what its jobs make, directly or not.
    """

    name: str
    file: str
    script: Path
    follows: frozenset[str]


def workplace(folder: Path) -> None:
    """Let jobs find the project's files from a folder in which runs are planned."""
    for name in FOLDERS:
        (folder / name).symlink_to(ROOT / name)


def plan(folder: Path, config: Config, targets: Iterable[str]) -> Plan:
    """Return what a config would run for some targets in a folder.

    Raises
    ------
    snakemake.exceptions.WorkflowError
        If the config is wrong, or what is wanted cannot be made.
    """
    with planned(folder, config, targets) as workflow:
        jobs = _jobs(workflow)
        return Plan(
            jobs=_by_rule(jobs),
            changed=_by_rule(job for job in jobs if _changed(workflow, job)),
            again=_by_rule(job for job in jobs if workflow.dag.needrun(job)),
        )


def rules(folder: Path, config: Config, targets: Iterable[str]) -> list[Rule]:
    """Return the rules of a plan, in the order in which the workflow names them."""
    with planned(folder, config, targets) as workflow:
        found: dict[str, set[str]] = {}
        for job in _jobs(workflow):
            after = workflow.dag.bfs(workflow.dag.depending, job)
            names = {other.rule.name for other in after if not other.is_norun}
            found.setdefault(job.rule.name, set()).update(names - {job.rule.name})
        return [
            Rule(
                name=rule.name,
                file=Path(rule.snakefile).stem,
                script=(ROOT / "rules" / rule.script).resolve(),
                follows=frozenset(found[rule.name]),
            )
            for rule in workflow.rules
            if rule.name in found
        ]


def pretend(folder: Path, config: Config, targets: Iterable[str]) -> None:
    """Make the files of a config's plan, all empty, and record that its jobs made them."""
    with planned(folder, config, targets) as workflow:
        made = [Path(file) for job in workflow.dag.jobs for file in job.output]
        for file in made:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
        # All of one time: none is newer than what is made of it.
        now = max(file.stat().st_mtime for file in made)
        for file in made:
            os.utime(file, (now, now))
        for job in workflow.dag.jobs:
            workflow.async_run(workflow.persistence.finished(job))


@contextmanager
def planned(folder: Path, config: Config, targets: Iterable[str]) -> Iterator[Workflow]:
    """Give the workflow with its plan, as a dry run makes it.

    Parameters
    ----------
    folder
        Where jobs would run, and the working directory meanwhile.
    config
        What is planned.
    targets
        What is wanted.
    """
    file = config
    if not isinstance(file, Path):
        file = folder / "planned.yaml"
        file.write_text(yaml.safe_dump(dict(config), allow_unicode=True), encoding="utf-8")
    quiet = OutputSettings(dryrun=True, log_level_override=logging.ERROR)
    with SnakemakeApi(quiet) as api:
        given = api.workflow(
            resource_settings=ResourceSettings(cores=1),
            config_settings=ConfigSettings(configfiles=[file]),
            snakefile=ROOT / "Snakefile",
            workdir=folder,
        )
        given.dag(DAGSettings(targets=frozenset(targets)))
        # What `execute_workflow` does, up to where it would print the jobs.
        workflow = given._workflow
        workflow.execution_settings = ExecutionSettings()
        workflow.remote_execution_settings = RemoteExecutionSettings()
        workflow.scheduling_settings = SchedulingSettings()
        workflow.group_settings = GroupSettings()
        workflow._executor_plugin = ExecutorPluginRegistry().get_plugin("dryrun")
        workflow._prepare_dag(
            forceall=False, ignore_incomplete=False, lock_warn_only=True, nolock=True
        )
        workflow._build_dag()
        yield workflow


def _jobs(workflow: Workflow) -> Sequence[Job]:
    return [job for job in workflow.dag.jobs if not job.is_norun and job.rule.name != RECORD]


def _by_rule(jobs: Iterable[Job]) -> dict[str, int]:
    return dict(sorted(Counter(job.rule.name for job in jobs).items()))


def _changed(workflow: Workflow, job: Job) -> bool:
    recorded = workflow.persistence
    return bool(
        not recorded.has_metadata(job)
        or recorded.params_changed(job)
        or any(recorded.input_changed(job))
    )
