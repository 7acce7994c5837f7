"""The samples that figures show, with their images and both teachers' texts."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from imagenet_think.core.digests import digest_text
from imagenet_think.core.settings import Values
from imagenet_think.parsing.statuses import OK

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Example:
    """A sample to be shown: the prepared image's bytes, and each teacher's think and answer."""

    image_id: str
    lemma: str
    domain: str
    image: bytes
    texts: tuple[tuple[str, str], ...]


def choose_examples(
    sample: str | Path,
    images: Sequence[str | Path],
    annotations: Sequence[str | Path],
    settings: Values,
    count: int,
) -> list[Example]:
    """Choose samples by seed among those for which both teachers' responses could be parsed.

    Images are taken in the order of a digest of seed and image id, each from a new domain while
    there is one, so that a longer list begins with the shorter one.

    Parameters
    ----------
    sample, images, annotations
        Parquet files of the sample, of the prepared images and of the teachers' annotations.
    settings
        The config's `seed` and `teachers`.
    count
        How many to choose; fewer are returned if fewer could be parsed, but at least one.

    Raises
    ------
    ValueError
        If no image has a parsed response of every teacher, or a chosen image is in no images file.
    """
    teachers = settings["teachers"]
    responses = pl.scan_parquet(list(map(Path, annotations)))
    responses = responses.filter(pl.col("model").is_in(teachers), status=OK)
    parsed = responses.group_by("image_id").len().filter(len=len(teachers))
    columns = ["image_id", "lemma", "domain"]
    rows = pl.scan_parquet(sample).select(columns).join(parsed, on="image_id", how="semi")
    chosen = _spread(rows.collect(), settings["seed"], count)
    if chosen.is_empty():
        raise ValueError(
            f"no image of {sample} has a parsed response of every teacher ({', '.join(teachers)}): "
            "there is no sample to show; see the status column of the annotations"
        )
    if len(chosen) < count:
        logger.warning("%d of %d samples can be shown", len(chosen), count)
    ids = chosen["image_id"].to_list()
    texts = (
        responses.filter(pl.col("image_id").is_in(ids))
        .select("image_id", "model", pl.col("think", "answer").fill_null(""))
        .collect()
        .rows_by_key(["image_id", "model"], unique=True)
    )
    pictures = read_pictures(images, ids)
    return [
        Example(
            **row,
            image=pictures[row["image_id"]],
            texts=tuple(texts[row["image_id"], teacher] for teacher in teachers),
        )
        for row in chosen.iter_rows(named=True)
    ]


def _spread(rows: pl.DataFrame, seed: int, count: int) -> pl.DataFrame:
    """Return `count` rows in the order of their digests, new domains first."""
    keys = [digest_text(str(seed), image_id) for image_id in rows["image_id"]]
    return (
        rows.with_columns(pl.Series("key", keys, dtype=pl.String))
        .sort("key")
        .with_columns(pl.int_range(pl.len()).over("domain").alias("turn"))
        .sort("turn", "key")
        .drop("key", "turn")
        .head(count)
    )


def read_pictures(images: Sequence[str | Path], ids: Sequence[str]) -> dict[str, bytes]:
    """Return the bytes of some images; files are read one by one and only until all are found."""
    found: dict[str, bytes] = {}
    for path in images:
        if len(found) == len(ids):
            break
        rows = pl.scan_parquet(path).filter(pl.col("image_id").is_in(list(ids)))
        wanted = rows.select("image_id", pl.col("image").struct.field("bytes")).collect()
        found.update(wanted.iter_rows())
    missing = sorted(set(ids) - set(found))
    if missing:
        raise ValueError(f"images {missing} of the sample are in none of the {len(images)} shards")
    return found
