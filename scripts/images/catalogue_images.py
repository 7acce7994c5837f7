"""List the images in the archives or folders of a group of classes."""

import json
from collections.abc import Collection, Sequence
from pathlib import Path

import polars as pl

from imagenet_think.core.files import write_parquet
from imagenet_think.core.job import start_job
from imagenet_think.core.logs import logger, some
from imagenet_think.core.schemas import CATALOGUE
from imagenet_think.images import labels, sources
from imagenet_think.images.catalogue import list_places, of_classes


def split_unpacked(
    unpacked: str | Path, classes: Sequence[str], without_class: bool
) -> tuple[list[str], pl.DataFrame]:
    """Return the classes of a group that have an archive, and `CATALOGUE` rows for unusable ones.

    `unpacked` is a parquet of schema `UNPACKED`; the rest is as for `of_classes`.
    """
    rows = of_classes(pl.scan_parquet(unpacked), classes, without_class).collect()
    good = set(rows.filter(pl.col("reason").is_null())["wnid"])
    # Whole archives, not members: without a member's name, offset or size.
    unusable = rows.drop_nulls("reason").select(
        "wnid", "reason", "detail", source=pl.col("archive").fill_null("")
    )
    unusable = pl.concat([CATALOGUE.to_frame(), unusable], how="diagonal")
    return [wnid for wnid in classes if wnid in good], unusable


def warn_of_others(kind: str, folder: str | Path, classes: Collection[str]) -> None:
    """Log what in a source folder belongs to no class of the table, and is therefore not listed."""
    if others := sources.get_sampled(kind).left_out(folder, sorted(classes)):
        message = "%d files or folders in %s belong to no class of images.classes: %s"
        logger.warning(message, len(others), folder, some(others))


if __name__ == "__main__":
    snakemake = start_job()
    source = json.loads(snakemake.params.settings)["images"]["source"]
    group = json.loads(snakemake.params.group)
    places, unusable = group["places"], CATALOGUE.to_frame()
    if unpacked := snakemake.input.get("unpacked"):
        present, unusable = split_unpacked(
            unpacked, group["classes"], without_class=snakemake.wildcards.group == "0"
        )
        places = [f"{wnid}.tar" for wnid in present]
    classes = labels.read(snakemake.input.classes)
    if snakemake.wildcards.group == "0":
        warn_of_others(source["kind"], source["path"], classes.known)
    rows = list_places(source["kind"], source["path"], places, classes)
    write_parquet(pl.concat([rows, unusable]), snakemake.output[0], CATALOGUE)
