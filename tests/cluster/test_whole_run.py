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
from tests.cluster.conftest import Cluster, minutes
from tests.workflow.conftest import BIN, ROOT, clone, differences


@dataclass(frozen=True)
class Script:
    """A rule's script in a job: the environment of its process, and what Slurm says of the job."""

    rule: str
    environment: dict[str, str]
    job: str


@dataclass
class Submission:
    """What was seen of a job of Slurm.

    Attributes
    ----------
    said
        What Slurm says of it, as `scontrol show job` does.
    at_once
        Rules whose scripts ran at the same time, each time that it was looked at.
    minutes
        How long it ran.
    """

    said: str
    at_once: set[tuple[str, ...]] = field(default_factory=set)
    minutes: float = 0.0


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
    submissions
        The jobs of Slurm in which scripts were found running, by their numbers.
    """

    cluster: Cluster
    folder: Path
    seen: dict[int, Script] = field(default_factory=dict)
    submissions: dict[int, Submission] = field(default_factory=dict)

    def look(self) -> None:
        """Note the scripts that run now."""
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
            submission.at_once.add(tuple(sorted(running.values())))
            for pid in running.keys() - self.seen.keys():
                # A process that has just ended has no environment.
                with suppress(FileNotFoundError, ProcessLookupError):
                    pairs = Path(f"/proc/{pid}/environ").read_text().split("\0")
                    environment = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
                    self.seen[pid] = Script(running[pid], environment, submission.said)


@dataclass(frozen=True)
class Run:
    """What a whole run left."""

    results: Path
    status: int
    said: str
    scripts: list[Script]
    submissions: list[Submission]


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
    return Run(
        results,
        process.returncode,
        log.read_text(),
        list(watch.seen.values()),
        list(watch.submissions.values()),
    )


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
    assert asking.total() == 7 + 1 + 1
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


def test_a_submission_is_granted_what_it_uses(run, planned):
    """CPUs for what runs at once, minutes for all that runs one after another."""
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


def test_every_submission_is_one_that_was_planned(run, planned):
    submitted = re.findall(r"has been submitted with SLURM jobid (\d+)", run.said)
    assert len(set(submitted)) == len(submitted) == len(planned)


def test_only_what_matters_is_said(run):
    for noise in ("was never awaited", "SLURM account", "No wall time", "No job memory", "Warning"):
        assert noise not in run.said
