"""Gather the prepared images of a block, one shard after the other."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from imagenet_think.core.files import parquet_writer
from imagenet_think.core.job import start_job
from imagenet_think.core.logs import logger, progress
from imagenet_think.core.schemas import IMAGE_ROWS, IMAGES


def gather_shard(
    sample: str | Path, candidates: Sequence[str | Path], shard: str, output: str | Path
) -> None:
    """Write the images of a shard by image_id, schema `IMAGES`, maybe without rows.

    The candidates of all groups are scanned file by file and lazily: besides the shard's images,
    only a row group or two are in memory.

    Raises
    ------
    ValueError
        If an image of the sample is missing or differs from the one that was sampled.
    """
    columns = ("image_id", "wnid", "source", "member", "width", "height", "sha256", "source_sha256")
    wanted = pl.scan_parquet(sample).filter(shard=shard).select(*columns).collect()
    # An image_id may clash with one that was rejected, so source and member must agree too (the
    # member is null where an image has no name).
    place = ["image_id", "source", "member"]
    found = [
        pl.scan_parquet(path)
        .filter(pl.col("image_id").is_in(wanted["image_id"].implode()), pl.col("reason").is_null())
        .select(*place, "image")
        .collect(engine="streaming")
        .join(wanted, on=place, how="inner", nulls_equal=True)
        for path in progress(candidates, len(candidates), f"files searched for shard {shard}")
    ]
    images = pl.concat(found, rechunk=False)
    missing = wanted.join(images, on=place, how="anti", nulls_equal=True)["image_id"].to_list()
    if missing or len(images) != len(wanted):
        raise ValueError(
            f"shard {shard}: {len(images)} images found of {len(wanted)} sampled; missing "
            f"{missing[:5]}: sample and candidates do not belong together"
        )
    order = images["image_id"].arg_sort()
    with parquet_writer(output, IMAGES) as write:
        for start in range(0, len(order), IMAGE_ROWS):
            rows = images[order[start : start + IMAGE_ROWS]]
            for name, data, sha256 in rows.select("image_id", "image", "sha256").iter_rows():
                if hashlib.sha256(data).hexdigest() != sha256:
                    raise ValueError(f"shard {shard}: {name} is not the image that was sampled")
            path = pl.col("image_id") + ".jpg"
            struct = pl.struct(pl.col("image").alias("bytes"), path.alias("path"))
            write(rows.with_columns(struct.alias("image")).select(list(IMAGES)))
    logger.info("shard %s: %d images", shard, len(images))


if __name__ == "__main__":
    snakemake = start_job()
    for output in snakemake.output:
        gather_shard(snakemake.input.sample, snakemake.input.candidates, Path(output).stem, output)
