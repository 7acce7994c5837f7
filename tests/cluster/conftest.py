"""The Slurm that `make test-cluster` starts, and how the tests of this folder use it."""

import fcntl
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock
from missing_tools import skip
from tests.workflow.conftest import Project, clone, cut_down

CGROUPS = Path("/sys/fs/cgroup/freezer")
SNAKEMAKE = (sys.executable, str(Path(__file__).with_name("poll_often.py")))
PATIENCE = 1200
"""Seconds that a test waits for an event: a slow machine is not a failure."""

SCRIPT = re.compile(rb"/\.snakemake/scripts/tmp\w+\.(\w+)\.py\0$")


def pytest_ignore_collect(collection_path, config):
    """Collect these tests only when they are named: they need a cluster."""
    return None if any("tests/cluster" in argument for argument in config.args) else True


def minutes(time: str) -> float:
    """Return the minutes in Slurm's `days-hours:minutes:seconds` or a shorter form of it."""
    days, _, clock = time.rpartition("-")
    parts = [int(part) for part in clock.split(":")]
    hours, whole, seconds = [0] * (3 - len(parts)) + parts
    return int(days or 0) * 1440 + hours * 60 + whole + seconds / 60


@dataclass(frozen=True)
class SlurmJob:
    """A job of Slurm."""

    number: int
    state: str  # as Slurm names it: PENDING, RUNNING, COMPLETED, FAILED, OUT_OF_MEMORY and so on
    node: str  # empty before it starts
    minutes: float  # for which it has run
    folder: Path  # its working directory


@dataclass(frozen=True)
class Cluster:
    """Four nodes, each with a simulated GPU."""

    folder: Path  # has `<daemon>.pid` and `log/<daemon>` of slurmctld and of each node

    def call(self, *command: str) -> str:
        """Run a command of Slurm and return what it printed."""
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def jobs(self) -> list[SlurmJob]:
        """Return the jobs that Slurm remembers, including those that ended in the last minutes."""
        form = "--format=%i|%T|%N|%M|%Z"
        lines = self.call("squeue", "--states=all", "--noheader", form).splitlines()
        found = [line.split("|", 4) for line in lines]
        return [
            SlurmJob(int(n), state, node, minutes(time), Path(folder))
            for n, state, node, time, folder in found
        ]

    def nodes(self) -> dict[str, str]:
        """Return the state of each node: idle, mixed, allocated, down and so on."""
        said = self.call("sinfo", "--noheader", "--Node", "--partition=cpu", "--format=%N %T")
        return dict(line.split() for line in said.splitlines())

    def pid(self, daemon: str) -> int:
        """Return the process id of slurmctld or of a node's slurmd."""
        return int((self.folder / f"{daemon}.pid").read_text())

    def processes(self, job: SlurmJob) -> list[int]:
        """Return the process ids of a job, its slurmstepd included."""
        found = []
        # A step that has just ended has no folder.
        for folder, _, _ in os.walk(CGROUPS / f"slurm_{job.node}" / "uid_0" / f"job_{job.number}"):
            with suppress(OSError):
                found += map(int, Path(folder, "cgroup.procs").read_text().split())
        return found

    def scripts(self, job: SlurmJob) -> dict[int, str]:
        """Return the process ids of the scripts that a job is running, and the rule of each."""
        found = {}
        for pid in self.processes(job):
            # A process that has just ended has no command line.
            with suppress(FileNotFoundError, ProcessLookupError):
                if name := SCRIPT.search(Path(f"/proc/{pid}/cmdline").read_bytes()):
                    found[pid] = name[1].decode()
        return found

    @contextmanager
    def in_use(self, exclusive: bool = False) -> Iterator[None]:
        """Keep others from disrupting the cluster; if exclusive, wait until nobody else uses it."""
        with (self.folder / "users").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
            yield

    def start(self) -> None:
        """Start the daemons that do not run."""
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
    """The running cluster; without one, tests are skipped, or fail in continuous integration."""
    if "CLUSTER" in os.environ and shutil.which("scontrol"):
        said = subprocess.run(["scontrol", "ping"], capture_output=True, text=True).stdout
        if "UP" in said:
            return Cluster(Path(os.environ["CLUSTER"]))
    skip("the Slurm of these tests is not running: run make test-cluster, as root")


# Small runs on the cluster ------------------------------------------------------------------------

CONFIG = "config/tiny.yaml"
MODELS = CANCELLED, KILLED, SLOW, HUNGRY = "glm-4.1v", "kimi-vl", "internvl3.5", "openvlthinker"
"""The models of the run, named after what happens to them in `test_accidents.py`."""

