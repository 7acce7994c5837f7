"""Number the classes, and count what the source holds of each."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from imagenet_think.files import write_parquet
from imagenet_think.logs import log_to, logger
from imagenet_think.schemas import CLASSES


def index_classes(
    classes: str | Path, catalogues: Sequence[str | Path], output: str | Path
) -> None:
    """Write one row for each class of the list, with the number of its readable images.

    Parameters
    ----------
    classes
        Table of the classes (tab-separated; wnid, lemmas, domain, hypernym). The position of a
        class, from 0, is its class_index.
    catalogues
        Catalogues of all groups. A class that is in none has no images.
    output
        Parquet to write, schema `CLASSES`, in the order of the table.

    Raises
    ------
    ValueError
        If the table holds a class twice, or a catalogue one that the table lacks.
    """
    table = pl.read_csv(classes, separator="\t", quote_char=None, infer_schema=False)
    if table["wnid"].is_duplicated().any():
        twice = table.filter(pl.col("wnid").is_duplicated())["wnid"].unique(maintain_order=True)
        raise ValueError(f"{classes}: classes listed more than once: {', '.join(twice)}")
    available = (
        pl.scan_parquet(catalogues)
        .drop_nulls("wnid")
        .group_by("wnid")
        .agg(pl.col("reason").is_null().sum().cast(pl.Int64).alias("available"))
        .collect()
    )
    strange = available.join(table, on="wnid", how="anti")["wnid"].sort()
    if len(strange):
        raise ValueError(f"catalogued classes that {classes} lacks: {', '.join(strange)}")
    index = (
        table.with_row_index("class_index")
        .with_columns(pl.col("class_index").cast(pl.Int64))
        .join(available, on="wnid", how="left", maintain_order="left")
        .with_columns(pl.col("available").fill_null(0))
    )
    write_parquet(index.select(list(CLASSES)), output, CLASSES)
    logger.info(
        "%d classes, %d with images, %d images",
        len(index),
        (index["available"] > 0).sum(),
        index["available"].sum(),
    )


if __name__ == "__main__":
    log_to(snakemake.log[0])
    index_classes(snakemake.input.classes, snakemake.input.catalogues, snakemake.output[0])
