"""The classes: their order, their labels, and how many images each has."""

from pathlib import Path

import polars as pl

from imagenet_think.core.schemas import CLASSES


def read_classes(path: str | Path) -> pl.DataFrame:
    """Return the class table, one row per class, all columns text.

    The file is tab-separated: `wnid, lemmas, domain, hypernym`, and any further columns.

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
    """Return the classes that integer labels index, from 0.

    Parameters
    ----------
    classes
        Class table.
    labels
        Text file with one class per line (its first column counts), in the order of the integers;
        None for the sorted class table, as in `timm/imagenet-w21-p`, whose 10,450 classes are those
        of ImageNet-21K-P.
    """
    if labels is None:
        return sorted(read_classes(classes)["wnid"])
    lines = Path(labels).read_text(encoding="utf-8").splitlines()
    return [line.split()[0] for line in lines if line.strip()]


def counted(classes: pl.DataFrame, available: pl.DataFrame) -> pl.DataFrame:
    """Return the class table in its order, schema `CLASSES`: with class_index and available.

    `available` has the number of images (`available`) by `wnid`; classes without a row have none.
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
