"""Table 2: images, classes and images a class."""

from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from imagenet_think.core.logs import log_to
from imagenet_think.report.tables import WHOLE, Column, write_table

if TYPE_CHECKING:
    from imagenet_think.core.job import snakemake

COLUMNS = [
    Column("images", "Total images", format=WHOLE),
    Column("classes", "Total classes", format=WHOLE),
    Column("min_per_class", "Min. samples per class", format=WHOLE),
    Column("max_per_class", "Max. samples per class", format=WHOLE),
    Column("mean_per_class", "Avg. samples per class", format=".1f"),
]

CAPTION = "Summary of images, counted in the sample of this run."


def summarize(sample: pl.DataFrame) -> pl.DataFrame:
    """Return the one row of Table 2.

    Parameters
    ----------
    sample
        A row an image, column wnid. A class is one that has an image in the sample.
    """
    counts = sample.group_by("wnid").len("images")["images"]
    return pl.DataFrame(
        {
            "images": [len(sample)],
            "classes": [len(counts)],
            "min_per_class": [counts.min()],
            "max_per_class": [counts.max()],
            "mean_per_class": [counts.mean()],
        },
        schema_overrides={"mean_per_class": pl.Float64},
    )


def table_images(sample: str | Path, stem: str | Path) -> None:
    """Write Table 2 from the parquet file of the sample (schema `SAMPLE`) to `<stem>.*`."""
    write_table(summarize(pl.read_parquet(sample, columns=["wnid"])), COLUMNS, CAPTION, stem)


if __name__ == "__main__":
    log_to(snakemake.log[0])
    table_images(
        sample=snakemake.input.sample,
        stem=Path(snakemake.output[0]).with_suffix(""),
    )
