"""Rows of tables with means over the images that everything that is compared has in common."""

import polars as pl

COMMON = "common images"
"""Ends the title of such a row."""


def with_common(rows: pl.DataFrame, name: str, *blocks: str) -> pl.DataFrame:
    """Return numbers, and where they are over different images also means over the same ones.

    Parameters
    ----------
    rows
        One row per number, with the columns of schema `AGGREGATES`.
    name
        The images on which numbers are compared: `common`, `paired` or `shared`.
    blocks
        Columns; numbers that agree in them are compared.

    Returns
    -------
    polars.DataFrame
        The rows, then those that are `added`: means over the same images, without intervals, unless
        no image is in common. `compared` is true where a block's means are over the same images.
    """
    images, same = pl.col("images"), pl.col(f"{name}_images")
    differ, some = ((images > 0) & (images != same)).any(), (same > 0).any()
    if blocks:
        differ, some = differ.over(blocks), some.over(blocks)
    own = rows.with_columns(compared=~differ, added=False)
    added = rows.filter(differ & some).with_columns(
        value=name, low=None, high=None, images=same, compared=True, added=True
    )
    return pl.concat([own, added.cast(own.schema)])


def titled(title: pl.Expr | pl.Series) -> pl.Expr:
    """Return the titles of rows, which name what the means of `added` rows are over."""
    return pl.when("added").then(pl.format("{}, {}", title, pl.lit(COMMON))).otherwise(title)
