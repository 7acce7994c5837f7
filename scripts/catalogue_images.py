"""List what lies in the archives of a group of classes."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from imagenet_think.archives import list_members
from imagenet_think.files import write_parquet
from imagenet_think.logs import log_to, logger, progress
from imagenet_think.schemas import CATALOGUE


def catalogue_images(
    classes: str | Path, tars: Sequence[str | Path], catalogue: str | Path
) -> None:
    """Write one row for each member of each class archive.

    Only headers are read: nothing is unpacked or decoded. What cannot be read has a row with its
    reason, and no archive stops the others.

    Parameters
    ----------
    classes
        Table of the classes (tab-separated, with a column `wnid`).
    tars
        Archives named `<wnid>.tar`; none is allowed, for a group without images.
    catalogue
        Parquet to write, schema `CATALOGUE`, in the order of `tars` and of the members in them.

    Raises
    ------
    ValueError
        If an archive's name is no class of the table.
    """
    known = set(pl.read_csv(classes, separator="\t", quote_char=None)["wnid"])
    rows = []
    for tar in progress(map(Path, tars), len(tars), "archives listed"):
        if tar.stem not in known:
            raise ValueError(f"{tar}: {tar.stem!r} is no class of {classes}")
        for member in list_members(tar):
            if member.reason:
                logger.warning("%s: %s: %s", tar, member.reason, member.detail)
            rows.append((tar.stem, tar.name, *member))
    write_parquet(pl.DataFrame(rows, schema=CATALOGUE, orient="row"), catalogue, CATALOGUE)


if __name__ == "__main__":
    log_to(snakemake.log[0])
    catalogue_images(snakemake.input.classes, snakemake.input.tars, snakemake.output[0])
