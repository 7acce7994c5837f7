"""The whole miniature through Slurm, by the command that makes the paper's run."""

import re
import shutil
import subprocess
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from submissions import project, submissions
from tests.cluster.conftest import Cluster
from tests.workflow.conftest import BIN, ROOT, clone, differences


@dataclass(frozen=True)
class Script:
    """A rule's script in a job: the environment of its process, and what Slurm says of the job."""

    rule: str
    environment: dict[str, str]
    job: str


@dataclass
class Watch:
    """Looks into the running jobs of a run, again and again.

    Attributes
    ----------
    cluster
        Where the jobs run.
    folder
        Of the run.
    seen
        The scripts that were found running, by process id.
    """

    cluster: Cluster
    folder: Path
    seen: dict[int, Script] = field(default_factory=dict)

    def look(self) -> None:
        """Note the scripts that run now."""
        for job in self.cluster.jobs():
            ours = job.folder == self.folder and job.state == "RUNNING"
            running = self.cluster.scripts(job) if ours else {}
            for pid in running.keys() - self.seen.keys():
                # A process that has just ended has no environment.
                with suppress(FileNotFoundError, ProcessLookupError):
                    pairs = Path(f"/proc/{pid}/environ").read_text().split("\0")
                    environment = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
                    granted = self.cluster.call("scontrol", "show", "job", str(job.number))
                    self.seen[pid] = Script(running[pid], environment, granted)


@dataclass(frozen=True)
class Run:
    """What a whole run left."""

    results: Path
    status: int
    said: str
    scripts: list[Script]


@pytest.fixture(scope="module")
def run(cluster, tmp_path_factory):
    """The miniature as a user's own config, on Slurm, in a fresh clone."""
    folder = tmp_path_factory.mktemp("slurm")
    clone(folder)
    shutil.copy(folder / "config" / "miniature.yaml", folder / "config" / "config.yaml")
    # Jobs are short here, so their ends are asked for more often.
    profile = folder / "profiles" / "slurm" / "config.yaml"
    every = "slurm-init-seconds-before-status-checks: "
    profile.write_text(re.sub(f"{every}.*", f"{every}2", profile.read_text()))
    # A user's own defaults are no reason to run anywhere else.
    defaults = folder / "profiles" / "default" / "config.yaml"
    defaults.parent.mkdir()
    defaults.write_text("printshellcmds: true\nnocolor: true\n")
    watch, log = Watch(cluster, folder), folder / "said"
    with (
        cluster.shared(),
        log.open("w") as output,
        subprocess.Popen(
            [BIN / "snakemake", "--profile", "slurm", "all"],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        while process.poll() is None:
            watch.look()
            time.sleep(0.5)
    results = folder / "results" / "miniature"
    return Run(results, process.returncode, log.read_text(), list(watch.seen.values()))


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    """What the plan hands to Slurm."""
    folder = project(tmp_path_factory.mktemp("plan"))
    return submissions(folder, "--configfile", "config/miniature.yaml", "-n", "all")


def test_it_ends_well_and_nothing_is_tried_twice(run):
    assert run.status == 0, run.said[-5000:]
    assert "steps (100%) done" in run.said
    assert "Trying to restart" not in run.said


def test_results_are_the_same_bytes_as_of_a_local_run(run):
    local = ROOT / "results" / "miniature"
    assert (local / "comparison.md").exists(), "there is no finished miniature: say `make demo`"
    assert differences(local, run.results) == []


def test_jobs_that_ask_for_a_gpu_have_one_and_no_others(run, planned):
    asking = Counter(job.rules[0] for job in planned if "gpu" in job.asked[0])
    assert asking.total() == 7 + 2 + 2
    with_gpu = set()
    for script in run.scripts:
        if script.rule in asking:
            assert script.environment["CUDA_VISIBLE_DEVICES"] == "0", script
            assert "gres:gpu:1" in script.job, script
            assert "Partition=gpu" in script.job, script
            with_gpu.add((script.rule, script.environment["SLURM_JOB_ID"]))
        else:
            assert "CUDA_VISIBLE_DEVICES" not in script.environment, script
            assert "Partition=cpu" in script.job, script
    assert Counter(rule for rule, _ in with_gpu) == asking


def test_jobs_keep_to_their_cores(run):
    assert len({script.rule for script in run.scripts}) > 20
    for script in run.scripts:
        assert script.environment["OMP_NUM_THREADS"] == "1", script


def test_small_jobs_go_together(run, planned):
    submitted = re.findall(r"has been submitted with SLURM jobid (\d+)", run.said)
    assert len(set(submitted)) == len(submitted) == len(planned)
    assert len(planned) < sum(len(job.rules) for job in planned) / 2
