"""Which jobs of a run failed and why.

Snakemake reports a failed job among thousands of other lines, and on a cluster often without the
reason, which is in the job's log or in Slurm's. `Watch` listens to the events of Snakemake's log
and reports each failure at once; `report` lists at the end what failed for good, why, and what to
do.
"""

import errno
import logging
import os
import re
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from imagenet_think.core.logs import ENDED

MOST = 20
"""Failures that a report shows one by one."""

PROFILE = "profiles/slurm/config.yaml"
NOTHING = "there is nothing to fix"
ADVICE = {
    "OUT_OF_MEMORY": f"raise mem_mb for {{rule}} in {PROFILE}",
    "TIMEOUT": f"raise runtime for {{rule}} in {PROFILE}",
    **dict.fromkeys(("NODE_FAIL", "BOOT_FAIL", "PREEMPTED", "interrupted"), NOTHING),
    "CANCELLED": f"{NOTHING}, unless whoever cancelled it (scancel) meant to",
    "ended": f"{NOTHING}, unless whoever sent it (kill, a scheduler's limit) meant to",
    "unreachable": f"{NOTHING}; `scontrol ping` says whether Slurm is back",
    "killed": "check whether it had enough memory; the kernel kills a process when memory runs out",
    "crashed": "a library crashed; if it does so again, report it with the job's log",
    "disk": "free some space there, or raise the quota; unfinished files are removed already",
    "refused": f"fix partition, account or what {{rule}} requests in {PROFILE}",
    "": "fix what the error names; its log says more",
}
"""What to do about a failure, by the kind of its cause. `{rule}` is the rule."""

DISK_FULL = (
    "The disk of this folder is full: free some space (`df -h .`) and run the same command again; "
    "finished work is kept."
)

STOPPED = ("interrupted", "ended")
"""Kinds of causes that say that somebody wanted the job to end."""

SHORT_OF = {"OUT_OF_MEMORY": "mem_mb", "TIMEOUT": "runtime"}
"""The resource that a job needs more of, by the kind of the cause."""

_CLOCKS = 60.0  # seconds by which the clocks of two machines may differ

_SLURM = re.compile(r"^(?:slurmstepd|srun)\S*: .*", re.MULTILINE)
_SLURM_SAYS = {
    "OUT_OF_MEMORY": re.compile(r"oom.kill|Out Of Memory"),
    "TIMEOUT": re.compile(r"DUE TO TIME LIMIT"),
    "NODE_FAIL": re.compile(r"DUE TO NODE FAILURE"),
    "PREEMPTED": re.compile(r"DUE TO PREEMPTION"),
    "CANCELLED": re.compile(r"CANCELLED AT"),
}
_STATUS = re.compile(r"SLURM status is: '([A-Z_]+)'")
_REFUSED = re.compile(
    r"SLURM sbatch failed\. The error message was '(.*?)'"
    r"|Job submission failed with exception: (.*?)(?:For further error details|\Z)",
    re.DOTALL,
)
_ERROR = re.compile(
    r"^\d\d:\d\d:\d\d (?:ERROR|CRITICAL) (?P<logged>.+)"  # imagenet_think.core.logs
    r"|^WorkflowError(?: in file .*)?:\n(?!At least one job)(?P<refusal>.+)"  # its Snakemake
    r"|^(?P<raised>[\w.]*(?:Error|Exception)(?:: .+)?)$",
    re.MULTILINE,
)
_SIGNAL = re.compile(r"died with <Signals\.(\w+): \d+>|returned non-zero exit status (\d+)")
_SIGNAL_KINDS = {"SIGINT": "interrupted", "SIGTERM": "ended", "SIGKILL": "killed"}
_ENDED = re.compile(re.escape(ENDED).replace("%s", r"(SIG\w+)"))
_DISK = re.compile("|".join(map(os.strerror, (errno.ENOSPC, errno.EDQUOT))))
_ROOM = 2**16  # bytes: with less, a log cannot say that its disk is full
_MISSING = re.compile(r"Job (\d+) +(completed successfully, but some output files are missing)")


