"""Join the texts of a published dataset with the images of one's own copy of the source."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from imagenet_think.core.files import write_parquet
from imagenet_think.core.logs import log_to, logger, progress, some
from imagenet_think.core.schemas import IMAGE, IMAGE_ROWS, MISSING
from imagenet_think.dataset.hub_files import TEXT_ROWS, published_schema, writer
from imagenet_think.images import sources
from imagenet_think.images.criteria import REASONS
from imagenet_think.images.preparation import examine
from imagenet_think.images.rejections import RejectionError

if TYPE_CHECKING:
    from imagenet_think.core.job import snakemake

NOT_FOUND, ANOTHER_SOURCE = "not_found", "another_source"
UNCHECKED, ANOTHER_PREPARATION = "unchecked", "another_preparation"

LEFT_OUT = {
    NOT_FOUND: "nothing in its class of the source is called so",
    ANOTHER_SOURCE: "what is called so is not the image that was described",
    **REASONS,
}
"""Why a row has no image, and so is left out."""

KEPT = {
    UNCHECKED: "the dataset holds no digest of the source image: its name alone tells it",
    ANOTHER_PREPARATION: (
        "the source image is the same, and was prepared with other settings or by another version "
        "of Pillow or libjpeg"
    ),
}
"""What may be said of a row that has an image all the same."""

Row = Mapping[str, Any]


class Joined(NamedTuple):
    """The prepared image, or None; and what is amiss, if anything is."""

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
    source: Mapping[str, str],
    preparation: Mapping[str, int],
    max_pixels: int,
) -> None:
    """Write the rows of a file of the dataset with their images, and say which have none.

    Some thousand images are in memory at a time.

    Parameters
    ----------
    dataset
        Parquet file of the dataset (`read_dataset`).
    located
        Where its images may lie, schema `LOCATED`, a file a group of classes.
    output
        Parquet to write: the same rows in the same order with `image` in front, as in
        `DATASET_FULL` or `FAILED_FULL`. Rows without image are left out.
    missing
        Parquet to write, schema `MISSING`: the rows that are left out (`LEFT_OUT`), and those of
        which there is something to say (`KEPT`), in the order of the rows.
    split
        The file's split.
    source
        `kind` and `path` of `images.source`.
    preparation, max_pixels
        How images are prepared; a larger one is not decoded.

    Raises
    ------
    ValueError
        If the dataset's file is none; the message names it and what it lacks.
    """
    rows = read_dataset(dataset)
    called = pl.col("image_id").is_in(rows["image_id"].implode()) | pl.col("image_id").is_null()
    places = pl.scan_parquet(list(located)).filter(called).collect()
    amiss: list[Row] = []
    pieces = list(rows.iter_slices(TEXT_ROWS))
    with writer(output, pl.Schema({"image": IMAGE} | dict(rows.schema))) as write:
        for piece in progress(pieces, len(pieces), f"pieces of {TEXT_ROWS} rows"):
            found = join(piece, places, source, preparation, max_pixels)
            amiss += [
                {"image_id": name, "row": "left_out" if one.image is None else "kept"}
                | {"reason": one.reason, "detail": one.detail}
                for name, one in found.items()
                if one.reason
            ]
            images = pl.Series("bytes", [one.image for one in found.values()], pl.Binary)
            path = (pl.col("image_id") + ".jpg").alias("path")
            with_images = piece.with_columns(pl.struct(images, path).alias("image"))
            for group in with_images.filter(images.is_not_null()).iter_slices(IMAGE_ROWS):
                write(group)
    known = rows.select(
        *("image_id", "wnid"),
        pl.lit("failed" if "text_1" in rows.schema else "default").alias("configuration"),
        pl.lit(split).alias("split"),
    )
    own = {name: MISSING[name] for name in ("image_id", "row", "reason", "detail")}
    frame = pl.DataFrame(amiss, schema=own).join(known, on="image_id", maintain_order="left")
    write_parquet(frame, missing, MISSING)
    for (row, reason), group in frame.group_by("row", "reason", maintain_order=True):
        names = some(group["image_id"].to_list())
        logger.warning("%s, %s (%d): %s", row, reason, len(group), names)
    logger.info(
        "%d of %d rows have their image", len(rows) - frame["row"].eq("left_out").sum(), len(rows)
    )


def read_dataset(path: str | Path) -> pl.DataFrame:
    """Return the rows of a file of the dataset, in the columns of its configuration.

    Raises
    ------
    ValueError
        As for `published_schema`, and if an image has two rows.
    """
    schema = published_schema(path)
    rows = pl.read_parquet(path, columns=list(schema)).cast(dict(schema))
    if repeated := rows["image_id"].filter(rows["image_id"].is_duplicated()).to_list():
        raise ValueError(f"{path} has several rows of the same image: {some(repeated)}")
    return rows


def join(
    rows: pl.DataFrame,
    places: pl.DataFrame,
    source: Mapping[str, str],
    preparation: Mapping[str, int],
    max_pixels: int,
) -> dict[str, Joined]:
    """Find the image of each row, in the order of the rows.

    A row's image is a member of its class that is called as it is, and has its digest. Archives
    are read one after the other, each in the order in which the images lie there.

    Parameters
    ----------
    rows
        Rows of the dataset.
    places
        Where their images may lie, schema `LOCATED`.
    source, preparation, max_pixels
        As for `rejoin_images`.
    """
    images = ("image_id", "wnid", "source_sha256", "sha256")
    wanted = {row["image_id"]: row for row in rows.select(images).iter_rows(named=True)}
    called = places.join(rows, on=["image_id", "wnid"], how="semi")
    broken = called.filter(pl.col("reason").is_not_null())
    found = {place["image_id"]: _unreadable(place) for place in broken.iter_rows(named=True)}
    whole = called.filter(pl.col("reason").is_null()).iter_rows(named=True)
    for place, read in sources.get_sampled(source["kind"]).read(whole, Path(source["path"])):
        name = place["image_id"]
        if name in found and found[name].image:
            continue
        try:
            data = read(place["member"], place["offset"], place["bytes"])
            found[name] = check(data, wanted[name], preparation, max_pixels)
        except RejectionError as rejection:
            found[name] = Joined(None, rejection.reason, rejection.detail)
        if found[name].reason:
            where = f"{place['source']}, {place['member']}: {found[name].detail}"
            found[name] = found[name]._replace(detail=where)
    damage = places.filter(pl.col("image_id").is_null()).to_dicts()
    return {name: found.get(name) or _lost(row["wnid"], damage) for name, row in wanted.items()}


def check(data: bytes, row: Row, preparation: Mapping[str, int], max_pixels: int) -> Joined:
    """Prepare a source image, if it is the one that a row is about.

    Parameters
    ----------
    data
        The image file.
    row
        `source_sha256` and `sha256` of the dataset's row; null where it knows none.
    preparation, max_pixels
        As for `rejoin_images`.

    Raises
    ------
    RejectionError
        If it cannot be decoded.
    """
    digest = hashlib.sha256(data).hexdigest()
    if row["source_sha256"] not in (None, digest):
        detail = f"SHA-256 {digest}, in the dataset {row['source_sha256']}"
        return Joined(None, ANOTHER_SOURCE, detail)
    prepared = examine(data, {"max_pixels": max_pixels}, preparation)
    if row["source_sha256"] is None:
        return Joined(prepared["image"], UNCHECKED, f"SHA-256 {digest}")
    if row["sha256"] not in (None, prepared["sha256"]):
        detail = f"prepared, SHA-256 {prepared['sha256']}, in the dataset {row['sha256']}"
        return Joined(prepared["image"], ANOTHER_PREPARATION, detail)
    return Joined(prepared["image"])


def _unreadable(place: Row) -> Joined:
    """Return what the catalogue says of a member that cannot be read."""
    detail = f"{place['source']}, {place['member']}: {place['detail']}"
    return Joined(None, place["reason"], detail)


def _lost(wnid: str, damage: Sequence[Row]) -> Joined:
    """Return what is to be said of an image that nothing is called as."""
    near = [row for row in damage if row["wnid"] in (wnid, None)]
    if near:
        stretches = "; ".join(f"{row['source']}: {row['detail']}" for row in near)
        return Joined(None, near[0]["reason"], f"not found; perhaps in {stretches}")
    return Joined(None, NOT_FOUND, f"no member of class {wnid} in images.source is called so")


if __name__ == "__main__":
    log_to(snakemake.log[0])
    images = json.loads(snakemake.params.settings)["images"]
    rejoin_images(
        snakemake.input.dataset,
        list(snakemake.input.located),
        snakemake.output.rows,
        snakemake.output.missing,
        split=snakemake.wildcards.split,
        source=images["source"],
        preparation=images["preparation"],
        max_pixels=images["criteria"]["max_pixels"],
    )
