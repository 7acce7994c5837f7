"""Gather what rejoining found amiss, and describe the rejoined dataset to `datasets`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import yaml

from imagenet_think.core.files import atomic_path, write_text
from imagenet_think.core.logs import log_to, logger
from imagenet_think.core.schemas import MISSING
from imagenet_think.dataset.hub_files import count_rows, front_matter, remove_leftovers

if TYPE_CHECKING:
    from imagenet_think.core.job import snakemake

CARD = """\
---
{front}---

# ImageNet-Think, rejoined

The texts of a published dataset with the images of one's own copy of their source: {joined:,} of
{rows:,} rows. {left_out}

The images are for one's own use: ImageNet's terms forbid to pass them on.
"""


def report_missing(
    dataset: Sequence[str | Path],
    missing: Sequence[str | Path],
    report: str | Path,
    card: str | Path,
) -> None:
    """Write one list of all rows that are left out, or of which there is something to say.

    Parameters
    ----------
    dataset
        Parquet files of the rejoined dataset. What an earlier one left beside them is removed.
    missing
        Parquet files, schema `MISSING`, one for each of them.
    report
        CSV to write, by image_id.
    card
        Markdown to write, which tells `datasets` the configurations and splits.
    """
    remove_leftovers(dataset, numbered="*")
    rows = pl.scan_parquet(list(missing)).sort("image_id").collect()
    with atomic_path(report) as temporary:
        rows.select(list(MISSING)).write_csv(temporary)
    left_out = rows["row"].eq("left_out").sum()
    counted = count_rows(dataset)
    joined = counted.total()
    why = "None is left out."
    if left_out:
        why = f"{left_out:,} are left out: `{Path(report).name}` says which, and why."
    front = yaml.safe_dump({"configs": front_matter(counted)}, sort_keys=False)
    text = CARD.format(front=front, joined=joined, rows=joined + left_out, left_out=why)
    write_text(text, card)
    for row, reason, count in (
        rows.group_by("row", "reason").len().sort("row", "reason").iter_rows()
    ):
        logger.warning("%s, %s: %d rows", row, reason, count)
    logger.info("%d rows have their image, %d have none", joined, left_out)


if __name__ == "__main__":
    log_to(snakemake.log[0])
    report_missing(
        list(snakemake.input.dataset),
        list(snakemake.input.missing),
        snakemake.output.report,
        snakemake.output.card,
    )
