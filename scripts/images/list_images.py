"""Write the sample of a run whose images are listed in tables."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import polars as pl

from imagenet_think.core.files import write_parquet, write_text
from imagenet_think.core.job import start_job
from imagenet_think.core.logs import logger, some
from imagenet_think.core.schemas import CLASSES, EXCLUSIONS, SAMPLE
from imagenet_think.core.wording import count
from imagenet_think.images import image_matching, manifests
from imagenet_think.images.classes import counted, described, read_classes
from imagenet_think.images.criteria import REASONS
from imagenet_think.images.labels import Classes
from imagenet_think.images.labels import read as read_labels
from imagenet_think.images.manifests import LISTED
from imagenet_think.report.tables import WHOLE, Column, markdown

ONE_CLASS = "resources/one_class.tsv"
"""Class table for images whose classes are unknown."""


def list_images(
    classes: str | Path,
    files: Sequence[str],
    labels: str | Path | None,
    sample: str | Path,
    index: str | Path,
    exclusions: str | Path,
    page: str | Path,
    *,
    image: str,
    sharding: Mapping[str, int],
    label: str | None = None,
    count_classes: bool = False,
    prepared: bool = False,
) -> None:
    """Write the sample, the classes, the rejected rows, and a page that describes them.

    The image_id of an image without a name is the SHA-256 of its bytes, which is its source's too.
    Complexity is not measured. Without pictures, sizes and digests are null as well.

    Parameters
    ----------
    classes, labels, count_classes
        Class table, and what integer labels index (`imagenet_think.images.labels.read`). If the
        table has one row, an image of unknown class belongs to that one.
    files
        Tables (`imagenet_think.core.user_tables`) whose images are the sample.
    sample, index, exclusions, page
        Parquets (`SAMPLE`, `CLASSES`, `EXCLUSIONS`) and Markdown to write.
    image, label
        Columns with the image's name and its class; for None, `wnid` if there is one. Without a
        label, the class is taken from the image_id.
    sharding
        `blocks` and `shards_per_block`.
    prepared
        Whether `files` were written by `prepare_images`; then labels and columns are ignored.

    Raises
    ------
    ValueError
        If no image has a class of the table, or the table, a file or a column cannot be read.
    """
    if prepared:
        frame = pl.scan_parquet(list(files)).select(list(LISTED)).collect()
        listed = frame.iter_rows(named=True)
    else:
        listed = _rows(files, image, label, read_labels(classes, labels, count_classes))
    rows = pl.DataFrame(list(manifests.reject_clashes(listed)), schema=LISTED)
    taken, excluded = rows.filter(pl.col("reason").is_null()), rows.drop_nulls("reason")
    table = read_classes(classes)
    if not len(taken):
        source = str(rows["source"].first()) if prepared else files[0]
        raise ValueError(_nothing(source, image, list(excluded["detail"]), list(table["wnid"])))
    available = taken["wnid"].value_counts(name="available")
    counts = counted(table, available)
    images = described(taken, counts, sharding)
    images = images.select(name for name in SAMPLE if name in images.columns)
    images = pl.concat([SAMPLE.to_frame(), images], how="diagonal")
    write_parquet(images.sort("image_id"), sample, SAMPLE)
    write_parquet(counts, index, CLASSES)
    write_parquet(excluded.select(list(EXCLUSIONS)), exclusions, EXCLUSIONS)
    write_text(describe(images, excluded), page)
    logger.info("%d images of %d classes", len(images), len(available))
    if nameless := images["member"].null_count():
        logger.info("%d of them have no name; their image_id is their SHA-256", nameless)
    for (reason,), own in excluded.group_by("reason", maintain_order=True):
        details = some(own["detail"].to_list(), "; ")
        logger.warning("rows rejected, %s (%d): %s", reason, len(own), details)


def _rows(
    files: Sequence[str], image: str, label: str | None, classes: Classes
) -> Iterator[manifests.ListedRow]:
    """Yield what each row lists; the bytes of images without a name are read for their digest."""
    for path in files:
        names, given = manifests.read_names(path, image, label)
        nameless = [row for row, name in enumerate(names) if name is None]
        digests = image_matching.read_digests(path, image, nameless)
        meant = manifests.with_metadata(path, label, classes)
        for row, name in enumerate(names):
            yield manifests.identify(path, name, digests.get(row), given[row], meant)


def describe(images: pl.DataFrame, excluded: pl.DataFrame) -> str:
    """Return the page: how the sample's images are identified, and how many rows were rejected."""
    nameless, classes = images["member"].null_count(), images["wnid"].n_unique()
    lines = [
        "# The images of the run",
        "",
        f"{count(len(images), 'image')} of {count(classes, 'class', 'classes')} as listed by "
        f"{count(images['source'].n_unique(), 'file')}: {len(images) - nameless:,} identified "
        f"by their names, {nameless:,} without a name by the SHA-256 of their bytes. "
        f"{images['sha256'].count():,} have pictures. Nothing was sampled here, and no criterion "
        "was applied to what can be decoded.",
        "",
    ]
    if not len(excluded):
        return "\n".join([*lines, "No row was rejected.", ""])
    meaning = pl.col("reason").replace_strict(REASONS).alias("meaning")
    counts = excluded.group_by("reason").agg(pl.len().alias("rows"), pl.col("detail").first())
    counts = counts.sort("reason").with_columns(meaning)
    columns = [
        Column("reason", "Reason"),
        Column("meaning", "Meaning"),
        Column("rows", "Rows", format=WHOLE),
        Column("detail", "The first"),
    ]
    caption = "Rejected rows. images/exclusions.parquet lists each with its reason."
    return "\n".join(lines) + "\n" + markdown(counts, columns, caption)


def _nothing(file: str, image: str, details: Sequence[str], known: Collection[str]) -> str:
    what = some(details, "; ") or "they have no rows"
    return (
        f"{file}: column {image!r} names no image of a class of the table "
        f"({some(sorted(known))}): {what}. A name should begin with its class and a _, or be in a "
        "folder of that name; otherwise images.source.label should name the column of the class. "
        f"If the classes are unknown, write `classes: {ONE_CLASS}` under images, so that all "
        "images are of one class"
    )


if __name__ == "__main__":
    snakemake = start_job()
    settings = json.loads(snakemake.params.settings)
    source = settings["images"]["source"]
    list_images(
        snakemake.input.classes,
        list(snakemake.input.files),
        next(iter(snakemake.input.labels), None),
        snakemake.output.sample,
        snakemake.output.classes,
        snakemake.output.exclusions,
        snakemake.output.page,
        image=source.get("image", manifests.IMAGE),
        sharding=settings["sharding"],
        label=source.get("label"),
        count_classes=source.get("count_classes", False),
        prepared=source.get("pictures", False),
    )
