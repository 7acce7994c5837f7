"""Accidents on a real cluster: every run ends with the bytes of an undisturbed local run."""

import hashlib
import os
import re
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.cluster.conftest import PATIENCE
from tests.workflow.conftest import BIN, Project, clone, shrink
from tests.workflow.test_status import states, status

pytestmark = pytest.mark.slow

CONFIG = "config/small.yaml"
MODELS = CANCELLED, KILLED, SLOW, HUNGRY = "glm-4.1v", "kimi-vl", "internvl3.5", "r1-onevision"
BROKEN = f"results/small/annotations/{KILLED}/10.parquet"
TABLES = [f"results/small/tables/language.{form}" for form in ("csv", "tex", "md")]
LOCK = "results/small/journal/{}/00.lock"
PROFILE = ("--profile", "slurm", "--configfile", CONFIG)
LOCAL = ("--configfile", CONFIG)
SOON = ("--slurm-init-seconds-before-status-checks", "2")


def responses(*models: str) -> list[str]:
    return [f"results/small/responses/{model}/00.parquet" for model in models]


def digests(project: Project, files: list[str]) -> dict[str, str]:
    return {file: hashlib.sha256((project.root / file).read_bytes()).hexdigest() for file in files}


@dataclass
class Run:
    """A call of Snakemake that hands its jobs to Slurm, while it runs."""

    project: Project
    cluster: Any  # the fixture
    process: subprocess.Popen
    output: Path

    def text(self) -> str:
        return self.output.read_text()

    def submitted(self, name: str) -> list[int]:
        """Return the numbers that Slurm gave to a job, named by its wildcards; one an attempt."""
        return [
            int(number)
            for number, log in re.findall(r"SLURM jobid (\d+) \(log: (\S+)\)", self.text())
            if Path(log).parent.name == name
        ]

    def at_work(self, model: str) -> tuple[Any, int] | None:
        """Return a model's first job and the process of its script, if it asks the model now."""
        if not (self.project.root / LOCK.format(model)).exists():
            return None
        numbers = self.submitted(f"{model}_0")
        for job in self.cluster.jobs():
            if job.number in numbers and job.state == "RUNNING":
                return next(((job, script) for script in self.cluster.scripts(job)), None)
        return None

    def running(self, rule: str) -> int | None:
        """Return the process of a rule's script, if one runs now."""
        for job in self.cluster.jobs():
            if job.folder == self.project.root and job.state == "RUNNING":
                for script, name in self.cluster.scripts(job).items():
                    if name == rule:
                        return script
        return None

    def stop(self, *models: str) -> list[tuple[Any, int]]:
        """Hold the script of each model's first job while it is at work; return as `at_work`."""
        stopped: dict[str, tuple[Any, int]] = {}

        def all_stand() -> bool:
            # Where other jobs have the GPUs, one may have ended before another one starts.
            for model in set(models) - stopped.keys():
                if found := self.at_work(model):
                    os.kill(found[1], signal.SIGSTOP)
                    stopped[model] = found
            return len(stopped) == len(models)

        self.cluster.wait(all_stand, f"{', '.join(models)} to be at work")
        return [stopped[model] for model in models]

    def end(self) -> int:
        """Wait for the end and return the exit status."""
        return self.process.wait(PATIENCE)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> tuple[Project, dict[str, str]]:
    """A project with its images, and the digests of what a local run makes of them."""
    project = clone(tmp_path_factory.mktemp("undisturbed") / "project")
    shrink(project, sharding={"blocks": 2, "shards_per_block": 1})
    local = ("--configfile", CONFIG, "--cores", "2")
    images = [f"results/small/images/shards/{shard}.parquet" for shard in ("00", "10")]
    project.snakemake(*local, *images, "results/small/images/evaluated.parquet")
    whole = project.copy(project.root.parent / "whole")
    made = [*responses(*MODELS), BROKEN]
    whole.snakemake(*local, *made)
    return project, digests(whole, made)


