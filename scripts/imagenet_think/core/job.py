"""The job of Snakemake that runs a script."""

import sys
from typing import Any, Protocol

from imagenet_think.core.logs import log_to


class SnakemakeJob(Protocol):
    """What a script reads of its job."""

    input: Any
    output: Any
    params: Any
    wildcards: Any
    log: list[str]
    threads: int


def this_job() -> SnakemakeJob:
    """Return the job that runs this script; Snakemake puts it into the script's globals."""
    job: SnakemakeJob = vars(sys.modules["__main__"])["snakemake"]
    return job


def start_job() -> SnakemakeJob:
    """Return the job that runs this script, and log to its log file."""
    job = this_job()
    log_to(job.log[0])
    return job