class Cause(NamedTuple):
    """Why a job failed: a key of `ADVICE` or a different status of Slurm, and one line."""

    kind: str
    text: str


@dataclass(frozen=True)
class AnnouncedJob:
    """A job as last announced by Snakemake, at `since` (seconds since the epoch).

    `resources` are those of `SHORT_OF`, if known.
    """

    rule: str
    wildcards: Mapping[str, str] = field(default_factory=dict)
    logs: Sequence[str] = ()
    resources: Mapping[str, object] = field(default_factory=dict)
    since: float = 0.0

    def __str__(self) -> str:
        values = ", ".join(f"{name} {value}" for name, value in self.wildcards.items())
        return f"{self.rule} ({values})" if values else self.rule


@dataclass(frozen=True)
class Failure:
    """A failed job, or a failed group of jobs, which is one job on the cluster.

    `job` is the job, or the first of the group whose own log ends in an error; None if there is
    none. `group` are all jobs that failed with it, itself included. `logs` have a note where one
    cannot be read.
    """

    job: AnnouncedJob | None
    group: Sequence[AnnouncedJob]
    attempts: int
    cause: Cause
    logs: Sequence[str]

    def __str__(self) -> str:
        times = f", {self.attempts} attempts" if self.attempts > 1 else ""
        advice = ADVICE.get(self.cause.kind, ADVICE[""])
        lines = [f"{self.name}{times}", f"    why:  {self.why}"]
        lines += [f"    log:  {log}" for log in self.logs]
        return "\n".join([*lines, f"    next: {advice.format(rule=self.rules)}"])

    @property
    def name(self) -> str:
        """The job with its wildcards, or the group."""
        if self.job is None:
            return f"a group of {len(self.group)} jobs: {self.rules}"
        others = len(self.group) - 1
        return f"{self.job}, with the other {others} of its group" if others else str(self.job)

    @property
    def why(self) -> str:
        """The cause, with how much the job had of a resource that ran out."""
        name = SHORT_OF.get(self.cause.kind, "")
        had = self.job and self.job.resources.get(name)
        return f"{self.cause.text} with {name} {had}" if had else self.cause.text

    @property
    def rules(self) -> str:
        """The rule of the job, or all rules of the group."""
        jobs = [self.job] if self.job else self.group
        return ", ".join(sorted({job.rule for job in jobs}))