@pytest.fixture(scope="module")
def runs(cluster, undisturbed, tmp_path_factory):
    """A function that starts Snakemake in a copy of the project; its jobs go at the end."""
    started: list[Run] = []

    def start(project: Project, *arguments: str) -> Run:
        output = project.root / f"output{len(started)}.txt"
        with output.open("w") as file:
            process = subprocess.Popen(
                [BIN / "snakemake", *PROFILE, *SOON, *arguments],
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
    return undisturbed[0].copy(tmp_path / "project")


@pytest.fixture(scope="module")
def bad_day(cluster, undisturbed, runs, tmp_path_factory) -> tuple[Run, Run]:
    """A run to which much happens at once, and the same call after a broken file was mended."""
    project = undisturbed[0].copy(tmp_path_factory.mktemp("bad_day") / "project")
    shard = project.root / "results/small/images/shards/10.parquet"
    whole, times = shard.read_bytes(), shard.stat()

    def write(content: bytes) -> None:  # with its old time: an edit would be noticed and mended
        shard.write_bytes(content)
        os.utime(shard, ns=(times.st_atime_ns, times.st_mtime_ns))

    write(whole[: len(whole) // 2])
    memory = f"(300 if wildcards.model == '{HUNGRY}' else 2000) * attempt ** 3"
    minutes = f"(1 if wildcards.model == '{SLOW}' else 30) * attempt ** 3"
    arguments = (
        "--set-resources",
        "generate_responses:slurm_partition='gpu'",
        f"generate_responses:mem_mb={memory}",
        f"generate_responses:runtime={minutes}",
        "--",
        *responses(*MODELS),
        BROKEN,
    )
    first = runs(project, *arguments)
    _, (_, killed), (cancelled, _) = first.stop(SLOW, KILLED, CANCELLED)
    os.kill(killed, signal.SIGKILL)
    cluster.call("scancel", str(cancelled.number))
    first.end()
    write(whole)
    second = runs(project, *arguments)
    second.end()
    return first, second


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (CANCELLED, "CANCELLED"),
        (KILLED, "killed by SIGKILL"),
        (SLOW, "TIMEOUT with runtime 1"),
        (HUNGRY, "OUT_OF_MEMORY with mem_mb 300"),
    ],
)
def test_a_job_that_fails_is_tried_again(bad_day, undisturbed, model, why):
    run = bad_day[0]
    first, _ = run.submitted(f"{model}_0")
    log = f"{run.project.root}/.snakemake/slurm_logs/rule_generate_responses/{model}_0/{first}.log"
    job = f"generate_responses (model {model}, block 0)"
    assert f"{job}, attempt 1: {why} ({log})" in run.text().splitlines()
    assert digests(run.project, responses(model)).items() <= undisturbed[1].items()


def test_a_shard_that_cannot_succeed_fails_alone_and_the_report_says_why(bad_day):
    run = bad_day[0]
    assert run.process.returncode != 0
    attempts = run.submitted(f"{KILLED}_1")
    assert len(attempts) == 3
    counts, failure, mended = run.text().partition("4 of 6 jobs are done, ")[2].split("\n\n")[:3]
    assert counts == "1 failed, 1 did not run because of that."
    assert failure.startswith(f"generate_responses (model {KILLED}, block 1), 3 attempts\n")
    assert re.search("why:  .*must end with PAR1", failure)
    assert f"log:  results/small/logs/generate_responses/{KILLED}/1.log\n" in failure
    assert f"{KILLED}_1/{attempts[-1]}.log\n" in failure
    assert mended.count("1 of generate_responses, ") == len(MODELS)


def test_a_mended_shard_is_all_that_the_next_call_makes(bad_day, undisturbed):
    run = bad_day[1]
    assert run.process.returncode == 0, run.text()
    assert len(run.submitted(f"{KILLED}_1")) == 1
    assert not any(run.submitted(f"{model}_0") for model in MODELS)
    assert digests(run.project, list(undisturbed[1])) == undisturbed[1]


def test_a_job_does_not_start_when_the_config_was_edited_while_it_waited(cluster, project, runs):
    (file,) = files = responses(CANCELLED)
    held = (
        "--set-resources",
        "generate_responses:slurm_partition='gpu'",
        "generate_responses:slurm_extra='--hold'",
    )
    run = runs(project, "--retries", "0", *held, "--", *files)
    (job,) = cluster.wait(lambda: run.submitted(f"{CANCELLED}_0"), "a job to wait")
    counts = states(status(project, *LOCAL))["inference", CANCELLED]
    assert (counts["running"], counts["waiting"]) == (0, 2)
    path = project.root / CONFIG
    config = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump(config | {"seed": config["seed"] + 1}, sort_keys=False))
    cluster.call("scontrol", "release", str(job))
    assert run.end() != 0
    assert "why:  Config, rules or scripts were edited after this job was planned" in run.text()
    assert not (project.root / file).exists()


