"""The classes: their order, and how many images each has."""

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from imagenet_think.core.schemas import CLASSES
from imagenet_think.core.shards import shard_of
from imagenet_think.images import class_table


def read_classes(path: str | Path) -> pl.DataFrame:
    """Return the class table, one row per class, all columns text; errors as `class_table.read`."""
    columns, rows = class_table.read(path)
    return pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String()), orient="row")


def counted(classes: pl.DataFrame, available: pl.DataFrame) -> pl.DataFrame:
    """Return the class table in its order, schema `CLASSES`.

    `available` has the number of images (`available`) by `wnid`; classes without a row have none.
    """
    counts = classes.with_row_index("class_index").join(
        available, on="wnid", how="left", maintain_order="left"
    )
    return counts.with_columns(pl.col("available").fill_null(0)).select(list(CLASSES)).cast(CLASSES)


def described(
    images: pl.DataFrame, classes: pl.DataFrame, sharding: Mapping[str, int]
) -> pl.DataFrame:
    """Return images of known class with the columns of the class table, `lemma` and `shard`."""
    shards = [shard_of(name, **sharding) for name in images["image_id"]]
    return images.join(classes, on="wnid", how="left", maintain_order="left").with_columns(
        pl.col("lemmas").str.split(", ").list.first().alias("lemma"),
        pl.Series("shard", shards, pl.String),
    )
