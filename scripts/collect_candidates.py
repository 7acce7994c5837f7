"""Read, judge and prepare the images that a group of classes may give to the sample."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import polars as pl

from imagenet_think import criteria as judge
from imagenet_think.archives import image_id, read_member
from imagenet_think.complexity import spatial_information
from imagenet_think.duplicates import Repetitions, perceptual_hash
from imagenet_think.files import write_parquet
from imagenet_think.logs import log_to, logger, progress
from imagenet_think.luma import luma
from imagenet_think.order import order_key
from imagenet_think.preparation import prepare
from imagenet_think.rejections import RejectionError
from imagenet_think.schemas import CANDIDATES, IMAGE_ROWS

Row = dict[str, Any]

PREPARED = ("width", "height", "sha256", "complexity", "perceptual_hash", "image")
"""Columns that only accepted candidates have."""


def collect_candidates(
    catalogue: str | Path,
    output: str | Path,
    source: str | Path,
    seed: int,
    candidates_per_class: int,
    criteria: Mapping[str, Any],
    preparation: Mapping[str, int],
    threads: int = 1,
) -> None:
    """Write the candidates of each class: accepted ones prepared, rejected ones with their reason.

    The members of a class are taken in the keyed-hash order of (seed, wnid, member) until
    `candidates_per_class` are accepted or none is left. So the candidates do not depend on how many
    the sample will want of them, nor on the number of threads.

    Parameters
    ----------
    catalogue
        Catalogue of the group.
    output
        Parquet to write, schema `CANDIDATES`: by class in the catalogue's order, then by rank.
    source
        Folder in which the catalogue's sources lie.
    seed
        The run's seed.
    candidates_per_class
        Accepted images after which a class is left.
    criteria
        `images.criteria` of the config.
    preparation
        `longest_side` and `jpeg_quality`.
    threads
        Classes worked on at a time.
    """
    classes = pl.read_parquet(catalogue).partition_by("wnid", maintain_order=True)

    def collect(members: pl.DataFrame) -> list[Row]:
        return collect_class(
            members.to_dicts(), Path(source), seed, candidates_per_class, criteria, preparation
        )

    with ThreadPoolExecutor(threads) as pool:
        done = progress(pool.map(collect, classes), len(classes), "classes collected")
        rows = [row for rows in done for row in rows]
    frame = pl.DataFrame(rows, schema=CANDIDATES)
    write_parquet(frame, output, CANDIDATES, row_group_size=IMAGE_ROWS)
    for reason, count in frame["reason"].value_counts().sort("reason").rows():
        logger.info("%s: %d", reason or "accepted", count)


def collect_class(
    members: list[Row],
    source: Path,
    seed: int,
    wanted: int,
    criteria: Mapping[str, Any],
    preparation: Mapping[str, int],
) -> list[Row]:
    """Return the candidates of one class, in the order of their rank.

    Members are read in batches of as many as are still wanted, so that no member is read beyond the
    one that completes the class, and each batch in the order in which it lies in the archive.
    """
    unreadable = [_row(member) for member in members if member["reason"]]
    ordered = sorted(
        (_row(member) for member in members if not member["reason"]),
        key=lambda row: (order_key(seed, row["wnid"], row["member"]), row["offset"]),
    )
    rows = []
    waiting = []
    for rank, row in enumerate(ordered):
        row["rank"] = rank
        denied = _denied(row, criteria)
        row.update(denied)
        (rows if denied else waiting).append(row)
    accepted = 0
    kept = Repetitions(criteria["near_duplicate_bits"])
    queue = iter(waiting)
    while batch := list(islice(queue, wanted - accepted)):
        _read_and_judge(batch, source, criteria, preparation)
        for row in batch:
            if row["reason"] is None:
                _keep(row, kept)
            accepted += row["reason"] is None
        rows += batch
    rows.sort(key=lambda row: row["rank"])
    return [{name: row[name] for name in CANDIDATES} for row in unreadable + rows]


def _keep(row: Row, kept: Repetitions) -> None:
    """Keep an image that met every criterion, unless it repeats one of its class."""
    try:
        kept.keep(row)
    except RejectionError as rejection:
        row.update(dict.fromkeys(PREPARED))
        row.update(reason=rejection.reason, detail=rejection.detail)


def _row(member: Row) -> Row:
    """Return a candidate row that knows no more than the catalogue."""
    name = member["member"]
    return dict.fromkeys(CANDIDATES) | member | {"image_id": name and image_id(name)}


def _denied(row: Row, criteria: Mapping[str, Any]) -> Row:
    """Return reason and detail where the config's lists deny the image, else nothing."""
    for reason, key, value in (
        ("denied_class", "denied_classes", row["wnid"]),
        ("denied_image", "denied_images", row["image_id"]),
    ):
        if value in criteria[key]:
            return {"reason": reason, "detail": f"{value} is in images.criteria.{key}"}
    return {}


def _read_and_judge(
    batch: list[Row], source: Path, criteria: Mapping[str, Any], preparation: Mapping[str, int]
) -> None:
    """Fill the rows of a batch with what their images hold, or with why they are turned away."""
    for row, file in _opened(batch, source):
        try:
            data = read_member(file, row["offset"], row["bytes"])
            row["source_bytes"] = len(data)
            row["source_sha256"] = hashlib.sha256(data).hexdigest()
            row.update(examine(data, criteria, preparation))
        except RejectionError as rejection:
            row.update(reason=rejection.reason, detail=rejection.detail)


def _opened(batch: Iterable[Row], source: Path) -> Iterator[tuple[Row, Any]]:
    """Yield each row with its opened archive, by archive and ascending offset."""
    by_place = sorted(batch, key=lambda row: (row["source"], row["offset"]))
    for name, rows in groupby(by_place, key=lambda row: row["source"]):
        with open(source / name, "rb") as file:
            for row in rows:
                yield row, file


def examine(data: bytes, criteria: Mapping[str, Any], preparation: Mapping[str, int]) -> Row:
    """Judge one image by itself and prepare it.

    Contrast, sharpness, noise and complexity are measured on the prepared pixels, which are what
    the models see: they depend on the scale.

    Parameters
    ----------
    data
        The image file.
    criteria, preparation
        As for `collect_candidates`.

    Returns
    -------
    dict
        The columns `PREPARED`, all of the prepared image.

    Raises
    ------
    RejectionError
        With the first criterion that is not met.
    """
    opened = judge.open_image(data)
    judge.require_pixels(opened.size, criteria["max_pixels"])
    judge.require_sides(opened.size, criteria["min_side"])
    with judge.decoding():
        stored, image = prepare(data, opened, **preparation)
    # Scaled down to the bound, a long strip may end up narrower than the paper allows.
    judge.require_sides(image.size, criteria["min_side"])
    grey = luma(image)
    judge.require_contrast(grey, criteria["min_contrast"])
    judge.require_sharpness(grey, criteria["min_sharpness"])
    judge.require_little_noise(grey, criteria["max_noise"])
    return {
        "width": image.width,
        "height": image.height,
        "sha256": hashlib.sha256(stored).hexdigest(),
        "complexity": spatial_information(grey),
        "perceptual_hash": perceptual_hash(image),
        "image": stored,
    }


if __name__ == "__main__":
    log_to(snakemake.log[0])
    settings = json.loads(snakemake.params.settings)
    collect_candidates(
        snakemake.input.catalogue,
        snakemake.output[0],
        settings.pop("source")["path"],
        **settings,
        threads=snakemake.threads,
    )
