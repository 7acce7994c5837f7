"""The Slurm that `make test-cluster` starts, and how the tests of this folder speak to it."""

import fcntl
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from missing_tools import skip

CGROUPS = Path("/sys/fs/cgroup/freezer")
PATIENCE = 1200
"""Seconds that a test waits for what must happen: a slow machine is no failure."""

SCRIPT = re.compile(rb"/\.snakemake/scripts/tmp\w+\.(\w+)\.py\0$")


def pytest_ignore_collect(collection_path, config):
    """Leave these tests out where they are not asked for: they need a cluster."""
    return None if any("tests/cluster" in argument for argument in config.args) else True


def minutes(time: str) -> float:
    """Return the minutes that Slurm means by `days-hours:minutes:seconds`, or the end of it."""
    days, _, clock = time.rpartition("-")
    parts = [int(part) for part in clock.split(":")]
    hours, whole, seconds = [0] * (3 - len(parts)) + parts
    return int(days or 0) * 1440 + hours * 60 + whole + seconds / 60


@dataclass(frozen=True)
class Job:
    """A job of Slurm.

    Attributes
    ----------
    number
        Its id.
    state
        In Slurm's words: PENDING, RUNNING, COMPLETED, FAILED, OUT_OF_MEMORY and so on.
    node
        Where it runs or ran; empty before it starts.
    minutes
        How long it has run, or ran.
    folder
        In which it works.
    """

    number: int
    state: str
    node: str
    minutes: float
    folder: Path


@dataclass(frozen=True)
class Cluster:
    """Four nodes with a stand-in for a GPU each.

    Attributes
    ----------
    folder
        Holds `<daemon>.pid` and `log/<daemon>` of slurmctld and of each node.
    """

    folder: Path

    def call(self, *command: str) -> str:
        """Run a command of Slurm and return what it printed."""
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def jobs(self) -> list[Job]:
        """Return the jobs that Slurm remembers, those that ended in the last minutes included."""
        form = "--format=%i|%T|%N|%M|%Z"
        lines = self.call("squeue", "--states=all", "--noheader", form).splitlines()
        found = [line.split("|", 4) for line in lines]
        return [
            Job(int(n), state, node, minutes(time), Path(folder))
            for n, state, node, time, folder in found
        ]

    def nodes(self) -> dict[str, str]:
        """Return the state of each node: idle, mixed, allocated, down and so on."""
        said = self.call("sinfo", "--noheader", "--Node", "--partition=cpu", "--format=%N %T")
        return dict(line.split() for line in said.splitlines())

    def pid(self, daemon: str) -> int:
        """Return the process id of slurmctld or of a node's slurmd."""
        return int((self.folder / f"{daemon}.pid").read_text())

    def processes(self, job: Job) -> list[int]:
        """Return the process ids of a job, its slurmstepd included."""
        found = []
        # A step that has just ended has no folder.
        for folder, _, _ in os.walk(CGROUPS / f"slurm_{job.node}" / "uid_0" / f"job_{job.number}"):
            with suppress(OSError):
                found += map(int, Path(folder, "cgroup.procs").read_text().split())
        return found

    def scripts(self, job: Job) -> dict[int, str]:
        """Return the process ids of the scripts that a job runs now, each with its rule's name."""
        found = {}
        for pid in self.processes(job):
            # A process that has just ended has no command line.
            with suppress(FileNotFoundError, ProcessLookupError):
                if name := SCRIPT.search(Path(f"/proc/{pid}/cmdline").read_bytes()):
                    found[pid] = name[1].decode()
        return found

    @contextmanager
    def shared(self, alone: bool = False) -> Iterator[None]:
        """Keep the whole cluster as it is, or for oneself: wait until the others let go of it."""
        with (self.folder / "users").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
            yield

    def start(self) -> None:
        """Start what does not run."""
        script = Path(__file__).with_name("start_slurm.sh")
        subprocess.run([script], check=True, env={**os.environ, "CLUSTER": str(self.folder)})

    def wait(self, found: Callable[[], object], what: str):
        """Return what `found` returns as soon as that is true; fail after `PATIENCE` seconds."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if result := found():
                return result
            time.sleep(0.2)
        raise AssertionError(f"{what}: not within {PATIENCE} s; {self.jobs()} {self.nodes()}")


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The running test cluster."""
    if "CLUSTER" in os.environ and shutil.which("scontrol"):
        said = subprocess.run(["scontrol", "ping"], capture_output=True, text=True).stdout
        if "UP" in said:
            return Cluster(Path(os.environ["CLUSTER"]))
    skip("the test cluster is not running: run `make test-cluster` as root")
