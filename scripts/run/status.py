"""Print the progress of a run, by stage and model. Nothing is written, and no lock is taken."""

import json
import shutil
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any

import polars as pl
from snakemake.exceptions import WorkflowError

from imagenet_think.core import model_sources
from imagenet_think.core.job import this_job
from imagenet_think.core.numbers import whole
from imagenet_think.core.printing import escaped_lines
from imagenet_think.inference.fingerprint import fingerprint, response_settings, settings_digest
from imagenet_think.inference.journal import read_lines
from imagenet_think.inference.locks import held
from imagenet_think.run import workflow_hooks
from imagenet_think.run.run_logs import FailedJob, read_failures, was_killed
from imagenet_think.run.workflow_hooks import PlannedJob

RECENT = 900.0
"""Rates are computed over this many seconds before now."""

STATES = ("done", "outdated", "running", "waiting", "failed")
DONE, OUTDATED, RUNNING, WAITING, FAILED = STATES

WIDEST = 22
"""Characters of a model's key that are printed, so that a line has at most 80."""

UNKNOWN = "–"

SHOWN = 10
"""Failures listed below the tables."""


@dataclass(frozen=True)
class Site:
    """What is running in the working directory.

    `locked` says whether a Snakemake has locked it, `killed` whether that one is known to be gone.
    `slurm` has the state of each of the user's Slurm jobs (`R`, `PD`); None if Slurm does not
    answer. `failures` are the jobs that failed in the latest run, even if they succeeded since.
    """

    locked: bool = False
    killed: bool = False
    slurm: Mapping[str, str] | None = None
    failures: Sequence[FailedJob] = ()

    @property
    def running(self) -> bool:
        """Whether a Snakemake is running, as far as this machine can see."""
        return self.locked and not self.killed

    def state(self, job: PlannedJob) -> str | None:
        """Return `RUNNING`, `WAITING` (in Slurm's queue) or None for a job that was started."""
        if job.external is None or self.slurm is None:
            return RUNNING if self.running else None
        state = self.slurm.get(job.external)
        return WAITING if state in ("PD", "CF") else state and RUNNING


def status(
    run: str,
    jobs: Sequence[PlannedJob],
    models: Sequence[str],
    results: str | Path,
    site: Site,
    now: float,
) -> str:
    """Return the verdict, the tables and the notes below them.

    `jobs` is the whole plan for `all`, `models` the order to print, `results` the run's folder,
    which may not exist yet, and `now` the time in seconds since the epoch.
    """
    failed = {output for failure in site.failures for output in failure.outputs}
    states = {job.outputs: state(job, site, failed, now) for job in jobs}
    missing = {path for outputs, each in states.items() if each == FAILED for path in outputs}
    failures = [failure for failure in site.failures if missing.intersection(failure.outputs)]
    found = list(states.values())
    lines = [
        f"Run {run}, {datetime.fromtimestamp(now):%a %d %b %Y %H:%M:%S}",
        verdict(found, Path(results).exists()),
        "",
        table(("stage", "of", *STATES), 2, counts(jobs, states, models)),
        "",
    ]
    rows = [
        [model, *progress(own, states, results, now)]
        for model in models
        if (own := [job for job in jobs if _responses_of(job, model)])
    ]
    if rows:
        lines += [table(("model", "responses", "tokens/s", "expected end"), 1, rows), ""]
    return "\n".join([*lines, *_notes(found, site, failures)])


def state(job: PlannedJob, site: Site, failed: Set[str], now: float) -> str:
    """Return the state of a job, one of `STATES`; `failed` are the outputs of failed jobs.

    A job is done if a run would not run it. Otherwise, a job whose journal is locked by a living
    process is running, whatever Snakemake knows.
    """
    if not job.needed:
        return DONE
    if any(held(journal.with_suffix(".lock"), now) for journal in _journals(job)):
        return RUNNING
    if job.started and (known := site.state(job)):
        return known
    if not failed.isdisjoint(job.outputs):
        return FAILED
    # A killed job leaves incomplete files.
    complete = not job.started and all(Path(output).exists() for output in job.outputs)
    return OUTDATED if complete else WAITING


