"""The journal: every response ever generated, a line each, so that none is generated twice.

One file holds the responses of one model to the images of one shard. It is append-only JSON lines
of two kinds: `{"kind": "response", "row": …}` with a row of the responses file, and `{"kind":
"run", …}`, one a job. Time lives here and only here: a response line holds its run and the seconds
since that run's start, a run line what was run where.

A line is with the operating system when an append returns, so it outlives the process whatever
ends it. It is forced to the disk every `SYNC` seconds of writing and on closing: a machine that
dies costs the lines of the last seconds, and a network file system says in time that it is full.
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
from types import TracebackType
from typing import Any

from imagenet_think.core.files import atomic_path
from imagenet_think.inference.locks import Lock

logger = logging.getLogger(__name__)

SYNC = 10.0

Key = tuple[str, str]
"""image_id and fingerprint."""


class JournalError(RuntimeError):
    """A journal cannot be read or written. What it holds is whole."""


class Journal:
    """The journal of one model and shard, opened by the one job that makes the shard.

    It is locked by `<shard>.lock` beside it (`imagenet_think.inference.locks`). On opening, a last line
    without its end (a job was killed while it wrote) is cut off, and lines that cannot be read are
    reported and moved to `<name>.unreadable` beside the journal. Of two rows of an image under one
    fingerprint the first counts. Rows with an error count as made: delete their lines to have them
    tried again.

    Parameters
    ----------
    path
        The file; it and its folder need not exist.

    Raises
    ------
    LockError
        If another worker has the journal open; when writing, if it was taken from this one.
    JournalError
        If the file cannot be read or written, as when the disk is full. It ends in a whole line
        all the same, and goes on from there when it is opened again.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._rows: dict[Key, dict] = {}
        with ExitStack() as stack, _explained(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = stack.enter_context(Lock(self.path.with_suffix(".lock")))
            for record in _recovered(self.path):
                if record["kind"] == "response":
                    # The first stays: what is in the journal is never made again.
                    self._rows.setdefault(_key(record["row"]), record["row"])
            self._file = stack.enter_context(self.path.open("ab", buffering=0))
            self._synced = time.monotonic()
            self._open = stack.pop_all()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._open, _explained(self.path):
            if not self._file.closed:
                os.fsync(self._file.fileno())

    def get(self, image_id: str, fingerprint: str) -> dict | None:
        """Return the row of an image under a fingerprint, or None."""
        return self._rows.get((image_id, fingerprint))

    def append_response(self, row: dict, **meta: Any) -> None:
        """Write a row at once. `meta` goes into the line beside it.

        Raises
        ------
        ValueError
            If the image already has a row under this fingerprint.
        """
        self._append({"kind": "response", **meta, "row": row})

    def append_run(self, **record: Any) -> None:
        """Write what a job did: where, when, how long, with what."""
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
    """Copy rows that are wanted from other journals in the same folder, so that none is made again.

    Rows lie in journals of other names when the number of blocks or shards has changed. The other
    journals stay as they are, whether their jobs are at work or not. Each is read once, and none if
    nothing is wanted.

    Parameters
    ----------
    wanted
        The open journal into which the row of an image under a fingerprint belongs, by both.

    Returns
    -------
    set of (str, str)
        Image and fingerprint of the rows that were found. They are in their journals now, each line
        as it was written at first, with the run that made it.
    """
    missing = dict(wanted)
    for folder in sorted({journal.path.parent for journal in wanted.values()}):
        for path in sorted(folder.glob("*.jsonl")):
            before = len(missing)
            # A job may open several journals, and what one lacks lie in another: so all are read.
            for record in read_lines(path) if missing else ():
                if record["kind"] == "response":
                    journal = missing.pop(_key(record["row"]), None)
                    if journal is not None:
                        journal._append(record)
            if len(missing) < before:
                logger.info("%s: took over %d rows from it", path, before - len(missing))
    return wanted.keys() - missing.keys()


def read_lines(path: str | Path) -> Iterator[dict]:
    """Yield the records of a journal, without changing the file (its job may be at work).

    A last line that is not finished is left out, as are lines that cannot be read. Where there is
    no file there are no records.
    """
    path = Path(path)
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            # The rest of an unfinished line may follow any moment: it would be taken for a line.
            if not line.endswith(b"\n"):
                return
            record = _parsed(line)
            if record is not None:
                yield record


def read_runs(path: str | Path) -> list[dict]:
    """Return the run records of a journal, as `read_lines` does."""
    return [record for record in read_lines(path) if record["kind"] == "run"]


def read_rows(path: str | Path) -> list[dict]:
    """Return the rows of a journal, as `read_lines` does: of equal keys the first."""
    rows: dict[Key, dict] = {}
    for record in read_lines(path):
        if record["kind"] == "response":
            rows.setdefault(_key(record["row"]), record["row"])
    return list(rows.values())


def _key(row: dict) -> Key:
    return row["image_id"], row["fingerprint"]


def _parsed(line: bytes) -> dict | None:
    """Return the record of a line, or None where it is none."""
    try:
        record = json.loads(line)
        if record["kind"] == "run":
            return record
        if record["kind"] == "response" and all(
            isinstance(part, str) for part in _key(record["row"])
        ):
            return record
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return None


def _recovered(path: Path) -> list[dict]:
    """Return a journal's records; cut a torn end off the file, set unreadable lines aside."""
    if not path.exists():
        return []
    *lines, torn = path.read_bytes().split(b"\n")
    if torn:
        logger.warning("%s: cut off an unfinished last line of %d bytes", path, len(torn))
        os.truncate(path, path.stat().st_size - len(torn))
    records = [_parsed(line) for line in lines]
    numbers = [i for i, record in enumerate(records, start=1) if record is None]
    if numbers:
        aside = path.with_name(path.name + ".unreadable")
        logger.warning("%s: lines %s cannot be read, moved to %s", path, numbers, aside.name)
        with aside.open("ab", buffering=0) as file:
            _write(file, b"".join(lines[i - 1] + b"\n" for i in numbers))
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            file.writelines(
                line + b"\n"
                for line, record in zip(lines, records, strict=True)
                if record is not None
            )
            file.flush()
            os.fsync(file.fileno())  # the old file goes when the new one takes its name
    return [record for record in records if record is not None]


def _write(file: FileIO, data: bytes) -> None:
    """Append all of the data or, whatever happens, nothing."""
    end = file.seek(0, os.SEEK_END)
    rest = memoryview(data)
    try:
        while rest:
            rest = rest[file.write(rest) :]
    except BaseException:
        try:
            file.truncate(end)
        except OSError:
            file.close()  # nothing may follow a torn line; it is cut when the file is opened again
        raise


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn errors of the system about a journal into a `JournalError` that says what to do."""
    try:
        yield
    except OSError as error:
        free = ""
        with suppress(OSError):
            free = f" ({shutil.disk_usage(path.parent).free:,} bytes are free there)"
        raise JournalError(
            f"{path} cannot be read or written: {error.strerror}{free}. Make room, or see to the "
            "disk, and run again: what the journal holds is whole and is not generated again."
        ) from error
