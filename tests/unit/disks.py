"""A small disk of its own for tests that fill it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """Mount a file system in memory at a new folder; `size` is as mount takes it."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True)
    if mounted.returncode:
        _no_disk(mounted.stderr)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def run_again_as_root(test: pytest.FixtureRequest) -> bool:
    """Run a test again, as root of a namespace of its own, unless this is root, who may mount.

    Returns
    -------
    bool
        Whether it was run, and passed: then nothing is left to do.
    """
    if os.geteuid() == 0:
        return False
    pytest_alone = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist"]
    again = subprocess.run(
        ["unshare", "--map-root-user", "--mount", *pytest_alone, f"{test.path}::{test.node.name}"],
        cwd=test.config.rootpath,
        capture_output=True,
        text=True,
    )
    if not again.stdout:
        _no_disk(again.stderr)
    assert "1 passed" in again.stdout, again.stdout + again.stderr
    return True


def _no_disk(reason: str) -> NoReturn:
    """Skip the test, or fail it where all must run: `CI` is set."""
    end = pytest.fail if os.environ.get("CI") else pytest.skip
    end(f"nothing can be mounted here: {reason}")