def counts(
    jobs: Iterable[PlannedJob], states: Mapping[tuple[str, ...], str], models: Sequence[str]
) -> Iterator[list[object]]:
    """Yield stage, model (or metric, or nothing) and the number of jobs in each of `STATES`.

    A stage is named once, and the last row has the sums. `states` are by the jobs' outputs.
    """
    stages: defaultdict[str, defaultdict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for job in jobs:
        stages[job.stage][_part(job)].append(states[job.outputs])
    place = {model: number for number, model in enumerate(models)}
    for stage, parts in stages.items():
        for part in sorted(parts, key=lambda part: (place.get(part, -1), part)):
            yield [stage, part, *map(parts[part].count, STATES)]
            stage = ""
    yield ["all", "", *map(list(states.values()).count, STATES)]


def verdict(states: Sequence[str], begun: bool) -> str:
    """Return one sentence on the run, from the state of every job and whether it has any file."""
    done = states.count(DONE)
    if done == len(states):
        return f"Finished: all {done:,} jobs are done for this config."
    if not begun and states.count(WAITING) == len(states):
        return f"Never started: no job of {len(states):,} has run."
    return f"Not finished: {done:,} of {len(states):,} jobs are done for this config."


def progress(
    jobs: Sequence[PlannedJob],
    states: Mapping[tuple[str, ...], str],
    results: str | Path,
    now: float,
) -> list[str]:
    """Return a model's responses of all, tokens per second and expected end, to print.

    The responses of finished jobs are counted by the footers of their files. For other jobs, the
    journals are read for their fingerprints, so that responses to a different prompt do not count.
    `jobs` are those that generate or import the model's responses.
    """
    finished = [path for job in jobs if states[job.outputs] == DONE for path in _files(job)]
    done = pl.scan_parquet(finished).select(pl.len()).collect().item() if finished else 0
    unfinished = [job for job in jobs if states[job.outputs] != DONE]
    if not unfinished:
        return [f"{done:,}/{done:,}", UNKNOWN, UNKNOWN]
    generating = [job for job in unfinished if "journal" in job.params]
    images = _images(results, generating[0].inputs["evaluated"]) if generating else None
    if images is None:
        return [f"{done:,}/{UNKNOWN}", UNKNOWN, UNKNOWN]
    rates = []
    for job in generating:
        counted, lines = _responses(job, images)
        done += counted
        if states[job.outputs] == RUNNING and (found := rate(lines, now)):
            rates.append(found)
    total, speed = len(images), sum(responses for responses, _ in rates)
    return [
        f"{done:,}/{total:,}",
        whole(sum(tokens for _, tokens in rates)) if rates else UNKNOWN,
        _ending(now, (total - done) / speed) if rates and done < total else UNKNOWN,
    ]


def rate(lines: Iterable[Mapping[str, Any]], now: float) -> tuple[float, float] | None:
    """Return a job's responses and tokens per second, None if too little is known.

    They cover the last `RECENT` seconds, from the first response in them until now, so that a stall
    counts, but not loading a model, nor responses of earlier runs of the job.
    """
    timed = sorted(((_time(line), line) for line in lines), key=lambda each: each[0])
    own = [
        (at, line["spent"]["completion_tokens"])
        for at, line in timed
        if line["run"] == timed[-1][1]["run"] and at > now - RECENT
    ]
    if len(own) < 2 or now <= own[0][0]:
        return None
    seconds = now - own[0][0]
    return (len(own) - 1) / seconds, sum(tokens for _, tokens in own[1:]) / seconds


def _time(line: Mapping[str, Any]) -> float:
    """Return when a response was journaled: its run is named after its start."""
    return datetime.fromisoformat(line["run"].split()[0]).timestamp() + line["at"]


def _responses(job: PlannedJob, images: pl.DataFrame) -> tuple[int, list[dict]]:
    """Return the number of a job's responses in its journals, and the lines there without rows."""
    lines, found, named = [], set(), set()
    for line in chain.from_iterable(map(read_lines, _journals(job))):
        if line["kind"] == "response":
            row = line.pop("row")
            found.add(row["fingerprint"])
            named.add(row["image_id"])
            revision = row.get("revision")
            lines.append(line)
    if not lines:
        return 0, []
    shards = [Path(output).stem for output in job.outputs]
    own = images.filter(pl.col("shard").is_in(shards))
    try:
        settings = response_settings(json.loads(job.params["settings"]), job.wildcards["model"])
        digest = _digest(settings, revision)
    except (OSError, ValueError):
        # The sampling settings of a checkpoint that is not here are unknown: all responses count.
        return len(named & set(own["image_id"])), lines
    return len(found & {fingerprint(digest, source) for source in own["source_sha256"]}), lines


def _digest(settings: Mapping[str, Any], local: str) -> str:
    """Return the digest of the settings that decide a model's responses.

    The revision of a local folder is the digest of its files, which may be gigabytes: that of a
    response in the journal, `local`, is used instead.
    """
    model = settings["model"]
    own: Any = model.get("revision") if model_sources.is_hub(model["repository"]) else local
    processor = own
    if other := model.get("processor"):
        processor = model_sources.resolve(other["repository"], other.get("revision"))[1]
    return settings_digest(settings, (own, processor))


def _images(results: str | Path, evaluated: Sequence[str]) -> pl.DataFrame | None:
    """Return the images that a model is prompted with; None if they are not chosen yet."""
    files = [Path(results) / "images" / "sample.parquet", *map(Path, evaluated)]
    if not all(file.exists() for file in files):
        return None
    frame = pl.read_parquet(files[0], columns=["image_id", "shard", "source_sha256"])
    for file in files[1:]:
        chosen = pl.read_parquet(file, columns=["image_id"])
        frame = frame.join(chosen, on="image_id", how="semi")
    return frame


def _journals(job: PlannedJob) -> list[Path]:
    """Return the journals of a job, one per shard, if it has any."""
    if "journal" not in job.params:
        return []
    return [Path(job.params["journal"]) / f"{Path(output).stem}.jsonl" for output in job.outputs]


def _part(job: PlannedJob) -> str:
    """Return the model or the metric that a job is about, or nothing."""
    return job.wildcards.get("model") or job.wildcards.get("metric") or ""


def _files(job: PlannedJob) -> list[str]:
    return [path for path in job.outputs if Path(path).parent.parent.name == "responses"]


def _responses_of(job: PlannedJob, model: str) -> bool:
    return job.wildcards.get("model") == model and bool(_files(job))


# What is printed ---------------------------------------------------------------------------------


def table(headings: Sequence[str], left: int, rows: Iterable[Sequence[object]]) -> str:
    """Return a table with `left` left-aligned columns."""
    cells = [list(headings), *([_cell(value) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    cells.insert(1, ["-" * width for width in widths])
    aligned = ["<" if place < left else ">" for place in range(len(widths))]
    form = "  ".join(f"{{:{side}{width}}}" for side, width in zip(aligned, widths, strict=True))
    return "\n".join(form.format(*row).rstrip() for row in cells)


def _cell(value: object) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    text = str(value)
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 1]}…"


def _ending(now: float, seconds: float) -> str:
    """Return the time in so many seconds, with the weekday, or from six days on the date."""
    day = "%a" if seconds < 6 * 24 * 3600 else "%d %b"
    return f"{datetime.fromtimestamp(now + seconds):{day} %H:%M}"


def _notes(states: Sequence[str], site: Site, failures: Sequence[FailedJob]) -> Iterator[str]:
    yield from map(str, failures[:SHOWN])
    if len(failures) > SHOWN:
        yield f"and {len(failures) - SHOWN:,} more failed"
    if OUTDATED in states:
        yield "outdated: config, code or inputs changed; `snakemake -n all` lists the reasons."
    if site.running:
        yield "A Snakemake is running in this folder."
    elif site.locked:
        yield "A Snakemake was killed in this folder: `snakemake --unlock`, then run it again."
    else:
        yield "No Snakemake is running in this folder."


# What Slurm knows --------------------------------------------------------------------------------


def slurm_states() -> dict[str, str] | None:
    """Return the states of this user's Slurm jobs by number; None if Slurm does not answer."""
    if shutil.which("squeue") is None:
        return None
    command = ["squeue", "--me", "--noheader", "--array", "--format=%i %t"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return None
    return dict(line.split() for line in said.stdout.splitlines())


def read(plan: Mapping[str, Any], logs: str | Path, results: str) -> tuple[list[PlannedJob], Site]:
    """Plan the run (`plan`: arguments of `workflow_hooks.planned`); return its jobs and site."""
    with workflow_hooks.planned(**plan) as workflow:
        jobs = workflow_hooks.planned_jobs(workflow)
        locked = workflow_hooks.locked_since(workflow)
    return jobs, Site(
        locked is not None,
        locked is not None and was_killed(logs, results, locked),
        slurm_states() if any(job.external for job in jobs) else None,
        read_failures(logs, results),
    )


if __name__ == "__main__":
    snakemake = this_job()
    params = snakemake.params
    try:
        jobs, site = read(params.plan, params.logs, params.results)
    except (WorkflowError, SystemExit) as error:
        shown = f"Run {params.run} cannot be planned, so its jobs are unknown.\n{error}"
    else:
        shown = status(params.run, jobs, params.models, params.results, site, time.time())
    print(escaped_lines(shown))
