"""Decode and prepare the pictures in a parquet file that lists images."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import polars as pl

from imagenet_think.core.files import parquet_writer
from imagenet_think.core.job import start_job
from imagenet_think.core.logs import logger, progress
from imagenet_think.core.pools import in_turn
from imagenet_think.core.schemas import CANDIDATES, IMAGE_ROWS
from imagenet_think.images import image_matching, manifests
from imagenet_think.images.labels import read as read_labels
from imagenet_think.images.preparation import examine
from imagenet_think.images.rejections import recorded

AHEAD = 4
"""Pictures in memory for each thread."""


def prepare_images(
    classes: str | Path,
    file: str,
    labels: str | Path | None,
    output: str | Path,
    *,
    image: str,
    label: str | None,
    count_classes: bool = False,
    thresholds: Mapping[str, int],
    preparation: Mapping[str, int],
    threads: int = 1,
) -> None:
    """Write a candidate for each row: prepared, or rejected with its reason.

    Only rows that cannot be decoded, or without an image or class, are rejected: the list is the
    sample, so no other criterion is applied.

    Parameters
    ----------
    classes, labels, image, label, count_classes
        As for `list_images`; the column `image` holds the hub's images (bytes and path).
    file, output
        Parquet file, and the parquet to write: schema `CANDIDATES`, in the file's order. Complexity
        and perceptual hash are not measured.
    thresholds, preparation
        `max_pixels` of `images.criteria`, and `longest_side` and `jpeg_quality`.
    threads
        Pictures decoded at a time.

    Raises
    ------
    ValueError
        If a file or column cannot be read, or the column has no bytes.
    """
    names, given = manifests.read_names(file, image, label)
    known = read_labels(classes, labels, count_classes)
    known = manifests.with_metadata(file, label, known)

    def prepared(item: tuple[str | None, object, bytes | None]) -> manifests.ListedRow:
        name, says, data = item
        digest = None if data is None else hashlib.sha256(data).hexdigest()
        row = dict.fromkeys(CANDIDATES) | manifests.identify(file, name, digest, says, known)
        if row["reason"] is None:
            with recorded(row):
                row |= examine(data, thresholds, preparation)
        return row

    pictures = zip(names, given, image_matching.read_pictures(file, image), strict=True)
    counts = Counter[str]()
    with ThreadPoolExecutor(threads) as pool, parquet_writer(output, CANDIDATES) as write:
        done = in_turn(pool, prepared, pictures, ahead=AHEAD * threads)
        rows = manifests.reject_clashes(progress(done, len(names), "pictures prepared"))
        while batch := list(islice(rows, IMAGE_ROWS)):
            # An image is gathered from one row: a repetition is stored without it.
            stored = pl.when(pl.col("reason").is_null()).then("image")
            write(pl.DataFrame(batch, schema=CANDIDATES).with_columns(image=stored))
            counts.update(row["reason"] or "prepared" for row in batch)
    for reason, count in sorted(counts.items()):
        logger.info("%s: %d", reason, count)


if __name__ == "__main__":
    snakemake = start_job()
    images = json.loads(snakemake.params.settings)["images"]
    prepare_images(
        snakemake.input.classes,
        snakemake.input.file,
        next(iter(snakemake.input.labels), None),
        snakemake.output[0],
        image=images["source"].get("image", manifests.IMAGE),
        label=images["source"].get("label"),
        count_classes=images["source"].get("count_classes", False),
        thresholds=images["criteria"],
        preparation=images["preparation"],
        threads=snakemake.threads,
    )