class Watch(logging.Handler):
    """Listens to the events of Snakemake's log, and calls `say` with a line per failed attempt.

    The events are in `snakemake_interface_logger_plugins.common.LogEvent`. `failures` has the last
    failure of each job or group that failed at least once, by the jobs' numbers; `total` is the
    number of jobs in the run, and `unread` says why an event could not be read, if any.
    """

    def __init__(self, say: Callable[[str], object]) -> None:
        super().__init__()
        self.say = say
        self.total = 0
        self.failures: dict[frozenset[int], Failure] = {}
        self.unread: str | None = None
        self._jobs: dict[int, AnnouncedJob] = {}
        self._errors: dict[int | None, str] = {}  # of a thread: they belong to its next failure

    def emit(self, record: logging.LogRecord) -> None:
        """Read an event; if that fails, the report says so and the run goes on."""
        read = getattr(self, f"_{getattr(record, 'event', None)}", None)
        if read:
            try:
                read(record)
            except Exception as error:
                self.unread = f"{type(error).__name__}: {error}"

    def _run_info(self, record: Any) -> None:
        self.total = record.stats["total"]

    def _job_info(self, record: Any) -> None:
        requested = {name: record.resources.get(name) for name in SHORT_OF.values()}
        self._jobs[record.jobid] = AnnouncedJob(
            record.rule_name,
            dict(record.wildcards),
            list(record.log),
            {name: value for name, value in requested.items() if value is not None},
            record.created,
        )

    def _error(self, record: Any) -> None:
        message = self._errors[record.thread] = record.getMessage()
        if _DISK.search(message):  # Snakemake ends at once, without a report
            self.say(DISK_FULL)
        if missing := _MISSING.search(message):  # these have no other event
            self._fail([int(missing[1])], missing[2], [])

    def _job_error(self, record: Any) -> None:
        if record.indent:
            return  # in a group, which has an event of its own
        job = self._jobs.setdefault(record.jobid, AnnouncedJob(record.rule_name, logs=record.log))
        message = record.rule_msg or self._errors.pop(record.thread, "")
        self._fail([record.jobid], message, [log for log in record.log if log not in job.logs])

    def _group_error(self, record: Any) -> None:
        for job in record.job_error_info:
            self._jobs.setdefault(job["jobid"], AnnouncedJob(job["rule_name"], logs=job["log"]))
        numbers = [job["jobid"] for job in record.job_error_info]
        message = getattr(record, "group_msg", None) or ""
        self._fail(numbers, message, [log for log in record.aux_logs if log])

    def _fail(self, numbers: Collection[int], message: str, logs: Sequence[str]) -> None:
        key = frozenset(numbers)
        attempt = self.failures[key].attempts + 1 if key in self.failures else 1
        jobs = [self._jobs[number] for number in sorted(key)]
        failure = self.failures[key] = diagnose(jobs, attempt, message, logs)
        log = f" ({failure.logs[-1]})" if failure.logs else ""
        self.say(f"{failure.name}, attempt {attempt}: {failure.why}{log}")


def diagnose(
    jobs: Sequence[AnnouncedJob], attempt: int, message: str, logs: Sequence[str]
) -> Failure:
    """Return the failure of a job or group, with its cause from Snakemake's message and the logs.

    Slurm's reason comes first, because a job that is out of memory or time may log anything; then
    the job's own log; then Slurm's log (`logs`), for a job that failed before it opened its own.
    """
    cluster = "\n".join(_read(log)[0] for log in logs)
    errors = [
        (job, error)
        for job in jobs
        for log in job.logs
        if (error := from_error(_read(log, job.since)[0]))
    ]
    job = jobs[0] if len(jobs) == 1 else errors[0][0] if errors else None
    cause = (
        from_message(message)
        or from_slurm(cluster)
        or (errors[0][1] if errors else None)
        or from_error(cluster)
        or from_signal(cluster)
        or from_signal(message)
        or next(filter(None, (from_disk(log) for job in jobs for log in job.logs)), None)
        or Cause("", message.strip().partition("\n")[0] or "unknown")
    )
    own = [f"{log}{_read(log, job.since)[1]}" for log in job.logs] if job else []
    return Failure(job, jobs, attempt, cause, [*own, *(f"{log}{_read(log)[1]}" for log in logs)])


def from_message(message: str) -> Cause | None:
    """Return the cause that Slurm gave in Snakemake's message, if it is more than `FAILED`."""
    if refused := _REFUSED.search(message):
        words = " ".join((refused[1] or refused[2]).split())
        return Cause("unreachable" if "slurm controller" in words else "refused", words)
    if (status := _STATUS.search(message)) and status[1] != "FAILED":
        return Cause(status[1], status[1])
    return None


def from_slurm(text: str) -> Cause | None:
    """Return why Slurm ended a job, by the lines that Slurm wrote into its log.

    Without accounting, the status is `FAILED` also where part of a job ran out of memory.
    """
    lines = "\n".join(_SLURM.findall(text))
    return next(
        (Cause(kind, kind) for kind, said in _SLURM_SAYS.items() if said.search(lines)), None
    )


def from_error(text: str) -> Cause | None:
    """Return the last error in a log."""
    *_, last = [None, *_ERROR.finditer(text)]
    if not last:
        return None
    said = next(filter(None, last.groups())).strip()
    if ended := _ENDED.search(said):
        return _signal(ended[1])
    return Cause("disk" if _DISK.search(said) else "", said)


