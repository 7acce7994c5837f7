"""What is read from Snakemake's logs."""

import os
import socket

import pytest

from imagenet_think.run.run_logs import FailedJob, read_failures, was_killed

LOG = f"""  Host: {socket.gethostname()}
Job stats:
job    count
-----  -----
score      2
total      2

[Sat Nov 21 13:04:35 2026]
Error in rule score:
    message: None
    jobid: 96
    input: in/00.parquet, in/01.parquet
    output: results/r/00.parquet, results/r/01.parquet
    log: logs/score/00.log (check log file(s) for error details)
Execute 1 jobs...
[Sat Nov 21 13:05:35 2026]
Error in group 1234:
    log: slurm.log (check log file(s) for error details)
    jobs:
        rule parse:
            jobid: 3
            output: parsed/00.parquet
        rule measure:
            jobid: 4
            output: measured/00.parquet
            log: logs/measure.log (check log file(s) for error details)
"""
OWN_LOG = "Job stats:\njob       count\n------  -------\nstatus        1\ntotal         1\n"


FIRST = "2026-11-20T010101.1.snakemake.log"
SECOND = "2026-11-21T010101.1.snakemake.log"
LAST = "2026-11-22T010101.1.snakemake.log"


def test_failures_are_those_of_the_last_run_of_this_config(tmp_path):
    (tmp_path / FIRST).write_text(LOG.replace("results/r/0", "results/r/1"))
    (tmp_path / SECOND).write_text(LOG)
    (tmp_path / LAST).write_text(LOG.replace("results/r/", "results/different/"))
    assert read_failures(tmp_path, "results/r") == [
        FailedJob(
            "score", ("results/r/00.parquet", "results/r/01.parquet"), ("logs/score/00.log",)
        ),
        FailedJob("parse", ("parsed/00.parquet",), ()),
        FailedJob("measure", ("measured/00.parquet",), ("logs/measure.log",)),
    ]
    assert read_failures(tmp_path / "none", "results/r") == []


@pytest.mark.parametrize("own", [OWN_LOG, "localrule status:\n    log: a\n"])
def test_status_is_not_a_run(tmp_path, own):
    (tmp_path / FIRST).write_text(LOG)
    (tmp_path / LAST).write_text(f"{own}failed in results/r/")
    assert len(read_failures(tmp_path, "results/r")) == 3


def test_a_snakemake_lives_while_its_log_is_open(tmp_path):
    log = tmp_path / FIRST
    with log.open("w") as file:
        file.write(LOG)
        file.flush()
        assert not was_killed(tmp_path, "results/r", since=0)
    assert was_killed(tmp_path, "results/r", since=0)


@pytest.mark.parametrize("host", ["  Host: login2\n", ""])
def test_a_snakemake_that_may_run_on_a_different_host_is_not_called_killed(tmp_path, host):
    (tmp_path / FIRST).write_text(LOG.replace(f"  Host: {socket.gethostname()}\n", host))
    assert not was_killed(tmp_path, "results/r", since=0)


def test_logs_from_before_the_lock_do_not_count(tmp_path):
    (tmp_path / FIRST).write_text(LOG)
    os.utime(tmp_path / FIRST, (50, 50))
    assert was_killed(tmp_path, "results/r", since=40)
    assert not was_killed(tmp_path, "results/r", since=60)
