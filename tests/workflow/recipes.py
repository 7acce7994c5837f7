"""The recipes of a page of the documentation, followed word for word."""

import os
import re
from collections.abc import Iterator
from typing import Any

import yaml

from .conftest import BIN, ROOT, Project

_BLOCK = re.compile(r"^```(bash|yaml)\n(.*?)^```$", re.M | re.S)
_COPY = re.compile(r"^cp \S+ (\S+)$", re.M)


def blocks(page: str, heading: str) -> Iterator[tuple[str, str]]:
    """Yield the language and the text of the blocks of commands and config keys under a heading."""
    text = (ROOT / page).read_text(encoding="utf-8")
    _, found, section = text.partition(f"\n## {heading}\n")
    assert found, heading
    yield from _BLOCK.findall(section.partition("\n## ")[0])


def follow(project: Project, page: str, heading: str, run: bool = True) -> str:
    """Follow a recipe in a copy of the project; return the config that it makes.

    Keys are set in the file that was copied before; all others stay as they are. Without `run`, of
    the commands only the copying is run.
    """
    config = ""
    for language, text in blocks(page, heading):
        if language == "yaml":
            with project.editing(config) as edited:
                _set(edited, yaml.safe_load(text))
        elif copied := _COPY.search(text):
            config = copied[1]
            project.call("bash", "-euc", text)
        elif run:
            project.call("env", f"PATH={BIN}:{os.environ['PATH']}", "bash", "-euc", text)
    return config


def _set(config: dict[str, Any], keys: dict[str, Any]) -> None:
    for key, value in keys.items():
        if isinstance(value, dict) and isinstance(config.get(key), dict):
            _set(config[key], value)
        else:
            config[key] = value
