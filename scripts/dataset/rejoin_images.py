"""Join the texts of a published dataset with images from your own copy of the source."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl

from imagenet_think.core.files import write_parquet
from imagenet_think.core.job import start_job
from imagenet_think.core.logs import logger, progress, some
from imagenet_think.core.schemas import IMAGE, IMAGE_ROWS, MISSING
from imagenet_think.core.settings import Values
from imagenet_think.dataset.hub_files import TEXT_ROWS, published_schema, writer
from imagenet_think.images import sources
from imagenet_think.images.preparation import examine
from imagenet_think.images.rejections import RejectionError

# Why a row has no image and is left out, besides `images.criteria.REASONS`.
NOT_FOUND = "not_found"  # no member of the source has this name and class
ANOTHER_SOURCE = "another_source"  # the image of this name is not the one that the teachers saw

# Remarks on rows that have an image nevertheless.
UNCHECKED = "unchecked"  # the dataset has no digest of the source image, known by name only
ANOTHER_PREPARATION = "another_preparation"  # with other settings, or another Pillow or libjpeg


class Joined(NamedTuple):
    """The prepared image, or None, with the problem, if there is one."""

    image: bytes | None
    reason: str | None = None
    detail: str | None = None


def rejoin_images(
    dataset: str | Path,
    located: Sequence[str | Path],
    output: str | Path,
    missing: str | Path,
    *,
    split: str,
    images: Values,
) -> None:
    """Write the rows of one dataset file with their images, and list those without.

    About a thousand images are in memory at a time.

    Parameters
    ----------
    dataset
        Parquet file of the dataset (`read_dataset`).
    located
        Locations of its images, schema `LOCATED`, one file per group of classes.
    output
        Parquet to write: the same rows in the same order, with `image` as the first column. Rows
        without image are left out.
    missing
        Parquet to write, schema `MISSING`: the rows that are left out or kept with a remark, in
        the order of the rows.
    split
        The file's split.
    images
        From `images` of the config: `source`, `preparation` and `criteria.max_pixels`.

    Raises
    ------
    ValueError
        If the file is not part of a dataset; the message names it and the wrong columns.
    """
    rows = read_dataset(dataset)
    wanted = pl.col("image_id").is_in(rows["image_id"].implode()) | pl.col("image_id").is_null()
    places = pl.scan_parquet(list(map(Path, located))).filter(wanted).collect()
    problems: list[Values] = []
    pieces = list(rows.iter_slices(TEXT_ROWS))
    with writer(output, pl.Schema({"image": IMAGE} | dict(rows.schema))) as write:
        for piece in progress(pieces, len(pieces), f"pieces of {TEXT_ROWS} rows"):
            found = join(piece, places, images)
            problems += [
                {"image_id": name, "row": "left_out" if one.image is None else "kept"}
                | {"reason": one.reason, "detail": one.detail}
                for name, one in found.items()
                if one.reason
            ]
            data = pl.Series("bytes", [one.image for one in found.values()], pl.Binary)
            path = (pl.col("image_id") + ".jpg").alias("path")
            with_images = piece.with_columns(pl.struct(data, path).alias("image"))
            for group in with_images.filter(data.is_not_null()).iter_slices(IMAGE_ROWS):
                write(group)
    known = rows.select(
        *("image_id", "wnid"),
        pl.lit("failed" if "text_1" in rows.schema else "default").alias("configuration"),
        pl.lit(split).alias("split"),
    )
    own = {name: MISSING[name] for name in ("image_id", "row", "reason", "detail")}
    frame = pl.DataFrame(problems, schema=own).join(known, on="image_id", maintain_order="left")
    write_parquet(frame, missing, MISSING)
    for (row, reason), group in frame.group_by("row", "reason", maintain_order=True):
        names = some(group["image_id"].to_list())
        logger.warning("%s, %s (%d): %s", row, reason, len(group), names)
    logger.info(
        "%d of %d rows have their image", len(rows) - frame["row"].eq("left_out").sum(), len(rows)
    )


def read_dataset(path: str | Path) -> pl.DataFrame:
    """Return the rows of one dataset file, with the columns of its configuration.

    ValueError names the columns if it is not part of a dataset, and images that have two rows.
    """
    schema = published_schema(path)
    rows = pl.read_parquet(path, columns=list(schema), glob=False).cast(schema)
    if repeated := rows["image_id"].filter(rows["image_id"].is_duplicated()).to_list():
        raise ValueError(f"{path} has several rows of the same image: {some(repeated)}")
    return rows


def join(rows: pl.DataFrame, places: pl.DataFrame, images: Values) -> dict[str, Joined]:
    """Find the image of each row, in the order of the rows, given places of schema `LOCATED`.

    A row's image is a member of its class with its name and digest. Archives are read one after
    the other, each from beginning to end.
    """
    columns = ("image_id", "wnid", "source_sha256", "sha256")
    wanted = {row["image_id"]: row for row in rows.select(columns).iter_rows(named=True)}
    members = places.join(rows, on=["image_id", "wnid"], how="semi")

    def located(place: Values, one: Joined) -> Joined:
        return one._replace(detail=f"{place['source']}, {place['member']}: {one.detail}")

    unreadable = members.filter(pl.col("reason").is_not_null()).iter_rows(named=True)
    found = {
        place["image_id"]: located(place, Joined(None, place["reason"], place["detail"]))
        for place in unreadable
    }
    readable = members.filter(pl.col("reason").is_null()).iter_rows(named=True)
    layout = sources.get_sampled(images["source"]["kind"])
    for place, read in layout.read(readable, Path(images["source"]["path"])):
        name = place["image_id"]
        if name in found and found[name].image:
            continue
        try:
            data = read(place["member"], place["offset"], place["bytes"])
            one = check(data, wanted[name], images)
        except RejectionError as rejection:
            one = Joined(None, rejection.reason, rejection.detail)
        found[name] = located(place, one) if one.reason else one
    damage = places.filter(pl.col("image_id").is_null()).to_dicts()
    return {
        name: found.get(name) or _not_found(row["wnid"], damage) for name, row in wanted.items()
    }


def check(data: bytes, row: Values, images: Values) -> Joined:
    """Prepare an image file, if it is the one that a row describes; its digests may be unknown.

    One that cannot be decoded raises `RejectionError`.
    """
    digest = hashlib.sha256(data).hexdigest()
    if row["source_sha256"] not in (None, digest):
        detail = f"SHA-256 {digest}, in the dataset {row['source_sha256']}"
        return Joined(None, ANOTHER_SOURCE, detail)
    prepared = examine(data, images["criteria"], images["preparation"])
    if row["source_sha256"] is None:
        return Joined(prepared["image"], UNCHECKED, f"SHA-256 {digest}")
    if row["sha256"] not in (None, prepared["sha256"]):
        detail = f"prepared, SHA-256 {prepared['sha256']}, in the dataset {row['sha256']}"
        return Joined(prepared["image"], ANOTHER_PREPARATION, detail)
    return Joined(prepared["image"])


def _not_found(wnid: str, damage: Sequence[Values]) -> Joined:
    """Return why no member has the name of an image: perhaps it was in a damaged archive."""
    near = [row for row in damage if row["wnid"] in (wnid, None)]
    if near:
        stretches = "; ".join(f"{row['source']}: {row['detail']}" for row in near)
        return Joined(None, near[0]["reason"], f"not found; perhaps in {stretches}")
    return Joined(None, NOT_FOUND, f"no member of class {wnid} in images.source has this name")


if __name__ == "__main__":
    snakemake = start_job()
    rejoin_images(
        snakemake.input.dataset,
        list(snakemake.input.located),
        snakemake.output.rows,
        snakemake.output.missing,
        split=snakemake.wildcards.split,
        images=json.loads(snakemake.params.settings)["images"],
    )
