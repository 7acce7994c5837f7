"""The code behind a file: a script, and every module of this project that it uses.

Snakemake detects an edited script by its modification time, but not an edited module. Each job
therefore has a digest of its code among its params. It covers the meaning of the code, without
comments, docstrings and formatting, and only the modules that this job uses.
"""

import ast
import io
import json
import os
import re
import sys
import tokenize
from collections.abc import Collection, Iterable, Iterator
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from imagenet_think.core.digest_cache import DigestCache
from imagenet_think.core.digests import digest_settings, digest_text
from imagenet_think.core.plugins import names as plugin_names

FOLDER = Path(__file__).resolve().parents[2]
"""The folder of the scripts, where imports start."""

PACKAGE = "imagenet_think"

PLUGINS = {
    "family": "inference.families",
    "output": "parsing.formats",
    "kind": "images.sources",
    "metric": "metrics.definitions",
}
"""Settings whose values name plugins, and the sub-package that holds them.

A job uses only the plugins that its settings name. A module depends on the sub-package itself if
it imports it or mentions it as a string, as in `plugins.get("inference.families", name)`.
"""

_PLANNED = "IMAGENET_THINK_PLANNED"
_CACHE = DigestCache(".snakemake/code_digests.json")


class EditedError(RuntimeError):
    """A job would not run what was planned."""


class _Module(NamedTuple):
    """Digest of a Python file's meaning, and the dotted names that it may import or mentions."""

    digest: str
    imports: list[str]
    strings: list[str]


def keep_to_plan(config: object, planning: bool) -> None:
    """Raise `EditedError` if config or code has changed since a job was planned.

    A job on a cluster reads both when it starts, perhaps hours after it was planned, but its files
    are recorded as made by the planned ones. Their digest is passed on in its environment.
    """
    now = snapshot(config)
    if planning:
        os.environ[_PLANNED] = now
    elif os.environ.get(_PLANNED) != now:
        raise EditedError(
            "Config, rules or scripts were edited after this job was planned, so it does not "
            "start: its files would be recorded as made by the old ones. Let the run end, or "
            "stop it, and start it again: finished work is kept, and what the edit affects is "
            "regenerated. To edit during a run, use another clone or a git worktree."
        )


def plugins(settings: Any) -> frozenset[str]:
    """Return the plugins that settings (any JSON value) name, such as `inference.families.glm4v`.

    A key of `PLUGINS`, at any depth, names one plugin or a list of them.
    """
    return frozenset(_named(settings))


def digest(path: str | Path, chosen: Collection[str] = ()) -> str:
    """Return the SHA-256 (hex) of the meaning and paths of the files in `code(path, chosen)`."""
    return _digest(Path(path).resolve(), frozenset(chosen))


def snapshot(config: object) -> str:
    """Return the SHA-256 (hex) of a config and the meaning of Snakefile, rules and scripts."""
    root = FOLDER.parent
    rules = {
        file.relative_to(root).as_posix(): _tokens(file)
        for file in [root / "Snakefile", *_of_the_project(root.glob("rules/*.smk"))]
    }
    modules = _of_the_project(FOLDER.rglob("*.py"))
    scripts = {_place(file): _module(file).digest for file in modules}
    return digest_settings([config, rules, scripts])


def code(path: str | Path, chosen: Collection[str] = ()) -> list[Path]:
    """Return the project's files that a script or module uses, in name order.

    These are the file itself, the modules that it imports from the scripts' folder, their imports,
    files of the same stem next to them (such as the template of a page), and the chosen plugins
    (from `plugins`).
    """
    found: set[Path] = set()
    waiting = {Path(path).resolve()}
    while waiting:
        file = waiting.pop()
        found.add(file)
        needed = set(_needs(file))
        if package := _package(file):
            needed |= {path for name, path in _plugin_files(package).items() if name in chosen}
        waiting |= needed - found
    return sorted(found, key=_place)


def save() -> None:
    """Save what was parsed, so that the next plan does not need to."""
    _CACHE.save()


def meaning(text: str) -> str:
    """Return a string that is the same for Python code of the same meaning.

    Comments, docstrings and formatting make no difference, nor does the version of Python, as empty
    fields of the syntax tree are left out.

    Raises
    ------
    SyntaxError
        If it is not Python.
    """
    return repr(_simplified(ast.parse(text)))