BROKEN = f"results/tiny/annotations/{KILLED}/10.parquet"
LOCK = "results/tiny/journal/{}/00.lock"


def responses(*models: str) -> list[str]:
    """Return the responses of models to the images of the first block."""
    return [f"results/tiny/responses/{model}/00.parquet" for model in models]


def digests(project: Project, files: list[str]) -> dict[str, str]:
    """Return the digests of files of a project."""
    return {file: hashlib.sha256((project.root / file).read_bytes()).hexdigest() for file in files}


@dataclass
class Run:
    """A running Snakemake that submits its jobs to Slurm."""

    project: Project
    cluster: Cluster
    process: subprocess.Popen
    output: Path

    def text(self) -> str:
        """Return what it has printed."""
        return self.output.read_text()

    def submitted(self, name: str) -> list[int]:
        """Return Slurm's numbers of a job, one per attempt; its name is made of its wildcards."""
        return [
            int(number)
            for number, log in re.findall(r"SLURM jobid (\d+) \(log: (\S+)\)", self.text())
            if Path(log).parent.name == name
        ]

    def generating(self, model: str) -> tuple[SlurmJob, int] | None:
        """Return a model's first job and the process of its script, if it is generating now."""
        if not (self.project.root / LOCK.format(model)).exists():
            return None
        numbers = self.submitted(f"{model}_0")
        for job in self.cluster.jobs():
            if job.number in numbers and job.state == "RUNNING":
                return next(((job, script) for script in self.cluster.scripts(job)), None)
        return None

    def running(self, rule: str) -> int | None:
        """Return the process of a rule's script, if one is running."""
        for job in self.cluster.jobs():
            if job.folder == self.project.root and job.state == "RUNNING":
                for script, name in self.cluster.scripts(job).items():
                    if name == rule:
                        return script
        return None

    def stop(self, *models: str) -> list[tuple[SlurmJob, int]]:
        """Stop the script of each model's first job while it generates; return both of each."""
        stopped: dict[str, tuple[SlurmJob, int]] = {}

        def all_stopped() -> bool:
            # Where other jobs have the GPUs, one may have ended before another one starts.
            for model in set(models) - stopped.keys():
                if found := self.generating(model):
                    os.kill(found[1], signal.SIGSTOP)
                    stopped[model] = found
            return len(stopped) == len(models)

        self.cluster.wait(all_stopped, f"{', '.join(models)} to generate")
        return [stopped[model] for model in models]

    def end(self) -> int:
        """Wait for the end and return the exit status."""
        return self.process.wait(PATIENCE)


@dataclass(frozen=True)
class Undisturbed:
    """A local run: its images, all its responses, and the digests of some of its files."""

    images: Project
    whole: Project
    digests: dict[str, str]


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory, worker_id) -> Undisturbed:
    """A run of two blocks, made once for all workers."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "undisturbed"
    images, whole = Project(folder / "images"), Project(folder / "whole")
    made = [*responses(*MODELS), BROKEN]
    with FileLock(f"{folder}.lock"):
        if not (folder / "made").exists():
            clone(images.root)
            cut_down(images, sharding={"blocks": 2, "shards_per_block": 1})
            local = ("--configfile", CONFIG, "--cores", "2")
            shards = [f"results/tiny/images/shards/{shard}.parquet" for shard in ("00", "10")]
            images.snakemake(*local, *shards, "results/tiny/images/evaluated.parquet")
            images.copy(whole.root).snakemake(*local, *made)
            (folder / "made").touch()
    return Undisturbed(images, whole, digests(whole, made))


@pytest.fixture(scope="module")
def runs(cluster):
    """A function that starts Snakemake in a project; its jobs are cancelled at the end."""
    started: list[Run] = []

    def start(project: Project, *arguments: str) -> Run:
        output = project.root / f"output{len(started)}.txt"
        with output.open("w") as file:
            process = subprocess.Popen(
                [*SNAKEMAKE, "--profile", "slurm", "--configfile", CONFIG, *arguments],
                cwd=project.root,
                stdout=file,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )
        started.append(Run(project, cluster, process, output))
        return started[-1]

    yield start
    for run in started:
        if run.process.poll() is None:
            run.process.kill()
        numbers = re.findall(r"SLURM jobid (\d+)", run.text())
        left = {str(job.number) for job in cluster.jobs() if job.state in ("RUNNING", "PENDING")}
        if ours := left.intersection(numbers):
            cluster.call("scancel", *ours)


@pytest.fixture
def project(undisturbed, tmp_path) -> Project:
    """A copy of the project with its images only."""
    return undisturbed.images.copy(tmp_path / "project")
