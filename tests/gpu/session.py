"""The whole GPU session: every step of `steps.py` in a process of its own, within 9.5 minutes.

Run as `python tests/gpu/session.py [--out FOLDER]` on a machine with an NVIDIA GPU of 80 GB or
more; `--tiny` runs the same code with tiny shapes, also on the CPU. Each step has a time limit. A
step that fails, crashes or runs out of time does not stop the others, and what it had found is
kept. At the end `summary.json` and `summary.txt` say what happened. Exit status: 0 if every step
ran to its end and every check passed, 1 if a check failed, 2 if a step did not run to its end.
"""

import argparse
import contextlib
import datetime
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

SCRIPT = Path(__file__).with_name("steps.py")
TOTAL = 560.0  # seconds of the whole session
TINY_TOTAL = 7200.0  # tiny shapes take a minute; a slow machine is no reason to end them
LEAST = 0.03  # of the whole time: with less left, a step is not started
MODELS = ("glm-4.1v", "kimi-vl", "r1-onevision")  # the fine-tunes of Qwen2.5-VL-7B have one shape
MARGIN = 25.0  # seconds in which a step starts, builds its model and ends


# Seconds that each step may take of a full session; the most informative for the least time first.
STEPS = {
    "environment": 20,
    "kernels": 45,
    "reference": 75,
    "host_syncs": 40,
    "estimate": 25,
    **{f"step_times-{key}": 46 for key in MODELS},
    "out_of_memory": 40,
    **{f"throughput-{key}": 58 for key in MODELS},
}

Command = Callable[[str, float], list[str]]


def run_steps(
    command: Command, out: Path, total: float, steps: Mapping[str, float] = STEPS
) -> dict:
    """Run the steps one after the other, and write a summary after each; return the summary.

    `command` gives the command of a step from its name and its time limit in seconds. `out` is the
    folder for results (`<step>.json`), output (`<step>.log`) and summary. `total` are the seconds
    of the session, to which the limits of the steps are in proportion.
    """
    out.mkdir(parents=True, exist_ok=True)
    for name in steps:  # of an earlier session
        (out / f"{name}.json").unlink(missing_ok=True)
    begin, found = time.monotonic(), []
    for name, seconds_of_full in steps.items():
        left = begin + total - time.monotonic()
        limit = min(left, seconds_of_full * total / TOTAL)
        if left <= LEAST * total:
            ending, seconds = f"not started: {max(0, left):.0f} s were left", 0.0
        else:
            print(f"{name} (at most {limit:.0f} s)", flush=True)
            ending, seconds = run(command(name, limit), limit, out / f"{name}.log")
        found.append(outcome(name, ending, seconds, out))
        summary = {
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - begin, 1),
            "every_step_ran": len(found) == len(steps) and all(step["ran"] for step in found),
            "every_check_passed": not any(step["failed"] for step in found),
            "lacking": list(dict.fromkeys(what for step in found for what in step["lacking"])),
            "steps": found,
        }
        (out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
        (out / "summary.txt").write_text(as_text(summary) + "\n", encoding="utf-8")
    return summary


def run(command: list[str], limit: float, log: Path) -> tuple[str, float]:
    """Run a command; at its time limit, kill it with all that it started.

    Returns how it ended, in words (empty if well), and the seconds that it took.
    """
    begin = time.monotonic()
    with log.open("w") as file:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = process.wait(limit)
            ending = f"ended with status {status}" if status else ""
        except subprocess.TimeoutExpired:
            ending = f"ended after its time of {limit:.0f} s"
        finally:
            with contextlib.suppress(ProcessLookupError):  # nothing is left of it
                os.killpg(process.pid, signal.SIGKILL)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            ending += ", and cannot be killed"  # it waits inside the driver
    return ending, round(time.monotonic() - begin, 1)


def outcome(name: str, ending: str, seconds: float, out: Path) -> dict:
    """Return a step's part of the summary, from its file, its log and how it ended.

    `ran` says whether it finished, `failed` names the checks that failed.
    """
    path, log = out / f"{name}.json", out / f"{name}.log"
    record = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    checks = record.get("checks", [])
    ran = not ending and record.get("finished", False)
    failed = [check for check in checks if not check["passed"]]
    if not ran and not ending:
        ending = "ended without a result"
    tail = log.read_text(errors="replace").splitlines()[-15:] if log.exists() and not ran else []
    return {
        "name": name,
        "ran": ran,
        "ending": ending,
        "seconds": seconds,
        "checks": len(checks),
        "failed": failed,
        "lacking": record.get("lacking", []),
        "measured": record.get("measured", {}),
        "estimated": record.get("estimated", {}),
        "log": tail,
    }


def as_text(summary: dict) -> str:
    """Return the summary as a page of plain text."""
    lines = [f"GPU session, {summary['date']}, {summary['seconds']:.0f} s", ""]
    for step in summary["steps"]:
        state = "not finished" if not step["ran"] else "failed" if step["failed"] else "passed"
        passed = f"{step['checks'] - len(step['failed'])} of {step['checks']} checks passed"
        line = f"{step['name']:<23} {state:<13} {step['seconds']:>6.1f} s  {passed}"
        lines.append(f"{line}  {step['ending']}".rstrip())
        for check in step["failed"]:
            values = {k: v for k, v in check.items() if k not in ("name", "passed")}
            lines.append(f"    failed: {check['name']} {json.dumps(values)[:400]}")
        lines += [f"    | {line}" for line in step["log"]]
    lines += ["", "Lacking here:"]
    lines += [f"  - {what}" for what in summary["lacking"]] or ["  nothing"]
    for kind, title in (("measured", "Measured:"), ("estimated", "Estimated, not measured:")):
        lines += ["", title]
        for step in summary["steps"]:
            for name, value in step[kind].items():
                lines.append(f"  {step['name']}, {name}: {json.dumps(value)}")
    return "\n".join(lines)


def exit_status(summary: dict) -> int:
    """Return 0, 1 if a check failed, or 2 if a step did not run to its end."""
    if not summary["every_step_ran"]:
        return 2
    return 0 if summary["every_check_passed"] else 1


def main() -> int:
    """Run the session and print its summary."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("results/gpu_session"))
    parser.add_argument("--tiny", action="store_true", help="tiny shapes, to try the code")
    parser.add_argument("--seconds", type=float, help="time in all (560; 7200 with --tiny)")
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=STEPS)
    given = parser.parse_args()
    options = ["--out", str(given.out)]
    options += ["--tiny"] if given.tiny else []

    def command(name: str, limit: float) -> list[str]:
        seconds = max(1.0, limit - MARGIN)
        return [sys.executable, "-u", str(SCRIPT), name, *options, "--seconds", f"{seconds:.0f}"]

    total = given.seconds or (TINY_TOTAL if given.tiny else TOTAL)
    steps = {name: seconds for name, seconds in STEPS.items() if name in given.steps}
    summary = run_steps(command, given.out, total, steps)
    print(as_text(summary))
    print(f"\nAll of it is in {given.out}.")
    return exit_status(summary)


if __name__ == "__main__":
    sys.exit(main())
