"""Locks: one worker at a time, also across hosts that share a file system.

A lock is a small file that names its holder: host, process, start. Only one worker can create it
(`O_EXCL`, also on NFS since version 3), and its holder touches it every `HEARTBEAT` seconds. A
holder may die without releasing it, so a stale lock is removed. A lock is stale

- on the machine of its holder: when that process has ended. A zombie, or a later process with the
  same number, does not count.
- on any other machine, which cannot know: when it has not been touched for `SILENCE` seconds.

A worker that finds the lock of a live worker refuses. It watches a lock of another machine until it
is touched or stale: the holder may just have died, and its job may have been restarted here. Ages
are differences of times given by the file system, not by the clocks of two hosts.

A stale lock is removed under a second lock, after another look at it: what a slower worker finds
may be the lock of a faster one. A holder that was silent for too long (its machine was suspended)
and lost its lock finds out from `Lock.check`, and must stop.
"""

import json
import logging
import os
import secrets
import socket
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from imagenet_think.core import processes
from imagenet_think.core.numbers import whole

logger = logging.getLogger(__name__)

HEARTBEAT = 30.0
"""Seconds between touches of a lock."""

SILENCE = 600.0
"""Seconds without a touch after which a holder on another machine counts as dead."""


class LockError(RuntimeError):
    """Another worker holds the lock, or has taken it over."""


@dataclass(frozen=True)
class Owner:
    """The holder of a lock."""

    host: str
    pid: int
    machine: str  # the scope of `pid`: the machine since its last boot, and the container
    process: str | None  # distinguishes it from a later one with the same number, if known
    since: float  # seconds since the epoch, by the clock of its host
    token: str  # random, different for each lock

    @classmethod
    def this_process(cls) -> "Owner":
        """Return this process as an owner with a new token."""
        pid, token = os.getpid(), secrets.token_hex(8)
        host, start = socket.gethostname(), processes.start_of(pid)
        return cls(host, pid, processes.machine(), start, time.time(), token)

    def alive(self) -> bool | None:
        """Return whether the process exists, or None if that cannot be known on this machine."""
        if self.machine != processes.machine():
            return None
        return processes.is_alive(self.pid, self.process)

    def __str__(self) -> str:
        since = datetime.fromtimestamp(self.since, UTC).isoformat(sep=" ", timespec="seconds")
        age = timedelta(seconds=max(0, round(time.time() - self.since)))
        return f"process {self.pid} on {self.host} since {since} (for {age})"


@dataclass(frozen=True)
class _Seen:
    """A lock file as found: its holder (None if the file is not valid), and its last touch."""

    owner: Owner | None
    touched: float

    def alive(self) -> bool | None:
        return self.owner.alive() if self.owner else None

    def __str__(self) -> str:
        return str(self.owner or "an unknown process")


class Lock:
    """A lock that is held between `acquire` and `release`, or as a context.

    The folder of its file must exist. `.<name>.claim` beside it belongs to the lock too.
    """

    def __init__(self, path: str | Path, *, heartbeat: float = HEARTBEAT):
        self.path = Path(path)
        self.heartbeat = heartbeat
        self.owner = Owner.this_process()
        self._released = threading.Event()
        self._pulse = threading.Thread(target=self._beat, name=f"lock {path}", daemon=True)

    def __enter__(self) -> "Lock":
        self.acquire()
        return self

    def __exit__(self, *error: object) -> None:
        self.release()

    def acquire(self) -> None:
        """Take the lock, once.

        Raises
        ------
        LockError
            If a live worker holds it; the message names it and says what to do.
        """
        watched: _Seen | None = None
        while not self._created():
            seen = _look(self.path)
            if seen is None:
                continue  # just released
            silent = _now(self.path.parent) - seen.touched
            alive = seen.alive()
            # One that names nobody may be about to be written: its age counts at a second look.
            counts = seen.owner is not None or seen == watched
            if alive is False or (alive is None and silent > SILENCE and counts):
                self._remove(seen)
            elif alive or (watched is not None and seen != watched):
                raise LockError(
                    f"{self.path}: held by {seen}, last sign of life {max(0, round(silent))} s "
                    "ago. Only one worker can write here: wait until it has ended, or end it, and "
                    "run again. If you are certain that it has ended, delete this file and run "
                    "again."
                )
            else:
                if watched is None:
                    watched = seen
                    text = "%s: held by %s; waiting up to %s s for a sign of life"
                    logger.warning(text, self.path, seen, whole(max(0, SILENCE - silent)))
                time.sleep(self.heartbeat / 20)
        self._pulse.start()

    def check(self) -> None:
        """Check that the lock is still held.

        Raises
        ------
        LockError
            If it was taken over or removed. The caller must stop writing.
        """
        seen = _look(self.path)
        if seen is None or seen.owner != self.owner:
            taken = "it was removed" if seen is None else f"it is now held by {seen}"
            raise LockError(
                f"{self.path}: this worker (process {self.owner.pid} on {self.owner.host}) lost "
                f"its lock, {taken}. It stops here; what it has written is kept."
            )

    def release(self) -> None:
        """Release the lock, if it is still held; in a forked child, do nothing."""
        if os.getpid() != self.owner.pid:
            return
        self._released.set()
        self._pulse.join()
        try:
            self.check()
        except LockError as error:
            logger.warning("%s", error)
        else:
            self.path.unlink(missing_ok=True)

    def _created(self) -> bool:
        """Create the lock file; return False if there is one."""
        try:
            file = self.path.open("x")
        except FileExistsError:
            return False
        try:
            with file:
                json.dump(asdict(self.owner), file)
        except BaseException:
            self.path.unlink()
            raise
        return True

    def _beat(self) -> None:
        while not self._released.wait(self.heartbeat):
            try:
                self.check()
                os.utime(self.path)
            except LockError:
                return  # the worker finds out from `check`
            except OSError as error:
                logger.warning("%s: cannot be touched: %s", self.path, error)

    def _remove(self, stale: _Seen) -> None:
        """Remove a stale lock, unless another worker was faster."""
        claim = self.path.with_name(f".{self.path.name.lstrip('.')}.claim")
        try:
            with Lock(claim, heartbeat=self.heartbeat):
                if _look(self.path) == stale:
                    self.path.unlink()
                    logger.warning("%s: removed, since its holder has ended: %s", self.path, stale)
        except LockError:
            time.sleep(0.01)  # another worker is removing it


def held(path: Path, now: float) -> bool:
    """Return whether a live worker seems to hold a lock; `now` is in seconds since the epoch.

    Nothing is taken or written, so the answer may be outdated when it is used.
    """
    seen = None
    with suppress(OSError):
        seen = _look(path)
    if seen is None or seen.owner is None:
        return False
    alive = seen.alive()
    return now - seen.touched < SILENCE if alive is None else alive


def _look(path: Path) -> _Seen | None:
    try:
        # Open it first: a network file system updates the times only of open files.
        with path.open("rb") as file:
            content, touched = file.read(), os.fstat(file.fileno()).st_mtime
    except FileNotFoundError:
        return None
    try:
        owner = Owner(**json.loads(content))
        str(owner)  # fails if its time is none
        valid = isinstance(owner.pid, int) and 0 < owner.pid < 2**31
        return _Seen(owner if valid else None, touched)
    except (ValueError, TypeError, RecursionError, OverflowError, OSError):
        return _Seen(None, touched)


def _now(folder: Path) -> float:
    """Return the time by the clock of the folder's file system."""
    with tempfile.TemporaryFile(dir=folder) as file:
        return os.fstat(file.fileno()).st_mtime
