"""What failed in a run and why: a report for its end.

Snakemake tells of a failed job when it fails, among thousands of other lines, and on a cluster
often without the reason: that stands in the job's log, or in Slurm's. `Watch` listens to the events
of Snakemake's log (`snakemake_interface_logger_plugins.common.LogEvent`) and says it at once;
`report` says at the end what failed for good, why, where that is written, and what to do.
"""

import logging
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MOST = 20
"""Failures that a report shows one by one."""

PROFILE = "profiles/slurm/config.yaml"
NOTHING = "nothing has to be mended"
ADVICE = {
    "OUT_OF_MEMORY": f"more mem_mb for {{rule}} in {PROFILE}",
    "TIMEOUT": f"more runtime for {{rule}} in {PROFILE}",
    "NODE_FAIL": NOTHING,
    "BOOT_FAIL": NOTHING,
    "PREEMPTED": NOTHING,
    "CANCELLED": f"{NOTHING}, if the one who cancelled it (scancel) did not mean it",
    "unreachable": f"{NOTHING}; `scontrol ping` says whether Slurm is back",
    "interrupted": NOTHING,
    "killed": "look whether it had enough memory; the kernel kills a process for want of it",
    "refused": f"mend partition, account or what {{rule}} asks for in {PROFILE}",
}
"""What to do about a failure, by the kind of its reason. `{rule}` is the rule."""

ASKED = {"OUT_OF_MEMORY": "mem_mb", "TIMEOUT": "runtime"}
"""The resource of which a job had too little."""

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
_SIGNAL = re.compile(r"died with <Signals\.(\w+): \d+>")
_MISSING = re.compile(r"Job (\d+) +(completed successfully, but some output files are missing)")


@dataclass(frozen=True)
class Reason:
    """Why a job failed.

    Attributes
    ----------
    kind
        A key of `ADVICE`, or another status of Slurm; empty where an error says what is the matter.
    text
        It in one line.
    """

    kind: str
    text: str


