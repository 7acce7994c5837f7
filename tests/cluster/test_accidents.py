"""Accidents on a real cluster: every run ends with the bytes of an undisturbed local run."""

import os
import re
import signal
import time
from pathlib import Path

import pytest
from tests.cluster.conftest import (
    BROKEN,
    CANCELLED,
    CONFIG,
    HUNGRY,
    KILLED,
    LOCK,
    MODELS,
    SLOW,
    Run,
    digests,
    responses,
)
from tests.workflow.test_status import states, status

pytestmark = pytest.mark.slow

PROFILE = ("--profile", "slurm", "--configfile", CONFIG)
LOCAL = ("--configfile", CONFIG)


@pytest.fixture(scope="module")
def bad_day(cluster, undisturbed, runs, tmp_path_factory) -> tuple[Run, Run]:
    """A run with several accidents at once, and the same call after a broken file was mended."""
    project = undisturbed.images.copy(tmp_path_factory.mktemp("bad_day") / "project")
    shard = project.root / "results/tiny/images/shards/10.parquet"
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
    assert digests(run.project, responses(model)).items() <= undisturbed.digests.items()


def test_a_shard_that_cannot_succeed_fails_alone_and_the_report_says_why(bad_day):
    run = bad_day[0]
    assert run.process.returncode != 0
    attempts = run.submitted(f"{KILLED}_1")
    assert len(attempts) == 3
    counts, failure, mended = run.text().partition("4 of 6 jobs are done, ")[2].split("\n\n")[:3]
    assert counts == "1 failed, 1 did not run because of that."
    assert failure.startswith(f"generate_responses (model {KILLED}, block 1), 3 attempts\n")
    assert re.search("why:  .*must end with PAR1", failure)
    assert f"log:  results/tiny/logs/generate_responses/{KILLED}/1.log\n" in failure
    assert f"{KILLED}_1/{attempts[-1]}.log\n" in failure
    assert mended.count("1 of generate_responses, ") == len(MODELS)


def test_a_mended_shard_is_all_that_the_next_call_makes(bad_day, undisturbed):
    run = bad_day[1]
    assert run.process.returncode == 0, run.text()
    assert len(run.submitted(f"{KILLED}_1")) == 1
    assert not any(run.submitted(f"{model}_0") for model in MODELS)
    assert digests(run.project, list(undisturbed.digests)) == undisturbed.digests


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
    with project.editing() as config:
        config["seed"] += 1
    cluster.call("scontrol", "release", str(job))
    assert run.end() != 0
    assert "why:  Config, rules or scripts were edited after this job was planned" in run.text()
    assert not (project.root / file).exists()


def test_a_killed_snakemake_leaves_a_lock_and_jobs_that_go_on(cluster, undisturbed, project, runs):
    files = responses(CANCELLED, KILLED)
    killed = runs(project, "--", *files)
    (goes_on, running), (hangs, script) = killed.stop(CANCELLED, KILLED)
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
    os.kill(running, signal.SIGCONT)

    # One job goes on to its end. It has no record, so it is submitted again and finds its responses
    # in the journal. The other one hangs, and no other job may do its work.
    def ended() -> bool:
        return {job.number: job.state for job in cluster.jobs()}[goes_on.number] == "COMPLETED"

    cluster.wait(ended, "the job of the killed Snakemake to end")
    project.snakemake(*PROFILE, "--unlock")
    journals = sorted(project.root.glob(f"results/tiny/journal/{CANCELLED}/*.jsonl"))
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
    assert digests(project, files).items() <= undisturbed.digests.items()


@pytest.fixture
def exclusively(cluster):
    """Wait until nobody else uses the cluster, since these accidents affect all its users."""
    with cluster.in_use(exclusive=True):
        yield


@pytest.mark.usefixtures("exclusively")
def test_a_job_whose_node_dies_goes_to_another_one(cluster, undisturbed, project, runs):
    files = responses(CANCELLED)
    run = runs(project, "--", *files)
    ((job, _),) = run.stop(CANCELLED)
    dead = [cluster.pid(job.node), *cluster.processes(job)]
    try:
        for pid in dead:
            os.kill(pid, signal.SIGKILL)
        cluster.wait(lambda: "down" in cluster.nodes()[job.node], f"{job.node} to be down")
        # Slurm would otherwise delay it by two minutes.
        cluster.call("scontrol", "update", f"jobid={job.number}", "starttime=now")
        assert run.end() == 0, run.text()
    finally:
        cluster.start()
    assert cluster.nodes()[job.node] in ("idle", "mixed", "allocated")
    assert run.submitted(f"{CANCELLED}_0") == [job.number]
    assert digests(project, files).items() <= undisturbed.digests.items()


@pytest.mark.usefixtures("exclusively")
def test_jobs_go_on_while_the_controller_is_down(cluster, undisturbed, project, runs):
    files = responses(CANCELLED)
    run = runs(project, "--", *files)
    ((job, script),) = run.stop(CANCELLED)
    # A job that Slurm does not know of when it comes back is started again.
    state, now = cluster.folder / "state" / "job_state", time.time()
    cluster.call("scontrol", "update", f"jobid={job.number}", "nice=1")
    cluster.wait(lambda: state.stat().st_mtime > now, "Slurm to save its state")
    try:
        os.kill(cluster.pid("slurmctld"), signal.SIGKILL)
        os.kill(script, signal.SIGCONT)
        # Snakemake gets no answer, and the job ends while the controller is down.
        cluster.wait(lambda: "Falling back to 'sacct'" in run.text(), "a poll without an answer")
        cluster.wait(lambda: not cluster.scripts(job), "the end of the job")
    finally:
        cluster.start()
    assert run.end() == 0, run.text()
    assert run.submitted(f"{CANCELLED}_0") == [job.number]
    assert digests(project, files).items() <= undisturbed.digests.items()
