"""Atomic writes: a reader sees the old file or the whole new one."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
from pyarrow.parquet import ParquetWriter

_PLAIN = pl.CompatLevel.oldest()
"""Arrow types that every reader of parquet knows."""


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` and rename it to `path` when the block succeeds.

    Parameters
    ----------
    path
        The file to make. Its folder is created.

    Yields
    ------
    Path
        Where to write. It keeps the file's ending, because many writers choose the format by it.
        When the block raises, the temporary file is removed and `path` stays as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(text: str, path: str | Path) -> None:
    """Write `text` to `path` as UTF-8, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_parquet(
    frame: pl.DataFrame,
    path: str | Path,
    schema: pl.Schema,
    row_group_size: int | None = None,
) -> None:
    """Write a frame to parquet, atomically, after checking it against its schema.

    Parameters
    ----------
    frame
        The rows; columns may stand in any order.
    path
        The parquet file.
    schema
        Names and types the file promises, from `imagenet_think.core.schemas`.
    row_group_size
        Rows a group. Small groups let readers scan a file of images within little memory.

    Raises
    ------
    ValueError
        If a column is missing, extra, or of another type; the message names file and column.
    OSError
        If it cannot be written, as when the disk is full. What stood there before still does.
    """
    frame = _conforming(frame, path, schema)
    with atomic_path(path) as temporary:
        try:
            frame.write_parquet(
                temporary, compression="zstd", statistics=True, row_group_size=row_group_size
            )
        except pl.exceptions.ComputeError as error:
            raise OSError(f"{path} cannot be written: {error}") from error


@contextmanager
def parquet_writer(path: str | Path, schema: pl.Schema) -> Iterator[Callable[[pl.DataFrame], None]]:
    """Yield a function that appends a frame to a parquet file, as one row group.

    For files that are larger than what should be in memory. The file appears when the block
    succeeds; without a frame it has no rows. Binary columns, which hold images, are stored as they
    are: they do not shrink any further.

    Parameters
    ----------
    path
        The parquet file.
    schema
        Names and types the file promises. Each frame is checked as by `write_parquet`.
    """
    columns = schema.to_frame().to_arrow(compat_level=_PLAIN).schema
    plain = [name for name, dtype in schema.items() if dtype != pl.Binary]
    with (
        atomic_path(path) as temporary,
        ParquetWriter(
            temporary,
            columns,
            compression={name: "ZSTD" if name in plain else "NONE" for name in schema},
            use_dictionary=plain,
            write_statistics=plain,
        ) as writer,
    ):

        def append(frame: pl.DataFrame) -> None:
            if len(frame):
                table = _conforming(frame, path, schema).to_arrow(compat_level=_PLAIN)
                writer.write_table(table, row_group_size=len(frame))

        yield append


def _conforming(frame: pl.DataFrame, path: str | Path, schema: pl.Schema) -> pl.DataFrame:
    """Return the frame with the schema's columns in its order, or say what is wrong with it."""
    missing = [name for name in schema if name not in frame.columns]
    extra = [name for name in frame.columns if name not in schema]
    if missing or extra:
        raise ValueError(f"{path}: columns missing {missing}, unexpected {extra}")
    frame = frame.select(list(schema))
    for name, dtype in schema.items():
        if frame.schema[name] != dtype:
            raise ValueError(f"{path}: column {name!r} is {frame.schema[name]}, not {dtype}")
    return frame
