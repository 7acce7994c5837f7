"""Reading the prepared images of a block: parquet files of schema `IMAGES`, one per shard."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import polars as pl
from pyarrow.parquet import ParquetFile

from imagenet_think.inference.chat import PromptError, opened


def select(files: Sequence[str], evaluated: str | None, limit: int | None) -> pl.DataFrame:
    """Return image_id, source_sha256 and shard of the images that a model is prompted with.

    Parameters
    ----------
    files
        Prepared images, whose order is kept.
    evaluated
        Parquet of schema `EVALUATED`, to which the images are restricted; None for all.
    limit
        Number of images, spread evenly over the block; None for all.
    """
    frame = pl.concat(map(_sources, files))
    if evaluated is not None:
        chosen = pl.read_parquet(evaluated, columns=["image_id"])
        frame = frame.join(chosen, on="image_id", how="semi", maintain_order="left")
    count = len(frame) if limit is None else min(limit, len(frame))
    return frame[[place * len(frame) // count for place in range(count)]]


def _sources(file: str) -> pl.DataFrame:
    try:
        frame = pl.read_parquet(file, columns=["image_id", "source_sha256"])
    except pl.exceptions.PolarsError as error:
        raise ValueError(
            f"{file} cannot be read ({error}): delete it, and it is regenerated"
        ) from error
    return frame.with_columns(shard=pl.lit(Path(file).stem))


def stream(files: Sequence[str], wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
    """Yield image_id and bytes of the wanted images in order, with one row group in memory."""
    for file in files:
        with ParquetFile(file) as parquet:
            for group in range(parquet.num_row_groups):
                names = parquet.read_row_group(group, ["image_id"])["image_id"].to_pylist()
                if not any(name in wanted for name in names):
                    continue
                pictures = parquet.read_row_group(group, ["image.bytes"])["image"]
                for name, picture in zip(names, pictures, strict=True):
                    if name in wanted:
                        yield name, picture["bytes"].as_py()


def varied(files: Sequence[str], count: int) -> dict[str, bytes]:
    """Return up to `count` different readable images, of different classes if possible."""
    frame = pl.scan_parquet(list(files)).select("image_id", "wnid", "sha256").collect()
    candidates = (
        frame.unique("sha256", keep="first", maintain_order=True)
        .with_columns(pl.int_range(pl.len()).over("wnid").alias("place_in_class"))
        .sort("place_in_class", maintain_order=True)["image_id"]
        .head(8 * count)
        .to_list()
    )
    readable = {}
    for name, data in stream(files, candidates):
        with suppress(PromptError):
            opened(data)
            readable[name] = data
    chosen = [name for name in candidates if name in readable][:count]
    return {name: readable[name] for name in chosen}
