"""The report of what failed in a run, on logs of real runs and on real runs."""

import logging
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import pytest

from imagenet_think.core.logs import ENDED
from imagenet_think.run import failures
from imagenet_think.run.failures import AnnouncedJob, Cause, Watch

SCRIPTS = Path(failures.__file__).parents[2]

OWN = """\
12:52:32 INFO kimi-vl: 0 of 15 in the journal
12:52:32 ERROR parquet: File out of specification: The file must end with PAR1 or PARE
Traceback (most recent call last):
  File "/home/me/.snakemake/scripts/tmpcjd8ut2y.generate_responses.py", line 458, in <module>
    generate_responses(
polars.exceptions.ComputeError: parquet: File out of specification: The file must end with PAR1
"""
KILLED = """\
12:58:03 INFO glm-4.1v: engine transformers, device cpu, dtype float32, attention sdpa
RuleException:
CalledProcessError in file "/home/me/rules/inference.smk", line 51:
Command 'set -euo pipefail;  python3 tmpqj23.generate_responses.py' died with <Signals.SIGKILL: 9>.
[Sat Nov 21 12:58:16 2026]
Error in rule generate_responses:
    message: None
Exiting because a job execution failed. Look above for error messages
WorkflowError:
At least one job did not complete successfully.
srun: error: node3: task 0: Exited with exit code 1
"""
MEMORY = KILLED.replace(
    "srun: error: node3: task 0: Exited with exit code 1",
    "slurmstepd-node3: error: Detected 1 oom-kill event(s) in StepId=30.0. Some of your processes "
    "may have been killed by the cgroup out-of-memory handler.\n"
    "srun: error: node3: task 0: Out Of Memory",
)
INTERRUPTED = KILLED.replace("SIGKILL: 9", "SIGINT: 2")
TIME = """\
12:58:42 INFO cache: rows, at most 5265937 tokens of 960 bytes
slurmstepd-node2: error: *** STEP 28.0 ON node2 CANCELLED AT 2026-11-21T12:59 DUE TO TIME LIMIT ***
srun: Job step aborted: Waiting up to 4 seconds for job step to finish.
slurmstepd-node2: error: *** JOB 28 ON node2 CANCELLED AT 2026-11-21T12:59:39 DUE TO TIME LIMIT ***
Will exit after finishing currently running jobs (scheduler).
"""
CANCELLED = TIME.replace(" DUE TO TIME LIMIT", "")
REFUSAL = """\
WorkflowError in file "/project/rules/common.smk", line 18:
The workflow was changed.
srun: error: node3: task 0: Exited with exit code 1
WorkflowError:
At least one job did not complete successfully.
"""
FAILED = (
    "SLURM-job '{}' failed, SLURM status is: '{}'. Detailed failure reason unavailable (status "
    "command is not 'sacct').For further error details see the cluster/cloud log and the log files "
    "of the involved rule(s)."
)
REFUSED = (
    "SLURM sbatch failed. The error message was 'sbatch: error: invalid partition: cpu\n{}'.\n"
    "    sbatch call:\n        sbatch --parsable\n"
)


INVALID = "sbatch: error: Batch job submission failed: Invalid partition name specified"
UNREACHABLE = (
    "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect "
    "failure)"
)
PARQUET = (
    "polars.exceptions.ComputeError: parquet: File out of specification: The file must end with "
    "PAR1"
)


CTRL_C = Cause("interrupted", "interrupted (SIGINT, as by Ctrl-C)")
SIGTERM = Cause("ended", "ended by SIGTERM")
CRASHED = Cause("crashed", "killed by SIGBUS")
NO_SPACE = "[Errno 28] a.csv cannot be written: No space left on device (0 bytes are free there)"
QUOTA = "[Errno 122] Disk quota exceeded: 'a.csv'"


def status(number):
    return KILLED.replace(
        "died with <Signals.SIGKILL: 9>", f"returned non-zero exit status {number}"
    )


def refusal(kind, text):
    return Cause(kind, f"sbatch: error: invalid partition: cpu {text}")


