"""The GPU session: every step on the device that is here, and what it does about bad steps."""

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import session
import steps
import torch
from session import Step
from transformers.utils import is_flash_attn_2_available

from imagenet_think.inference.engines.hardware import choose_hardware

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
    all_steps = tuple(Step(name, seconds) for name in programs)
    return session.run_steps(running(out, programs), out, total, all_steps)


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
    both = (Step("hangs", 2), Step("good", 500))
    summary = session.run_steps(running(tmp_path, programs), tmp_path, session.TOTAL, both)
    hung, good = summary["steps"]
    assert hung["ending"] == "ended after its time of 2 s"
    assert good["ran"]
    assert session.exit_status(summary) == 2
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(FileNotFoundError, ProcessLookupError):  # others come and go
            assert mark.encode() not in path.read_bytes()


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


# Every step on the device that is here: a change of the engine must not leave the session behind.


@pytest.fixture
def record_of(tmp_path):
    """A function that runs a step with tiny shapes and returns what it wrote."""

    def run_step(name):
        hardware = choose_hardware(dict.fromkeys(("device", "dtype", "attention"), "auto"))
        setting = steps.Setting(tmp_path, True, 3600.0, ["kimi-vl"], hardware)
        record = steps.Record(tmp_path / f"{name}.json", name)
        steps.STEPS[name](setting, record)
        record.finish()
        found = json.loads((tmp_path / f"{name}.json").read_text())
        assert found["finished"]
        assert [check for check in found["checks"] if not check["passed"]] == []
        return found

    return run_step


def test_the_session_has_every_step():
    assert list(steps.STEPS) == [step.name for step in session.STEPS]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "checks", "lacking"),
    [
        ("kernels", 4 * 2 * 2 * 2, "a plain kernel replaces that of pages"),
        ("reference", 4 * 2 * 2, "flash_attention_2 cannot be had here"),
        ("graphs", 4 * 3, "nothing is captured"),
    ],
)
def test_a_step_passes_its_checks_and_names_what_it_lacks(record_of, name, checks, lacking):
    found = record_of(name)
    if not torch.cuda.is_available():
        assert len(found["checks"]) == checks
        assert any(lacking in what for what in found["lacking"])


@pytest.mark.slow
def test_a_device_that_is_too_full_ends_in_fewer_rows(record_of):
    found = record_of("out_of_memory")
    if not torch.cuda.is_available():
        assert [bool(check["bounds"]) for check in found["checks"]] == [True] * 4
        assert "no CUDA device: running out of memory is simulated" in found["lacking"]


@pytest.mark.slow
def test_the_times_of_a_step_are_measured(record_of, tmp_path):
    times = record_of("step_times")["measured"]["kimi-vl"]
    assert min(times["step_ms_without_graphs"], times["sampler_ms"], times["prefill_ms"]) > 0
    assert (times["step_ms_with_graphs"] is None) == (not torch.cuda.is_available())
    assert "Self CPU" in (tmp_path / "profile_kimi-vl.txt").read_text()


@pytest.mark.slow
def test_the_throughput_is_measured(record_of, tmp_path):
    found = record_of("throughput")
    assert found["measured"]["Kimi-VL-A3B, in flight"]["steps"] > 0
    assert "| Kimi-VL-A3B | in flight |" in (tmp_path / "throughput.md").read_text()


def test_a_case_that_raises_is_a_failed_check_and_the_next_one_is_tried(tmp_path):
    record = steps.Record(tmp_path / "one.json", "one")
    with record.case("first"):
        raise RuntimeError("illegal memory access")
    record.check("second", True)
    found = json.loads((tmp_path / "one.json").read_text())
    assert [check["passed"] for check in found["checks"]] == [False, True]
    assert found["checks"][0]["error"] == "RuntimeError: illegal memory access"
    assert not found["finished"]


@pytest.mark.slow
def test_a_session_runs_as_one_command(tmp_path):
    command = [sys.executable, session.__file__, "--out", tmp_path, "--steps", "environment"]
    done = subprocess.run([*command, "--tiny"], capture_output=True, text=True)
    page = (tmp_path / "summary.txt").read_text()
    assert done.returncode == 0, page
    assert page in done.stdout
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["steps"][0]["measured"]["torch"] == torch.__version__
    if not is_flash_attn_2_available():
        assert "flash-attn is not installed" in page
    if not torch.cuda.is_available():
        assert "no CUDA device" in page
        refused = subprocess.run(command, capture_output=True, text=True)
        assert refused.returncode == 2
        assert "no CUDA device here; --tiny runs on the CPU" in refused.stdout
