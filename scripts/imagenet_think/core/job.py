"""The job of Snakemake that runs a script."""

import signal
import sys
from types import FrameType
from typing import Any, Protocol

from imagenet_think.core.logs import ENDED, log_to, logger


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
    """Return the job that runs this script; log to its log file, and end in order at SIGTERM."""
    job = this_job()
    log_to(job.log[0])
    exit_on_sigterm()
    return job


def exit_on_sigterm() -> None:
    """Let the first SIGTERM end this process as an error would, with exit status 143.

    So temporary files are removed, and locks and servers released. Schedulers send it some seconds
    before they kill a process.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)
        logger.error(ENDED, signal.Signals(number).name)
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, stop)
