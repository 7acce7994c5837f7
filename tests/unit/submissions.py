"""What Snakemake would submit to Slurm, from a dry run in this process.

`python submissions.py <arguments>` prints, as its last line, how many Slurm jobs `snakemake
--profile slurm <arguments>` would submit from the current folder.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from snakemake import cli
from snakemake.resources import GroupResources
from snakemake.scheduling.job_scheduler import JobScheduler

ROOT = Path(__file__).parents[2]
SHARED = ("Snakefile", "config", "paper", "profiles", "resources", "rules", "scripts", "slurm")


@dataclass(frozen=True)
class Submission:
    """One job of Slurm: the rules of its jobs, and the resources that it requests.

    `asked` has those of the first, second and third attempt. `steps` groups its jobs by what could
    run in parallel: the rule of each, and what it requests by itself at the first attempt.
    """

    rules: tuple[str, ...]
    asked: tuple[dict[str, int | str], ...]
    steps: tuple[tuple[tuple[str, dict[str, int | str]], ...], ...]


def project(folder: Path) -> Path:
    """Make a folder look like a fresh clone; return it."""
    for name in SHARED:
        (folder / name).symlink_to(ROOT / name)
    return folder


def submissions(folder: Path, *arguments: str) -> list[Submission]:
    """Return what `snakemake --profile slurm <arguments>` would submit."""
    found = []

    def record(scheduler, jobs, executor=None):
        local = scheduler.workflow._localrules
        # A dry run treats all jobs as local.
        found.extend(
            _submission(job)
            for job in jobs
            if job.is_group() or not (job.rule.norun or job.rule.name in local)
        )
        run(scheduler, jobs, executor)

    run = JobScheduler.run
    before = Path.cwd()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JobScheduler, "run", record)
        os.chdir(folder)
        try:
            parser, args = cli.parse_args(["--profile", "slurm", *arguments, "--dry-run"])
            assert cli.args_to_api(args, parser)
        finally:
            os.chdir(before)
    return found


def _submission(job) -> Submission:
    jobs: Sequence = list(job) if job.is_group() else [job]
    steps = job.toposorted if job.is_group() else [jobs]
    job.attempt = 1
    alone = tuple(
        tuple((each.rule.name, dict(each.resources.items())) for each in step) for step in steps
    )
    return Submission(
        rules=tuple(sorted(job.rule.name for job in jobs)),
        asked=tuple(_asked(job, attempt) for attempt in (1, 2, 3)),
        steps=alone,
    )


def _asked(job, attempt: int) -> dict[str, int | str]:
    job.attempt = attempt
    if not job.is_group():
        return dict(job.resources.items())
    # As for a group that does not run locally.
    return GroupResources.basic_layered(
        job.toposorted, job.global_resources, run_local=False, additive_resources=["runtime"]
    )


if __name__ == "__main__":
    print(len(submissions(Path.cwd(), *sys.argv[1:])))