def test_a_killed_snakemake_leaves_a_lock_and_jobs_that_go_on(cluster, undisturbed, project, runs):
    files = responses(CANCELLED, KILLED)
    killed = runs(project, "--", *files)
    (goes_on, at_work), (hangs, script) = killed.stop(CANCELLED, KILLED)
    said = status(project, *LOCAL)
    assert all(states(said)["inference", model]["running"] == 1 for model in (CANCELLED, KILLED))
    assert said.endswith("A Snakemake is running in this folder.\n")
    killed.process.kill()
    killed.end()
    said = status(project, *LOCAL)
    assert all(states(said)["inference", model]["running"] == 1 for model in (CANCELLED, KILLED))
    assert "A Snakemake was killed in this folder" in said

    locked = runs(project, "--", *files)
    assert locked.end() != 0
    assert "Error: Directory cannot be locked." in locked.text()
    assert "It can be removed with the --unlock argument." in locked.text()
    os.kill(at_work, signal.SIGCONT)

    # One job goes on to its end. It has no record: it is submitted again, and finds its responses
    # in the journal. The other one hangs, and nobody else may do its work.
    def ended() -> bool:
        return {job.number: job.state for job in cluster.jobs()}[goes_on.number] == "COMPLETED"

    cluster.wait(ended, "the job of the killed Snakemake to end")
    project.snakemake(*PROFILE, "--unlock")
    journals = sorted(project.root.glob(f"results/small/journal/{CANCELLED}/*.jsonl"))
    generated = [path.read_bytes() for path in journals]
    assert all(generated)
    refused = runs(project, "--retries", "0", "--", *files)
    assert refused.end() != 0
    assert len(refused.submitted(f"{CANCELLED}_0")) == 1
    assert [path.read_bytes() for path in journals] == generated
    assert "1 of 2 jobs are done, 1 failed." in refused.text()
    held = f"{LOCK.format(KILLED)}: held by process {script} on "
    assert f"why:  imagenet_think.inference.locks.LockError: {held}" in refused.text()

    cluster.call("scancel", str(hangs.number))
    cluster.wait(lambda: not Path(f"/proc/{script}").exists(), "the hanging job to end")
    again = runs(project, "--", *files)
    assert again.end() == 0, again.text()
    assert not again.submitted(f"{CANCELLED}_0")
    assert digests(project, files).items() <= undisturbed[1].items()


@pytest.fixture(scope="module")
def edited(undisturbed, tmp_path_factory) -> tuple[Project, dict[str, str]]:
    """A finished run whose config was edited since, and what an undisturbed run makes of that."""
    folder = tmp_path_factory.mktemp("edited")
    project = undisturbed[0].copy(folder / "project")
    local = ("--configfile", CONFIG, "--cores", "2", *TABLES)
    project.snakemake(*local)
    before = digests(project, TABLES)
    path = project.root / CONFIG
    config = yaml.safe_load(path.read_text())
    config["models"][KILLED]["output"] = "boxed"  # which its texts are not
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    whole = project.copy(folder / "whole")
    whole.snakemake(*local)
    made = digests(whole, TABLES)
    assert not before.items() & made.items()
    return project, made


