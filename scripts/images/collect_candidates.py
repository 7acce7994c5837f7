"""Read, judge and prepare the images that a group of classes may give to the sample."""

import hashlib
import json
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from imagenet_think.core.files import parquet_writer
from imagenet_think.core.hash_order import image_order_key
from imagenet_think.core.logs import log_to, logger, progress
from imagenet_think.core.pools import in_turn
from imagenet_think.core.schemas import CANDIDATES
from imagenet_think.images import criteria as judge
from imagenet_think.images import sources
from imagenet_think.images.complexity import spatial_information
from imagenet_think.images.luma import luma
from imagenet_think.images.near_duplicates import Repetitions, perceptual_hash
from imagenet_think.images.preparation import prepare
from imagenet_think.images.rejections import RejectionError

if TYPE_CHECKING:
    from imagenet_think.core.job import snakemake

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
    kind: str = "class_tars",
) -> None:
    """Write the candidates of each class: accepted ones prepared, rejected ones with their reason.

    The members of a class are taken in the keyed-hash order of (seed, wnid, image_id) until
    `candidates_per_class` are accepted or none is left. So the candidates do not depend on how many
    the sample will want of them, nor on the number of threads.

    Parameters
    ----------
    catalogue
        Catalogue of the group.
    output
        Parquet to write, schema `CANDIDATES`: by class in the catalogue's order, then by rank; a
        class is a row group. It is written as classes are done, so that the images of few more
        than `threads` classes are in memory.
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
    kind
        Layout of the source, `images.source.kind`.
    """
    criteria = judge.with_deny_files(criteria)
    classes = pl.read_parquet(catalogue).partition_by("wnid", maintain_order=True)

    def collect(members: pl.DataFrame) -> list[Row]:
        return collect_class(
            members.to_dicts(),
            Path(source),
            seed,
            candidates_per_class,
            criteria,
            preparation,
            kind,
        )

    counts = Counter[str]()
    with ThreadPoolExecutor(threads) as pool, parquet_writer(output, CANDIDATES) as write:
        done = in_turn(pool, collect, classes, ahead=threads)
        for rows in progress(done, len(classes), "classes collected"):
            write(pl.DataFrame(rows, schema=CANDIDATES))
            counts.update(row["reason"] or "accepted" for row in rows)
    for reason, count in sorted(counts.items()):
        logger.info("%s: %d", reason, count)


def in_hash_order(members: list[Row], seed: int, layout: sources.Source) -> list[Row]:
    """Return members in the keyed-hash order of (seed, wnid, image_id); namesakes by place."""

    def place(member: Row) -> tuple[Any, ...]:
        key = image_order_key(seed, member["wnid"], layout.image_id(member["member"]))
        return key, member["member"], member["source"], member["offset"]

    return sorted(members, key=place)


def collect_class(
    members: list[Row],
    source: Path,
    seed: int,
    wanted: int,
    criteria: Mapping[str, Any],
    preparation: Mapping[str, int],
    kind: str = "class_tars",
) -> list[Row]:
    """Return the candidates of one class, in the order of their rank.

    Members are read in batches of as many as are still wanted, so that no member is read beyond the
    one that completes the class, and each batch in the order in which it lies in the archive.
    """
    layout = sources.get(kind)
    unreadable = [_row(member, layout) for member in members if member["reason"]]

    ordered = in_hash_order([member for member in members if not member["reason"]], seed, layout)
    rows: list[Row] = []

    def candidates() -> Iterator[Row]:
        # Rows are made as they are wanted: a class may have a hundred times as many members.
        for rank, member in enumerate(ordered):
            row = _row(member, layout) | {"rank": rank}
            if denied := _denied(row, criteria):
                rows.append(row | denied)
            else:
                yield row

    accepted = 0
    kept = Repetitions(criteria["near_duplicate_bits"])
    queue = candidates()
    while batch := list(islice(queue, wanted - accepted)):
        _read_and_judge(batch, source, criteria, preparation, layout)
        for row in batch:
            if row["reason"] is None:
                _keep(row, kept)
            accepted += row["reason"] is None
        rows += batch
    if criteria["denied_images"]:
        deque(queue, maxlen=0)  # what is denied is listed, however far down it stands
    rows.sort(key=lambda row: row["rank"])
    return [{name: row[name] for name in CANDIDATES} for row in unreadable + rows]


def _keep(row: Row, kept: Repetitions) -> None:
    """Keep an image that met every criterion, unless it repeats one of its class."""
    try:
        kept.keep(row)
    except RejectionError as rejection:
        row.update(dict.fromkeys(PREPARED))
        row.update(reason=rejection.reason, detail=rejection.detail)


def _row(member: Row, layout: sources.Source) -> Row:
    """Return a candidate row that knows no more than the catalogue."""
    name = member["member"]
    return dict.fromkeys(CANDIDATES) | member | {"image_id": name and layout.image_id(name)}


def _denied(row: Row, criteria: Mapping[str, Any]) -> Row:
    """Return reason and detail where a deny list names the image or its class, else nothing."""
    for reason, key, value in (
        ("denied_class", "denied_classes", row["wnid"]),
        ("denied_image", "denied_images", row["image_id"]),
    ):
        if value in criteria[key]:
            return {"reason": reason, "detail": f"{value} is in images.criteria.{key}"}
    return {}


def _read_and_judge(
    batch: list[Row],
    source: Path,
    criteria: Mapping[str, Any],
    preparation: Mapping[str, int],
    layout: sources.Source,
) -> None:
    """Fill the rows of a batch with what their images hold, or with why they are turned away."""
    for row, read in sources.opened(batch, source, layout):
        try:
            data = read(row["member"], row["offset"], row["bytes"])
            row["source_bytes"] = len(data)
            row["source_sha256"] = hashlib.sha256(data).hexdigest()
            row.update(examine(data, criteria, preparation))
        except RejectionError as rejection:
            row.update(reason=rejection.reason, detail=rejection.detail)


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
    judge.require_few_scans(opened, data)
    judge.require_intact(opened, data)
    with judge.decoding():
        stored, image = prepare(data, opened, **preparation)
    # Scaled down to the bound, a long strip may end up narrower than the paper allows.
    judge.require_sides(image.size, criteria["min_side"])
    grey = luma(image)
    judge.require_contrast(grey, criteria["min_contrast"])
    judge.require_sharpness(grey, criteria["min_sharpness"])
    judge.require_little_noise(grey, criteria["max_noise"])
    judge.require_score(image, criteria.get("scorer"))
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
    images = settings["images"]
    collect_candidates(
        snakemake.input.catalogue,
        snakemake.output[0],
        images["source"]["path"],
        seed=settings["seed"],
        candidates_per_class=images["max_per_class"] + images["reserve"],
        criteria=images["criteria"],
        preparation=images["preparation"],
        threads=snakemake.threads,
        kind=images["source"]["kind"],
    )
