"""The project's own configs with other values, for the tests of what reads a config."""

from collections.abc import Mapping
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from imagenet_think.run.configuration import check

ROOT = Path(__file__).parents[2]


def config(changes: Mapping[str, object] | None = None, name: str = "config") -> dict[str, Any]:
    """Return a checked config of `config/` with other values, by paths such as `dataset/test`."""
    changed = deepcopy(_checked(name))
    for path, value in (changes or {}).items():
        *sections, key = path.split("/")
        section = changed
        for each in sections:
            section = section[each]
        section[key] = value
    return changed


@cache
def _checked(name: str) -> dict[str, Any]:
    return check(yaml.safe_load((ROOT / "config" / f"{name}.yaml").read_text(encoding="utf-8")))
