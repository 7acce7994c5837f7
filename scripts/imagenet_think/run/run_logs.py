"""What Snakemake's logs say about a run: which jobs failed, and whether it was killed."""

import re
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_ERROR = re.compile(
    r"^(?:Error in rule| {8}rule) (?P<rule>\w+):\n"
    r"(?P<told>(?: +(?:message|jobid|input|output|log): .*\n)*)",
    re.MULTILINE,
)
_TOLD = re.compile(r"^ +(output|log): (.*?)(?: \(check log file.*)?$", re.MULTILINE)
_STATUS = re.compile(r"^status +1\ntotal +1$|^(?:local)?rule status:$", re.MULTILINE)
_HOST = re.compile(r"^ +Host: (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Failure:
    """A job that failed.

    Attributes
    ----------
    rule
        Its rule.
    outputs, logs
        Its output and log files.
    """

    rule: str
    outputs: tuple[str, ...]
    logs: tuple[str, ...]

    def __str__(self) -> str:
        return f"failed: {self.rule}, see {', '.join(self.logs) or self.outputs[0]}"


def read_failures(folder: str | Path, results: str) -> list[Failure]:
    """Return the jobs that failed in the latest run, also if a later attempt succeeded.

    Parameters
    ----------
    folder
        Snakemake's logs.
    results
        The run's folder. A log that does not mention it is that of a different run.
    """
    for _, text in _logs(folder, results):
        return [_failure(found) for found in _ERROR.finditer(text)]
    return []


def was_killed(folder: str | Path, results: str, since: float) -> bool:
    """Return whether the Snakemake that locked the working directory is known to be gone.

    It keeps its log open as long as it lives, which only its own host can see; so the answer is
    False where it may run on a different host.

    Parameters
    ----------
    folder, results
        As for `read_failures`.
    since
        Seconds since the epoch at which the lock was taken.
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


def _failure(found: re.Match) -> Failure:
    told = {name: tuple(paths.split(", ")) for name, paths in _TOLD.findall(found["told"])}
    return Failure(found["rule"], told.get("output", ()), told.get("log", ()))


def _open_files() -> Iterator[Path]:
    """Yield the files that processes of this host hold open, as far as they may be seen."""
    for place in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):  # the process has just ended, or belongs to somebody else
            yield place.readlink()
