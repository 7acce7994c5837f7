"""The journal: one line per response ever generated, so that none is generated twice.

One file holds the responses of one model to the images of one shard, as append-only JSON lines of
two kinds: `{"kind": "response", "row": …}` with a row of the responses file, and `{"kind": "run",
…}`, one per job. Times are recorded only here: a response line has its run and the seconds since
that run's start, a run line the host, the time and the settings.

When an append returns, the operating system has the line, so it survives the end of the process.
Lines are synced to the disk every `SYNC` seconds of writing and on closing: a crash of the machine
costs the lines of the last seconds, and a full network file system is noticed in time.
"""

import json
import logging
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Any

import polars as pl

from imagenet_think.core.files import atomic_path, sync_folder
from imagenet_think.core.schemas import RESPONSES
from imagenet_think.inference.locks import Lock

logger = logging.getLogger(__name__)

SYNC = 10.0

Key = tuple[str, str]
"""image_id and fingerprint."""


class JournalError(RuntimeError):
    """A journal cannot be read or written. Its lines are intact."""


class Journal:
    """The journal of one model and shard, opened by the one job that generates the shard.

    It is locked by `<shard>.lock` next to it (`imagenet_think.inference.locks`). On opening, an
    incomplete last line (of a job killed while writing) is removed, and unreadable lines are
    reported and moved to `<name>.unreadable` next to the journal. Of two rows of an image with the
    same fingerprint, the first counts. Rows with an error count as finished: delete their lines to
    try them again.

    Raises
    ------
    LockError
        If another worker has the journal open; when writing, if another has taken it over.
    JournalError
        If the file cannot be read or written, for instance because the disk is full. It still ends
        in a complete line, and continues from there when it is opened again.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._rows: dict[Key, dict] = {}
        with ExitStack() as stack, _explained(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = stack.enter_context(Lock(self.path.with_suffix(".lock")))
            for record in _recovered(self.path):
                if record["kind"] == "response":
                    self._rows.setdefault(_key(record["row"]), record["row"])
            self._file = stack.enter_context(self.path.open("ab", buffering=0))
            sync_folder(self.path.parent)
            self._synced = time.monotonic()
            self._open = stack.pop_all()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *error: object) -> None:
        with self._open, _explained(self.path):
            if not self._file.closed:
                os.fsync(self._file.fileno())

    def get(self, image_id: str, fingerprint: str) -> dict | None:
        """Return the row of an image with a fingerprint, or None."""
        return self._rows.get((image_id, fingerprint))

    def append_response(self, row: dict, **meta: Any) -> None:
        """Write a row at once, with `meta` as further entries of its line.

        A second row of an image with the same fingerprint is a ValueError.
        """
        self._append({"kind": "response", **meta, "row": row})

    def append_run(self, **record: Any) -> None:
        """Write the record of a job: host, time, duration, settings."""
        self._append({"kind": "run", **record})

    def _append(self, record: dict) -> None:
        row = record.get("row")
        if row and _key(row) in self._rows:
            image_id, fingerprint = _key(row)
            raise ValueError(
                f"{self.path}: {image_id} already has a row with fingerprint {fingerprint}"
            )
        line = json.dumps(record, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"
        with _explained(self.path):
            self._lock.check()
            _write(self._file, line)
            if time.monotonic() - self._synced > SYNC:
                os.fsync(self._file.fileno())
                self._synced = time.monotonic()
        if row:
            self._rows[_key(row)] = row


def adopt(wanted: Mapping[Key, Journal]) -> set[Key]:
    """Copy missing rows from other journals in the same folder, so that none is generated again.

    Rows are in journals of other names if the number of blocks or shards has changed. The other
    journals stay unchanged, whether their jobs are running or not. Each is read once, and none if
    nothing is missing. `wanted` names the open journal in which a row belongs. The keys of the rows
    found are returned; their lines are copied as they were first written, with their runs.
    """
    missing = dict(wanted)
    for folder in sorted({journal.path.parent for journal in wanted.values()}):
        for path in files(folder):
            before = len(missing)
            # All are read: a job opens several, and one of them may have what another lacks.
            for record in read_lines(path) if missing else ():
                if record["kind"] == "response":
                    journal = missing.pop(_key(record["row"]), None)
                    if journal is not None:
                        journal._append(record)
            if len(missing) < before:
                logger.info("%s: copied %d rows from it", path, before - len(missing))
    return wanted.keys() - missing.keys()


def files(folder: str | Path) -> list[Path]:
    """Return the journals in a model's folder, which need not exist, in name order.

    Their names are not known: the number of shards may have changed. Hidden files are temporary.
    """
    found = sorted(Path(folder).glob("*.jsonl"))
    return [path for path in found if not path.name.startswith(".")]


def read_lines(path: str | Path) -> Iterator[dict]:
    """Yield the records of a journal, if it exists, without changing it: its job may be running.

    An incomplete last line is skipped, as are unreadable lines.
    """
    path = Path(path)
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            # The rest of an incomplete line may follow at any moment, and would pass for a line.
            if not line.endswith(b"\n"):
                return
            record = _parsed(line)
            if record is not None:
                yield record


def _key(row: dict) -> Key:
    return row["image_id"], row["fingerprint"]


_TYPES: dict[Any, type] = {pl.String: str, pl.Int64: int, pl.Boolean: bool}
_ROW = {name: _TYPES[dtype] for name, dtype in RESPONSES.items()}
_META = {"run": str, "at": float, "seconds": float, "ready_seconds": float}
_DEVICE = {"device": str, "devices": int}  # or null


def _parsed(line: bytes) -> dict | None:
    """Return the record of a line, or None if it is unreadable.

    Values that are read elsewhere have the types that are written, as far as they are there: an
    edited or damaged line is no reason to fail in the middle of a run.
    """
    with suppress(ValueError, KeyError, TypeError, AttributeError, RecursionError):
        record = json.loads(line)
        if not (
            all(_is(record[name], kind) for name, kind in _META.items() if name in record)
            and all(_is_or_null(record.get(name), kind) for name, kind in _DEVICE.items())
            and all(_is(value, int) for value in record.get("spent", {}).values())
        ):
            return None
        if record["kind"] == "run":
            return record
        if record["kind"] == "response" and all(isinstance(p, str) for p in _key(record["row"])):
            row = record["row"]
            if all(_is_or_null(row[name], _ROW[name]) for name in row.keys() & _ROW.keys()):
                return record
    return None


def _is(value: object, kind: type) -> bool:
    """Return whether a value of JSON has a type; a number also fits a column of 64 bits."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        fits = -(2.0**63) <= value < 2.0**63
        return fits and (kind is float or (kind is int and isinstance(value, int)))
    return type(value) is kind


