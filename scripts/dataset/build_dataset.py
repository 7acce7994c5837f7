"""Write the dataset, shard by shard: both teachers' responses to each image, with or without it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
from pyarrow.parquet import ParquetFile

from imagenet_think.core.logs import log_to, logger, some
from imagenet_think.core.schemas import (
    DATASET,
    DATASET_FULL,
    FAILED,
    FAILED_FULL,
    IMAGE,
    IMAGE_ROWS,
    SAMPLE,
)
from imagenet_think.core.shards import names
from imagenet_think.core.splits import CONFIGURATIONS, SPLITS, splits
from imagenet_think.dataset.hub_files import TEXT_ROWS, remove_leftovers, writer
from imagenet_think.parsing import statuses

if TYPE_CHECKING:
    from imagenet_think.core.job import snakemake

Part = tuple[str, str]
"""A configuration and a split."""

PARTS: list[Part] = list(product(CONFIGURATIONS, SPLITS))

PLAIN = {"default": DATASET, "failed": FAILED}
FULL = {"default": DATASET_FULL, "failed": FAILED_FULL}
"""Schemas of the configurations, without and with images."""

_READ = 16  # images in memory at a time

# What the dataset says of each teacher, and of which file.
_ANNOTATION = ("think", "answer", "status")
_RESPONSE = (
    *("text", "model", "revision", "prompt_id", "finish_reason", "forced"),
    *("prompt_tokens", "completion_tokens", "engine", "seed", "fingerprint"),
)


def build_dataset(
    rows: pl.DataFrame,
    responses: Sequence[str | Path],
    annotations: Sequence[str | Path],
    images: str | Path | None,
    outputs: Mapping[Part, str | Path],
    *,
    shard: str,
    teachers: Sequence[str],
    prompts: Mapping[str, str],
    decoding: Sequence[Mapping[str, object] | None],
) -> None:
    """Write the rows of a shard, each to the file of its configuration and split, by image_id.

    Parameters
    ----------
    rows
        The shard's images, from `images_by_shard`.
    responses, annotations
        Files of the shard by teacher 1 and by teacher 2, schemas `RESPONSES` and `ANNOTATIONS`.
    images
        The shard's images, schema `IMAGES`; None for a dataset without.
    outputs
        Parquet to write for each of `PARTS`, by the schemas `PLAIN` or, with images, `FULL`; one
        without rows holds the schema alone. Files beside it that count another number of shards
        are removed: a pattern would take them for more rows.
    shard
        The shard's name.
    teachers
        Keys of the teachers, in this order.
    prompts
        Texts of the prompts by their names.
    decoding
        How each teacher chose tokens; None where its responses were imported.

    Raises
    ------
    ValueError
        If a file holds other images than the shard, or another model's responses; the message names
        the file.
    """
    for k in (1, 2):
        for path, columns in ((responses[k - 1], _RESPONSE), (annotations[k - 1], _ANNOTATION)):
            own = {f"{name}_{k}": name for name in columns}
            said = pl.read_parquet(path, columns=["image_id", *columns])
            require_same(rows["image_id"], said["image_id"], path, shard)
            rows = rows.join(said.select("image_id", **own), on="image_id")
        if strangers := set(rows[f"model_{k}"]) - {teachers[k - 1]}:
            raise ValueError(
                f"{responses[k - 1]} is of {', '.join(strangers)}, not of {teachers[k - 1]}"
            )
    both_ok = (pl.col("status_1") == statuses.OK) & (pl.col("status_2") == statuses.OK)
    rows = rows.with_columns(
        # Both teachers got the same prompt; of one whose responses are imported it is not known.
        pl.coalesce("prompt_id_1", "prompt_id_2")
        .replace_strict({**prompts, None: None}, return_dtype=pl.String)
        .alias("question"),
        *(
            pl.lit(None if how is None else json.dumps(how), pl.String).alias(f"decoding_{k}")
            for k, how in enumerate(decoding, start=1)
        ),
        pl.when(both_ok).then(pl.lit("default")).otherwise(pl.lit("failed")).alias("configuration"),
    ).sort("image_id")
    schemas, pieces = PLAIN, texts(rows)
    if images is not None:
        schemas, pieces = FULL, with_images(rows, images, shard)
    with ExitStack() as stack:
        write = {
            part: stack.enter_context(writer(outputs[part], schemas[part[0]])) for part in PARTS
        }
        for part, piece in pieces:
            write[part](piece)
    for configuration, split in PARTS:
        count = len(rows.filter(configuration=configuration, split=split))
        logger.info("shard %s, %s, %s: %d rows", shard, configuration, split, count)


def images_by_shard(
    sample: str | Path, shards: Sequence[str], test: int, validation: int
) -> Iterator[tuple[str, pl.DataFrame]]:
    """Yield each shard with what the sample says of its images, and their splits.

    Parameters
    ----------
    sample
        The sample, schema `SAMPLE`.
    shards
        Names of the shards.
    test, validation
        Images of each class in these splits.
    """
    columns = [name for name in DATASET if name in SAMPLE]
    images = pl.read_parquet(sample, columns=[*columns, "shard"])
    split = splits(images.select("image_id", "wnid").iter_rows(), test, validation)
    for shard in shards:
        own = images.filter(shard=shard).select(columns)
        of_own = [split[name] for name in own["image_id"]]
        yield shard, own.with_columns(pl.Series("split", of_own, pl.String))


def require_same(images: pl.Series, found: pl.Series, path: str | Path, shard: str) -> None:
    """Refuse a file that does not hold exactly the images of a shard.

    Raises
    ------
    ValueError
        The message names the file, and some images that it lacks or should not hold.
    """
    if sorted(images) == sorted(found):
        return
    lacking = sorted(set(images) - set(found))
    beyond = sorted(set(found) - set(images))
    raise ValueError(
        f"{path} and the sample's shard {shard} are not of the same images: lacking "
        f"{some(lacking) or 'none'}; not of the shard, or twice there: "
        f"{some(beyond) or some(found.filter(found.is_duplicated()).to_list()) or 'none'}. "
        "One of them is of another run: delete the file, so that it is made anew"
    )


def texts(rows: pl.DataFrame) -> Iterator[tuple[Part, pl.DataFrame]]:
    """Yield rows by configuration and split, a row group at a time."""
    for configuration, split in PARTS:
        own = rows.filter(configuration=configuration, split=split)
        for piece in own.iter_slices(TEXT_ROWS):
            yield (configuration, split), piece


def with_images(
    rows: pl.DataFrame, images: str | Path, shard: str
) -> Iterator[tuple[Part, pl.DataFrame]]:
    """Yield rows with their images by configuration and split, a row group at a time.

    The file is read once, as a stream: a row group of each part is in memory, and no more.

    Parameters
    ----------
    rows
        The shard's rows.
    images
        The shard's images, schema `IMAGES`, in the order of `rows`.
    shard
        Its name, for messages.
    """
    with ParquetFile(images, buffer_size=2**20, pre_buffer=False) as file:
        found = pl.from_arrow(file.read(["image_id"]))["image_id"]
        require_same(rows["image_id"], found, images, shard)
        parts = dict(zip(rows["image_id"], rows.select(*_PART).iter_rows(), strict=True))
        waiting: dict[Part, list[dict]] = {part: [] for part in PARTS}
        for batch in file.iter_batches(_READ, columns=["image_id", "image"]):
            for row in batch.to_pylist():
                part = parts[row["image_id"]]
                waiting[part].append(row)
                if len(waiting[part]) == IMAGE_ROWS:
                    yield part, _joined(waiting[part], rows)
                    waiting[part] = []
        for part, left in waiting.items():
            yield part, _joined(left, rows)


_PART = ("configuration", "split")


def _joined(images: list[dict], rows: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of some images, with them."""
    frame = pl.DataFrame(images, schema={"image_id": pl.String, "image": IMAGE})
    return frame.join(rows, on="image_id", maintain_order="left")


if __name__ == "__main__":
    log_to(snakemake.log[0])
    settings = json.loads(snakemake.params.settings)
    teachers, shards = settings["teachers"], names(**settings["sharding"])
    # Before any file is written: if this job is killed, no earlier dataset may look complete.
    remove_leftovers(snakemake.output)
    every = len(shards)  # files are by teacher, or by part, and then by shard
    of_shards = images_by_shard(snakemake.input.sample, shards, **settings["dataset"])
    for k, (shard, rows) in enumerate(of_shards):
        images = snakemake.input.get("images")
        build_dataset(
            rows,
            snakemake.input.responses[k::every],
            snakemake.input.annotations[k::every],
            images and images[k],
            dict(zip(PARTS, snakemake.output[k::every], strict=True)),
            shard=shard,
            teachers=teachers,
            prompts=settings["prompts"],
            decoding=[settings["models"][key].get("decoding") for key in teachers],
        )
