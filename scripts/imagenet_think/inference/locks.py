"""Locks: one worker at a time, also across hosts that share a file system.

A lock is a small file that names its holder: host, process, start. It is created atomically, and
its holder touches it every `HEARTBEAT` seconds. A holder may die without releasing it, so a stale
lock is taken over. A lock is stale

- on the machine of its holder: when that process has ended. A zombie, or a later process with the
  same number, does not count.
- on any other machine, which cannot know: when it has not been touched for `SILENCE` seconds.

A worker that finds the lock of a live worker refuses. It watches a lock of another machine until it
is touched or stale: the holder may just have died, and its job may have been restarted here. Ages
are differences of times given by the file system, not by the clocks of two hosts.

Several workers cannot take over the same lock: each first takes a second lock, named after the
stale one, and checks again. A holder that was silent for too long (its machine was suspended) and
lost its lock finds out from `Lock.check`, and must stop.
"""

import errno
import json
import logging
import os
import secrets
import socket
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

logger = logging.getLogger(__name__)

HEARTBEAT = 30.0
"""Seconds between touches of a lock."""

SILENCE = 600.0
"""Seconds without a touch after which a holder on another machine counts as dead."""

_NO_HARD_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS}


class LockError(RuntimeError):
    """Another worker holds the lock, or has taken it over."""


@dataclass(frozen=True)
class Owner:
    """The holder of a lock.

    Attributes
    ----------
    host, pid
        The worker.
    machine
        The scope of `pid`: the machine since its last boot, and the container.
    process
        Distinguishes the process from a later one with the same number; None if unknown.
    since
        Seconds since the epoch, by the clock of its host.
    token
        Random, different for each lock.
    """

    host: str
    pid: int
    machine: str
    process: str | None
    since: float
    token: str

    @classmethod
    def this_process(cls) -> "Owner":
        """Return this process as an owner with a new token."""
        pid = os.getpid()
        return cls(
            socket.gethostname(), pid, _machine(), _process(pid), time.time(), secrets.token_hex(8)
        )

    def alive(self) -> bool | None:
        """Return whether the process exists, or None if that cannot be known on this machine."""
        if self.machine != _machine():
            return None
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass  # another user's, so it exists
        process = _process(self.pid)
        return None if None in (process, self.process) else process == self.process

    def __str__(self) -> str:
        since = datetime.fromtimestamp(self.since, UTC).isoformat(sep=" ", timespec="seconds")
        age = timedelta(seconds=max(0, round(time.time() - self.since)))
        return f"process {self.pid} on {self.host} since {since} (for {age})"


