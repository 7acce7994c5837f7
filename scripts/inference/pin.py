"""Write the current hub revision of every model into the config."""

import logging
from collections.abc import Iterator
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HTTPError, OfflineModeIsEnabled
from ruamel.yaml import YAML

from imagenet_think.core import model_sources
from imagenet_think.core.files import atomic_path
from imagenet_think.core.job import start_job

logger = logging.getLogger("imagenet_think")


def pin_revisions(config: str | Path) -> dict[str, str]:
    """Write the hub's current commit of every repository without a revision into the config.

    Comments and layout of the file are kept, and so are existing revisions.

    Parameters
    ----------
    config
        The YAML file. Repositories are those of `models` (and their `processor`),
        `statistics.tokenizer`, `benchmark.bertscore` and `benchmark.sbert`.

    Returns
    -------
    dict of str to str
        The commits by repository.

    Raises
    ------
    ConnectionError
        If the hub does not return a repository's commit; nothing is written then.
    """
    yaml = _round_trip()
    document = yaml.load(Path(config).read_text(encoding="utf-8"))
    pinned: dict[str, str] = {}
    for entry in _entries(document):
        repository = entry.get("repository")
        if not repository or not model_sources.is_hub(repository) or entry.get("revision"):
            continue
        if repository not in pinned:
            pinned[repository] = _commit(repository)
            logger.info("%s is at %s", repository, pinned[repository])
        entry["revision"] = pinned[repository]
    if pinned:
        with atomic_path(config) as temporary, temporary.open("w", encoding="utf-8") as file:
            yaml.dump(document, file)
    return pinned


def _round_trip() -> YAML:
    """Return a reader and writer that preserves the layout."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096  # no line is wrapped
    # By default, it would write a null as an empty string.
    yaml.representer.add_representer(
        type(None), lambda writer, _: writer.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    return yaml


def _entries(document: dict) -> Iterator[dict]:
    """Yield the entries of the config that name a repository."""
    for model in (document.get("models") or {}).values():
        yield model
        yield model.get("processor") or {}
    yield (document.get("statistics") or {}).get("tokenizer") or {}
    for section in (document.get("benchmark") or {}).values():
        yield section if isinstance(section, dict) else {}


def _commit(repository: str) -> str:
    try:
        return str(HfApi().model_info(repository).sha)
    except (HTTPError, OfflineModeIsEnabled) as error:
        raise ConnectionError(
            f"the hub returns no commit of {repository}: {error}. "
            "Check the name and the connection, or write the commit into the config by hand"
        ) from error


if __name__ == "__main__":
    snakemake = start_job()
    pin_revisions(snakemake.params.config)