def from_signal(text: str) -> Cause | None:
    """Return the signal that a job died of, as its Snakemake saw it."""
    if not (found := _SIGNAL.search(text)):
        return None
    if found[1]:
        return _signal(found[1])
    with suppress(ValueError):  # an exit status above 128 is that of a shell, by the signal
        return _signal(signal.Signals(int(found[2]) - 128).name)
    return None


def _signal(name: str) -> Cause:
    if name == "SIGINT":
        return Cause("interrupted", "interrupted (SIGINT, as by Ctrl-C)")
    kind = _SIGNAL_KINDS.get(name, "crashed")
    return Cause(kind, f"{'ended' if kind == 'ended' else 'killed'} by {name}")


def from_disk(log: str) -> Cause | None:
    """Return that the disk of a job's log is full, which the log may therefore not say."""
    with suppress(OSError):
        if shutil.disk_usage(Path(log).parent).free < _ROOM:
            return Cause("disk", f"{os.strerror(errno.ENOSPC)} in {Path(log).parent}")
    return None


def report(watch: Watch, dag: Any, missing: Sequence[str] = ()) -> str:
    """Return the report at the end of a run that did not succeed; it never raises.

    `missing` are the files that the run should have made and did not.
    """
    try:
        return _report(watch, {job.jobid for job in dag.finished_jobs}, missing)
    except Exception as error:
        return f"There is no report of what failed: {type(error).__name__}: {error}"


def _report(watch: Watch, done: set[int], missing: Sequence[str]) -> str:
    failures = [each for jobs, each in watch.failures.items() if not jobs <= done]
    recovered = [each for jobs, each in watch.failures.items() if jobs <= done]
    stopped = sum(len(each.group) for each in failures if each.cause.kind in STOPPED)
    failed = sum(len(each.group) for each in failures) - stopped
    how_many = f"{failed:,}" if failed else "none"
    counts = f"{len(done):,} of {watch.total:,} jobs are done, {how_many} failed"
    if stopped:
        counts += f", {stopped:,} {'was' if stopped == 1 else 'were'} stopped"
    if left := watch.total - len(done) - failed - stopped:
        why = "because of that" if failed else "because the run was stopped"
        counts += f", {left:,} did not run {why}"
    parts = [f"{counts}.", *map(str, failures[:MOST])]
    if more := failures[MOST:]:
        rules = Counter(failure.rules for failure in more)
        names = ", ".join(f"{n:,} {name}" for name, n in rules.items())
        parts.append(f"And {len(more):,} more: {names}.")
    if recovered:
        attempts: Counter[str] = Counter()
        for each in recovered:
            cause = each.cause.text if each.cause.kind else "an error"
            attempts[f"{each.rules}, {cause}"] += each.attempts
        lines = (f"\n    {number:,} of {what}" for what, number in attempts.items())
        parts.append(f"Attempts that failed and then succeeded:{''.join(lines)}")
    if watch.unread:
        parts.append(
            f"Some of Snakemake's events could not be read ({watch.unread}): more may have failed."
        )
    if missing:
        lines = (f"\n    {path}" for path in missing[:MOST])
        rest = f"\n    and {len(missing) - MOST:,} more" if len(missing) > MOST else ""
        parts.append(
            "Not made by this run (where such a file exists, it is from an earlier one):"
            f"{''.join(lines)}{rest}"
        )
    parts.append("Then run the same command again: finished work is kept.")
    return "\n\n".join(parts)


def _read(path: str, since: float = 0.0) -> tuple[str, str]:
    """Return the text of a log, empty if it is older than `since`, and why it is empty."""
    try:
        if Path(path).stat().st_mtime < since - _CLOCKS:
            return "", " (of an earlier attempt)"
        return Path(path).read_text(encoding="utf-8", errors="replace"), ""
    except OSError as error:
        return "", f" (cannot be read: {error.strerror})"