class Lock:
    """A lock that is held between `acquire` and `release`, or as a context.

    Parameters
    ----------
    path
        The lock file. Its folder must exist. Names that begin with a dot and this name belong to
        the lock too.
    heartbeat
        As `HEARTBEAT`.
    """

    def __init__(self, path: str | Path, *, heartbeat: float = HEARTBEAT):
        self.path = Path(path)
        self.heartbeat = heartbeat
        self.owner = Owner.this_process()
        self._content = json.dumps(asdict(self.owner)).encode()
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
        OSError
            If the file cannot be created.
        """
        own = self._beside(self.owner.token)
        watched: _Seen | None = None
        try:
            own.write_bytes(self._content)
            while not _linked(own, self.path):
                os.utime(own)
                now = own.stat().st_mtime
                seen = _look(self.path)
                if seen is None:
                    continue  # just released
                if seen.content == self._content:
                    break  # the link was made, but a network file system lost the reply
                alive = seen.alive()
                if alive is False or (alive is None and now - seen.touched > SILENCE):
                    if self._take_over(own, seen):
                        break
                    time.sleep(0.01)  # another worker is taking it over
                elif alive or (watched is not None and seen != watched):
                    raise LockError(self._refusal(seen, now))
                else:
                    if watched is None:
                        watched = seen
                        text = "%s: held by %s; waiting up to %.0f s for a sign of life"
                        patience = SILENCE - (now - seen.touched)
                        logger.warning(text, self.path, seen, patience)
                    time.sleep(self.heartbeat / 20)
        finally:
            own.unlink(missing_ok=True)
        self._pulse.start()
        self._sweep()

    def check(self) -> None:
        """Check that the lock is still held.

        Raises
        ------
        LockError
            If it was taken over or removed. The caller must stop writing.
        """
        seen = _look(self.path)
        if seen is None or seen.content != self._content:
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

    def _beat(self) -> None:
        while not self._released.wait(self.heartbeat):
            try:
                self.check()
                os.utime(self.path)
            except LockError:
                return  # the worker finds out from `check`
            except OSError as error:
                logger.warning("%s: cannot be touched: %s", self.path, error)

    def _take_over(self, own: Path, stale: "_Seen") -> bool:
        """Replace a stale lock by `own`, unless another worker was faster."""
        claim = self._beside(f"{stale.token}.claim")
        try:
            with Lock(claim, heartbeat=self.heartbeat):
                if _look(self.path) != stale:
                    return False
                os.replace(own, self.path)
        except LockError:
            return False  # another worker is taking it over
        logger.warning("%s: taken over from %s, which has ended", self.path, stale)
        return True

    def _sweep(self) -> None:
        """Remove files of workers that died while taking the lock."""
        now = self.path.stat().st_mtime
        for left in self.path.parent.glob(self._beside("*").name):
            seen = _look(left)
            if seen is not None and now - seen.touched > SILENCE:
                with suppress(PermissionError):  # another user's may stay
                    left.unlink(missing_ok=True)

    def _beside(self, name: str) -> Path:
        return self.path.with_name(f".{self.path.name.lstrip('.')}.{name}")

    def _refusal(self, seen: "_Seen", now: float) -> str:
        silent = max(0, round(now - seen.touched))
        return (
            f"{self.path}: held by {seen}, last sign of life {silent} s ago. Only one worker can "
            "write here: wait until it has ended, or end it, and run again. If you are certain "
            "that it has ended, delete this file and run again."
        )


def held(path: Path, now: float) -> bool:
    """Return whether a live worker seems to hold a lock.

    Nothing is taken or written, so the answer may be outdated when it is used.

    Parameters
    ----------
    path
        The lock.
    now
        Seconds since the epoch.
    """
    try:
        seen = _look(path)
    except OSError:
        return False
    if seen is None or seen.owner is None:
        return False
    alive = seen.alive()
    return now - seen.touched < SILENCE if alive is None else alive


@dataclass(frozen=True)
class _Seen:
    """A lock file as found: content and time of the last touch."""

    content: bytes
    touched: float

    @property
    def owner(self) -> Owner | None:
        """The holder; None if the file is not valid."""
        try:
            owner = Owner(**json.loads(self.content))
        except (ValueError, TypeError):
            return None
        return owner if isinstance(owner.pid, int) and 0 < owner.pid < 2**31 else None

    @property
    def token(self) -> str:
        return self.owner.token if self.owner else "unknown"

    def alive(self) -> bool | None:
        return self.owner.alive() if self.owner else None

    def __str__(self) -> str:
        return str(self.owner) if self.owner else "an unknown process"


def _look(path: Path) -> _Seen | None:
    try:
        # Open it first: a network file system updates the times only of open files.
        with path.open("rb") as file:
            return _Seen(file.read(), os.fstat(file.fileno()).st_mtime)
    except FileNotFoundError:
        return None


def _linked(own: Path, path: Path) -> bool:
    """Link the file `own` to the name `path`; return False if that file exists."""
    try:
        try:
            os.link(own, path)
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                raise
            with path.open("xb") as file:
                file.write(own.read_bytes())
    except FileExistsError:
        return False
    return True


def _machine() -> str:
    """Return a name of this machine since its last boot, and of the namespace of its processes."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        space = os.readlink("/proc/self/ns/pid")
    except OSError:  # not Linux
        boot = space = ""
    return f"{socket.gethostname()} {boot} {space}".strip()


def _process(pid: int) -> str | None:
    """Return when a process was started, in the kernel's ticks, or "ended"."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    state, *fields = stat.rpartition(")")[2].split()
    return "ended" if state in "ZX" else fields[18]
