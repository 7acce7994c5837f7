"""The classes: their order, their labels, and how many images each has."""

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from imagenet_think.core.schemas import CLASSES
from imagenet_think.core.shards import shard_of


def read_classes(path: str | Path) -> pl.DataFrame:
    """Return the class table, one row per class, all columns text; ValueError if it is none."""
    table = pl.read_csv(path, separator="\t", quote_char=None, infer_schema=False, glob=False)
    missing = [name for name in ("wnid", "lemmas", "domain", "hypernym") if name not in table]
    if missing:
        raise ValueError(
            f"{path}: columns missing: {', '.join(missing)}; a table of classes is separated by "
            "tabs, and its first line names wnid, lemmas, domain and hypernym"
        )
    nameless = table["wnid"].is_null().arg_true()
    if len(nameless):
        raise ValueError(f"{path}: line {nameless[0] + 2} names no class")
    twice = table["wnid"].filter(table["wnid"].is_duplicated()).unique(maintain_order=True)
    if len(twice):
        raise ValueError(f"{path}: classes listed more than once: {', '.join(twice)}")
    return table


def read_labels(classes: str | Path, labels: str | Path | None) -> list[str]:
    """Return the classes that integer labels index, from 0.

    `labels` is a text file with one class per line (its first column counts), in the order of the
    integers; None for the sorted class table, as in `timm/imagenet-w21-p`, whose 10,450 classes are
    those of ImageNet-21K-P.
    """
    if labels is None:
        return sorted(read_classes(classes)["wnid"])
    lines = Path(labels).read_text(encoding="utf-8").splitlines()
    return [line.split()[0] for line in lines if line.strip()]


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
