"""The code that makes a file: a script and every module of ours that it imports, directly or not.

Snakemake sees a script that was edited, by its time, and no module that the script imports. A
digest of their contents among a rule's params makes exactly those jobs run again that use an edited
module, whatever the time of its file.
"""

import ast
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from imagenet_think.digests import digest_settings, digest_text

FOLDER = Path(__file__).resolve().parents[1]
"""What imports start from: the folder of the scripts."""

_PLANNED = "IMAGENET_THINK_PLANNED"


class EditedError(RuntimeError):
    """What a job would run is not what was planned."""


def keep_to_plan(config: object, planning: bool) -> None:
    """Make sure that a job runs what was planned, by a snapshot that it gets in its environment.

    A job on a cluster reads config and code when it starts, hours after it was planned perhaps, and
    is recorded as made by what was planned.

    Parameters
    ----------
    config
        The config.
    planning
        Whether this process plans the jobs, and does not run one of them.

    Raises
    ------
    EditedError
        If config or code is another than when the job was planned.
    """
    now = snapshot(config)
    if planning:
        os.environ[_PLANNED] = now
    elif os.environ.get(_PLANNED) != now:
        raise EditedError(
            "Config, rules or scripts were edited after this job was planned, so it does not "
            "start: what it made would be recorded as made by the old ones. Let the run end, or "
            "stop it, and start it again: what is done stays, and what the edit concerns is made "
            "anew. To edit while a run goes on, use another clone or a git worktree."
        )


def digest(path: str | Path) -> str:
    """Return the SHA-256 (hex) of a script, of what it imports, and of their places."""
    return digest_text(*(text for file in code(path) for text in (_place(file), _text(file))))


def snapshot(config: object) -> str:
    """Return the SHA-256 (hex) of a config and of all code: Snakefile, rules and scripts.

    What a job would run differs from what was planned if this does. A comment in a config is no
    part of it.
    """
    root = FOLDER.parent
    files = [root / "Snakefile", *root.glob("rules/*.smk"), *FOLDER.rglob("*.py")]
    texts = {file.relative_to(root).as_posix(): _text(file) for file in files}
    return digest_settings([config, texts])


def code(path: str | Path) -> list[Path]:
    """Return the files of ours that run when a script or module does, in the order of their names.

    These are the file itself, each module that it imports from the scripts' folder, what these
    import, and files of the same name beside them (a page's template). Of a package that loads its
    modules by name, as the families of models are, every module counts.

    Parameters
    ----------
    path
        A Python file in the scripts' folder.
    """
    found: set[Path] = set()
    waiting = [Path(path).resolve()]
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.add(file)
            waiting += _needs(file)
    return sorted(found, key=_place)


@cache
def _needs(file: Path) -> frozenset[Path]:
    """Return what a file needs itself."""
    if file.suffix != ".py":
        return frozenset()
    found = set(file.parent.glob(f"{file.stem}.*")) - {file}
    names = set(_imports(ast.parse(_text(file), file)))
    for name in names:
        found.update(_files(name))
    if file.name == "__init__.py" and "importlib" in names:
        found.update(file.parent.rglob("*.py"))
    return frozenset(found)


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
    """Yield the file of a module of ours; none for another's module, or what is no module."""
    place = FOLDER.joinpath(*name.split("."))
    for file in (place.with_suffix(".py"), place / "__init__.py"):
        if file.is_file():
            yield file


@cache
def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8")


def _place(file: Path) -> str:
    return file.relative_to(FOLDER).as_posix()
