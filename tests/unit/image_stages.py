"""The image stages one after the other, as the workflow runs them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from pictures import CRITERIA, PREPARATION
from source_forms import write_classes

from catalogue_images import split_unpacked
from collect_candidates import collect_candidates
from gather_catalogue import gather_catalogue
from imagenet_think.core.files import write_parquet
from imagenet_think.core.schemas import CATALOGUE
from imagenet_think.images import labels, sources
from imagenet_think.images.catalogue import list_places
from index_classes import index_classes
from sample_images import sample_images
from unpack_outer_archive import unpack_outer_archive

SEED = 7
SETTINGS: dict[str, Any] = {
    "seed": SEED,
    "total": 18,
    "class_count": 3,
    "min_per_class": 5,
    "max_per_class": 7,
    "balance": 0.5,
    "criteria": CRITERIA,
    "complexity": {"strata": 3, "probe": 5},
    "sharding": {"blocks": 2, "shards_per_block": 2},
}
"""What `sample_images` takes, of three classes."""


def group_files(folder: Path, name: str) -> list[Path]:
    """Return the files of all groups, such as `catalogue-0.parquet`."""
    return sorted(folder.glob(f"{name}-*.parquet"))


def catalogued(
    folder: Path, source: Mapping[str, Any], wnids: Sequence[str], groups: int = 2
) -> list[Path]:
    """Write the classes and the catalogues of a source to `folder`; return the catalogues."""
    folder.mkdir(exist_ok=True)
    classes = write_classes(folder / "classes.tsv", wnids)
    kind, path = source["kind"], Path(source["path"])
    layout = sources.get_sampled(kind)
    if layout.made_by == "unpacking":
        unpack_outer_archive(source["archive"], classes, path, folder / "unpacked.parquet")
    places = layout.places(path, wnids)
    meaning = labels.read(classes, source.get("labels"), source.get("count_classes", False))
    if not layout.by_class:
        for part in range(2):
            rows = list_places(kind, path, places[part::2], meaning)
            write_parquet(rows, folder / f"listing-{part}.parquet", CATALOGUE)
    for group in range(groups):
        file, mine = folder / f"catalogue-{group}.parquet", wnids[group::groups]
        unusable = CATALOGUE.to_frame()
        if not layout.by_class:
            gather_catalogue(group_files(folder, "listing"), mine, file, without_class=group == 0)
            continue
        if layout.made_by == "unpacking":
            mine, unusable = split_unpacked(folder / "unpacked.parquet", mine, group == 0)
        rows = list_places(kind, path, layout.places(path, mine), meaning)
        write_parquet(pl.concat([rows, unusable]), file, CATALOGUE)
    catalogues = group_files(folder, "catalogue")
    index_classes(classes, catalogues, folder / "classes.parquet")
    return catalogues


def collected(
    folder: Path,
    source: Mapping[str, Any],
    wnids: Sequence[str],
    wanted: int = 50,
    groups: int = 2,
    threads: int = 1,
    seed: int = SEED,
    **criteria: Any,
) -> Path:
    """Write classes, catalogues and candidates of a source to `folder`, and return it."""
    for group, catalogue in enumerate(catalogued(folder, source, wnids, groups)):
        collect_candidates(
            catalogue,
            folder / f"candidates-{group}.parquet",
            source["path"],
            seed,
            wanted,
            CRITERIA | criteria,
            PREPARATION,
            threads,
            source["kind"],
        )
    return folder


def candidates(folder: Path) -> pl.DataFrame:
    """Return the candidates of all groups in a folder that `collected` wrote."""
    return pl.concat([pl.read_parquet(file) for file in group_files(folder, "candidates")])


def sampled(folder: Path, **changes: Any) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Draw a sample in a folder that `collected` wrote; return sample and exclusions."""
    files = folder / "sample.parquet", folder / "exclusions.parquet"
    inputs = folder / "classes.parquet", group_files(folder, "candidates")
    sample_images(*inputs, *files, **SETTINGS | changes)
    sample, exclusions = map(pl.read_parquet, files)
    return sample, exclusions