def _is_or_null(value: object, kind: type) -> bool:
    return value is None or _is(value, kind)


def _recovered(path: Path) -> list[dict]:
    """Return a journal's records; remove an incomplete last line, move unreadable lines aside."""
    if not path.exists():
        return []
    *lines, torn = path.read_bytes().split(b"\n")
    if torn:
        logger.warning("%s: removed an incomplete last line of %d bytes", path, len(torn))
        os.truncate(path, path.stat().st_size - len(torn))
    records = [_parsed(line) for line in lines]
    numbers = [i for i, record in enumerate(records, start=1) if record is None]
    if numbers:
        aside = path.with_name(path.name + ".unreadable")
        logger.warning("%s: lines %s cannot be read, moved to %s", path, numbers, aside.name)
        with aside.open("ab", buffering=0) as file:
            _write(file, b"".join(lines[i - 1] + b"\n" for i in numbers))
            os.fsync(file.fileno())  # before they leave the journal
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            for line, record in zip(lines, records, strict=True):
                if record is not None:
                    file.write(line + b"\n")
    return [record for record in records if record is not None]


def _write(file: FileIO, data: bytes) -> None:
    """Append all of the data or, on any error, nothing."""
    end = file.seek(0, os.SEEK_END)
    rest = memoryview(data)
    try:
        while rest:
            rest = rest[file.write(rest) :]
    except BaseException:
        try:
            file.truncate(end)
        except OSError:
            file.close()  # nothing may follow an incomplete line; reopening removes it
        raise


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn system errors about a journal into a `JournalError` that says what to do."""
    try:
        yield
    except OSError as error:
        free = ""
        with suppress(OSError):
            free = f" ({shutil.disk_usage(path.parent).free:,} bytes are free there)"
        raise JournalError(
            f"{path} cannot be read or written: {error.strerror}{free}. Free some space, or repair "
            "the disk, and run again: the journal is intact, and its responses are kept."
        ) from error
