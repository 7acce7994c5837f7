"""List what lies in archives that hold images of many classes."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from imagenet_think.core.files import write_parquet
from imagenet_think.core.logs import log_to, logger, progress
from imagenet_think.core.schemas import CATALOGUE
from imagenet_think.images import sources
from imagenet_think.images.classes import read_classes, read_labels

if TYPE_CHECKING:
    from imagenet_think.core.job import snakemake


def list_archives(
    classes: str | Path,
    folder: str | Path,
    places: Sequence[str],
    listing: str | Path,
    kind: str,
    labels: str | Path | None = None,
) -> None:
    """Write one row for each image of a listed class, and for whatever cannot be read.

    Parameters
    ----------
    classes
        Table of the classes; images of other classes are left out, and counted in the log.
    folder
        The source folder.
    places
        Archives, relative to the folder.
    listing
        Parquet to write, schema `CATALOGUE`, in the order of `places` and of what lies in them.
        `wnid` is null where nothing tells the class.
    kind
        Layout, `images.source.kind`.
    labels
        File of the classes that integer labels count, or None (see `read_labels`).

    Raises
    ------
    ValueError
        If labels contradict the images' names, or a place is not of this layout.
    OSError
        If a place is gone; the error names it.
    """
    source = sources.get_sampled(kind)
    known = set(read_classes(classes)["wnid"])
    names = read_labels(classes, labels)
    rows = []
    strange = Counter[str]()
    for place in progress(places, len(places), "archives listed"):
        for entry in source.list_place(Path(folder) / place, names):
            if entry.wnid is not None and entry.wnid not in known:
                strange[entry.wnid] += 1
                continue
            if entry.reason:
                logger.warning("%s: %s: %s", place, entry.reason, entry.detail)
            rows.append((entry.wnid, place, *entry[1:]))
    write_parquet(pl.DataFrame(rows, schema=CATALOGUE, orient="row"), listing, CATALOGUE)
    if strange:
        most = ", ".join(f"{wnid} ({count})" for wnid, count in strange.most_common(5))
        logger.warning(
            "%d images of %d classes that %s lacks are left out: %s …",
            strange.total(),
            len(strange),
            classes,
            most,
        )


if __name__ == "__main__":
    log_to(snakemake.log[0])
    source = json.loads(snakemake.params.settings)["images"]["source"]
    list_archives(
        snakemake.input.classes,
        source["path"],
        json.loads(snakemake.params.places)["places"],
        snakemake.output[0],
        source["kind"],
        source.get("labels"),
    )
