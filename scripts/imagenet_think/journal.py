"""The journal: every response ever generated, a line each, so that none is generated twice.

One file holds the responses of one model to the images of one shard. It is append-only JSON lines
of two kinds: `{"kind": "response", "row": …}` with a row of the responses file, and `{"kind":
"run", …}`, one a job. Time lives here and only here: a response line holds its run and the seconds
since that run's start, a run line what was run where.
"""

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

logger = logging.getLogger(__name__)

Key = tuple[str, str]


class Journal:
    """The journal of one model and shard, opened by the one job that makes the shard.

    On opening, a last line without its end (a job was killed while it wrote) is cut off, and lines
    that cannot be read are reported and moved to `<name>.unreadable` beside the journal. Rows with
    an error count as made: delete their lines to have them tried again.

    Parameters
    ----------
    path
        The file; it and its folder need not exist.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._rows: dict[Key, dict] = {}
        for record in _recovered(self.path):
            if record["kind"] == "response":
                # The first stays: what is in the journal is never made again.
                self._rows.setdefault(_key(record["row"]), record["row"])
        self._file = self.path.open("a", encoding="utf-8")

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

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
        key = _key(row)
        if key in self._rows:
            raise ValueError(f"{self.path}: {key[0]} already has a row with fingerprint {key[1]}")
        self._write({"kind": "response", **meta, "row": row})
        self._rows[key] = row

    def append_run(self, **record: Any) -> None:
        """Write what a job did: where, when, how long, with what."""
        self._write({"kind": "run", **record})

    def _write(self, record: dict) -> None:
        self._file.write(json.dumps(record, ensure_ascii=False) + "\n")
        self._file.flush()


def read_runs(path: str | Path) -> list[dict]:
    """Return the run records of a journal, without changing the file (its job may be at work)."""
    return [record for record in _readable(Path(path)) if record["kind"] == "run"]


def _key(row: dict) -> Key:
    return row["image_id"], row["fingerprint"]


def _parse(line: bytes) -> dict | None:
    """Return the record of a line, or None where it is none."""
    try:
        record = json.loads(line)
        if record["kind"] == "run":
            return record
        if record["kind"] == "response" and all(
            isinstance(part, str) for part in _key(record["row"])
        ):
            return record
    except (ValueError, KeyError, TypeError):
        return None
    return None


def _readable(path: Path) -> Iterator[dict]:
    for line in path.read_bytes().split(b"\n") if path.exists() else ():
        record = _parse(line)
        if record is not None:
            yield record


def _recovered(path: Path) -> list[dict]:
    """Return a journal's records; cut a torn end off the file, set unreadable lines aside."""
    if not path.exists():
        return []
    *lines, torn = path.read_bytes().split(b"\n")
    records = [_parse(line) for line in lines]
    bad = [line for line, record in zip(lines, records, strict=True) if record is None]
    if bad:
        aside = path.with_name(path.name + ".unreadable")
        numbers = [i for i, record in enumerate(records, start=1) if record is None]
        logger.warning("%s: lines %s cannot be read, moved to %s", path, numbers, aside.name)
        with aside.open("ab") as file:
            file.write(b"".join(line + b"\n" for line in bad))
    if torn:
        logger.warning("%s: cut off an unfinished last line of %d bytes", path, len(torn))
    if bad or torn:
        kept = [line for line, record in zip(lines, records, strict=True) if record is not None]
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        temporary.write_bytes(b"".join(line + b"\n" for line in kept))
        os.replace(temporary, path)
    return [record for record in records if record is not None]
