"""Record a run's whole config, the installed packages and the commit of the code."""

import json
import platform
import re
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from imagenet_think.core.files import write_text
from imagenet_think.core.job import start_job
from imagenet_think.core.logs import logger
from imagenet_think.core.provenance import FOLDER


def record_run(
    config: Mapping[str, Any],
    resolved: str | Path,
    versions: str | Path,
    checkout: Path = FOLDER.parent,
) -> None:
    """Write the checked config as YAML, and the versions of Python, packages and code as JSON.

    The folder of the code, `checkout`, has `requirements.in`, which lists the packages.
    """
    write_text(yaml.safe_dump(dict(config), allow_unicode=True, width=100), resolved)
    found = {
        "python": platform.python_version(),
        "packages": installed((checkout / "requirements.in").read_text(encoding="utf-8")),
        **commit(checkout),
    }
    write_text(json.dumps(found, indent=1) + "\n", versions)


def installed(requirements: str) -> dict[str, str | None]:
    """Return the installed version of each package in a requirements file, None if there is none.

    Suffixes of builds (`+cpu`) are removed.
    """
    names = re.findall(r"^([A-Za-z0-9][A-Za-z0-9._-]*)", requirements, flags=re.MULTILINE)
    found: dict[str, str | None] = dict.fromkeys(sorted(names))
    for name in found:
        with suppress(PackageNotFoundError):
            found[name] = version(name).partition("+")[0]
    return found


def commit(checkout: Path) -> dict[str, str | bool | None]:
    """Return the commit of a checkout, and whether its tracked files differ from it (`dirty`).

    Both are None without git, or if the folder is not the root of a checkout.
    """
    try:
        top = _git(checkout, "rev-parse", "--show-toplevel")
        if Path(top).resolve() != checkout.resolve():
            raise OSError(f"{checkout} is not a checkout, but is inside that of {top}")
        return {
            "commit": _git(checkout, "rev-parse", "HEAD"),
            "dirty": bool(_git(checkout, "status", "--porcelain", "--untracked-files=no")),
        }
    except (OSError, subprocess.CalledProcessError) as error:
        why = (getattr(error, "stderr", None) or str(error)).strip()
        logger.warning("The commit is unknown: %s", why)
        return {"commit": None, "dirty": None}


def _git(checkout: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=checkout, check=True, capture_output=True, text=True
    ).stdout.strip()


if __name__ == "__main__":
    snakemake = start_job()
    record_run(
        json.loads(snakemake.params.config),
        resolved=snakemake.output.config,
        versions=snakemake.output.versions,
    )
