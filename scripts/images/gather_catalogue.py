"""Gather what the listings hold of a group of classes."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from imagenet_think.core.files import write_parquet
from imagenet_think.core.logs import log_to, logger
from imagenet_think.core.schemas import CATALOGUE

if TYPE_CHECKING:
    from imagenet_think.core.job import snakemake


def gather_catalogue(
    listings: Sequence[str | Path],
    classes: Sequence[str],
    catalogue: str | Path,
    without_class: bool,
) -> None:
    """Write the rows of a group of classes.

    Parameters
    ----------
    listings
        Listings of all archives.
    classes
        The group's classes.
    catalogue
        Parquet to write, schema `CATALOGUE`: by class, then in the order of the listings.
    without_class
        Whether the group also takes the rows without a class (damage, broken labels): one group of
        all should, so that nothing is lost.
    """
    mine = pl.col("wnid").is_in(list(classes))
    if without_class:
        mine = mine | pl.col("wnid").is_null()
    rows = pl.concat([pl.scan_parquet(listing).filter(mine) for listing in listings]).collect()
    write_parquet(rows.sort("wnid", maintain_order=True), catalogue, CATALOGUE)
    logger.info("%d rows of %d classes", len(rows), rows["wnid"].n_unique())


if __name__ == "__main__":
    log_to(snakemake.log[0])
    gather_catalogue(
        snakemake.input.listings,
        json.loads(snakemake.params.classes)["classes"],
        snakemake.output[0],
        without_class=snakemake.wildcards.group == "0",
    )
