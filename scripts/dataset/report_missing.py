"""List the problems of rejoining a dataset with its images, and write the result's card."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl
import yaml

from imagenet_think.core.csv_files import write_csv
from imagenet_think.core.files import write_text
from imagenet_think.core.job import start_job
from imagenet_think.core.logs import logger
from imagenet_think.core.schemas import MISSING
from imagenet_think.dataset.hub_files import count_rows, data_files, remove_leftovers

CARD = """\
---
{front}---

# ImageNet-Think, rejoined

The texts of a published dataset with images from your own copy of their source: {joined:,} of
{rows:,} rows. {left_out}

The images are for your own use: if they are ImageNet's, its terms forbid passing them on.
"""


def report_missing(
    dataset: Sequence[str | Path],
    missing: Sequence[str | Path],
    report: str | Path,
    card: str | Path,
) -> None:
    """Write a csv of all rows that were left out or kept with a remark, and the card in Markdown.

    Files of an earlier dataset next to the rejoined one's are removed. For each of its files there
    is one of schema `MISSING`.
    """
    remove_leftovers(dataset, numbered="*")
    rows = pl.scan_parquet(list(map(Path, missing))).sort("image_id").collect()
    write_csv(rows.select(list(MISSING)), report)
    left_out = rows["row"].eq("left_out").sum()
    counted = count_rows(dataset)
    joined = counted.total()
    why = "No row is left out."
    if left_out:
        why = f"{left_out:,} are left out; `{Path(report).name}` lists them with reasons."
    front = yaml.safe_dump({"configs": data_files(counted)}, sort_keys=False)
    text = CARD.format(front=front, joined=joined, rows=joined + left_out, left_out=why)
    write_text(text, card)
    for row, reason, count in (
        rows.group_by("row", "reason").len().sort("row", "reason").iter_rows()
    ):
        logger.warning("%s, %s: %d rows", row, reason, count)
    logger.info("%d rows have their image, %d were left out", joined, left_out)


if __name__ == "__main__":
    snakemake = start_job()
    report_missing(
        list(snakemake.input.dataset),
        list(snakemake.input.missing),
        snakemake.output.report,
        snakemake.output.card,
    )
