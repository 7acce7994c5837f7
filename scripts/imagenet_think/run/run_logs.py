"""What Snakemake's logs say about a run: which jobs failed, and whether it was killed."""

import re
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_ERROR = re.compile(
    r"^(?:Error in rule| {8}rule) (?P<rule>\w+):\n"
    r"(?P<lines>(?: +(?:message|jobid|input|output|log): .*\n)*)",
    re.MULTILINE,
)
_FILES = re.compile(r"^ +(output|log): (.*?)(?: \(check log file.*)?$", re.MULTILINE)
_STATUS = re.compile(r"^status +1\ntotal +1$|^(?:local)?rule status:$", re.MULTILINE)
_HOST = re.compile(r"^ +Host: (.+)$", re.MULTILINE)


class FailedJob(NamedTuple):
    """A job that failed: its rule, output files and log files."""

    rule: str
    outputs: tuple[str, ...]
    logs: tuple[str, ...]

    def __str__(self) -> str:
        return f"failed: {self.rule}, see {', '.join(self.logs) or self.outputs[0]}"


def read_failures(folder: str | Path, results: str) -> list[FailedJob]:
    """Return the jobs that failed in the latest run, even if a later attempt succeeded.

    `folder` has Snakemake's logs; one that does not mention `results` belongs to a different run.
    """
    _, text = next(_logs(folder, results), (None, ""))
    found = []
    for error in _ERROR.finditer(text):
        files = {name: tuple(paths.split(", ")) for name, paths in _FILES.findall(error["lines"])}
        found.append(FailedJob(error["rule"], files.get("output", ()), files.get("log", ())))
    return found


def was_killed(folder: str | Path, results: str, since: float) -> bool:
    """Return whether the Snakemake that locked the working directory is known to be gone.

    A running Snakemake keeps its log open, which only its own host can see: the answer is False if
    it may run on a different host. `since` is when it took the lock, in seconds since the epoch.
    """
    logs = {path: text for path, text in _logs(folder, results) if path.stat().st_mtime >= since}
    hosts = {found[1] if (found := _HOST.search(text)) else None for text in logs.values()}
    return hosts == {socket.gethostname()} and logs.keys().isdisjoint(_open_files())


def _logs(folder: str | Path, results: str) -> Iterator[tuple[Path, str]]:
    """Yield the logs of a run with their text, the latest first; `status` is not a run."""
    for path in sorted(Path(folder).resolve().glob("*.snakemake.log"), reverse=True):
        text = path.read_text(encoding="utf-8", errors="replace")
        if f"{results}/" in text and not _STATUS.search(text):
            yield path, text


def _open_files() -> Iterator[Path]:
    """Yield the files that processes on this host have open, as far as this user may see them."""
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):  # the process has just ended, or belongs to another user
            yield link.readlink()
