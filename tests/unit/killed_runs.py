"""Runs of `generate_responses` with `kill -9` at random moments.

It imports everything and loads the model once, then forks a worker for each attempt at a run, as
importing again would take seconds. It starts no threads itself (as polars would), because they do
not survive a fork.

`python killed_runs.py plan.json` makes an undisturbed run in `<folder>/whole`, then runs in
`<folder>/0`, `<folder>/1` and so on, until enough workers have been killed; every run is continued
until it finishes. It prints what happened, as JSON: a list of attempts for each run.
"""

import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from journal_rows import journal_rows

from generate_responses import generate_responses
from imagenet_think.inference import journal as journals
from imagenet_think.inference.engines import Request, Response, transformers_engine
from imagenet_think.inference.generation import Task

TORN = 0.2
"""Share of workers that die while writing a line; the others die at any moment."""


class Noted:
    """An engine that notes each request it takes and each response it gives."""

    def __init__(self, engine, notes: Path):
        self.engine, self.record = engine, engine.record
        self.close = engine.close
        self.notes = os.open(notes, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def generate(self, requests: Iterator[Request]) -> Iterator[Response]:
        for response in self.engine.generate(map(self.noted, requests)):
            self.note("given", response.key)
            yield response

    def noted(self, request: Request) -> Request:
        self.note("taken", request.key)
        return request

    def note(self, what: str, key: str) -> None:
        os.write(self.notes, f"{what} {key}\n".encode())


def work(call: dict, folder: Path, engine, notes: Path, torn: tuple[int, float] | None) -> None:
    """Be a worker: generate all responses, or die while writing a certain line of the journal."""
    transformers_engine.load = lambda *settings, **more: Noted(engine, notes)
    if torn:
        lines, share = torn
        write = journals._write

        def write_or_die(file, line: bytes) -> None:
            nonlocal lines
            lines -= 1
            if lines < 0:
                file.write(line[: int(share * len(line))])
                os.kill(os.getpid(), signal.SIGKILL)
            write(file, line)

        journals._write = write_or_die
    outputs = [str(folder / "responses" / Path(file).name) for file in call["images"]]
    journal = str(folder / "journal")
    generate_responses(Task(**call["task"]), call["images"], outputs, journal)


def attempt(worker: Callable[[], None], seconds: float | None) -> int:
    """Fork a worker, kill it after some seconds, and return how it ended."""
    pid = os.fork()
    if pid == 0:
        try:
            worker()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def held(folder: Path) -> list[str]:
    """Return the images in the journals of a run."""
    files = sorted((folder / "journal").glob("*.jsonl"))
    return [row["image_id"] for row in journal_rows(*files)]


def main(plan: dict) -> list[list[dict]]:
    call, root, kills = plan["call"], Path(plan["folder"]), plan["kills"]
    settings = call["task"]["settings"]
    model = settings["model"]
    engine = transformers_engine.load(
        model,
        loop=settings["length_policy"]["loop"],
        checkpoint=(model["repository"], None),
        processor=(model["repository"], None),
        inference=call["task"]["inference"],
        threads=1,
    )
    rng = random.Random(plan["seed"])
    start = time.monotonic()
    notes = root / "whole.notes"
    assert attempt(partial(work, call, root / "whole", engine, notes, None), None) == 0
    whole = time.monotonic() - start
    runs: list[list[dict]] = []
    while kills > 0:
        folder, attempts, patience = root / str(len(runs)), [], plan["share"] * whole
        while not attempts or attempts[-1]["end"] != 0:
            before, notes = held(folder), root / f"{len(runs)}.{len(attempts)}.notes"
            torn = (rng.randrange(8), rng.random()) if rng.random() < TORN else None
            seconds = None if torn else rng.uniform(0, patience)
            end = attempt(partial(work, call, folder, engine, notes, torn), seconds)
            lines = notes.read_text().splitlines() if notes.exists() else []
            attempts.append(
                {
                    "end": end,
                    "torn": torn is not None,
                    "before": before,
                    "after": held(folder),
                    "taken": [line[6:] for line in lines if line.startswith("taken ")],
                    "given": [line[6:] for line in lines if line.startswith("given ")],
                }
            )
            kills -= end == -signal.SIGKILL
            patience *= 1.1  # so that a run finishes on a slow machine too
            if end not in (0, -signal.SIGKILL):
                return [*runs, attempts]
        runs.append(attempts)
    return runs


if __name__ == "__main__":
    print(json.dumps(main(json.loads(Path(sys.argv[1]).read_text()))))