@pytest.mark.parametrize(
    ("read", "text", "cause"),
    [
        # Slurm's lines in its log; the same words in a line of the job do not count.
        (failures.from_slurm, MEMORY, Cause("OUT_OF_MEMORY", "OUT_OF_MEMORY")),
        (failures.from_slurm, TIME, Cause("TIMEOUT", "TIMEOUT")),
        (failures.from_slurm, CANCELLED, Cause("CANCELLED", "CANCELLED")),
        (failures.from_slurm, KILLED, None),
        (failures.from_slurm, "12:00:00 INFO CANCELLED AT noon, DUE TO TIME LIMIT\n", None),
        # The last error of a log; Snakemake's message about any failed job does not count.
        (failures.from_error, OWN, Cause("", PARQUET)),
        (failures.from_error, "12:00:00 ERROR no\n12:00:01 INFO the end\n", Cause("", "no")),
        (failures.from_error, "12:00:00 ERROR \nMemoryError\n", Cause("", "MemoryError")),
        (failures.from_error, KILLED, None),
        (failures.from_error, REFUSAL, Cause("", "The workflow was changed.")),
        (failures.from_signal, KILLED, Cause("killed", "killed by SIGKILL")),
        (failures.from_signal, INTERRUPTED, CTRL_C),
        (failures.from_signal, KILLED.replace("SIGKILL: 9", "SIGTERM: 15"), SIGTERM),
        (failures.from_signal, KILLED.replace("SIGKILL: 9", "SIGBUS: 7"), CRASHED),
        # A shell's exit status says which signal its command died of.
        (failures.from_signal, status(143), SIGTERM),
        (failures.from_signal, status(130), CTRL_C),
        (failures.from_signal, status(137), Cause("killed", "killed by SIGKILL")),
        (failures.from_signal, status(1), None),
        (failures.from_signal, status(255), None),
        # What a job logs if a signal ends it.
        (failures.from_error, f"12:00:00 ERROR {ENDED % 'SIGTERM'}\n", SIGTERM),
        (failures.from_error, f"12:00:00 ERROR {ENDED % 'SIGINT'}\n", CTRL_C),
        # A full disk.
        (failures.from_error, f"12:00:00 ERROR {NO_SPACE}\n", Cause("disk", NO_SPACE)),
        (failures.from_error, f"OSError: {QUOTA}\n", Cause("disk", f"OSError: {QUOTA}")),
        (failures.from_message, FAILED.format(7, "TIMEOUT"), Cause("TIMEOUT", "TIMEOUT")),
        (failures.from_message, FAILED.format(7, "FAILED"), None),
        (failures.from_message, REFUSED.format(INVALID), refusal("refused", INVALID)),
        (failures.from_message, REFUSED.format(UNREACHABLE), refusal("unreachable", UNREACHABLE)),
    ],
)
def test_causes(read, text, cause):
    assert read(text) == cause


@pytest.fixture
def logs(tmp_path):
    """A function that writes a log and returns its name."""

    def write(name: str, text: str) -> str:
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return write


@pytest.mark.parametrize(
    ("message", "why", "advice"),
    [
        (INTERRUPTED, "interrupted (SIGINT, as by Ctrl-C)", "there is nothing to fix"),
        (status(143), "ended by SIGTERM", "there is nothing to fix, unless whoever sent it"),
        (status(137), "killed by SIGKILL", "check whether it had enough memory"),
        (status(139), "killed by SIGSEGV", "a library crashed"),
    ],
)
def test_a_signal_gets_its_own_advice(message, why, advice):
    text = str(failures.diagnose([AnnouncedJob("score")], 1, message, []))
    assert f"why:  {why}\n    next: {advice}" in text


