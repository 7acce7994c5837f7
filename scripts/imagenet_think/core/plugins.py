"""Plugins: a sub-package with one self-describing module per thing, found by listing its folder.

Listing imports nothing, so that a plan imports only the modules that its config names.
"""

import ast
import importlib
from functools import cache
from pathlib import Path
from types import ModuleType

_PACKAGE = Path(__file__).parents[1]


@cache
def names(package: str) -> tuple[str, ...]:
    """Return the names of the modules in a sub-package of `imagenet_think`, sorted.

    All modules of one such as `images.sources` are plugins; shared code is outside.
    """
    folder = _PACKAGE.joinpath(*package.split("."))
    # Editors leave files behind whose names no module can have.
    modules = (file.stem for file in folder.glob("*.py") if file.stem.isidentifier())
    return tuple(sorted(name for name in modules if name != "__init__"))


def get(package: str, name: str) -> ModuleType:
    """Import a module of a sub-package, or raise ValueError with the names of those that exist."""
    if name not in names(package):
        raise ValueError(f"{name!r} is not in {package}, which has {', '.join(names(package))}")
    return importlib.import_module(f"imagenet_think.{package}.{name}")


def summary(package: str, name: str) -> str:
    """Return the first line of a module's docstring, without importing it."""
    file = _PACKAGE.joinpath(*package.split("."), f"{name}.py")
    docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n")[0]
