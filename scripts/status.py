"""Say how far a run has come, by stage and model. Nothing is written, and no lock is taken."""

import json
import re
import shutil
import subprocess
import time
from base64 import urlsafe_b64decode
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from imagenet_think import repositories
from imagenet_think.fingerprint import fingerprint, settings_digest
from imagenet_think.locks import held

RECENT = 900.0
"""Seconds up to now that rates are of."""

TAIL = 1000
"""Lines at the end of a journal that are looked at for them, at most."""

DONE, RUNNING, WAITING, FAILED = STATES = ("done", "running", "waiting", "failed")

HEADINGS = ("stage", "of", *STATES, "responses", "tokens/s", "expected end")
LEFT = {"stage", "of"}

UNKNOWN = "–"

SHOWN = 10
"""Failures that are named below the table."""

_KEY = b'"fingerprint": "'
_ERROR = re.compile(
    r"^(?:Error in rule| {8}rule) (?P<rule>\w+):\n"
    r"(?P<told>(?: +(?:message|jobid|input|output|log): .*\n)*)",
    re.MULTILINE,
)
_TOLD = re.compile(r"^ +(output|log): (.*?)(?: \(check log file.*)?$", re.MULTILINE)
_OWN = re.compile(r"^status +1\ntotal +1$", re.MULTILINE)


@dataclass(frozen=True)
class Marks:
    """What Snakemake has noted of jobs that it started and has not seen end.

    Attributes
    ----------
    started
        Their outputs, each with the job's number at Slurm, None where it was not handed to Slurm.
    locked
        Whether a Snakemake holds the folder. One that was killed seems to.
    slurm
        State of each of the user's jobs at Slurm (`R`, `PD`); None where Slurm does not tell.
    """

    started: Mapping[str, str | None] = field(default_factory=dict)
    locked: bool = False
    slurm: Mapping[str, str] | None = None

    def state(self, outputs: Sequence[str]) -> str | None:
        """Return `RUNNING` or `WAITING` (in Slurm's queue) of a job that was started, else None."""
        numbers = {self.started[output] for output in outputs if output in self.started}
        states = {self._at_slurm(number) if number else self._here for number in numbers}
        return next((state for state in (RUNNING, WAITING) if state in states), None)

    @property
    def _here(self) -> str | None:
        return RUNNING if self.locked else None

    def _at_slurm(self, number: str) -> str | None:
        if self.slurm is None:
            return self._here
        state = self.slurm.get(number)
        return WAITING if state in ("PD", "CF") else state and RUNNING


@dataclass(frozen=True)
class Failure:
    """A job that failed: its rule, its outputs and its log files."""

    rule: str
    outputs: tuple[str, ...]
    logs: tuple[str, ...]

    def __str__(self) -> str:
        return f"failed: {self.rule}, see {', '.join(self.logs) or self.outputs[0]}"


@dataclass(frozen=True)
class Progress:
    """How far a model has come with its images.

    Attributes
    ----------
    done, total
        Responses that are there, and all that are asked for; None where the sample is not yet.
    per_second, tokens_per_second
        Responses, and tokens generated for them, of the jobs at work; None where too few are there.
    """

    done: int
    total: int | None
    per_second: float | None = None
    tokens_per_second: float | None = None

    @property
    def seconds_left(self) -> float | None:
        """How long the rest takes at this rate, None where it is not known."""
        if not self.per_second or self.total is None or self.done >= self.total:
            return None
        return (self.total - self.done) / self.per_second