@pytest.mark.parametrize(
    "rules", [("parse_responses", "measure_texts"), ("table_language",)], ids=["group", "job"]
)
def test_after_a_refusal_in_a_rerun_the_same_call_ends_well(cluster, edited, runs, tmp_path, rules):
    project = edited[0].copy(tmp_path / "project")
    closed = f"closed_{len(rules)}"
    elsewhere = [f"{rule}:slurm_partition='{closed}'" for rule in rules]
    arguments = ("--retries", "0", "--set-resources", *elsewhere, "--", *TABLES)
    cluster.call("scontrol", "create", f"partition={closed}", "nodes=ALL", "state=drain")
    try:
        refused = runs(project, *arguments)
        assert refused.end() != 0
        why = "sbatch: error: Batch job submission failed: Required partition not available"
        assert f"why:  {why}" in refused.text()
        cluster.call("scontrol", "update", f"partition={closed}", "state=up")
        again = runs(project, *arguments)
        assert again.end() == 0, again.text()
    finally:
        cluster.call("scontrol", "delete", f"partition={closed}")
    assert digests(project, TABLES) == edited[1]


def test_after_a_kill_in_a_rerun_the_same_call_ends_well(cluster, edited, runs, tmp_path):
    project = edited[0].copy(tmp_path / "project")
    arguments = ("--retries", "0", "--", *TABLES)
    killed = runs(project, *arguments)
    script = cluster.wait(lambda: killed.running("measure_texts"), "texts to be measured")
    os.kill(script, signal.SIGKILL)
    assert killed.end() != 0
    assert "why:  killed by SIGKILL" in killed.text()
    again = runs(project, *arguments)
    assert again.end() == 0, again.text()
    assert digests(project, TABLES) == edited[1]


@pytest.fixture
def alone(cluster):
    """Wait until nobody else needs the cluster: what happens to it happens to all who use it."""
    with cluster.shared(alone=True):
        yield


@pytest.mark.usefixtures("alone")
def test_a_job_whose_node_dies_goes_to_another_one(cluster, undisturbed, project, runs):
    files = responses(CANCELLED)
    run = runs(project, "--", *files)
    ((job, _),) = run.stop(CANCELLED)
    dead = [cluster.pid(job.node), *cluster.processes(job)]
    try:
        for pid in dead:
            os.kill(pid, signal.SIGKILL)
        cluster.wait(lambda: "down" in cluster.nodes()[job.node], f"{job.node} to be down")
        # Slurm would let it wait for two minutes first.
        cluster.call("scontrol", "update", f"jobid={job.number}", "starttime=now")
        assert run.end() == 0, run.text()
    finally:
        cluster.start()
    assert cluster.nodes()[job.node] in ("idle", "mixed", "allocated")
    assert run.submitted(f"{CANCELLED}_0") == [job.number]
    assert digests(project, files).items() <= undisturbed[1].items()


@pytest.mark.usefixtures("alone")
def test_jobs_go_on_while_the_controller_is_down(cluster, undisturbed, project, runs):
    files = responses(CANCELLED)
    run = runs(project, "--", *files)
    ((job, script),) = run.stop(CANCELLED)
    # What Slurm does not know when it comes back, it starts once more.
    state, now = cluster.folder / "state" / "job_state", time.time()
    cluster.call("scontrol", "update", f"jobid={job.number}", "nice=1")
    cluster.wait(lambda: state.stat().st_mtime > now, "Slurm to note down what it knows")
    try:
        os.kill(cluster.pid("slurmctld"), signal.SIGKILL)
        os.kill(script, signal.SIGCONT)
        # Snakemake asks in vain, and the job ends when nobody is there to be told.
        cluster.wait(lambda: "Falling back to 'sacct'" in run.text(), "a question to Slurm")
        cluster.wait(lambda: not cluster.scripts(job), "the end of the job")
    finally:
        cluster.start()
    assert run.end() == 0, run.text()
    assert run.submitted(f"{CANCELLED}_0") == [job.number]
    assert digests(project, files).items() <= undisturbed[1].items()
