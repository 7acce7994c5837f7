"""The whole miniature through Slurm, by the command that makes the paper's run."""

import os
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
from tests.cluster.conftest import SNAKEMAKE, Cluster, minutes
from tests.workflow.conftest import ROOT, clone, differences


@dataclass(frozen=True)
class Script:
    """A rule's script in a job of Slurm."""

    rule: str
    environment: dict[str, str]
    given: dict[str, str]  # the environment in which Slurm started the job's Snakemake
    job: str  # as `scontrol show job` describes it


def environment(pid: int) -> dict[str, str]:
    """Return the environment in which a process was started."""
    pairs = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair)


def snakemake_of(pid: int) -> int:
    """Return the process of the Snakemake that started a script."""
    while b"\0snakemake\0" not in Path(f"/proc/{pid}/cmdline").read_bytes():
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return pid


@dataclass
class Submission:
    """A job of Slurm, as observed."""

    said: str  # its description by `scontrol show job`
    at_once: set[tuple[str, ...]] = field(default_factory=set)  # rules that ran simultaneously
    minutes: float = 0.0


@dataclass
class Watch:
    """Observes the running jobs of a run in a folder."""

    cluster: Cluster
    folder: Path
    seen: dict[int, Script] = field(default_factory=dict)  # by process id
    submissions: dict[int, Submission] = field(default_factory=dict)  # by number of the job

    def look(self) -> None:
        """Record the scripts that are running."""
        for job in self.cluster.jobs():
            if job.folder != self.folder:
                continue
            if job.number in self.submissions:
                self.submissions[job.number].minutes = job.minutes
            running = self.cluster.scripts(job) if job.state == "RUNNING" else {}
            if not running:
                continue
            if job.number not in self.submissions:
                said = self.cluster.call("scontrol", "show", "job", str(job.number))
                self.submissions[job.number] = Submission(said)
            submission = self.submissions[job.number]
            # Two rules may share a script; the log of a submission of one job has the rule's name.
            if single := re.search(r"slurm_logs/rule_(\w+)/", submission.said):
                running = dict.fromkeys(running, single[1])
            submission.at_once.add(tuple(sorted(running.values())))
            for pid in running.keys() - self.seen.keys():
                # A process that has just ended has no environment.
                with suppress(FileNotFoundError, ProcessLookupError):
                    own, given = environment(pid), environment(snakemake_of(pid))
                    self.seen[pid] = Script(running[pid], own, given, submission.said)


@dataclass(frozen=True)
class Run:
    """A whole run on Slurm."""

    folder: Path
    status: int
    said: str
    scripts: list[Script]
    submissions: list[Submission]


@pytest.fixture(scope="module")
def run(cluster, tmp_path_factory):
    """The miniature as a user's own config, on Slurm, in a fresh clone, without `PYTHONPATH`."""
    folder = tmp_path_factory.mktemp("slurm")
    clone(folder)
    shutil.copy(folder / "config" / "miniature.yaml", folder / "config" / "config.yaml")
    # A user's own defaults must not keep the jobs from Slurm.
    defaults = folder / "profiles" / "default" / "config.yaml"
    defaults.parent.mkdir()
    defaults.write_text("printshellcmds: true\nnocolor: true\n")
    watch, log = Watch(cluster, folder), folder / "said"
    with (
        cluster.in_use(),
        log.open("w") as output,
        subprocess.Popen(
            [*SNAKEMAKE, "--profile", "slurm", "all"],
            cwd=folder,
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        while process.poll() is None:
            watch.look()
            time.sleep(0.5)
    return Run(
        folder,
        process.returncode,
        log.read_text(),
        list(watch.seen.values()),
        list(watch.submissions.values()),
    )


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    """The submissions that a dry run plans."""
    folder = project(tmp_path_factory.mktemp("plan"))
    return submissions(folder, "--configfile", "config/miniature.yaml", "-n", "all")


def test_it_succeeds_without_noise_and_nothing_is_tried_twice(run):
    assert run.status == 0, run.said[-5000:]
    assert "steps (100%) done" in run.said
    assert "Trying to restart" not in run.said
    for noise in ("was never awaited", "SLURM account", "No wall time", "No job memory", "Warning"):
        assert noise not in run.said


def test_results_have_the_same_bytes_as_those_of_a_local_run(run):
    local = ROOT / "results" / "miniature"
    assert (local / "comparison.md").exists(), "there is no finished miniature: run `make demo`"
    assert differences(local, run.folder / "results" / "miniature") == []


def test_scripts_find_the_package_even_if_slurm_passes_no_path(run):
    assert not [script for script in run.scripts if "PYTHONPATH" in script.given]
    assert {script.environment["PYTHONPATH"] for script in run.scripts} == {
        str(run.folder / "scripts")
    }


def test_exactly_the_jobs_that_request_a_gpu_have_one(run, planned):
    requested = Counter(job.rules[0] for job in planned if "gpu" in job.asked[0])
    assert requested.total() == 7 + 1 + 1
    with_gpu = set()
    for script in run.scripts:
        if script.rule in requested:
            assert script.environment["CUDA_VISIBLE_DEVICES"] == "0", script
            assert "gres:gpu:1" in script.job, script
            assert "Partition=gpu" in script.job, script
            with_gpu.add((script.rule, script.environment["SLURM_JOB_ID"]))
        else:
            assert "CUDA_VISIBLE_DEVICES" not in script.environment, script
            assert "Partition=cpu" in script.job, script
    assert Counter(rule for rule, _ in with_gpu) == requested


def test_jobs_keep_to_their_cores(run):
    assert len({script.rule for script in run.scripts}) > 20
    for script in run.scripts:
        assert script.environment["OMP_NUM_THREADS"] == "1", script


def test_a_submission_is_granted_what_it_uses(run, planned):
    """CPUs for what runs at once, minutes for the sum of what runs in sequence."""
    of_rule = {rule: job for job in planned for rule in job.rules}
    needs = {rule: asked for job in planned for step in job.steps for rule, asked in step}
    groups = Counter()
    for submission in run.submissions:
        cpus = int(re.search(r"NumCPUs=(\d+)", submission.said)[1])
        limit = minutes(re.search(r"TimeLimit=(\S+)", submission.said)[1])
        seen = {rule for rules in submission.at_once for rule in rules}
        job = of_rule[min(seen)]
        used = max(sum(needs[rule]["_cores"] for rule in rules) for rules in submission.at_once)
        assert used <= cpus, submission
        assert submission.minutes < limit, submission
        if seen == set(job.rules):  # a short script may not have been seen
            assert used == cpus, submission
            assert max(map(len, submission.at_once)) == 1, submission
            assert limit == sum(needs[rule]["runtime"] for rule in seen), submission
            groups[len(seen)] += 1
    assert groups[1] > 20
    assert groups[2] > 0


def test_the_submissions_are_those_that_were_planned(run, planned):
    submitted = re.findall(r"has been submitted with SLURM jobid (\d+)", run.said)
    assert len(set(submitted)) == len(submitted) == len(planned)