def status(
    run: str,
    stages: Mapping[str, Mapping[str, Sequence[Sequence[str]]]],
    asked: Mapping[str, Mapping[str, Any]],
    sample: str | Path,
    marks: Marks,
    failures: Sequence[Failure],
    now: float,
) -> str:
    """Return the table and what there is to say below it.

    Parameters
    ----------
    run
        The run's name.
    stages
        By stage and model (or metric, or ""): the outputs of each job.
    asked
        For each model that is asked, its job's `settings` (JSON), the folder of its `journal`, and
        `evaluated`, the list of images that it is asked about (None for all). Their jobs are those
        of the stage `responses`.
    sample
        The sampled images. It need not be there yet.
    marks, failures
        Jobs that were started, and jobs that have failed, perhaps made good since.
    now
        Seconds since the epoch.
    """
    failed = {output for failure in failures for output in failure.outputs}
    lost, rows = set(), []
    for stage, parts in stages.items():
        for part, jobs in parts.items():
            journals = _journals(asked[part]["journal"], jobs) if _asks(stage, part, asked) else {}
            states = [state(job, journals.get(job[0], []), marks, failed, now) for job in jobs]
            lost |= {job[0] for job, s in zip(jobs, states, strict=True) if s == FAILED}
            row = [stage, part, *map(states.count, STATES)]
            if stage == "responses":
                found = progress(jobs, states, journals, sample, asked.get(part), now)
                row += _printed(found, now)
            rows.append(row)
    counts = [sum(row[place] for row in rows) for place in range(2, 2 + len(STATES))]
    rows.append(["all", "", *counts])
    title = f"Run {run}, {datetime.fromtimestamp(now):%a %d %b %Y %H:%M:%S}"
    named = [failure for failure in failures if lost.intersection(failure.outputs)]
    return "\n".join([title, "", *table(rows), "", *_notes(marks, named)])


def _asks(stage: str, part: str, asked: Mapping) -> bool:
    return stage == "responses" and part in asked


def state(
    outputs: Sequence[str],
    journals: Sequence[Path],
    marks: Marks,
    failed: Collection[str],
    now: float,
) -> str:
    """Return how a job stands, one of `STATES`.

    A job is done if all its outputs are there and none is half made. One whose journal is held by a
    living worker runs, whatever Snakemake knows.
    """
    started = any(output in marks.started for output in outputs)
    if not started and all(map(_exists, outputs)):
        return DONE
    if any(held(journal.with_suffix(".lock"), now) for journal in journals):
        return RUNNING
    if started and (known := marks.state(outputs)):
        return known
    return FAILED if any(output in failed for output in outputs) else WAITING


def progress(
    jobs: Sequence[Sequence[str]],
    states: Sequence[str],
    journals: Mapping[str, Sequence[Path]],
    sample: str | Path,
    asked: Mapping[str, Any] | None,
    now: float,
) -> Progress:
    """Return how far a model has come.

    Of jobs that are done the responses are counted by their files' footers. Only the journals of
    the others are read, and of their lines just the fingerprints, so that a response to an older
    prompt does not count.

    Parameters
    ----------
    jobs, states
        Outputs and states of the model's jobs.
    journals
        By a job's first output, its journals.
    sample, asked, now
        As for `status`; `asked` is this model's, None for one that is not asked.
    """
    files = [out for outputs, s in zip(jobs, states, strict=True) if s == DONE for out in outputs]
    done = pl.scan_parquet(files).select(pl.len()).collect().item() if files else 0
    images = _images(sample, asked["evaluated"] if asked else None)
    if asked is None or images is None:
        return Progress(done, done if len(files) == sum(map(len, jobs)) else None)
    settings = json.loads(asked["settings"])
    rates = []
    for outputs, standing in zip(jobs, states, strict=True):
        if standing == DONE:
            continue
        shards = {Path(output).stem for output in outputs}
        sources = images.filter(pl.col("shard").is_in(sorted(shards)))["source_sha256"]
        counted, last = _responses(journals[outputs[0]], settings, sources, now)
        done += counted
        if standing == RUNNING:
            rates.append(rate(last, now))
    known = [rate for rate in rates if rate]
    sums = [sum(values) for values in zip(*known, strict=True)] or [None, None]
    return Progress(done, len(images), *sums)


