"""Which process left a file behind, and whether it still runs; also on a shared file system.

The number of a process is only meaningful on its machine, and is used again after it has ended.
"""

import os
import socket
from functools import cache
from pathlib import Path


@cache
def machine() -> str:
    """Return a name of this machine since its last boot, and of the namespace of its processes."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        space = os.readlink("/proc/self/ns/pid")
    except OSError:  # not Linux
        boot = space = ""
    return f"{socket.gethostname()} {boot} {space}".strip()


def start_of(pid: int) -> str | None:
    """Return when a process was started, in the kernel's ticks, or "ended"; None if unknown."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    state, *fields = stat.rpartition(")")[2].split()
    return "ended" if state in "ZX" else fields[18]


def is_alive(pid: int, start: str | None) -> bool | None:
    """Return whether a process of this machine still runs, or None if that cannot be known.

    `start` is from `start_of`: it distinguishes the process from a later one of the same number.
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's, so it exists
    now = start_of(pid)
    return None if None in (now, start) else now == start
