"""A small disk for tests that fill it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from missing_tools import skip


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """Mount a file system in memory at a new folder; `size` is as mount takes it."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True)
    if mounted.returncode:
        skip(f"cannot mount a file system: {mounted.stderr}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def run_again_as_root(test: pytest.FixtureRequest) -> bool:
    """Unless this user is root and may mount, run a test again as root of a new namespace.

    Returns whether it ran there, and passed: then the caller has nothing left to do.
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
        skip(f"cannot mount a file system: {again.stderr}")
    assert "1 passed" in again.stdout, again.stdout + again.stderr
    return True
