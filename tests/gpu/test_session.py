"""The GPU session: every step on the device that is here, and what it does about bad steps."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import session
import torch
from session import Step

# What a step writes, and how one ends that has something to tell.
GOOD = {"finished": True, "checks": [{"name": "sums", "passed": True}], "lacking": ["a coffee"]}
BAD = {"finished": True, "checks": [{"name": "sums", "passed": False, "error": "5 is not 4"}]}
HALF = {"finished": False, "checks": [{"name": "sums", "passed": True}]}


def running(out, programs):
    """A command for each step: a Python program, after it has written what the step found."""

    def command(name, limit):
        found, program = programs[name]
        path = str(out / f"{name}.json")
        write = f"import pathlib; pathlib.Path({path!r}).write_text({json.dumps(found)!r})\n"
        return [sys.executable, "-c", (write if found else "") + program]

    return command


def run(out, programs, total=3600.0, seconds=100.0):
    steps = tuple(Step(name, seconds) for name in programs)
    return session.run_steps(running(out, programs), out, total, steps)


def test_steps_that_pass_give_status_0(tmp_path):
    summary = run(tmp_path, {"one": (GOOD, ""), "two": (GOOD, "")})
    assert (summary["every_step_ran"], summary["every_check_passed"]) == (True, True)
    assert session.exit_status(summary) == 0
    assert summary["lacking"] == ["a coffee"]
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
    page = (tmp_path / "summary.txt").read_text()
    assert "1 of 1 checks passed" in page
    assert "Lacking here:\n  - a coffee" in page


def test_a_step_whose_check_fails_is_named_and_gives_status_1(tmp_path):
    summary = run(tmp_path, {"one": (BAD, ""), "two": (GOOD, "")})
    assert [step["ran"] for step in summary["steps"]] == [True, True]
    assert session.exit_status(summary) == 1
    assert '    failed: sums {"error": "5 is not 4"}' in (tmp_path / "summary.txt").read_text()


@pytest.mark.parametrize(
    ("found", "program", "ending"),
    [
        (HALF, "raise SystemExit('no room on the device')", "ended with status 1"),
        (None, "import os; os.kill(os.getpid(), 11)", "ended with status -11"),
        (HALF, "", "ended without a result"),
        (None, "", "ended without a result"),
    ],
)
def test_a_step_that_does_not_come_to_its_end_stops_no_other(tmp_path, found, program, ending):
    summary = run(tmp_path, {"bad": (found, program), "good": (GOOD, "")})
    bad, good = summary["steps"]
    assert (bad["ran"], good["ran"]) == (False, True)
    assert bad["ending"] == ending
    assert bad["checks"] == (1 if found else 0)  # what it had found is kept
    assert session.exit_status(summary) == 2
    page = (tmp_path / "summary.txt").read_text()
    assert "not finished" in page
    assert ending in page
    assert ("no room on the device" in page) == ("no room" in program)


def test_a_step_beyond_its_time_is_ended_with_all_that_it_started(tmp_path):
    mark = f"600.{os.getpid()}"
    hanging = f"import subprocess; subprocess.run(['sleep', {mark!r}])"
    programs = {"hangs": (HALF, hanging), "good": (GOOD, "")}
    steps = (Step("hangs", 2), Step("good", 500))
    summary = session.run_steps(running(tmp_path, programs), tmp_path, session.TOTAL, steps)
    hung, good = summary["steps"]
    assert hung["ending"] == "ended after its time of 2 s"
    assert good["ran"]
    assert session.exit_status(summary) == 2
    lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not any(mark.encode() in line for line in lines)


def test_steps_for_which_no_time_is_left_are_named(tmp_path):
    summary = run(tmp_path, {"one": (GOOD, ""), "two": (GOOD, "")}, total=0.0)
    assert [step["ending"] for step in summary["steps"]] == ["not started: 0 s were left"] * 2
    assert session.exit_status(summary) == 2


def test_results_of_an_earlier_session_do_not_count(tmp_path):
    (tmp_path / "one.json").write_text(json.dumps(GOOD))
    summary = run(tmp_path, {"one": (None, "")})
    assert summary["steps"][0]["ending"] == "ended without a result"


def test_a_full_session_takes_at_most_nine_and_a_half_minutes():
    assert session.TOTAL <= 570
    named = sum(step.seconds or 0 for step in session.STEPS)
    assert session.STEPS[-1].seconds is None
    assert session.TOTAL - named > 120  # what is left is enough to measure three models


@pytest.mark.slow
def test_every_step_runs_with_tiny_shapes_on_the_device_that_is_here(tmp_path):
    """On the CPU too, so that a change of the engine does not leave the session behind."""
    done = subprocess.run(
        [sys.executable, session.__file__, "--tiny", "--models", "kimi-vl", "--out", tmp_path],
        capture_output=True,
        text=True,
    )
    page = (tmp_path / "summary.txt").read_text()
    assert done.returncode == 0, page
    assert page in done.stdout
    summary = json.loads((tmp_path / "summary.json").read_text())
    steps = {step["name"]: step for step in summary["steps"]}
    assert list(steps) == [step.name for step in session.STEPS]
    assert all(step["ran"] and not step["failed"] for step in steps.values()), page
    assert all(step["checks"] for name, step in steps.items() if name != "environment")
    assert steps["environment"]["measured"]["torch"] == torch.__version__
    times = steps["step_times"]["measured"]["kimi-vl"]
    assert min(times["step_ms_without_graphs"], times["prefill_ms"]) > 0
    assert steps["throughput"]["measured"]["Kimi-VL-A3B, in flight"]["steps"] > 0
    assert "Kimi-VL-A3B" in (tmp_path / "throughput.md").read_text()
    assert (tmp_path / "profile_kimi-vl.txt").stat().st_size
    lacking = "\n".join(summary["lacking"])
    if not torch.cuda.is_available():
        assert "no CUDA device" in lacking
        assert "flash_attention_2 cannot be had here" in lacking
