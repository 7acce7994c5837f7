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
        If a `package:` repository is not an installed package with weights. It is not imported.
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
    if not module.isidentifier():
        return False
    try:
        version(module)  # the standard library has none
    except PackageNotFoundError:
        return False
    spec = importlib.util.find_spec(module)
    origin = (spec and spec.origin) or ""
    if not origin.endswith(".py"):
        return False
    tree = ast.parse(Path(origin).read_bytes())
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

    Returns
    -------
    str or None
        The revision of a local folder, which is the digest of its files; the version of a package,
        whose files are elsewhere in another environment; None for the hub, whose revision is in the
        config.
    """
    if is_hub(repository):
        return None
    return version(name(repository)) if repository.startswith(PACKAGE) else revision_of(repository)


def revision_of(repository: str) -> str:
    """Return the revision of a repository that is not on the hub: the digest of its files.

    It is computed again where a file's size or time has changed.
    """
    found = files(repository)
    stats = {path: os.stat(path) for path in found}
    changed = max((own.st_mtime for own in stats.values()), default=0.0)
    if changed > time.time() - _CLOCK:
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
    """Return what `from_pretrained` takes, and the revision to record.

    The repository is a hub id, a local folder or `package:<module>`; the revision a commit on the
    hub, or else the digest of the files.

    Raises
    ------
    ValueError
        If a hub repository has no revision.
    """
    path, commit = pretrained(repository, revision)
    return path, commit or revision_of(repository)
