"""The classes: their order, their labels, and how many images each has."""

from pathlib import Path

import polars as pl

from imagenet_think.core.schemas import CLASSES


def read_classes(path: str | Path) -> pl.DataFrame:
    """Return the table of the classes, one row per class in its order, all columns text.

    Parameters
    ----------
    path
        Tab-separated; `wnid, lemmas, domain, hypernym`, and any further columns.

    Raises
    ------
    ValueError
        If a column is missing, a row has no class, or a class is listed twice.
    """
    table = pl.read_csv(path, separator="\t", quote_char=None, infer_schema=False)
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
    """Return the classes that integer labels count, from 0.

    Parameters
    ----------
    classes
        Table of the classes. Sorted, they are what integers count unless a file says otherwise:
        so it is in `timm/imagenet-w21-p`, whose 10,450 classes are those of ImageNet-21K-P.
    labels
        Text file with one class per line (its first column counts), in the order of the integers;
        None for the sorted class table.
    """
    if labels is None:
        return sorted(read_classes(classes)["wnid"])
    lines = Path(labels).read_text(encoding="utf-8").splitlines()
    return [line.split()[0] for line in lines if line.strip()]


def counted(classes: pl.DataFrame, available: pl.DataFrame) -> pl.DataFrame:
    """Return the index of the classes.

    Parameters
    ----------
    classes
        From `read_classes`. The position of a class, from 0, is its class_index.
    available
        `wnid, available`: how many images a class has, 0 where it has no row.

    Returns
    -------
    polars.DataFrame
        Schema `CLASSES`, in the list's order.
    """
    return (
        classes.with_row_index("class_index")
        .join(available, on="wnid", how="left", maintain_order="left")
        .with_columns(
            pl.col("class_index").cast(pl.Int64),
            pl.col("available").fill_null(0).cast(pl.Int64),
        )
        .select(list(CLASSES))
    )
