"""Make the sample of a run without pictures: from parquet files that name images."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import polars as pl

from imagenet_think import archives, naming
from imagenet_think.classes import counted, read_classes
from imagenet_think.files import write_parquet
from imagenet_think.logs import log_to, logger, some
from imagenet_think.rejections import RejectionError
from imagenet_think.schemas import CLASSES, EXCLUSIONS, SAMPLE
from imagenet_think.shards import shard_of
from imagenet_think.sources.labels import class_of, read_labels

WNID = "wnid"
"""Column that says the class where there is one and the config names none."""

ROW = ("image_id", "wnid", "source", "member", "source_sha256", "shard")
"""What a listing says of an image; the class table says the rest."""


def list_images(
    classes: str | Path,
    files: Sequence[str],
    labels: str | Path | None,
    sample: str | Path,
    index: str | Path,
    exclusions: str | Path,
    *,
    image: str,
    label: str | None,
    sharding: Mapping[str, int],
) -> None:
    """Write the sample, the classes, and what of the files is no image of the sample.

    Nothing is known of pictures: their sizes, digests and complexity are null. An image that is
    named by its bytes alone is called by their SHA-256, which is its source's too.

    Parameters
    ----------
    classes
        Table of the classes (`imagenet_think.classes.read_classes`).
    files
        Parquet files that name images; all they name are the sample.
    labels
        What integer labels count (`imagenet_think.sources.labels.read_labels`).
    sample, index, exclusions
        Parquets to write, schemas `SAMPLE`, `CLASSES` and `EXCLUSIONS`.
    image
        Column that names the image.
    label
        Column that says its class; None for `wnid`, where there is one. Without it, the image_id
        says it (`imagenet_think.naming.class_in`).
    sharding
        `blocks` and `shards_per_block`.

    Raises
    ------
    ValueError
        If no image has a class of the table, or the table, a file or a column cannot be read (see
        `read_classes`, and `imagenet_think.naming.opened` and `check_column`).
    """
    table = read_classes(classes)
    known = set(table["wnid"])
    numbered = read_labels(classes, labels)
    taken: dict[str, dict[str, object]] = {}
    turned_away = []
    for place, member, name, given in _rows(files, image, label):
        row = {"source": place, "member": member, "wnid": None}
        try:
            if name is None:
                raise RejectionError("not_an_image", "the row names no image")
            image_id = naming.listed_id(name, known)
            row["wnid"] = _labelled(name, given, numbered) or naming.class_in(image_id, known)
            if not archives.safe_name(image_id):
                raise RejectionError("unsafe_name", f"{name} leads out of its folder")
            if row["wnid"] not in known:
                raise RejectionError("no_class", f"{name}: {row['wnid'] or 'no class'}")
            if image_id in taken:
                raise RejectionError("clashing_id", f"{image_id} is in the list already")
        except RejectionError as rejection:
            turned_away.append(row | {"reason": rejection.reason, "detail": rejection.detail})
            continue
        digest = name if member is None else None
        taken[image_id] = row | {
            "image_id": image_id,
            "source_sha256": digest,
            "shard": shard_of(image_id, **sharding),
        }
    if not taken:
        raise ValueError(_nothing(files, image, turned_away, known))
    own = {name: SAMPLE[name] for name in ROW}
    rows = pl.DataFrame(list(taken.values()), schema=own)
    available = rows["wnid"].value_counts(name="available")
    listed = counted(table, available)
    lemma = pl.col("lemmas").str.split(", ").list.first().alias("lemma")
    rows = rows.join(listed.select("wnid", "class_index", "domain", lemma), on="wnid")
    rows = pl.concat([SAMPLE.to_frame(), rows], how="diagonal")
    write_parquet(rows.sort("image_id"), sample, SAMPLE)
    write_parquet(listed, index, CLASSES)
    excluded = pl.DataFrame(turned_away, schema=EXCLUSIONS)
    write_parquet(excluded, exclusions, EXCLUSIONS)
    logger.info("%d images of %d classes", len(rows), len(available))
    for (reason,), own in excluded.group_by("reason", maintain_order=True):
        details = some(own["detail"].to_list(), "; ")
        logger.warning("rows turned away, %s (%d): %s", reason, len(own), details)


def _rows(
    files: Sequence[str], image: str, label: str | None
) -> Iterator[tuple[str, str | None, str | None, object]]:
    """Yield for each row: its file, the image's name in it, the name or the digest, the label."""
    for path in files:
        names = naming.read_names([path], image)
        nameless = [row for row, name in enumerate(names) if name is None]
        digests = naming.read_digests([path], image, nameless) if nameless else {}
        given = _labels(path, label, len(names))
        for row, name in enumerate(names):
            yield path, name, name or digests.get(row), given[row]


def _labels(path: str, label: str | None, count: int) -> list:
    column = label or WNID
    with naming.opened(path, column) as file:
        if label is None and WNID not in file.schema_arrow.names:
            return [None] * count
        naming.check_column(file, path, column, naming.LABELS)
        return file.read([column])[column].to_pylist()


def _labelled(name: str, label: object, counted: Sequence[str]) -> str | None:
    """Return the class that a row's label says, if there is one; turn away what counts nothing."""
    if label is None or not str(label).strip():
        return None
    if class_of("", label, counted) is None:
        raise RejectionError("no_class", f"{name}: label {label} is none of {len(counted)} classes")
    return class_of(name, label, counted)


def _nothing(
    files: Sequence[str], image: str, rows: Sequence[Mapping], known: Collection[str]
) -> str:
    details = some([row["detail"] for row in rows], "; ") or "they have no rows"
    return (
        f"{files[0]}: column {image!r} names no image of a class of the table "
        f"({some(sorted(known))}): {details}. A name begins with its class and a "
        "_, or lies in a folder of that name; else images.source.label names a column that says it"
    )


if __name__ == "__main__":
    log_to(snakemake.log[0])
    list_images(
        snakemake.input.classes,
        list(snakemake.input.files),
        next(iter(snakemake.input.labels), None),
        snakemake.output.sample,
        snakemake.output.classes,
        snakemake.output.exclusions,
        **json.loads(snakemake.params.settings),
    )
