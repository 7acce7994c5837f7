"""Table 2: images, classes and images per class."""

from pathlib import Path

import polars as pl

from imagenet_think.core.job import start_job
from imagenet_think.core.settings import Values
from imagenet_think.report import definitions
from imagenet_think.report.image_summary import COLUMNS, IMAGENET_NAME, summarize
from imagenet_think.report.tables import write_table

DEFINED = {"file": definitions.SAMPLE, "class": "wnid", "imagenet_names": IMAGENET_NAME}


def caption(defined: Values) -> str:
    """Return the caption: what is counted."""
    return "Summary of images, counted in the sample of this run."


def table_images(sample: str | Path, stem: str | Path) -> None:
    """Write Table 2 from the parquet file of the sample (schema `SAMPLE`) to `<stem>.*`."""
    images = pl.read_parquet(sample, columns=["image_id", "wnid"])
    write_table(summarize(images), COLUMNS, DEFINED, caption, stem)


if __name__ == "__main__":
    snakemake = start_job()
    table_images(sample=snakemake.input.sample, stem=Path(snakemake.output[0]).with_suffix(""))
