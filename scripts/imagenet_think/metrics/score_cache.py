"""Scores computed before, by settings, code and the digests of both texts.

The cache is not an output of any rule: a rerun, another model or a larger sample finds here what
need not be computed again. It may be deleted at any time, and nothing deletes from it. The code is
part of the key, so an edited metric or another version of a library computes all scores again,
unless the metric declares that its earlier code gives the same scores (`Metric.earlier`).

A file has a digest of its contents in its metadata. One that is damaged is not used: its scores are
computed again. A file of an earlier version, without a digest, is used if its values are possible,
and gets its digest when the job saves.
"""

import hashlib
import io
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import polars as pl

from imagenet_think.core.digests import digest_settings
from imagenet_think.core.files import write_parquet
from imagenet_think.core.logs import logger
from imagenet_think.core.numbers import setting

TOLERANCE = 0.01
"""By how much a cosine may exceed its range: norms are rounded, and cosines not clipped."""

SAVE_SECONDS = 60
"""Seconds between saves, which is what a killed job loses."""


def digest(text: str) -> bytes:
    """Return the digest of a text, 16 bytes."""
    return hashlib.sha256(text.encode()).digest()[:16]


def key(candidate: bytes, reference: bytes) -> bytes:
    """Return the key of a pair of digests, 16 bytes."""
    return hashlib.blake2b(candidate + reference, digest_size=16).digest()


def made_by(code: str, packages: Sequence[str]) -> dict[str, object]:
    """Return the part of a cache's settings that identifies the code of a metric.

    `code` is the digest of the module that computes it and of all that it imports, `packages` are
    the libraries that it uses, as on PyPI.
    """
    return {"code": code, "packages": {name: version(name) for name in packages}}


class ScoreCache:
    """The known scores of one shard in one metric with certain settings.

    Parameters
    ----------
    folder, shard
        The file is `<folder>/<digest of the settings>/<shard>.parquet`.
    settings
        Everything that decides a score except the texts; any JSON.
    columns
        The metric's columns.
    lowest
        The smallest possible value; the largest is 1.
    earlier
        Other settings that give the same scores. Their files are read where this one is missing or
        empty; what they know is saved in this one.

    Raises
    ------
    OSError
        If the file cannot be read.
    """

    def __init__(
        self,
        folder: str | Path,
        shard: str,
        settings: object,
        columns: Sequence[str],
        lowest: float = 0.0,
        earlier: Sequence[object] = (),
    ) -> None:
        self.path, *others = (
            Path(folder) / digest_settings(one)[:16] / f"{shard}.parquet"
            for one in (settings, *earlier)
        )
        self.columns = list(columns)
        self.schema = pl.Schema({"pair": pl.Binary} | dict.fromkeys(self.columns, pl.Float64))
        frame, verified = self._read(self.path, lowest)
        self._saved = len(frame) if verified else 0
        for path in others if frame.is_empty() else ():
            other, _ = self._read(path, lowest)
            frame = pl.concat([frame, other.join(frame, on="pair", how="anti")])
        self._place = {pair: row for row, pair in enumerate(frame["pair"].to_list())}
        self._values = [frame.select(self.columns).to_numpy()]
        self._time = time.monotonic()

    def __contains__(self, pair: bytes) -> bool:
        return pair in self._place

    def add(self, pairs: Sequence[bytes], values: dict[str, np.ndarray]) -> None:
        """Add columns of scores of n new, distinct pairs, and save them from time to time."""
        start = len(self._place)
        self._place.update((pair, row) for row, pair in enumerate(pairs, start=start))
        self._values.append(np.column_stack([values[name] for name in self.columns]))
        if time.monotonic() - self._time > SAVE_SECONDS:
            self.save()

    def get(self, pairs: Sequence[bytes]) -> np.ndarray:
        """Return the scores of known pairs, of shape (n, columns)."""
        if len(self._values) > 1:
            self._values = [np.concatenate(self._values)]
        rows = np.array([self._place[pair] for pair in pairs], dtype=np.int64)
        return self._values[0][rows]

    def save(self) -> None:
        """Save new scores; the file is replaced atomically."""
        if len(self._place) > self._saved:
            pairs = list(self._place)
            frame = pl.DataFrame(self.get(pairs), schema=self.columns, orient="row")
            frame = frame.with_columns(pl.Series("pair", pairs, dtype=pl.Binary))
            write_parquet(frame, self.path, self.schema, {_DIGEST: _digest_of(frame)})
            self._saved = len(self._place)
        self._time = time.monotonic()

    def _read(self, path: Path, lowest: float) -> tuple[pl.DataFrame, bool]:
        """Return the known scores, and whether a digest shows that they are those once saved."""
        if not path.exists():
            return self.schema.to_frame(), True
        file = io.BytesIO(path.read_bytes())
        try:
            frame = pl.read_parquet(file)
            recorded = pl.read_parquet_metadata(file).get(_DIGEST)
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
            return self._damaged(path, str(error))
        if frame.schema != self.schema:
            return self._damaged(path, f"its columns are {dict(frame.schema)}")
        if recorded not in (None, _digest_of(frame)):
            return self._damaged(path, "its digest is not that of its values")
        if not is_possible(frame.select(self.columns).to_numpy(), lowest).all():
            return self._damaged(path, f"a value is not between {setting(lowest)} and 1")
        return frame, recorded is not None

    def _damaged(self, path: Path, why: str) -> tuple[pl.DataFrame, bool]:
        logger.warning("%s is damaged, so its scores are computed again: %s", path, why)
        return self.schema.to_frame(), False


_DIGEST = "imagenet_think.digest"


def _digest_of(frame: pl.DataFrame) -> str:
    """Return the digest (hex) of pairs and values."""
    found = hashlib.blake2b(digest_size=16)
    for name in sorted(frame.columns):
        column = frame[name]
        found.update(f"{name}:{len(column)}:".encode())
        if column.dtype == pl.Binary:
            found.update(column.bin.size().to_numpy().tobytes())
            found.update(b"".join(column))
        else:
            found.update(column.to_numpy().tobytes())
    return found.hexdigest()


def is_possible(values: np.ndarray, lowest: float) -> np.ndarray:
    """Return which scores are finite and in the range from `lowest` to 1."""
    return (values >= lowest - TOLERANCE) & (values <= 1 + TOLERANCE)