def test_a_full_disk_is_the_cause_if_the_log_cannot_say_so(logs, monkeypatch):
    job = AnnouncedJob("score", logs=[logs("own", "12:00:00 INFO 15 of 15\n")])
    message = status(1).partition("\n")[2]
    assert failures.diagnose([job], 1, message, []).cause == Cause("", "RuleException:")
    monkeypatch.setattr(failures.shutil, "disk_usage", lambda place: SimpleNamespace(free=4096))
    text = str(failures.diagnose([job], 1, message, []))
    assert "why:  No space left on device in /" in text
    assert "next: free some space" in text


def test_a_disk_that_is_full_for_snakemake_is_said():
    message = (
        "WorkflowError:\nError recording metadata for finished job ([Errno 28] No space left on "
        "device). Please ensure write permissions for the directory /home/me/.snakemake"
    )
    said = []
    watched({"event": "error", "msg": message}, {"event": "error", "msg": KILLED}, said=said)
    assert said == [failures.DISK_FULL]


def test_slurms_cause_comes_before_the_jobs_own_error(logs):
    job = AnnouncedJob("score", {"shard": "00"}, [logs("own", OWN)], {"mem_mb": 400})
    text = str(failures.diagnose([job], 3, FAILED.format(30, "FAILED"), [logs("30", MEMORY)]))
    assert "score (shard 00), 3 attempts\n    why:  OUT_OF_MEMORY with mem_mb 400\n" in text
    assert text.endswith("next: raise mem_mb for score in profiles/slurm/config.yaml")


def test_a_group_names_the_job_whose_log_ends_in_an_error(logs):
    texts = {"parse": logs("fine", "12:00:00 INFO 15 of 15\n"), "score": logs("broken", OWN)}
    texts["score_embeddings"] = "nowhere.log"
    jobs = [AnnouncedJob(rule, {"shard": "00"}, [log]) for rule, log in texts.items()]
    found = failures.diagnose(jobs, 1, "", [logs("31", KILLED)])
    assert found.job is jobs[1]
    assert "score (shard 00), with the other 2 of its group" in str(found)
    assert "must end with PAR1" in found.cause.text


def test_a_group_that_slurm_ended_is_named_as_a_whole(logs):
    jobs = [AnnouncedJob(rule, logs=["nowhere.log"]) for rule in ("parse", "score")]
    text = str(failures.diagnose(jobs, 1, "", [logs("31", TIME)]))
    assert text.startswith("a group of 2 jobs: parse, score\n    why:  TIMEOUT\n")
    assert "nowhere" not in text


def test_the_log_of_an_earlier_run_is_not_the_cause(logs, tmp_path):
    own = logs("own", OWN)
    job = AnnouncedJob("score", logs=[own], since=(tmp_path / "own").stat().st_mtime + 3600)
    text = str(failures.diagnose([job], 1, "", []))
    assert "why:  unknown" in text
    assert f"log:  {own} (of an earlier attempt)" in text


def test_a_log_that_cannot_be_read_is_reported(tmp_path):
    job = AnnouncedJob("score", logs=[str(tmp_path)])
    text = str(failures.diagnose([job], 1, "", ["nowhere.log"]))
    assert f"log:  {tmp_path} (cannot be read: Is a directory)" in text
    assert "log:  nowhere.log (cannot be read: No such file or directory)" in text


def watched(*events: dict, said: list[str] | None = None) -> Watch:
    watch = Watch(said.append if said is not None else str)
    for fields in events:
        watch.handle(logging.makeLogRecord(fields))
    return watch


def finished(*numbers: int) -> SimpleNamespace:
    return SimpleNamespace(finished_jobs=[SimpleNamespace(jobid=number) for number in numbers])


def info(number: int, **wildcards: str) -> dict:
    fields = {"rule_name": "score", "wildcards": wildcards, "log": [], "resources": {}}
    return {"event": "job_info", "jobid": number, **fields}


def group_error(*numbers: int) -> dict:
    jobs = [{"jobid": number, "rule_name": "score", "log": []} for number in numbers]
    return {"event": "group_error", "groupid": "texts_00", "aux_logs": [], "job_error_info": jobs}