@dataclass(frozen=True)
class Job:
    """A job as Snakemake announced it last.

    Attributes
    ----------
    rule, wildcards, logs
        Its rule, the values of its wildcards and its log files.
    resources
        What it asked for, where that is known.
    since
        Seconds since the epoch at which it was announced.
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
    """A job that failed, or a group of jobs that is one job to the cluster.

    Attributes
    ----------
    job
        The job, or the first of the group whose own log ends in an error; None where none does.
    group
        Every job that failed with it, and itself.
    attempts
        How often it was tried.
    reason
        Why it failed the last time.
    logs
        Files that say more, with a note where one cannot be read.
    """

    job: Job | None
    group: Sequence[Job]
    attempts: int
    reason: Reason
    logs: Sequence[str]

    def __str__(self) -> str:
        times = f", {self.attempts} attempts" if self.attempts > 1 else ""
        advice = ADVICE.get(self.reason.kind, "mend what the error names; its log says more")
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
        """The reason, with what the job had of what it wanted more of."""
        name = ASKED.get(self.reason.kind)
        had = self.job and self.job.resources.get(name)
        return f"{self.reason.text} with {name} {had}" if had else self.reason.text

    @property
    def rules(self) -> str:
        """The rule of the job, or all rules of the group."""
        jobs = [self.job] if self.job else self.group
        return ", ".join(sorted({job.rule for job in jobs}))


class Watch(logging.Handler):
    """Listens to the events of Snakemake's log.

    Parameters
    ----------
    tell
        Takes a line about each attempt that failed, at once.

    Attributes
    ----------
    total
        Number of jobs that the run has.
    failures
        The last failure of each job or group that failed at least once, by the jobs' numbers.
    unread
        Why an event could not be read, if one could not.
    """

    def __init__(self, tell: Callable[[str], object]) -> None:
        super().__init__()
        self.tell = tell
        self.total = 0
        self.failures: dict[frozenset[int], Failure] = {}
        self.unread: str | None = None
        self._jobs: dict[int, Job] = {}
        self._errors: dict[int | None, str] = {}  # by thread: the next failure there is its

    def emit(self, record: logging.LogRecord) -> None:
        """Take note of an event; the report says so if it cannot be read, and the run goes on."""
        reader: Callable[[logging.LogRecord], None] | None = getattr(
            self, f"_{getattr(record, 'event', None)}", None
        )
        if reader:
            try:
                reader(record)
            except Exception as error:
                self.unread = f"{type(error).__name__}: {error}"

    def _run_info(self, record: logging.LogRecord) -> None:
        self.total = record.stats["total"]

    def _job_info(self, record: logging.LogRecord) -> None:
        asked = {name: record.resources.get(name) for name in ASKED.values()}
        self._jobs[record.jobid] = Job(
            record.rule_name,
            dict(record.wildcards),
            list(record.log),
            {name: value for name, value in asked.items() if value is not None},
            record.created,
        )

    def _error(self, record: logging.LogRecord) -> None:
        message = self._errors[record.thread] = record.getMessage()
        if missing := _MISSING.search(message):  # no other event tells of these
            self._fail([int(missing[1])], missing[2], [])

    def _job_error(self, record: logging.LogRecord) -> None:
        if record.indent:
            return  # of a group, which has an event of its own
        job = self._jobs.setdefault(record.jobid, Job(record.rule_name, logs=record.log))
        message = record.rule_msg or self._errors.pop(record.thread, "")
        self._fail([record.jobid], message, [log for log in record.log if log not in job.logs])

    def _group_error(self, record: logging.LogRecord) -> None:
        for job in record.job_error_info:
            self._jobs.setdefault(job["jobid"], Job(job["rule_name"], logs=job["log"]))
        numbers = [job["jobid"] for job in record.job_error_info]
        message = getattr(record, "group_msg", None) or ""
        self._fail(numbers, message, [log for log in record.aux_logs if log])

    def _fail(self, numbers: Collection[int], message: str, logs: Sequence[str]) -> None:
        key = frozenset(numbers)
        attempt = self.failures[key].attempts + 1 if key in self.failures else 1
        jobs = [self._jobs[number] for number in sorted(key)]
        failure = self.failures[key] = found(jobs, attempt, message, logs)
        log = f" ({failure.logs[-1]})" if failure.logs else ""
        self.tell(f"{failure.name}, attempt {attempt}: {failure.why}{log}")


def found(jobs: Sequence[Job], attempt: int, message: str, logs: Sequence[str]) -> Failure:
    """Return what became of a job or a group that failed, with the reason that its logs give.

    Slurm's word comes first, because a job that is out of memory or time may say anything in its
    own log; then comes that log, and at last what Slurm's log has of a job that did not get so far
    as to open its own.

    Parameters
    ----------
    jobs
        The job, or all of the group.
    attempt
        How often it was tried.
    message
        What Snakemake said of it.
    logs
        The cluster's logs of the attempt.
    """
    cluster = "\n".join(_read(log)[0] for log in logs)
    errors = [
        (job, error)
        for job in jobs
        for log in job.logs
        if (error := stated(_read(log, job.since)[0]))
    ]
    job = jobs[0] if len(jobs) == 1 else errors[0][0] if errors else None
    reason = (
        told(message)
        or ended(cluster)
        or (errors[0][1] if errors else None)
        or stated(cluster)
        or killed(cluster)
        or killed(message)
        or Reason("", _first_line(message) or "nobody says why")
    )
    own = [f"{log}{_read(log, job.since)[1]}" for log in job.logs] if job else []
    return Failure(job, jobs, attempt, reason, [*own, *(f"{log}{_read(log)[1]}" for log in logs)])


def told(message: str) -> Reason | None:
    """Return what Slurm said by way of Snakemake's message, unless it just says `FAILED`."""
    if refused := _REFUSED.search(message):
        words = " ".join((refused[1] or refused[2]).split())
        return Reason("unreachable" if "slurm controller" in words else "refused", words)
    if (status := _STATUS.search(message)) and status[1] != "FAILED":
        return Reason(status[1], status[1])
    return None


