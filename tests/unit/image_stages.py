"""The image stages one after the other, as the workflow runs them, on archives in one folder."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl
from pictures import CRITERIA, PREPARATION

from catalogue_images import catalogue_images
from collect_candidates import collect_candidates
from index_classes import index_classes
from sample_images import sample_images

SEED = 7


def collected(folder: Path, source: Path, wnids: Sequence[str], wanted: int) -> Path:
    """Write the classes and the candidates of archives in `source` to `folder`, and return it."""
    table = ["wnid\tlemmas\tdomain\thypernym"] + [f"{w}\ta <b>\tfood & drink\tn1" for w in wnids]
    folder.mkdir(exist_ok=True)
    (folder / "classes.tsv").write_text("\n".join(table) + "\n")
    tars = [source / f"{wnid}.tar" for wnid in wnids]
    catalogue_images(folder / "classes.tsv", tars, folder / "catalogue.parquet")
    collect_candidates(
        folder / "catalogue.parquet",
        folder / "candidates.parquet",
        source,
        SEED,
        wanted,
        CRITERIA,
        PREPARATION,
    )
    index_classes(
        folder / "classes.tsv", [folder / "catalogue.parquet"], folder / "classes.parquet"
    )
    return folder


def sampled(folder: Path, **numbers: int) -> pl.DataFrame:
    """Draw a sample in a folder that `collected` made: total, class_count and a class's bounds."""
    sample_images(
        folder / "classes.parquet",
        [folder / "candidates.parquet"],
        folder / "sample.parquet",
        folder / "exclusions.parquet",
        seed=SEED,
        balance=0.5,
        criteria=CRITERIA,
        complexity={"strata": 3, "probe": 5},
        sharding={"blocks": 1, "shards_per_block": 1},
        **numbers,
    )
    return pl.read_parquet(folder / "sample.parquet")