def test_a_group_that_succeeds_later_has_not_failed():
    said = []
    total = {"event": "run_info", "stats": {"total": 4}}
    watch = watched(total, info(1), info(2), group_error(1, 2), group_error(1, 2), said=said)
    counts, recovered, *_ = failures.report(watch, finished(1, 2)).split("\n\n")
    assert counts == "2 of 4 jobs are done, none failed, 2 did not run because the run was stopped."
    assert recovered.endswith("    2 of score, an error")
    assert said == [f"a group of 2 jobs: score, attempt {attempt}: unknown" for attempt in (1, 2)]


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ([143, 1], "0 of 9 jobs are done, 1 failed, 1 was stopped, 7 did not run because of that."),
        (
            [143, 143],
            "0 of 9 jobs are done, none failed, 2 were stopped, 7 did not run because the run was "
            "stopped.",
        ),
    ],
)
def test_stopped_jobs_have_not_failed(numbers, said):
    error = {"event": "job_error", "rule_name": "score", "log": [], "indent": False}
    errors = [
        error | {"jobid": place, "rule_msg": status(number)} for place, number in enumerate(numbers)
    ]
    watch = watched({"event": "run_info", "stats": {"total": 9}}, info(0), info(1), *errors)
    assert failures.report(watch, finished()).split("\n\n")[0] == said


def test_many_failures_are_summarized():
    error = {"event": "job_error", "rule_name": "score", "log": [], "indent": False}
    error["rule_msg"] = FAILED.format(7, "NODE_FAIL")
    errors = [error | {"jobid": number} for number in range(500)]
    text = failures.report(watched(*map(info, range(500)), *errors), finished())
    assert "500 failed" in text
    assert "And 480 more: 480 score." in text
    assert len(text.splitlines()) < 100


def test_an_event_that_cannot_be_read_is_reported_and_stops_nothing():
    watch = watched({"event": "job_info"}, {"event": "run_info", "stats": {"total": 4}})
    text = failures.report(watch, finished(7, 8, 9))
    assert "3 of 4 jobs are done" in text
    assert "could not be read (AttributeError" in text


def test_a_report_that_fails_says_so_in_one_line():
    said = "There is no report of what failed: AttributeError"
    assert failures.report(watched(), None).startswith(said)


SNAKEFILE = f"""
import sys
sys.path.insert(0, {str(SCRIPTS)!r})
from imagenet_think.run import failures, workflow_hooks
from snakemake.logging import logger
watch = failures.Watch(logger.error)
logger.addHandler(watch)
onerror:
    logger.error(failures.report(watch, workflow.dag))
"""


@pytest.fixture
def failed_run(tmp_path):
    """A function that runs some rules, which fail, and returns what Snakemake printed."""

    def run(rules: str, *options: object, path: str = os.environ["PATH"]) -> str:
        (tmp_path / "Snakefile").write_text(SNAKEFILE + textwrap.dedent(rules))
        done = subprocess.run(
            [Path(sys.executable).parent / "snakemake", *options],
            cwd=tmp_path,
            env=os.environ | {"PATH": path},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # signals to the process group stay here
            timeout=120,  # without `patch_slurm`, it waits forever for a group
        )
        assert done.returncode != 0
        return done.stdout

    return run


@pytest.mark.slow
@pytest.mark.parametrize("quiet", [[], ["--quiet", "progress"]], ids=["loud", "quiet"])
def test_a_real_run(failed_run, quiet):
    rules = """
        rule all:
            input: "broken", "flaky", "killed", "missing"
        rule broken:
            output: "of_{x}"
            log: "{x}.log"
            shell: "echo '12:00:00 ERROR no room on the disk' > {log}; exit 1"
        rule after:
            input: "of_a"
            output: "broken"
            shell: "touch {output}"
        rule flaky:
            output: "flaky"
            retries: 1
            shell: "test -e tried || (touch tried; exit 1); touch {output}"
        rule killed:
            output: "killed"
            shell: "kill -9 $$"
        rule missing:
            output: "missing"
            shell: "true"
    """
    text = failed_run(rules, "--cores", "2", "--keep-going", "--latency-wait", "0", *quiet)
    counts, *found = text[text.index("1 of 6 jobs are done") :].split("\n\n")
    assert counts == "1 of 6 jobs are done, 3 failed, 2 did not run because of that."
    whys = dict(text.split("\n    why:  ") for text in found[:3])
    assert whys["broken (x a)"].splitlines()[:2] == ["no room on the disk", "    log:  a.log"]
    assert whys["killed"].startswith("killed by SIGKILL")
    assert whys["missing"].startswith("completed successfully, but some output files are missing")
    assert "1 of flaky, an error" in found[3]


