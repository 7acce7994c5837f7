"""Write the dataset shard by shard: both teachers' responses per image, with or without images."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import product
from pathlib import Path

import polars as pl
from pyarrow.parquet import ParquetFile

from imagenet_think.core.job import start_job
from imagenet_think.core.logs import logger, some
from imagenet_think.core.schemas import DATASET, IMAGE, IMAGE_ROWS, SAMPLE
from imagenet_think.core.shards import names
from imagenet_think.core.splits import CONFIGURATIONS, SPLITS, splits
from imagenet_think.dataset.hub_files import TEXT_ROWS, remove_leftovers, schemas, writer
from imagenet_think.inference import sampling_settings
from imagenet_think.parsing import statuses

Part = tuple[str, str]
"""A configuration and a split."""

PARTS: list[Part] = list(product(CONFIGURATIONS, SPLITS))

_READ = 16  # images in memory at a time

# Columns of the dataset for each teacher, by the file they come from.
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
    """Write the rows of a shard to one file per configuration and split, sorted by image_id.

    Parameters
    ----------
    rows
        The shard's images, from `images_by_shard`.
    responses, annotations
        Files of the shard of teacher 1 and of teacher 2, schemas `RESPONSES` and `ANNOTATIONS`.
    images
        The shard's images, schema `IMAGES`; None for a dataset without images.
    outputs
        Parquet file for each of `PARTS`, schemas `hub_files.schemas`.
    shard, teachers, prompts
        The shard's name, the teachers' keys in this order, and texts of the prompts by name.
    decoding
        Decoding settings of each teacher; None if its responses were imported.

    Raises
    ------
    ValueError
        If a file does not hold exactly the shard's images, or holds a different model's responses;
        the message names the file.
    """
    for k in (1, 2):
        for path, columns in ((responses[k - 1], _RESPONSE), (annotations[k - 1], _ANNOTATION)):
            own = {f"{name}_{k}": name for name in columns}
            read = pl.read_parquet(path, columns=["image_id", *columns])
            require_same(rows["image_id"], read["image_id"], path, shard)
            rows = rows.join(read.select("image_id", **own), on="image_id")
        if others := set(rows[f"model_{k}"]) - {teachers[k - 1]}:
            raise ValueError(
                f"{responses[k - 1]} has responses of {', '.join(others)}, not of {teachers[k - 1]}"
            )
    both_ok = (pl.col("status_1") == statuses.OK) & (pl.col("status_2") == statuses.OK)
    rows = rows.with_columns(
        # Both teachers had the same prompt; where responses are imported it is unknown.
        pl.coalesce("prompt_id_1", "prompt_id_2")
        .replace_strict({**prompts, None: None}, return_dtype=pl.String)
        .alias("question"),
        *(
            pl.lit(None if own is None else json.dumps(own), pl.String).alias(f"decoding_{k}")
            for k, own in enumerate(decoding, start=1)
        ),
        pl.when(both_ok).then(pl.lit("default")).otherwise(pl.lit("failed")).alias("configuration"),
    ).sort("image_id")
    pieces = texts(rows) if images is None else with_images(rows, images, shard)
    by_configuration = schemas(full=images is not None)
    with ExitStack() as stack:
        write = {
            part: stack.enter_context(writer(outputs[part], by_configuration[part[0]]))
            for part in PARTS
        }
        for part, piece in pieces:
            write[part](piece)
    for configuration, split in PARTS:
        count = len(rows.filter(configuration=configuration, split=split))
        logger.info("shard %s, %s, %s: %d rows", shard, configuration, split, count)


def images_by_shard(
    sample: str | Path, shards: Sequence[str], test: int, validation: int
) -> Iterator[tuple[str, pl.DataFrame]]:
    """Yield each shard with the sample's columns of its images, and their splits.

    `test` and `validation` are the numbers of images of each class in these splits.
    """
    columns = [name for name in DATASET if name in SAMPLE]
    images = pl.read_parquet(sample, columns=[*columns, "shard"])
    split = splits(images.select("image_id", "wnid").iter_rows(), test, validation)
    for shard in shards:
        own = images.filter(shard=shard).select(columns)
        of_own = [split[name] for name in own["image_id"]]
        yield shard, own.with_columns(pl.Series("split", of_own, pl.String))


def require_same(images: pl.Series, found: pl.Series, path: str | Path, shard: str) -> None:
    """Raise ValueError unless the file at `path` has exactly the images of a shard."""
    if sorted(images) == sorted(found):
        return
    missing = sorted(set(images) - set(found))
    unexpected = sorted(set(found) - set(images))
    repeated = found.filter(found.is_duplicated()).to_list()
    raise ValueError(
        f"{path} and the sample's shard {shard} have different images: missing "
        f"{some(missing) or 'none'}; unexpected or repeated "
        f"{some(unexpected) or some(repeated) or 'none'}. "
        "One of them belongs to a different run: delete the file, and it will be made again"
    )


def texts(rows: pl.DataFrame) -> Iterator[tuple[Part, pl.DataFrame]]:
    """Yield rows by configuration and split, one row group at a time."""
    for configuration, split in PARTS:
        own = rows.filter(configuration=configuration, split=split)
        for piece in own.iter_slices(TEXT_ROWS):
            yield (configuration, split), piece


def with_images(
    rows: pl.DataFrame, images: str | Path, shard: str
) -> Iterator[tuple[Part, pl.DataFrame]]:
    """Yield rows with their images by configuration and split, one row group at a time.

    The file of images, in the order of `rows`, is read once as a stream: only one row group of each
    part is in memory.
    """
    with ParquetFile(images, buffer_size=2**20, pre_buffer=False) as file:
        found = pl.Series(file.read(["image_id"])["image_id"].to_pylist(), dtype=pl.String)
        require_same(rows["image_id"], found, images, shard)
        part_columns = rows.select("configuration", "split").iter_rows()
        parts = dict(zip(rows["image_id"], part_columns, strict=True))
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


def _joined(images: list[dict], rows: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of some images, with the images."""
    frame = pl.DataFrame(images, schema={"image_id": pl.String, "image": IMAGE})
    return frame.join(rows, on="image_id", maintain_order="left")


if __name__ == "__main__":
    snakemake = start_job()
    settings = json.loads(snakemake.params.settings)
    teachers, shards = settings["teachers"], names(**settings["sharding"])
    # Before any file is written, so that after a kill no earlier dataset looks complete.
    remove_leftovers(snakemake.output)
    models = [settings["models"].get(key, {}) for key in teachers]
    decoding = [sampling_settings.resolved(own) if "decoding" in own else None for own in models]
    every = len(shards)  # files are sorted by teacher, or by part, and then by shard
    of_shards = images_by_shard(snakemake.input.sample, shards, **settings["dataset"])
    for k, (shard, rows) in enumerate(of_shards):
        images = snakemake.input.images
        build_dataset(
            rows,
            snakemake.input.responses[k::every],
            snakemake.input.annotations[k::every],
            images[k] if images else None,
            dict(zip(PARTS, snakemake.output[k::every], strict=True)),
            shard=shard,
            teachers=teachers,
            prompts=settings["prompts"],
            decoding=decoding,
        )