def rate(lines: Iterable[Mapping[str, Any]], now: float) -> tuple[float, float] | None:
    """Return a job's responses and tokens a second, None where too little is known.

    They are of the last `RECENT` seconds, from the first response in them up to now, so that
    neither loading a model counts nor a silence is hidden.

    Parameters
    ----------
    lines
        Responses in its journals. Those of earlier runs of the job do not count.
    now
        Seconds since the epoch.
    """
    lines = [(_time(line), line) for line in lines]
    if not lines:
        return None
    latest = max(lines, key=lambda line: line[0])[1]["run"]
    own = sorted(
        (at, line["spent"]["completion_tokens"])
        for at, line in lines
        if line["run"] == latest and at > now - RECENT
    )
    if len(own) < 2 or now <= own[0][0]:
        return None
    seconds = now - own[0][0]
    return (len(own) - 1) / seconds, sum(tokens for _, tokens in own[1:]) / seconds


def _time(line: Mapping[str, Any]) -> float:
    """Return when a response was journaled: its run is named after its start."""
    return datetime.fromisoformat(line["run"].split()[0]).timestamp() + line["at"]


def _responses(
    journals: Iterable[Path], settings: Mapping[str, Any], sources: Iterable[str], now: float
) -> tuple[int, list[dict]]:
    """Return how many responses are in a job's journals, and the recent lines of each."""
    found: set[bytes] = set()
    tail: list[dict] = []
    for journal in journals:
        last: deque[bytes] = deque(maxlen=TAIL)
        for line in _lines(journal):
            place = line.rfind(_KEY)
            if place >= 0:  # else it is the record of a run
                start = place + len(_KEY)
                found.add(line[start : line.find(b'"', start)])
                last.append(line)
        tail += _recent(last, now)
    if not tail:
        return 0, []
    digest = _digest(settings, tail[0]["row"]["revision"])
    return len(found & {fingerprint(digest, source).encode() for source in sources}), tail


def _lines(path: Path) -> Iterator[bytes]:
    """Yield the whole lines of a journal; its job may be at work."""
    if path.exists():
        with path.open("rb", buffering=1 << 20) as file:
            yield from (line for line in file if line.endswith(b"\n"))


def _recent(lines: Sequence[bytes], now: float) -> Iterator[dict]:
    """Yield the last line, and those before it as long as they are recent."""
    for line in reversed(lines):
        try:
            record = json.loads(line)
            at = _time(record)
        except (ValueError, KeyError):
            continue  # its job reports such a line, and sets it aside
        yield record
        if at < now - RECENT:
            return


def _digest(settings: Mapping[str, Any], revision: str) -> str:
    """Return the digest of what decides a model's answers.

    A local folder's revision would be the digest of its files, gigabytes: the one that the journal
    names last stands for it.
    """
    model = settings["model"]
    own = model.get("revision") if repositories.is_hub(model["repository"]) else revision
    other = model.get("processor")
    processor = (
        repositories.resolve(other["repository"], other.get("revision"))[1] if other else own
    )
    return settings_digest(
        model,
        revisions=(own, processor),
        prompt=settings["prompt"]["text"],
        preparation=settings["preparation"],
        length_policy=settings["length_policy"],
        seed=settings["seed"],
    )


def _images(sample: str | Path, evaluated: str | None) -> pl.DataFrame | None:
    """Return the images that a model is asked about, None where they are not chosen yet."""
    if not _exists(sample) or (evaluated and not _exists(evaluated)):
        return None
    frame = pl.read_parquet(sample, columns=["image_id", "shard", "source_sha256"])
    if evaluated is None:
        return frame
    return frame.join(pl.read_parquet(evaluated, columns=["image_id"]), on="image_id", how="semi")


def _journals(folder: str, jobs: Iterable[Sequence[str]]) -> dict[str, list[Path]]:
    """Return the journals of each job by its first output: one a shard."""
    return {job[0]: [Path(folder) / f"{Path(output).stem}.jsonl" for output in job] for job in jobs}


def _exists(path: str | Path) -> bool:
    return Path(path).exists()


# What is printed ---------------------------------------------------------------------------------


