"""Every use of Snakemake's private API.

It is tested with the versions of Snakemake that `require_version` accepts; read this module before
you accept others.

Snakemake regenerates a missing file only if a target names it or a consumer runs anyway. A job that
fails in a rerun loses its files, so the next call would find nothing to do and leave old numbers in
place. Here, every file behind a target counts: if one is missing, or is not the file that Snakemake
recorded when its job ended, its job and all that depend on it run.
"""

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from copy import copy
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import snakemake
from snakemake import rules
from snakemake.api import SnakemakeApi
from snakemake.dag import DAG
from snakemake.exceptions import WorkflowError
from snakemake.io import IOFile, _IOFile, flag, is_flagged
from snakemake.jobs import GroupJob
from snakemake.logging import DefaultFormatter, logger
from snakemake.persistence import RECORD_FORMAT_VERSION
from snakemake.persistence.file import FilePersistence
from snakemake.settings import types
from snakemake.settings.enums import RerunTrigger
from snakemake.sourcecache import LocalSourceFile
from snakemake.workflow import Workflow
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.registry import ExecutorPluginRegistry

from imagenet_think.core.printing import escaped, escaped_lines

TESTED = "9.27"
"""Version of Snakemake whose private API this module knows."""

_DELETABLE = "deletable"
_LITERAL = "literal"
_CLOCK = 1.0  # seconds: some file systems keep no more of a modification time


def require_version() -> None:
    """Raise a WorkflowError if this version of Snakemake was not tested."""
    if snakemake.__version__.split(".")[:2] != TESTED.split("."):
        raise WorkflowError(
            f"This workflow needs Snakemake {TESTED}, and this is {snakemake.__version__}: install "
            "the versions in requirements.txt (`make .venv/installed`), or run `pip install "
            f"'snakemake=={TESTED}.*'`."
        )


def deletable(paths: str | list[str]) -> Any:
    """Mark outputs that may be deleted to save space: if they are missing, no job runs.

    They are regenerated when a job that reads them runs, or when they would have changed.
    """
    return flag(paths, _DELETABLE)


class _LiteralFile(_IOFile):
    """An input file whose path is no pattern."""

    def __new__(cls, file: Any, rule: Any = None) -> "_LiteralFile":
        made = super().__new__(cls, file, rule=None)  # a rule's path variables would be filled in
        made.rule = rule
        return made

    def apply_wildcards(self, wildcards: object) -> "_LiteralFile":
        return self

    def check(self) -> None:
        """Do not warn of what is odd in a pattern."""


def literal(paths: str | list[str]) -> Any:
    """Mark paths from outside, returned by an input function, as paths and not patterns.

    Snakemake would look for wildcards (`{model}`) and path variables (`<results>`) in them.
    """
    return flag(paths, _LITERAL)


def _input_file(file: Any, rule: Any = None) -> Any:
    return _LiteralFile(file, rule) if is_flagged(file, _LITERAL) else IOFile(file, rule)


def install() -> None:
    """Make each plan of this process see what is missing or changed behind its targets.

    Paths that are marked as `literal` are taken literally.
    """
    rules.IOFile = _input_file
    DAG.check_incomplete = _check_files
    # A plan reads each record several times; Snakemake keeps the last 128 of some thousand.
    read = FilePersistence._read_record_cached.__wrapped__
    FilePersistence._read_record_cached = lru_cache(maxsize=None)(read)


