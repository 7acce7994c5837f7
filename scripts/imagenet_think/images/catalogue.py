"""The catalogue: one row for each image of a source, and for whatever in it cannot be read."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from imagenet_think.core.logs import logger, progress, some
from imagenet_think.core.schemas import CATALOGUE
from imagenet_think.images import sources
from imagenet_think.images.labels import Classes


def list_places(
    kind: str,
    folder: str | Path,
    places: Sequence[str],
    classes: Classes,
) -> pl.DataFrame:
    """Return a row for each image of a listed class, and for whatever cannot be read.

    Only headers are read, and no archive that cannot be read stops the others. The rows have the
    schema `CATALOGUE`, in the order of `places` and of the members in them.

    Parameters
    ----------
    kind, folder
        `images.source.kind`, and the source folder.
    places
        Archives or folders relative to it.
    classes
        Images of other classes are omitted, and counted in the log.

    Raises
    ------
    ValueError
        If labels contradict the images' names or mean nothing, or a place is not of this kind.
    OSError
        If a place is gone; the error names it.
    """
    source = sources.get_sampled(kind)
    rows = []
    others = Counter[str]()
    for place in progress(places, len(places), "archives listed"):
        for entry in source.list_place(Path(folder) / place, classes):
            if entry.wnid is not None and entry.wnid not in classes.known:
                others[entry.wnid] += 1
                continue
            if entry.reason:
                logger.warning("%s: %s: %s", place, entry.reason, entry.detail)
            rows.append((entry.wnid, place, *entry[1:]))
    if others:
        named = some([f"{wnid} ({count})" for wnid, count in others.most_common()])
        message = "%d images of %d classes that images.classes lacks are left out: %s"
        logger.warning(message, others.total(), len(others), named)
    return pl.DataFrame(rows, schema=CATALOGUE, orient="row")


def of_classes(rows: pl.LazyFrame, classes: Sequence[str], without_class: bool) -> pl.LazyFrame:
    """Return the rows of a group of classes.

    Exactly one group should also take the rows `without_class` (damage, broken labels), so that
    none is lost.
    """
    mine = pl.col("wnid").is_in(list(classes))
    return rows.filter(mine | pl.col("wnid").is_null() if without_class else mine)
