"""The sample of responses to review: which images, in which order and on which side."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import polars as pl

from imagenet_think.core.digests import digest_settings
from imagenet_think.core.hash_order import order_key
from imagenet_think.review.form import FORMAT, VERSION


def read_statuses(
    sample: str | Path, annotations: Sequence[str | Path], teachers: Sequence[str]
) -> pl.DataFrame:
    """Return image_id, lemma, domain, sha256, status_1 and status_2 of every image.

    ValueError names an image of which a teacher has no annotation.
    """
    images = pl.read_parquet(sample, columns=["image_id", "lemma", "domain", "sha256"])
    found = (
        pl.scan_parquet(list(map(Path, annotations)))
        .select("image_id", "model", "status")
        .collect()
    )
    for k, teacher in enumerate(teachers, start=1):
        own = found.filter(model=teacher).select("image_id", pl.col("status").alias(f"status_{k}"))
        images = images.join(own, on="image_id", how="left", validate="1:1")
        missing = images.filter(pl.col(f"status_{k}").is_null())["image_id"]
        if len(missing):
            raise ValueError(
                f"annotations of {teacher}: {len(missing)} images of {sample} have none, the first "
                f"is {missing[0]}"
            )
    return images


def choose(images: pl.DataFrame, seed: int, number: int) -> pl.DataFrame:
    """Return the images to review, in the order in which they are shown.

    The strata are domain × status × teacher; an image belongs to two of them, one per teacher.
    The first image of each stratum by keyed hash comes first, those of the largest strata before
    others, so that every stratum is represented if there is room. The rest are ordered so that any
    first part has domains and statuses in the proportions of the whole run.

    Parameters
    ----------
    images
        Columns image_id, domain, status_1 and status_2.
    seed
        The run's seed.
    number
        How many. A larger sample begins with a smaller one.
    """
    strata = [["domain", f"status_{k}"] for k in (1, 2)]
    cell = ["domain", "status_1", "status_2"]
    keys = [order_key(seed, "review", image) for image in images["image_id"]]
    first = [pl.int_range(pl.len()).over(stratum) == 0 for stratum in strata]
    return (
        images.with_columns(pl.Series("key", keys, dtype=pl.Binary))
        .sort("key")
        .with_columns(
            pl.any_horizontal(first).alias("first"),
            # In a cell of 4 images these are at 1/8, 3/8, 5/8 and 7/8 of the way.
            ((pl.int_range(pl.len()) + 0.5) / pl.len()).over(cell).alias("way"),
        )
        .sort(pl.col("first").not_(), "way", "key")
        .drop("key", "first", "way")
        .head(number)
    )


def left(seed: int, image_id: str) -> int:
    """Return which teacher's response, 0 or 1, is shown on the left."""
    return order_key(seed, "review", "left", image_id)[0] & 1


def digests(origin: Mapping[str, Any], items: Iterable[Sequence[Any]]) -> list[str]:
    """Return the name of the sample that ends at each item: a chain of SHA-256 digests.

    A file of decisions names the digest of the last item of its page. As a larger sample begins
    with a smaller one, it includes the digests of all smaller ones, and so accepts their decisions.
    `origin` is what all items have in common, and `items` what is judged of each, as JSON values.
    """
    first = digest_settings({"format": FORMAT, "version": VERSION, **origin})
    chain = accumulate(items, lambda last, item: digest_settings([last, *item]), initial=first)
    return list(chain)[1:]