STOPPED_JOB = """
import os, signal, time
from imagenet_think.core.files import atomic_path
from imagenet_think.core.job import start_job
start_job()
with atomic_path(snakemake.output[0]) as path:
    path.write_text("half")
    {kill}
    time.sleep(600)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kill", "why", "advice", "left"),
    [
        ("os.killpg(0, signal.SIGINT)", "interrupted (SIGINT", "there is nothing to fix", 0),
        ("os.kill(os.getpid(), signal.SIGTERM)", "ended by SIGTERM", "there is nothing to fix", 0),
        ("os.kill(os.getpid(), signal.SIGKILL)", "killed by SIGKILL", "check whether it had", 1),
    ],
    ids=["ctrl-c", "sigterm", "sigkill"],
)
def test_a_real_run_that_is_stopped(failed_run, tmp_path, kill, why, advice, left):
    (tmp_path / "stopped.py").write_text(STOPPED_JOB.format(kill=kill))
    rules = f"""
        import os
        os.environ["PYTHONPATH"] = {str(SCRIPTS)!r}
        rule stopped:
            output: "out/a.csv"
            log: "a.log"
            script: "stopped.py"
    """
    text = failed_run(rules, "--cores", "1")
    _, cause, _, what_next = text[text.rindex("\nstopped\n") :].split("\n")[1:5]
    assert cause.startswith(f"    why:  {why}")
    assert what_next.startswith(f"    next: {advice}")
    assert len(list((tmp_path / "out").glob("*"))) == left


@pytest.fixture
def submitted(tmp_path, failed_run):
    """A function that submits a group of two jobs with stand-ins for Slurm's commands."""
    commands = dict.fromkeys(("sinfo", "squeue", "scontrol", "sacct", "scancel"), "true")
    commands["sbatch"] = f"echo '{INVALID}' >&2; exit 1"
    commands["sacctmgr"] = "echo ours"  # the accounts that there are
    folder = tmp_path / "commands"
    folder.mkdir()
    for name, body in commands.items():
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)
    rules = """
        workflow_hooks.keep_messages_of_groups()
        workflow_hooks.patch_slurm(sys.modules["snakemake_executor_plugin_slurm"])
        rule all:
            input: "last"
        rule first:
            output: "first"
            group: "both"
            shell: "touch {output}"
        rule last:
            input: "first"
            output: "last"
            group: "both"
            shell: "touch {output}"
    """
    options = ["--executor", "slurm", "--jobs", "1", "--slurm-status-command", "squeue"]
    options += ["--slurm-init-seconds-before-status-checks", "1"]
    options += ["--default-resources", "runtime=1", "mem_mb=100", "disk_mb=1"]
    path = f"{folder}:{os.environ['PATH']}"
    return lambda resource: failed_run(rules, *options, resource, path=path)


@pytest.mark.slow
def test_a_refused_group_says_why_and_no_account_is_guessed(submitted):
    text = submitted("slurm_partition=nowhere")
    assert "SLURM account" not in text
    assert f"a group of 2 jobs: first, last, attempt 1: {INVALID}" in text.splitlines()
    assert f"why:  {INVALID}\n    next: fix partition, account" in text


@pytest.mark.slow
def test_a_group_with_an_unknown_account_says_so_and_is_not_waited_for(submitted):
    text = submitted("slurm_account=theirs")
    assert "why:  The given account theirs appears to be invalid. Available accounts: ours" in text
    assert "next: fix partition, account" in text
