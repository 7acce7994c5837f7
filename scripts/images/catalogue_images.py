"""List what lies in the archives or folders of a group of classes."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from imagenet_think.core.files import write_parquet
from imagenet_think.core.logs import log_to, logger, progress
from imagenet_think.core.schemas import CATALOGUE
from imagenet_think.images import sources
from imagenet_think.images.classes import read_classes

if TYPE_CHECKING:
    from imagenet_think.core.job import snakemake


def catalogue_images(
    classes: str | Path,
    places: Sequence[str | Path],
    catalogue: str | Path,
    kind: str = "class_tars",
    unusable: pl.DataFrame | None = None,
) -> None:
    """Write one row for each member of each class archive or folder.

    Only headers are read: nothing is unpacked or decoded. What cannot be read has a row with its
    reason, and no archive stops the others.

    Parameters
    ----------
    classes
        Table of the classes (tab-separated, with a column `wnid`).
    places
        Archives named `<wnid>.tar` or folders named `<wnid>`; none is allowed, for a group without
        images.
    catalogue
        Parquet to write, schema `CATALOGUE`, in the order of `places` and of the members in them.
    kind
        Layout, `images.source.kind`.
    unusable
        Rows (schema `CATALOGUE`) of what could not even become a place; they stand at the end.

    Raises
    ------
    ValueError
        If a place's name is no class of the table.
    OSError
        If a place is gone; the error names it.
    """
    source = sources.get_sampled(kind)
    known = set(read_classes(classes)["wnid"])
    rows = []
    for place in progress(map(Path, places), len(places), "archives listed"):
        for entry in source.list_place(place, ()):
            if entry.reason:
                logger.warning("%s: %s: %s", place, entry.reason, entry.detail)
            rows.append((entry.wnid, place.name, *entry[1:]))
    frame = pl.DataFrame(rows, schema=CATALOGUE, orient="row")
    strange = sorted(set(frame["wnid"].unique()) - known)
    if strange:
        raise ValueError(f"{strange[0]!r} is no class of {classes}, but has an archive")
    if unusable is not None:
        frame = pl.concat([frame, unusable])
    write_parquet(frame, catalogue, CATALOGUE)


def split_unpacked(
    unpacked: str | Path, classes: Sequence[str], without_class: bool
) -> tuple[list[str], pl.DataFrame]:
    """Split the list of unpacked class archives.

    Parameters
    ----------
    unpacked
        Parquet of schema `UNPACKED`.
    classes
        The group's classes.
    without_class
        Whether the rows without a class belong to this group.

    Returns
    -------
    list of str
        Classes of the group that have an archive, in the group's order.
    polars.DataFrame
        Rows of schema `CATALOGUE` for what could not be used.
    """
    rows = pl.read_parquet(unpacked)
    good = set(rows.filter(pl.col("reason").is_null())["wnid"])
    mine = pl.col("wnid").is_in(list(classes))
    if without_class:
        mine = mine | pl.col("wnid").is_null()
    # Whole archives, not members: without a member's name, offset or size.
    unusable = rows.filter(pl.col("reason").is_not_null(), mine).select(
        "wnid",
        pl.col("archive").fill_null("").alias("source"),
        *(pl.lit(None, CATALOGUE[name]).alias(name) for name in ("member", "offset", "bytes")),
        "reason",
        "detail",
    )
    return [wnid for wnid in classes if wnid in good], unusable


if __name__ == "__main__":
    log_to(snakemake.log[0])
    source = json.loads(snakemake.params.settings)["images"]["source"]
    places, unusable = list(snakemake.input.places), None
    if unpacked := snakemake.input.get("unpacked"):
        present, unusable = split_unpacked(
            unpacked,
            json.loads(snakemake.params.classes)["classes"],
            without_class=snakemake.wildcards.group == "0",
        )
        places = [Path(source["path"]) / f"{wnid}.tar" for wnid in present]
    catalogue_images(
        snakemake.input.classes,
        places,
        snakemake.output[0],
        source["kind"],
        unusable,
    )
