"""Tests whose tools are missing are skipped, but fail in continuous integration (`CI` is set)."""

import os
import shutil
from typing import NoReturn

import pytest


def skip(reason: str) -> NoReturn:
    """Skip the running test, or fail it in continuous integration."""
    end = pytest.fail if os.environ.get("CI") else pytest.skip
    end(reason)


def require(*commands: str) -> None:
    """Skip the running test, or fail it in continuous integration, if a command is missing."""
    for command in commands:
        if shutil.which(command) is None:
            skip(f"{command} is not installed")
