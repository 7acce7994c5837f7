"""Atomic writes: a reader sees the old file or the complete new one."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import polars as pl
from pyarrow import Schema
from pyarrow.parquet import ParquetWriter

_PLAIN = pl.CompatLevel.oldest()
"""Arrow types that every reader of parquet knows."""


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`, which replaces `path` when the block succeeds.

    It has the same suffix, by which many writers choose the format. The folder is created.
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


def write_parquet(frame: pl.DataFrame, path: str | Path, schema: pl.Schema) -> None:
    """Write a frame to parquet, atomically, after checking it against its schema.

    The schema is one of `imagenet_think.core.schemas`; the frame may have its columns in any order.

    Raises
    ------
    ValueError
        If a column is missing, unexpected or of another type; the message names file and column.
    OSError
        If it cannot be written, as when the disk is full. The old file is kept.
    """
    frame = _conforming(frame, path, schema)
    with atomic_path(path) as temporary:
        try:
            frame.write_parquet(temporary, compression="zstd", statistics=True)
        except pl.exceptions.ComputeError as error:
            raise OSError(f"{path} cannot be written: {error}") from error


@contextmanager
def parquet_writer(
    path: str | Path,
    schema: pl.Schema,
    columns: Schema | None = None,
    compressed: Sequence[str] = (),
) -> Iterator[Callable[[pl.DataFrame], None]]:
    """Yield a function that appends a frame, checked as by `write_parquet`, as one row group.

    The file appears when the block succeeds, if need be without rows. Images, which are already
    compressed, are stored uncompressed, except for the parts of structs that `compressed` names.
    `columns` is the Arrow schema of the file, if it is not polars' own.
    """
    columns = columns or schema.to_frame().to_arrow(compat_level=_PLAIN).schema
    plain = [name for name, dtype in schema.items() if dtype not in (pl.Binary, pl.Struct)]
    with (
        atomic_path(path) as temporary,
        ParquetWriter(
            temporary,
            columns,
            compression=dict.fromkeys([*plain, *compressed], "ZSTD"),
            use_dictionary=plain,
            write_statistics=plain,
        ) as writer,
    ):

        def append(frame: pl.DataFrame) -> None:
            if len(frame):
                table = _conforming(frame, path, schema).to_arrow(compat_level=_PLAIN)
                writer.write_table(table.cast(columns), row_group_size=len(frame))

        yield append


def _conforming(frame: pl.DataFrame, path: str | Path, schema: pl.Schema) -> pl.DataFrame:
    """Return the frame with the columns in the schema's order; raise if it does not conform."""
    missing = [name for name in schema if name not in frame.columns]
    extra = [name for name in frame.columns if name not in schema]
    if missing or extra:
        raise ValueError(f"{path}: columns missing {missing}, unexpected {extra}")
    frame = frame.select(list(schema))
    for name, dtype in schema.items():
        if frame.schema[name] != dtype:
            raise ValueError(f"{path}: column {name!r} is {frame.schema[name]}, not {dtype}")
    return frame
