"""List the images in the archives or folders of a group of classes."""

import json
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from imagenet_think.core.files import write_parquet
from imagenet_think.core.job import start_job
from imagenet_think.core.schemas import CATALOGUE
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
    rows = list_places(source["kind"], source["path"], places, snakemake.input.classes)
    write_parquet(pl.concat([rows, unusable]), snakemake.output[0], CATALOGUE)
