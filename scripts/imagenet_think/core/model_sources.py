"""Where a model is stored: on the hub, in a local folder, or in a Python package."""

import ast
import importlib.util
import os
import re
import time
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from imagenet_think.core.digest_cache import DigestCache
from imagenet_think.core.digests import digest_files, digest_settings

PACKAGE = "package:"
_ENTRY = "get_model_path"
"""Function of a package with weights that returns their folder."""

_CLOCK = 2.0  # seconds in which a file may change twice and keep its time
_CACHE = DigestCache(".snakemake/checkpoint_digests.json")


def is_hub(repository: str) -> bool:
    """Return whether `repository` is a hub id (`owner/name`), neither a folder nor a package."""
    return bool(re.fullmatch(r"[\w.-]+/[\w.-]+", repository)) and not os.path.isdir(repository)


@cache
def folder(repository: str) -> Path:
    """Return the folder of a repository that is not on the hub.

    Raises
    ------
    ModuleNotFoundError
        If no installed package of this name has weights. Others are not imported.
    NotADirectoryError
        If there is no such folder.
    """
    if not repository.startswith(PACKAGE):
        if not os.path.isdir(repository):
            raise NotADirectoryError(f"{repository}: no such folder, and no hub id (owner/name)")
        return Path(repository)
    module = name(repository)
    if not _has_weights(module):
        raise ModuleNotFoundError(
            f"{repository}: no Python package of this name with a function {_ENTRY}() is installed"
        )
    return Path(getattr(importlib.import_module(module), _ENTRY)())


def _has_weights(module: str) -> bool:
    """Return whether an installed package has weights, without importing it."""
    try:
        version(module)  # the standard library has none
        spec = importlib.util.find_spec(module) if module.isidentifier() else None
    except (PackageNotFoundError, ValueError):
        return False
    if not spec or not spec.origin or not spec.origin.endswith(".py"):
        return False
    tree = ast.parse(Path(spec.origin).read_bytes())
    return any(isinstance(node, ast.FunctionDef) and node.name == _ENTRY for node in tree.body)


def files(repository: str) -> list[str]:
    """Return the files of a local repository in name order; none for a hub id.

    Hidden files, which tools leave behind, do not count.
    """
    if is_hub(repository):
        return []
    root = folder(repository)
    return sorted(
        str(path)
        for path in root.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(root).parts)
    )


def name(repository: str) -> str:
    """Return the name of a repository as it is printed."""
    return repository.removeprefix(PACKAGE)


def content(repository: str) -> str | None:
    """Return what identifies the files of a repository in the params of its jobs.

    This is the revision of a local folder; the version of a package, whose files are elsewhere in
    another environment; None for the hub, whose revision is in the config.
    """
    if is_hub(repository):
        return None
    return version(name(repository)) if repository.startswith(PACKAGE) else revision_of(repository)


def revision_of(repository: str) -> str:
    """Return the digest of a repository's files; read again if a size or time has changed."""
    found = files(repository)
    stats = {path: os.stat(path) for path in found}
    if any(own.st_mtime > time.time() - _CLOCK for own in stats.values()):
        return digest_files(found)
    state = {path: [own.st_size, own.st_mtime_ns] for path, own in stats.items()}
    return _CACHE.get(digest_settings(state), lambda: digest_files(found))


def save() -> None:
    """Save the digests, so that no other process needs to read the files."""
    _CACHE.save(keep=True)


def pretrained(repository: str, revision: str | None) -> tuple[str, str | None]:
    """Return what `from_pretrained` takes: path or hub id, and the commit (None for a folder).

    Raises
    ------
    ValueError
        If a hub repository has no revision.
    """
    if not is_hub(repository):
        return str(folder(repository)), None
    if revision is None:
        raise ValueError(
            f"{repository} has no revision: run `snakemake --cores 1 pin` once, which looks up the "
            "current commit on the hub and writes it into the config (or use a local folder as "
            "repository)"
        )
    return repository, revision


def resolve(repository: str, revision: str | None) -> tuple[str, str]:
    """Return what `from_pretrained` takes (see `pretrained`), and the revision to record.

    The revision is a commit on the hub, or else the digest of the files.

    Raises
    ------
    ValueError
        If a hub repository has no revision.
    """
    path, commit = pretrained(repository, revision)
    return path, commit or revision_of(repository)
