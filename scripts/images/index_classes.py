"""Number the classes, and count what the source holds of each."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from imagenet_think.core.files import write_parquet
from imagenet_think.core.job import start_job
from imagenet_think.core.logs import logger
from imagenet_think.core.schemas import CLASSES
from imagenet_think.images.classes import counted, read_classes


def index_classes(
    classes: str | Path, catalogues: Sequence[str | Path], output: str | Path
) -> None:
    """Write a row for each class of the table, with the number of its readable images.

    The output has the schema `CLASSES`, in the order of the table. A class that is in none of the
    catalogues has no images.

    Raises
    ------
    ValueError
        As for `read_classes`, or if the table lacks a class of a catalogue.
    """
    table = read_classes(classes)
    available = (
        pl.scan_parquet(list(map(str, catalogues)))
        .drop_nulls("wnid")
        .group_by("wnid")
        .agg(pl.col("reason").is_null().sum().alias("available"))
        .collect()
    )
    strange = available.join(table, on="wnid", how="anti")["wnid"].sort()
    if len(strange):
        raise ValueError(f"catalogued classes that {classes} lacks: {', '.join(strange)}")
    index = counted(table, available)
    write_parquet(index, output, CLASSES)
    with_images, images = (index["available"] > 0).sum(), index["available"].sum()
    logger.info("%d classes, %d with images, %d images", len(index), with_images, images)


if __name__ == "__main__":
    snakemake = start_job()
    index_classes(snakemake.input.classes, snakemake.input.catalogues, snakemake.output[0])
