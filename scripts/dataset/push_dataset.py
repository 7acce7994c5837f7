"""Upload the dataset without pictures to the hub: said first, done only where it is confirmed."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import huggingface_hub
import polars as pl
from huggingface_hub.errors import HTTPError, OfflineModeIsEnabled, RepositoryNotFoundError

from build_dataset import PLAIN
from imagenet_think.core.logs import log_to, logger
from imagenet_think.core.splits import CONFIGURATIONS

if TYPE_CHECKING:
    from imagenet_think.core.job import snakemake

CONFIRM = "IMAGENET_THINK_PUSH"
"""Environment variable that has to name the repository for anything to be uploaded."""

PAGES = ("README.md", "croissant.json")


class Remote(NamedTuple):
    """What the hub says of a repository.

    `private` is None where there is none that the token (or who has none) may see; `files` are its
    files' names.
    """

    private: bool | None
    files: Sequence[str]


def push_dataset(
    folder: str | Path, repository: str | None, *, private: bool, confirmed: str | None
) -> None:
    """Say what would be uploaded, and upload it where that is confirmed.

    The files replace those of the repository in one commit; parquet files of another number of
    shards, which readers would take for more rows, are deleted there by the same one.

    Parameters
    ----------
    folder
        The dataset, as `snakemake dataset` wrote it.
    repository
        The hub's repository, `owner/name`.
    private
        Whether a repository that is made here is private.
    confirmed
        Value of the environment variable `IMAGENET_THINK_PUSH`.

    Raises
    ------
    ValueError
        If there is no repository, it is not the one that is confirmed, or the folder holds
        pictures or anything else than the dataset has.
    ConnectionError
        If the hub cannot be reached, or refuses.
    PermissionError
        If no token is there.
    """
    if repository is None:
        raise ValueError(
            "dataset.repository is null: write the hub's repository of the dataset (owner/name) "
            "into the config"
        )
    if confirmed not in (None, "", repository):
        raise ValueError(
            f"{CONFIRM} names {confirmed}, dataset.repository {repository}: nothing was uploaded"
        )
    files = to_upload(Path(folder))
    api = huggingface_hub.HfApi()
    remote = ask(api, repository, needed=bool(confirmed))
    stale = renumbered(remote.files, files) if remote else []
    for line in plan(Path(folder), files, repository, remote, private, stale):
        logger.info("%s", line)
    if not confirmed:
        logger.info(
            "Nothing was uploaded. The same command with %s=%s before it uploads this.",
            CONFIRM,
            repository,
        )
        return
    if huggingface_hub.get_token() is None:
        raise PermissionError(
            "no token for the hub: run `hf auth login`, or put one that may write into the "
            "environment variable HF_TOKEN"
        )
    try:
        if remote.private is None:
            api.create_repo(repository, repo_type="dataset", private=private)
        done = api.upload_folder(
            repo_id=repository,
            repo_type="dataset",
            folder_path=folder,
            allow_patterns=list(files),
            delete_patterns=stale or None,
            commit_message="Dataset, card and Croissant description",
        )
    except (HTTPError, OfflineModeIsEnabled) as error:
        raise ConnectionError(
            f"the hub does not take {repository} ({error}): check that the token may write there. "
            "What was there before still is, since all is one commit"
        ) from error
    logger.info("Uploaded: %s", done.commit_url)


def to_upload(folder: Path) -> dict[str, int]:
    """Return the files of the dataset in a folder, and their sizes in bytes.

    Raises
    ------
    ValueError
        If one holds pictures, or other columns than the dataset has.
    FileNotFoundError
        If card, Croissant or all rows of a configuration are missing.
    """
    found = [folder / name for name in PAGES]
    for configuration, place in CONFIGURATIONS.items():
        parts = sorted((folder / place).glob("*.parquet"))
        if not parts:
            raise FileNotFoundError(f"{folder / place}/*.parquet: none, run `snakemake dataset`")
        for part in parts:
            columns = pl.read_parquet_schema(part)
            if "image" in columns or pl.Binary in columns.values():
                raise ValueError(
                    f"{part} holds pictures: ImageNet's terms forbid their redistribution, so this "
                    "is never uploaded"
                )
            if list(columns) != list(PLAIN[configuration]):
                raise ValueError(f"{part} has other columns than the dataset: make it anew")
        found += parts
    for path in found:
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing: run `snakemake dataset`")
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in found}


def ask(api: huggingface_hub.HfApi, repository: str, needed: bool) -> Remote | None:
    """Return what the hub says of the repository; None where it cannot be asked and need not be.

    Raises
    ------
    ConnectionError
        If it cannot be asked, and an answer is needed.
    """
    try:
        info = api.repo_info(repository, repo_type="dataset")
        return Remote(bool(info.private), [file.rfilename for file in info.siblings or []])
    except RepositoryNotFoundError:
        return Remote(None, [])
    except (HTTPError, OfflineModeIsEnabled) as error:
        if needed:
            raise ConnectionError(
                f"the hub cannot be asked about {repository} ({error}): check the connection, and "
                "that HF_HUB_OFFLINE is not set. Nothing was uploaded"
            ) from error
        logger.warning("The hub cannot be asked about %s: %s", repository, error)
        return None


def renumbered(remote: Sequence[str], files: dict[str, int]) -> list[str]:
    """Return the parquet files of the hub's copy that this one has no file for."""
    places = tuple(f"{place}/" for place in CONFIGURATIONS.values())
    return sorted(
        name
        for name in remote
        if name.startswith(places) and name.endswith(".parquet") and name not in files
    )


def plan(
    folder: Path,
    files: dict[str, int],
    repository: str,
    remote: Remote | None,
    private: bool,
    stale: Sequence[str],
) -> list[str]:
    """Return the lines that say what would be uploaded, and where to."""
    if remote is None:
        state = "could not be asked about"
    elif remote.private is None:
        made = "private" if private else "PUBLIC, for everyone to read"
        state = f"is not there, or not to be seen with this token; it would be made, {made}"
    else:
        state = "is there, private" if remote.private else "is there, PUBLIC, for everyone to read"
    return [
        f"From {folder}:",
        *(f"  {size:>14,} bytes  {name}" for name, size in files.items()),
        f"  {sum(files.values()):>14,} bytes in {len(files)} files",
        *(f"  {'deleted there':>20}  {name}" for name in stale),
        f"To https://huggingface.co/datasets/{repository}, which {state}.",
    ]


if __name__ == "__main__":
    log_to(snakemake.log[0])
    dataset = json.loads(snakemake.params.settings)["dataset"]
    push_dataset(
        Path(snakemake.input.card).parent,
        dataset["repository"],
        private=dataset["private"],
        confirmed=snakemake.params.confirmed,
    )