async def _check_files(dag: DAG) -> None:
    """Schedule the jobs whose files are not those that Snakemake recorded.

    This replaces Snakemake's own check, which only looks for incomplete outputs and refuses to
    continue if there are any.
    """
    workflow = dag.workflow
    if not workflow.is_main_process:
        return
    settings = workflow.dag_settings
    # Whether scripts changed is decided by the digest of their code; times differ in a clone.
    settings.rerun_triggers = frozenset(settings.rerun_triggers) - {RerunTrigger.CODE}
    incomplete = set(await dag.incomplete_files())
    if not dag.ignore_incomplete:
        settings.force_incomplete = True  # for the executors, which check it too
        dag.forcefiles.update(incomplete)
    changed = []
    for job in dag.jobs:
        for file in job.output:
            modified = _modification_time(file)
            record = workflow.persistence.metadata(file)
            if modified is None:
                if not (is_flagged(file, _DELETABLE) and record):
                    dag.reason(job).missing_output.add(file)
            elif file not in incomplete and not _is_recorded(record, modified):
                changed.append(file)
    if changed:
        dag.forcefiles.update(changed)
        more = f" and {len(changed) - 5:,} more" if changed[5:] else ""
        logger.warning(
            f"{', '.join(sorted(changed)[:5])}{more}: edited or copied, or without a record in "
            ".snakemake, and so regenerated. (Copy a run with its .snakemake folder and its "
            "modification times: `cp -a` or `rsync -a`. Responses in the journal are kept.)"
        )
    await _check_sources(dag)


async def _check_sources(dag: DAG) -> None:
    """Schedule the jobs with an input that no job makes and whose contents have changed.

    Snakemake compares checksums only if an input is newer than the outputs, and so misses a file
    that was replaced by an older one. Large files have no checksum; for them, times decide.
    """
    persistence, most = dag.workflow.persistence, dag.max_checksum_file_size
    made = {file for job in dag.jobs for file in job.output}
    same: dict[tuple[str, str], bool] = {}
    for job in dag.jobs:
        for file in set(job.input) - made:
            for checksum in persistence.input_checksums(job, file) - {None}:
                key = (file, checksum)
                if key not in same:
                    same[key] = await file.is_same_checksum(checksum, most)
                if not same[key]:
                    dag.reason(job).updated_input.add(file)


def _modification_time(file: Any) -> float | None:
    """Return an output's modification time as Snakemake records it; None if it is missing."""
    place = Path(file)
    if place.is_dir():
        place /= ".snakemake_timestamp"
    try:
        return os.lstat(place).st_mtime
    except (FileNotFoundError, NotADirectoryError):
        return None


def _is_recorded(record: Any, modified: float) -> bool:
    """Return whether a file is the one that its job made."""
    return (
        record is not None
        and record.record_format_version == RECORD_FORMAT_VERSION
        and record.endtime is not None
        and abs(record.endtime - modified) < _CLOCK
    )


def missing(dag: DAG) -> list[str]:
    """Return the outputs that a run should have made and did not, in name order."""
    return sorted({str(file) for job in dag.needrun_jobs() for file in job.output})


def wildcards(dag: DAG, *names: str) -> list[Mapping[str, str]]:
    """Return the wildcards of the jobs of some rules that will run."""
    return [job.wildcards_dict for job in dag.needrun_jobs() if job.rule.name in names]


def after_planning(workflow: Workflow, check: Callable[[str, DAG], None]) -> None:
    """Call `check` after the jobs are planned, before anything is done with the plan.

    Its arguments are the purpose of the plan (`run`, `dry run`, `report` or `other`, such as a
    summary) and Snakemake's DAG. An error raised by an input function would be reported as an
    InputFunctionException of the first rule planned; here, all problems can be reported at once.
    """
    build, report = workflow._build_dag, workflow.create_report
    purpose = "other"

    def build_and_check() -> None:
        build()
        if workflow.executor_plugin is None:
            check(purpose, workflow.dag)
        else:
            check("dry run" if workflow.dryrun else "run", workflow.dag)

    def create_report(*arguments: Any, **options: Any) -> None:
        nonlocal purpose
        purpose = "report"
        _escape_report()
        report(*arguments, **options)

    workflow._build_dag, workflow.create_report = build_and_check, create_report


def _escape_report() -> None:
    """Escape what Snakemake's report puts into the scripts of its page, which a name could end."""
    from snakemake.report.html_reporter import data

    def in_script(render: Callable[..., str]) -> Callable[..., str]:
        return lambda *arguments: render(*arguments).replace("<", "\\u003c")  # JSON

    for name in ("render_categories", "render_results", "render_rulegraph", "render_rules"):
        setattr(data, name, in_script(getattr(data, name)))


