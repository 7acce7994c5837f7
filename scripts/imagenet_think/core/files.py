"""Atomic writes: a reader sees the old file or the complete new one, also after a power loss.

A file is written under a temporary name in the folder of the final one. A killed process leaves it
there. The name says which process of which machine that was, and the first process that writes into
the folder after its end removes it.
"""

import errno
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from hashlib import sha256
from pathlib import Path

import polars as pl
from pyarrow import Schema
from pyarrow.parquet import ParquetWriter

from imagenet_think.core import processes
from imagenet_think.core.logs import logger

SILENCE = 24 * 3600.0
"""Seconds without a change after which the temporary file of another machine counts as left behind:
whether its process still runs is only known there."""

_TEMPORARY = re.compile(
    r"\..+\.(?:(?P<machine>[0-9a-f]{8})-(?P<pid>\d{1,7})-(?P<start>\w+)"
    r"|\d{1,7})\.tmp(?:\.[^.]+)?"  # up to version 0.1.0: the process only
)
_FULL = (errno.ENOSPC, errno.EDQUOT)
_NOT_FOR_FOLDERS = (errno.EINVAL, errno.ENOTSUP)

_PLAIN = pl.CompatLevel.oldest()
"""Arrow types that every reader of parquet knows."""


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`, which replaces `path` when the block succeeds.

    It has the same suffix, by which many writers choose the format. The folder is created.

    Raises
    ------
    OSError
        If the disk is full; the message names the file and the free space. The old file is kept.
    """
    path = Path(path)
    temporary = _temporary(path)
    try:
        with _naming(path):
            yield temporary
            publish(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def scratch_folder(path: str | Path) -> Iterator[Path]:
    """Yield an empty folder next to `path`, which is removed in the end."""
    temporary = _temporary(Path(path).with_suffix(""))
    temporary.mkdir()
    try:
        with _naming(Path(path)):
            yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def publish(temporary: Path, path: Path) -> None:
    """Give a complete file or folder its final name, so that the name survives a power loss.

    The content is on the disk before the name, and the name before this returns. Otherwise a crash
    of the machine might leave an empty file that passes for a product.
    """
    for inside in temporary.rglob("*"):
        _sync(inside)
    _sync(temporary)
    temporary.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Write a folder's names to the disk, if its file system can."""
    try:
        _sync(folder)
    except OSError as error:
        if error.errno not in _NOT_FOR_FOLDERS:
            raise


def remove_abandoned(folder: str | Path) -> None:
    """Remove the temporary files in a folder whose processes have ended, and log each."""
    for path in Path(folder).iterdir():
        if (named := _TEMPORARY.fullmatch(path.name)) and _is_abandoned(path, named):
            with suppress(OSError):  # another process was faster, or it is another user's
                shutil.rmtree(path) if path.is_dir() else path.unlink()
                logger.info("%s removed: the process that was writing it has ended", path)


def _temporary(path: Path) -> Path:
    """Return the temporary path of this process for a path, in whose folder files can be made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned_once(path.parent.absolute(), os.getpid())
    pid = os.getpid()
    mark = f"{_machine()}-{pid}-{processes.start_of(pid) or 'unknown'}"
    return path.with_name(f".{path.stem}.{mark}.tmp{path.suffix}")


@cache
def _remove_abandoned_once(folder: Path, pid: int) -> None:
    """Remove abandoned files at the first write of a process: listing may take long."""
    remove_abandoned(folder)


@cache
def _machine() -> str:
    return sha256(processes.machine().encode()).hexdigest()[:8]


def _is_abandoned(path: Path, named: re.Match[str]) -> bool:
    if named["machine"] == _machine():
        alive = processes.is_alive(int(named["pid"]), named["start"])
        if alive is not None:
            return not alive
    with suppress(OSError):  # it is gone
        return time.time() - path.stat().st_mtime > SILENCE
    return False


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Name the file and the free space if the disk is full."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        free = shutil.disk_usage(path.parent).free
        raise OSError(
            error.errno,
            f"{path} cannot be written: {os.strerror(error.errno)} ({free:,} bytes are free there)",
        ) from error


def write_text(text: str, path: str | Path) -> None:
    """Write `text` to `path` as UTF-8, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_parquet(
    frame: pl.DataFrame,
    path: str | Path,
    schema: pl.Schema,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a frame to parquet, atomically, after checking it against its schema.

    The schema is one of `imagenet_think.core.schemas`; the frame may have its columns in any order.
    `metadata` are entries of the file's metadata.

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
            frame.write_parquet(
                temporary,
                compression="zstd",
                statistics=True,
                metadata=dict(metadata) if metadata else None,
            )
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