@cache
def _digest(path: Path, chosen: frozenset[str]) -> str:
    parts = []
    for file in code(path, chosen):
        is_module = file.suffix == ".py"
        own = _module(file).digest if is_module else sha256(file.read_bytes()).hexdigest()
        parts += [_place(file), own]
    return digest_text(*parts)


def _named(settings: Any, package: str | None = None) -> Iterator[str]:
    if isinstance(settings, list):
        for value in settings:
            yield from _named(value, package)
    elif isinstance(settings, dict):
        for key, value in settings.items():
            yield from _named(value, PLUGINS.get(key))
    elif package and settings in plugin_names(package):
        yield f"{package}.{settings}"


def _plugin_files(package: str) -> dict[str, Path]:
    """Return the files of a sub-package's plugins by their dotted names."""
    folder = FOLDER.joinpath(PACKAGE, *package.split("."))
    return {f"{package}.{name}": folder / f"{name}.py" for name in plugin_names(package)}


def _package(file: Path) -> str | None:
    """Return the sub-package of plugins whose `__init__.py` a file is, if it is one."""
    folders = {FOLDER.joinpath(PACKAGE, *name.split(".")): name for name in PLUGINS.values()}
    return folders.get(file.parent) if file.name == "__init__.py" else None


@cache
def _needs(file: Path) -> frozenset[Path]:
    """Return the files that a file needs directly; a sub-package does not need its plugins."""
    if file.suffix != ".py":
        return frozenset()
    found = set(_of_the_project(file.parent.glob(f"{file.stem}.*"))) - {file}
    module = _module(file)
    mentioned = set(module.strings) & set(PLUGINS.values())
    for name in [*module.imports, *(f"{PACKAGE}.{package}" for package in mentioned)]:
        found.update(_files(name))
    if package := _package(file):
        found.difference_update(_plugin_files(package).values())
    return frozenset(found)


def _of_the_project(files: Iterable[Path]) -> list[Path]:
    """Leave out what editors leave behind: hidden files (Emacs: dangling links) and backups."""
    return [file for file in files if file.name[0] != "." and file.name[-1] != "~"]


def _imports(tree: ast.Module) -> Iterator[str]:
    """Yield the dotted names that a file may import, each with those of its packages."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            yield from (".".join(parts[:end]) for end in range(1, len(parts) + 1))


def _files(name: str) -> Iterator[Path]:
    """Yield the file of a module of this project; none for any other name."""
    place = FOLDER.joinpath(*name.split("."))
    yield from filter(Path.is_file, (place.with_suffix(".py"), place / "__init__.py"))


@cache
def _module(file: Path) -> _Module:
    text = file.read_text(encoding="utf-8")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return _Module(*_CACHE.get(digest_text(version, "strings", text), lambda: _parsed(text, file)))


def _parsed(text: str, file: Path) -> list[Any]:
    tree = ast.parse(text, file)
    names = sorted({name for name in _imports(tree) if name.split(".")[0] not in _OTHERS})
    strings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    dotted = sorted(text for text in strings if isinstance(text, str) and _DOTTED.fullmatch(text))
    return [digest_text(repr(_simplified(tree))), names, dotted]


_DOTTED = re.compile(r"[a-z]\w*\.[a-z]\w*")
_OTHERS = frozenset(sys.stdlib_module_names)
"""Modules that are certainly not in this project."""


def _simplified(node: Any) -> Any:
    """Return a syntax tree as nested tuples, without positions, docstrings and empty fields."""
    if isinstance(node, list):
        return [_simplified(value) for value in node if not _is_docstring(value)]
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = ((name, _simplified(value)) for name, value in ast.iter_fields(node))
    return (type(node).__name__, *(field for field in fields if field[1] not in ([], "None")))


def _is_docstring(node: Any) -> bool:
    """Return whether a statement is only a string, which has no effect."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


@cache
def _tokens(file: Path) -> str:
    """Return a digest of a rule file's tokens, without comments and line breaks."""
    text = file.read_text(encoding="utf-8")

    def tokens() -> str:
        blank = (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
        kept = [
            (token.type, "" if token.type in blank else token.string)
            for token in tokenize.generate_tokens(io.StringIO(text).readline)
            if token.type not in (tokenize.COMMENT, tokenize.NL)
        ]
        return digest_text(json.dumps(kept))

    return _CACHE.get(digest_text("tokens", text), tokens)


def _place(file: Path) -> str:
    return file.relative_to(FOLDER).as_posix()
