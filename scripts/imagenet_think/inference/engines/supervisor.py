"""Runs a command for as long as its owner lives: `python supervisor.py SECONDS COMMAND …`.

The owner holds the other end of standard input. When that ends, because the owner closed it or
died in whatever way, also by SIGKILL, the command gets SIGTERM, and after the given seconds
SIGKILL. What it started and leaves behind is then ended in the same way. The command leads a
session of its own, so that its processes can be told from others.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time


def main(seconds: float, command: list[str]) -> int:
    """Run the command; return its exit status, negative for a signal."""
    # A terminal's or a scheduler's signals mean the owner; its end is what counts here.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())

    def watch() -> None:
        while os.read(0, 1):
            pass
        child.terminate()
        try:
            child.wait(seconds)
        except subprocess.TimeoutExpired:
            child.kill()

    threading.Thread(target=watch, daemon=True).start()
    status = child.wait()
    with contextlib.suppress(ProcessLookupError):  # none is left
        # Not SIGKILL at once: Python's resource tracker outlives the others to free shared memory.
        os.killpg(child.pid, signal.SIGTERM)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            os.killpg(child.pid, 0)
            time.sleep(0.1)
        os.killpg(child.pid, signal.SIGKILL)
    return status


if __name__ == "__main__":
    status = main(float(sys.argv[1]), sys.argv[2:])
    sys.exit(128 - status if status < 0 else status)