def caption_report(dag: DAG, captions: Mapping[str, str]) -> None:
    """Set the captions (reStructuredText, by path) of the files in Snakemake's report.

    Snakemake reads a caption from a file; only a report reads these.
    """
    folder = Path(".snakemake", "captions").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    for number, file in enumerate(_shown_in_report(dag)):
        place = folder / f"{number}.rst"
        place.write_text(captions[file], encoding="utf-8")
        entry = file.flags["report"]._replace(caption=LocalSourceFile(str(place)))
        file.flags["report"] = entry


def missing_from_report(dag: DAG) -> list[str]:
    """Return the missing files among those that Snakemake's report shows, in name order."""
    return sorted({str(file) for file in _shown_in_report(dag) if not Path(file).exists()})


def _shown_in_report(dag: DAG) -> Iterator[Any]:
    return (file for job in dag.jobs for file in job.output if is_flagged(file, "report"))


_FORMAT = DefaultFormatter.format
_NAMING = {"input", "output", "log", "reason", "rule_msg"}
"""Attributes of an event that are one line, or files."""


def escape_log() -> None:
    """Escape in Snakemake's log what a terminal would obey, such as in the names of files."""

    def format_escaped(formatter: DefaultFormatter, record: logging.LogRecord) -> str:
        record = copy(record)
        for name in _NAMING & vars(record).keys():
            if isinstance(value := getattr(record, name), list):
                setattr(record, name, list(map(escaped, value)))
            elif value is not None:
                setattr(record, name, escaped(str(value)))
        return escaped_lines(_FORMAT(formatter, record))

    DefaultFormatter.format = format_escaped


def only_read(workflow: Workflow, target: str) -> list[str]:
    """Let a target that only reads run while another Snakemake runs; return no input.

    Nothing is printed except errors and the target's own output. Snakemake releases the folder's
    lock when it ends, even if another process holds it; here it does not.
    """
    if set(workflow.dag_settings.targets) == {target}:
        workflow.persistence.lock = workflow.persistence.noop
        workflow.persistence.unlock = workflow.persistence.noop
        logger.setLevel(logging.WARNING)
    return []


def add_param(workflow: Workflow, name: str, value: Callable[[Any], Callable[..., object]]) -> None:
    """Add a param to every rule with a script; `value` gets the rule and returns the param."""
    for rule in workflow.rules:
        if rule.script:
            rule.set_params(**{name: value(rule)})


@contextmanager
def planned(
    snakefile: Path,
    folder: Path,
    configfile: Path,
    targets: Iterable[str],
    overrides: Mapping[str, Any] | None = None,
    deployment: types.DeploymentSettings | None = None,
) -> Iterator[Workflow]:
    """Yield the workflow with the plan of a dry run in `folder`; nothing is printed.

    `overrides` are values that replace the config's (`--config`), `deployment` is how software is
    deployed (`--sdm`), by default not at all; the rest is as on the command line.
    """
    quiet = types.OutputSettings(dryrun=True, log_level_override=logging.CRITICAL)
    with SnakemakeApi(quiet) as api:
        given = api.workflow(
            resource_settings=types.ResourceSettings(cores=1),
            config_settings=types.ConfigSettings(overrides or {}, configfiles=[configfile]),
            deployment_settings=deployment,
            snakefile=snakefile,
            workdir=folder,
        )
        given.dag(types.DAGSettings(targets=frozenset(targets)))
        # As `execute_workflow`, up to where it would print the jobs.
        workflow = given._workflow
        workflow.execution_settings = types.ExecutionSettings()
        workflow.remote_execution_settings = types.RemoteExecutionSettings()
        workflow.scheduling_settings = types.SchedulingSettings()
        workflow.group_settings = types.GroupSettings()
        workflow._executor_plugin = ExecutorPluginRegistry().get_plugin("dryrun")
        workflow._prepare_dag(
            forceall=False, ignore_incomplete=False, lock_warn_only=True, nolock=True
        )
        workflow.persistence.save_iocache = workflow.persistence.noop  # for --trust-io-cache
        workflow._build_dag()
        yield workflow