def ended(text: str) -> Reason | None:
    """Return why Slurm ended a job, by the lines that it wrote into its log.

    Without accounting its status is `FAILED` too where a part of a job ran out of memory.
    """
    lines = "\n".join(_SLURM.findall(text))
    kinds = (kind for kind, pattern in _SLURM_SAYS.items() if pattern.search(lines))
    return next((Reason(kind, kind) for kind in kinds), None)


def stated(text: str) -> Reason | None:
    """Return the last error that stands in a log."""
    *_, last = [None, *_ERROR.finditer(text)]
    return last and Reason("", last[last.lastgroup].strip())


def killed(text: str) -> Reason | None:
    """Return by which signal a job died, as its Snakemake saw it; SIGINT is Ctrl-C."""
    signal = _SIGNAL.search(text)
    if signal and signal[1] == "SIGINT":
        return Reason("interrupted", "interrupted (SIGINT)")
    return signal and Reason("killed", f"killed by {signal[1]}")


def report(watch: Watch, dag: Any, missing: Sequence[str] = ()) -> str:
    """Return what a person wants to know at the end of a run that did not succeed.

    It never raises: a report may not break a run.

    Parameters
    ----------
    watch
        What was seen of the run.
    dag
        Snakemake's, with `finished_jobs`.
    missing
        Files that the run was to make and has not made.
    """
    try:
        return _report(watch, {job.jobid for job in dag.finished_jobs}, missing)
    except Exception as error:
        return f"There is no report of what failed: {type(error).__name__}: {error}"


def _report(watch: Watch, done: set[int], missing: Sequence[str]) -> str:
    failures = [each for jobs, each in watch.failures.items() if not jobs <= done]
    mended = [each for jobs, each in watch.failures.items() if jobs <= done]
    failed = sum(len(failure.group) for failure in failures)
    left = watch.total - len(done) - failed
    counts = [f"{len(done):,} of {watch.total:,} jobs are done"]
    counts += [f"{failed:,} failed"] if failed else ["none failed"]
    counts += [f"{left:,} did not run because of that"] if failed and left else []
    counts += [f"{left:,} did not run: the run was stopped"] if left and not failed else []
    parts = [", ".join(counts) + ".", *map(str, failures[:MOST])]
    if more := failures[MOST:]:
        rules = Counter(failure.rules for failure in more)
        parts.append(
            f"And {len(more):,} more: {', '.join(f'{n:,} {name}' for name, n in rules.items())}."
        )
    if mended:
        attempts: Counter[str] = Counter()
        for each in mended:
            attempts[f"{each.rules}, {each.reason.text if each.reason.kind else 'an error'}"] += (
                each.attempts
            )
        parts.append(
            "Attempts that failed and were made good by another one:\n"
            + "\n".join(f"    {number:,} of {what}" for what, number in attempts.items())
        )
    if watch.unread:
        parts.append(
            f"Some of Snakemake's events could not be read ({watch.unread}): more may have failed."
        )
    if missing:
        more = f"\n    and {len(missing) - MOST:,} more" if len(missing) > MOST else ""
        parts.append(
            "Not made by this run; where such a file exists, it is of an earlier one:\n"
            + "\n".join(f"    {path}" for path in missing[:MOST])
            + more
        )
    parts.append("Then run the same command again: what is done stays.")
    return "\n\n".join(parts)


def _read(path: str, since: float = 0.0) -> tuple[str, str]:
    """Return the text of a log, empty if there is none since then, and why it is empty."""
    try:
        if Path(path).stat().st_mtime < since - _CLOCKS:
            return "", " (of an earlier attempt)"
        return Path(path).read_text(encoding="utf-8", errors="replace"), ""
    except OSError as error:
        return "", f" (cannot be read: {error.strerror})"


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]
