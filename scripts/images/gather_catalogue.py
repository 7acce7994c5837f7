"""Gather the catalogue of a group of classes from the listings of all archives."""

import json
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from imagenet_think.core.files import write_parquet
from imagenet_think.core.job import start_job
from imagenet_think.core.logs import logger
from imagenet_think.core.schemas import CATALOGUE
from imagenet_think.images.catalogue import of_classes


def gather_catalogue(
    listings: Sequence[str | Path],
    classes: Sequence[str],
    catalogue: str | Path,
    without_class: bool,
) -> None:
    """Write a group's rows (see `of_classes`) by class, then in the order of the listings."""
    rows = of_classes(pl.scan_parquet(list(map(str, listings))), classes, without_class).collect()
    write_parquet(rows.sort("wnid", maintain_order=True), catalogue, CATALOGUE)
    logger.info("%d rows of %d classes", len(rows), len(classes))


if __name__ == "__main__":
    snakemake = start_job()
    gather_catalogue(
        snakemake.input.listings,
        json.loads(snakemake.params.classes)["classes"],
        snakemake.output[0],
        without_class=snakemake.wildcards.group == "0",
    )