_LOG_ERROR = GroupJob.log_error


def keep_messages_of_groups() -> None:
    """Log why a group of jobs failed, as Snakemake does for a single job.

    The message, such as sbatch's reason for a refusal, becomes `group_msg` of the event.
    """

    def log_error(
        group: GroupJob, msg: str | None = None, aux_logs: list[str] | None = None, **details: Any
    ) -> None:
        _LOG_ERROR(group, msg, aux_logs, group_msg=msg, **details)

    GroupJob.log_error = log_error


def patch_slurm(plugin: Any) -> None:
    """Fix three faults of Snakemake's Slurm plugin (module `plugin`, version 2.8.0).

    - A job without `slurm_account` is charged to the user's default account; the plugin would
      take the account of the user's last job, and warn about it.
    - A group whose submission raises an error fails; the plugin would wait for it forever.
    - While Slurm does not answer, as when its controller is restarted, jobs count as running; the
      plugin would forget them and wait forever (its issue 207).
    """
    guess_account, submit = plugin.Executor.get_account_arg, plugin.Executor.run_job
    query = plugin.query_job_status

    def get_account_arg(executor: Any, job: Any) -> Iterator[str]:
        given = job.resources.get("slurm_account")
        return guess_account(executor, job) if given else iter([""])

    def run_job(executor: Any, job: Any) -> None:
        try:
            submit(executor, job)
        except Exception as error:
            # The plugin's own report reads the job's rule, which a group does not have.
            cause = error.__context__ or error
            executor._report_job_error_threadsafe(
                SubmittedJobInfo(job), f"Job submission failed with exception: {cause}"
            )

    async def query_job_status(*arguments: object) -> tuple[dict[str, str], float | None]:
        states, seconds = await query(*arguments)  # None, None without an answer
        return ({}, 0.0) if states is None else (states, seconds)

    plugin.query_job_status = query_job_status
    plugin.Executor.get_account_arg = get_account_arg
    plugin.Executor.run_job = run_job


def command_line(workflow: Workflow) -> dict[str, Any]:
    """Return the command line's arguments that decide which jobs rerun, for `planned`."""
    return {
        "overrides": dict(workflow.config_settings.config),
        "deployment": workflow.deployment_settings,
    }


@dataclass(frozen=True)
class PlannedJob:
    """A job of a plan.

    `stage` is the folder of its rule's script, or else the name of the rule's file. `needed` says
    whether a run would run it, `started` whether a Snakemake has started it and has not seen it
    end, `external` its number on the cluster, if it was started there. `params` and `inputs` are
    those with names.
    """

    rule: str
    stage: str
    outputs: tuple[str, ...]
    wildcards: Mapping[str, str] = field(default_factory=dict)
    needed: bool = True
    started: bool = False
    external: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, Any] = field(default_factory=dict)


def planned_jobs(workflow: Workflow) -> list[PlannedJob]:
    """Return the jobs of a plan that make files, in the order of the rules."""
    dag, persistence = workflow.dag, workflow.persistence
    order = {rule.name: place for place, rule in enumerate(workflow.rules)}
    found = []
    for job in dag.jobs:
        if not job.output:
            continue
        rule, outputs = job.rule, tuple(map(str, job.output))
        started = persistence._filter_incomplete_keys(outputs)
        found.append(
            PlannedJob(
                rule.name,
                Path(rule.script).parent.name if rule.script else Path(rule.snakefile).stem,
                outputs,
                dict(job.wildcards_dict),
                dag.needrun(job),
                bool(started),
                min(persistence._get_external_jobids(started), default=None),
                dict(job.params.items()),
                dict(job.input.items()),
            )
        )
    return sorted(found, key=lambda job: (order[job.rule], job.outputs))


def locked_since(workflow: Workflow) -> float | None:
    """Return when a Snakemake, perhaps killed since, locked the working directory (epoch seconds).

    None if none did.
    """
    times = []
    for lock in Path(workflow.persistence._lockdir).glob("*.lock"):
        with suppress(FileNotFoundError):  # just released
            times.append(lock.stat().st_mtime)
    return min(times, default=None)
