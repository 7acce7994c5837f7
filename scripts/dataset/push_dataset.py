"""Upload the dataset without images to the hub; without confirmation, only list its files."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import huggingface_hub
import polars as pl
from huggingface_hub.errors import HTTPError, OfflineModeIsEnabled, RepositoryNotFoundError

from imagenet_think.core.job import start_job
from imagenet_think.core.logs import logger
from imagenet_think.core.splits import CONFIGURATIONS
from imagenet_think.dataset.hub_files import schemas

CONFIRM = "IMAGENET_THINK_PUSH"
"""Environment variable that must name the repository, or nothing is uploaded."""


class Remote(NamedTuple):
    """Whether a repository on the hub is private, None if it is not visible; and its files."""

    private: bool | None
    files: Sequence[str]


def push_dataset(
    folder: str | Path,
    names: Sequence[str],
    repository: str | None,
    *,
    private: bool,
    confirmed: str | None,
) -> None:
    """Log what would be uploaded, and upload it if that is confirmed.

    The files replace those of the repository in one commit. Parquet files of a different number of
    shards, which readers would take for more rows, are deleted by the same commit.

    Parameters
    ----------
    folder, names
        The dataset, as `snakemake dataset` wrote it, and its files relative to it. Whatever else is
        in the folder stays there.
    repository, private
        The hub's repository, `owner/name`, and whether it is private if it is created here.
    confirmed
        Value of the environment variable `IMAGENET_THINK_PUSH`.

    Raises
    ------
    ValueError
        If there is no repository, it is not the confirmed one, or a file contains images or columns
        that are not in the dataset, or is damaged.
    ConnectionError
        If the hub cannot be reached, or refuses.
    PermissionError
        If there is no token.
    """
    if repository is None:
        raise ValueError(
            "dataset.repository is null: set it to the dataset's repository on the hub (owner/name)"
        )
    if confirmed not in (None, "", repository):
        raise ValueError(
            f"{CONFIRM} names {confirmed}, dataset.repository {repository}: nothing was uploaded"
        )
    files = to_upload(Path(folder), names)
    api = huggingface_hub.HfApi()
    remote = find_remote(api, repository, needed=bool(confirmed))
    stale = renumbered(remote.files, files) if remote else []
    for line in plan(Path(folder), files, repository, remote, private, stale):
        logger.info("%s", line)
    if not confirmed or remote is None:
        logger.info(
            "Nothing was uploaded. To upload, run the same command with %s=%s set.",
            CONFIRM,
            repository,
        )
        return
    if huggingface_hub.get_token() is None:
        raise PermissionError(
            "no token for the hub: run `hf auth login`, or set the environment variable HF_TOKEN "
            "to a token with write access"
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
            f"the hub refuses the upload to {repository} ({error}): check that the token has write "
            "access. The repository is unchanged, since an upload is one commit"
        ) from error
    logger.info("Uploaded: %s", done.commit_url)


def to_upload(folder: Path, names: Sequence[str]) -> dict[str, int]:
    """Return the names of the dataset's files, given relative to its folder, and sizes in bytes.

    Raises
    ------
    ValueError
        If one contains images, or columns that are not in the dataset, or is damaged.
    FileNotFoundError
        If one is missing.
    """
    configurations = {place: name for name, place in CONFIGURATIONS.items()}
    sizes = {}
    for name in names:
        path = folder / name
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing: run `snakemake dataset`")
        if path.parent.name in configurations:
            _check_columns(path, configurations[path.parent.name])
        sizes[name] = path.stat().st_size
    return sizes


def _check_columns(path: Path, configuration: str) -> None:
    try:
        columns = pl.read_parquet_schema(path)
    except pl.exceptions.PolarsError as error:
        raise ValueError(
            f"{path} is damaged ({error}): delete it, and run `snakemake dataset`"
        ) from error
    if "image" in columns or pl.Binary in columns.values():
        raise ValueError(
            f"{path} contains images: ImageNet's terms forbid their redistribution, so they are "
            "never uploaded"
        )
    if list(columns) != list(schemas(full=False)[configuration]):
        raise ValueError(f"{path} does not have the dataset's columns: build it again")


def find_remote(api: huggingface_hub.HfApi, repository: str, needed: bool) -> Remote | None:
    """Return the state of the repository; None if the hub cannot be reached and need not be.

    Raises
    ------
    ConnectionError
        If the hub cannot be reached, and the state is needed.
    """
    try:
        info = api.dataset_info(repository)
        return Remote(bool(info.private), [file.rfilename for file in info.siblings or []])
    except RepositoryNotFoundError:
        return Remote(None, [])
    except (HTTPError, OfflineModeIsEnabled) as error:
        if needed:
            raise ConnectionError(
                f"the hub cannot be queried about {repository} ({error}): check the connection, "
                "and that HF_HUB_OFFLINE is not set. Nothing was uploaded"
            ) from error
        logger.warning("The hub cannot be queried about %s: %s", repository, error)
        return None


def renumbered(remote: Sequence[str], files: dict[str, int]) -> list[str]:
    """Return the parquet files in the repository that this dataset does not have."""
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
    """Return lines that describe the upload and its destination."""
    if remote is None:
        state = "could not be queried"
    elif remote.private is None:
        access = "private" if private else "PUBLIC, readable by everyone"
        state = f"does not exist or is not visible with this token; it would be created, {access}"
    else:
        state = f"exists, {'private' if remote.private else 'PUBLIC, readable by everyone'}"
    return [
        f"From {folder}:",
        *(f"  {size:>14,} bytes  {name}" for name, size in files.items()),
        f"  {sum(files.values()):>14,} bytes in {len(files)} files",
        *(f"  {'deleted there':>20}  {name}" for name in stale),
        f"To https://huggingface.co/datasets/{repository}, which {state}.",
    ]


if __name__ == "__main__":
    snakemake = start_job()
    dataset = json.loads(snakemake.params.settings)["dataset"]
    folder = Path(snakemake.input.card).parent
    push_dataset(
        folder,
        [Path(file).relative_to(folder).as_posix() for file in snakemake.input],
        dataset["repository"],
        private=dataset["private"],
        confirmed=snakemake.params.confirmed,
    )
