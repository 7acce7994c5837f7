"""Choose the images on which the benchmarked models are prompted and scored."""

import json
from collections import defaultdict
from pathlib import Path

import polars as pl

from imagenet_think.core.files import write_parquet
from imagenet_think.core.hash_order import image_order_key
from imagenet_think.core.job import start_job
from imagenet_think.core.logs import logger
from imagenet_think.core.schemas import EVALUATED


def choose(sample: pl.DataFrame, count: int | None, seed: int) -> set[str]:
    """Choose images that are spread over the classes as the sample is; all if `count` is None.

    Image p (from 0) of a class of n images, in keyed-hash order, has the rank (p + 0.5) / n, and
    the `count` images of lowest rank are taken: each class then contributes the same share of its
    images, to within half an image, and a larger count keeps all images of a smaller one.
    """
    classes: dict[str, list[tuple[bytes, str]]] = defaultdict(list)
    for image, wnid in sample.select("image_id", "wnid").iter_rows():
        classes[wnid].append((image_order_key(seed, wnid, image), image))
    ranked = [
        ((place + 0.5) / len(images), key, image)
        for images in classes.values()
        for place, (key, image) in enumerate(sorted(images))
    ]
    return {image for _, _, image in sorted(ranked)[:count]}


def select_evaluated(
    sample: str | Path, output: str | Path, *, images: int | None, seed: int
) -> None:
    """Write the chosen images by image_id, schema `EVALUATED`; `images` is their number or None."""
    frame = pl.read_parquet(sample, columns=["image_id", "wnid", "shard"])
    if images is not None and images > len(frame):
        message = "benchmark.images: %d images wanted, the sample has %d: all are taken"
        logger.warning(message, images, len(frame))
    chosen = choose(frame, images, seed)
    rows = frame.filter(pl.col("image_id").is_in(list(chosen))).sort("image_id")
    write_parquet(rows.select(list(EVALUATED)), output, EVALUATED)
    logger.info("%d of %d images", len(rows), len(frame))


if __name__ == "__main__":
    snakemake = start_job()
    settings = json.loads(snakemake.params.settings)
    select_evaluated(
        snakemake.input.sample,
        snakemake.output[0],
        images=settings["benchmark"]["images"],
        seed=settings["seed"],
    )