def table(rows: Iterable[Sequence[object]]) -> list[str]:
    """Return the lines of a table, its columns aligned; a stage is named once."""
    rows = [HEADINGS, *([_cell(value) for value in row] for row in rows)]
    rows = [[*row, *[""] * (len(HEADINGS) - len(row))] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines, above = [], ""
    for row in rows:
        named = ["" if row[0] == above else row[0], *row[1:]]
        above = row[0]
        cells = [
            cell.ljust(width) if heading in LEFT else cell.rjust(width)
            for cell, width, heading in zip(named, widths, HEADINGS, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    rule = "  ".join("-" * width for width in widths)
    return [lines[0], rule, *lines[1:-1], rule, lines[-1]]


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _printed(found: Progress, now: float) -> list[str]:
    total = UNKNOWN if found.total is None else f"{found.total:,}"
    tokens, left = found.tokens_per_second, found.seconds_left
    return [
        f"{found.done:,}/{total}",
        UNKNOWN if tokens is None else f"{tokens:,.0f}",
        UNKNOWN if left is None else _ending(now, left),
    ]


def _ending(now: float, seconds: float) -> str:
    """Return when that many seconds will have passed: the weekday, or from six days on the date."""
    day = "%a" if seconds < 6 * 24 * 3600 else "%d %b"
    return f"{datetime.fromtimestamp(now + seconds):{day} %H:%M}"


def _notes(marks: Marks, failures: Sequence[Failure]) -> Iterator[str]:
    yield from map(str, failures[:SHOWN])
    if len(failures) > SHOWN:
        yield f"and {len(failures) - SHOWN:,} more have failed"
    if marks.locked:
        yield "A Snakemake holds this folder: it is at work, or was killed."
    else:
        yield "No Snakemake is at work in this folder."


# What Snakemake and Slurm know -------------------------------------------------------------------


def read_marks(folder: str | Path) -> Marks:
    """Read what Snakemake has noted in its folder, and ask Slurm about the jobs that it was given.

    Snakemake marks an output whose job it has started with a file in `incomplete`, named by the
    output's path in base64 (long names in several folders), and takes it away when the job has
    ended well (snakemake.persistence.file).
    """
    folder, started = Path(folder), {}
    for mark in sorted(folder.glob("incomplete/**/*")):
        if mark.is_file():
            name = "".join(part.removeprefix("@") for part in mark.relative_to(folder).parts[1:])
            with suppress(OSError, ValueError):  # it has just gone, or is being written
                output = urlsafe_b64decode(name).decode()
                started[output] = json.loads(mark.read_bytes()).get("external_jobid")
    slurm = slurm_states() if any(started.values()) else None
    return Marks(started, any(folder.glob("locks/*.lock")), slurm)


def read_failures(folder: str | Path) -> list[Failure]:
    """Return the jobs that failed in the latest run in a folder, by Snakemake's log of it."""
    for log in sorted(Path(folder).glob("log/*.snakemake.log"), reverse=True):
        text = log.read_text(encoding="utf-8", errors="replace")
        if "Job stats:" in text and not _OWN.search(text):
            return [_failure(found) for found in _ERROR.finditer(text)]
    return []


def _failure(found: re.Match) -> Failure:
    told = {name: tuple(paths.split(", ")) for name, paths in _TOLD.findall(found["told"])}
    return Failure(found["rule"], told.get("output", ()), told.get("log", ()))


def slurm_states() -> dict[str, str] | None:
    """Return the states of this user's jobs at Slurm by their numbers; None where it is silent."""
    if shutil.which("squeue") is None:
        return None
    command = ["squeue", "--me", "--noheader", "--array", "--format=%i %t"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return None
    return dict(line.split() for line in said.stdout.splitlines())


if __name__ == "__main__":
    params = snakemake.params
    text = status(
        params.run,
        params.stages,
        params.asked,
        params.sample,
        read_marks(params.bookkeeping),
        read_failures(params.bookkeeping),
        time.time(),
    )
    print(text)
