"""Files of responses that were generated elsewhere, matched to the images of the sample."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from imagenet_think.core import user_tables
from imagenet_think.core.digests import digest_text
from imagenet_think.core.logs import some
from imagenet_think.images import image_matching
from imagenet_think.parsing import Parsed, parse, statuses
from imagenet_think.parsing.tagged import NO_THINK

UNKNOWN, REPEATED, NAMELESS, TEXTLESS = (
    "not in the sample",
    "named in an earlier row",
    "the row names no image",
    "no text",
)
"""Reasons for which a row is not used."""

BY_NAME, BY_DIGEST = "name", "sha256"
"""How a row was matched to its image."""

Row = Mapping[str, str | None]
"""The texts of a row, by column."""


@dataclass(frozen=True)
class Columns:
    """The columns to read.

    Attributes
    ----------
    image
        Names the image: an image_id, a file name or path, or the hub's images
        (`imagenet_think.images.image_matching`), of which the bytes count if no path matches.
    text
        Raw text; or None, and the parts are in columns of their own.
    think, answer
        Those columns, which are taken verbatim, but stripped; otherwise None. Answers may come
        without thinking.
    """

    image: str
    text: str | None = None
    think: str | None = None
    answer: str | None = None

    @property
    def texts(self) -> list[str]:
        """The columns of text."""
        return [self.text] if self.text else [name for name in (self.think, self.answer) if name]

    def parse(self, row: Row, output: str | None) -> Parsed:
        """Return thinking and answer of a row; `output` is the format of raw text."""
        if self.text:
            return parse(str(output), row[self.text], "stop")
        think, answer = (
            ((row[name] if name else None) or "").strip() or None
            for name in (self.think, self.answer)
        )
        think_status = answer_status = statuses.OK
        if think is None:
            think_status = statuses.EMPTY_THINK if self.think else NO_THINK
        if answer is None:
            answer_status = statuses.EMPTY_ANSWER
        status = answer_status if answer is None or not self.think else think_status
        full = "\n".join(filter(None, (think, answer))) or None
        return Parsed(full, think, answer, status, think_status, answer_status)


@dataclass
class Matches:
    """Rows and the images that they belong to.

    Attributes
    ----------
    rows
        Row numbers by image_id: for each image the first row that names it and has a text.
    unused
        Name of the image (or digest, or None) and reason for every other row.
    matched_by
        Number of images by `BY_NAME` and `BY_DIGEST`.
    text_bytes
        About how many bytes the texts of all rows take up in memory.
    """

    rows: dict[str, int] = field(default_factory=dict)
    unused: list[tuple[str | None, str]] = field(default_factory=list)
    matched_by: Counter[str] = field(default_factory=Counter)
    text_bytes: int = 0


@dataclass(frozen=True)
class ResponseFiles:
    """A model's files; rows are counted across all of them.

    `label` names the files in messages, as the config does.
    """

    paths: Sequence[str]
    columns: Columns
    label: str

    def match(self, sample: pl.DataFrame) -> Matches:
        """Match rows to the images of the sample.

        Parameters
        ----------
        sample
            Columns image_id, source_sha256 and sha256.

        Raises
        ------
        ValueError
            If no row names an image of the sample, or a file or column cannot be read (see
            `imagenet_think.core.user_tables.rows`).
        """
        known = image_matching.ImageNames(sample["image_id"])
        by_digest = {
            digest: name
            for column in ("sha256", "source_sha256")
            for name, digest in sample.select("image_id", column).drop_nulls().iter_rows()
        }
        found, row = Matches(), 0
        for path in self.paths:
            rows = [(name, sum(map(len, texts))) for name, texts in self._named_rows(path)]
            named = [None if name is None else known.image(name) for name, _ in rows]
            unknown = [place for place, image in enumerate(named) if image is None]
            digests = image_matching.read_digests(
                path, self.columns.image, unknown if by_digest else []
            )
            for place, ((name, length), image) in enumerate(zip(rows, named, strict=True)):
                digest = digests.get(place)
                shown = name or digest
                matched_by = BY_NAME if image else BY_DIGEST
                image = image or by_digest.get(digest or "")
                if image is None:
                    found.unused.append((shown, UNKNOWN if shown else NAMELESS))
                elif not length:
                    found.unused.append((shown, TEXTLESS))
                elif image in found.rows:
                    found.unused.append((shown, REPEATED))
                else:
                    found.rows[image] = row + place
                    found.matched_by[matched_by] += 1
            found.text_bytes += sum(length for _, length in rows)
            row += len(rows)
        if not found.rows and all(why in (UNKNOWN, NAMELESS) for _, why in found.unused):
            raise ValueError(self._no_match(found.unused, sample["image_id"].sort().to_list()))
        return found

    def read(self, wanted: Mapping[int, str]) -> dict[str, Row]:
        """Return the texts of some rows by name, given their numbers and names."""
        return {wanted[n]: row for n, row in enumerate(self._rows()) if n in wanted}

    def _named_rows(self, path: str) -> Iterator[tuple[str | None, list[str]]]:
        """Yield a file's rows: the name of the image, and the texts that are not missing."""
        image, texts = self.columns.image, dict.fromkeys(self.columns.texts, user_tables.TEXT)
        for row in user_tables.rows(path, {**texts, image: user_tables.NAMES}):
            yield row[image], [row[column] for column in texts if row[column] is not None]

    def _rows(self) -> Iterator[Row]:
        """Yield the texts of each row."""
        for path in self.paths:
            yield from user_tables.rows(path, dict.fromkeys(self.columns.texts, user_tables.TEXT))

    def digest(self) -> str:
        """Return the SHA-256 (hex) of the files' contents in order, regardless of their names."""
        digests = []
        for path in self.paths:
            with Path(path).open("rb") as file:
                digests.append(hashlib.file_digest(file, "sha256").hexdigest())
        return digest_text(*digests)

    def _no_match(self, rows: Sequence[tuple[str | None, str]], sample: Sequence[str]) -> str:
        if not rows:
            return f"{self.label} has no rows"
        named = [name for name, _ in rows if name]
        return (
            f"{self.label}: none of {len(rows)} rows names an image of the sample in column "
            f"{self.columns.image!r}. {f'It names {some(named)}' if named else 'They name none'}; "
            f"the sample's images are called {some(sample)}. Use these names, or file names with "
            "these stems, with or without folders, or name another column as responses.image"
        )
