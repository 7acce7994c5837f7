"""Accidents of the job that is about to rename a file into place. Python imports this by itself.

The variable `FAULT` names the accident and the file, such as `kill results/run/file.parquet`:

- `kill`: the job is killed.
- `refuse`: the disk is full.
- `interrupt`: Snakemake and its jobs are interrupted, as by Ctrl-C in a terminal.
- `blackout`: Snakemake and its jobs are killed.
- `orphan`: Snakemake is killed, and the job continues.
- `hold`: the job waits until the named pipe `HOLD` is closed.
"""

import errno
import os
import signal
import sys

KIND, _, FILE = os.environ.get("FAULT", "").partition(" ")


def strike(event, arguments):
    if event != "os.rename" or os.path.relpath(arguments[1]) != FILE:
        return
    everybody = os.getsid(0)  # Snakemake's process, and the group of all that it starts
    if KIND == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif KIND == "refuse":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), FILE)
    elif KIND == "interrupt":
        os.killpg(everybody, signal.SIGINT)
    elif KIND == "blackout":
        os.killpg(everybody, signal.SIGKILL)
    elif KIND == "orphan":
        os.kill(everybody, signal.SIGKILL)
    elif KIND == "hold":
        with open(os.environ["HOLD"]) as pipe:
            pipe.read()


if FILE:
    sys.addaudithook(strike)
if "USED" in os.environ:
    import plugin_use  # noqa: F401
