"""Import responses that were made elsewhere, so that they are scored without generating any."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from imagenet_think.core.digests import digest_settings, digest_text
from imagenet_think.core.files import atomic_path, write_parquet
from imagenet_think.core.logs import log_to, logger, some
from imagenet_think.core.schemas import ANNOTATIONS, RESPONSES
from imagenet_think.images import image_matching
from imagenet_think.parsing import Parsed, parse, statuses

if TYPE_CHECKING:
    from imagenet_think.core.job import snakemake

ENGINE = "imported"
"""What stands in the place of an engine's name."""

STRANGE, REPEATED, NAMELESS, TEXTLESS = (
    "not in the sample",
    "named in an earlier row",
    "the row names no image",
    "no text",
)
"""Why a row is not used."""

BY_NAME, BY_DIGEST = "name", "sha256"
"""By what a row finds its image."""

AT_ONCE = 2**29
"""Bytes of text in memory at a time, about."""

ROWS = 1024
"""Rows read at a time."""


@dataclass(frozen=True)
class Texts:
    """Where a file holds a model's texts: `text`, or `think` and `answer`; the others are None."""

    text: str | None = None
    think: str | None = None
    answer: str | None = None

    @property
    def columns(self) -> list[str]:
        """The columns to read."""
        return [self.text] if self.text else [self.think, self.answer]

    def take_apart(self, row: Mapping[str, str | None], output: str | None) -> Parsed:
        """Return thinking and answer of a row in which there is text.

        Parameters
        ----------
        row
            The values of `columns`.
        output
            Format of `text` (`imagenet_think.parsing.FORMATS`). Thinking and answer in columns of
            their own are taken to the letter, without outer white space.
        """
        if self.text:
            return parse(output, row[self.text], "stop")
        think, answer = ((row[name] or "").strip() or None for name in self.columns)
        status = statuses.OK
        if think is None:
            status = statuses.EMPTY_THINK
        if answer is None:
            status = statuses.EMPTY_ANSWER
        return Parsed("\n".join(filter(None, (think, answer))) or None, think, answer, status)


@dataclass(frozen=True)
class Said:
    """What is the same for all of a model's rows."""

    model: str
    path: str
    texts: Texts
    output: str | None
    revision: str

    def of(self, image: str, row: Mapping[str, str | None] | None) -> tuple[dict, dict]:
        """Return the response to an image and its annotation.

        Parameters
        ----------
        image
            The image_id.
        row
            The image's row of the files; None where there is none with a text.
        """
        columns = self.texts.columns
        settings = {"revision": self.revision, "columns": columns, "output": self.output}
        response = {
            "image_id": image,
            "model": self.model,
            "revision": self.revision,
            "finish_reason": "stop",
            "engine": ENGINE,
            "fingerprint": digest_text(digest_settings(settings), image),
        }
        parsed = Parsed(None, None, None, statuses.ERROR)
        if row is None:
            response |= {"finish_reason": "error", "error": f"no response in {self.path}"}
        else:
            parsed = self.texts.take_apart(row, self.output)
            response["text"] = row[self.texts.text] if self.texts.text else parsed.full or ""
        return response, {"image_id": image, "model": self.model, **parsed._asdict()}


def import_responses(
    files: Sequence[str],
    sample: str | Path,
    evaluated: str | Path | None,
    responses: Sequence[str | Path],
    annotations: Sequence[str | Path],
    unused: str | Path,
    matched: str | Path,
    *,
    model: str,
    path: str,
    image: str,
    output: str | None,
    text: str | None = None,
    think: str | None = None,
    answer: str | None = None,
) -> None:
    """Write responses and annotations of a model from parquet files that others made.

    Each image that was to be asked about has a row in both. One of which the files hold no text has
    finish_reason `error`; so the account adds up. What only a generation knows (prompt, tokens,
    attempts) is null. `revision` is a digest of the files.

    Parameters
    ----------
    files
        Parquet files; only the columns named are read.
    sample
        Parquet of schema `SAMPLE`.
    evaluated
        Parquet of schema `EVALUATED`: the images that the model was to be asked about; None for
        all.
    responses, annotations
        Parquets to write, one a shard, schemas `RESPONSES` and `ANNOTATIONS`, by image_id.
    unused
        CSV to write: image (as the file names it) and reason of every row that is not used. The
        one row of an image that is in the sample, but not evaluated, is no fault and not among
        them.
    matched
        CSV to write: by (`name` or `sha256`) and images, how many find their row by what.
    model
        The model's key.
    path
        What the config says of `files`, for messages.
    image
        Column that names the image: an image_id, a file name or path
        (`imagenet_think.images.image_matching.Names`), or the hub's images. Where their path names no image of
        the sample, the SHA-256 of the bytes counts.
    output, text, think, answer
        Where the texts are and how they are taken apart; see `Texts`.

    Raises
    ------
    ValueError
        If no row names an image of the sample, or a file or column cannot be read (see
        `imagenet_think.images.image_matching.opened` and `check_column`).
    """
    texts = Texts(text, think, answer)
    images = pl.read_parquet(sample, columns=["image_id", "shard", "source_sha256", "sha256"])
    rows, turned_away, found_by = match(files, image, texts.columns, images)
    if not rows and all(why in (STRANGE, NAMELESS) for _, why in turned_away):
        raise ValueError(_strangers(path, image, turned_away, images["image_id"]))
    asked = images
    if evaluated is not None:
        asked = images.join(pl.read_parquet(evaluated), on="image_id", how="semi")
    said = Said(model, path, texts, output, digest(files))
    targets = {Path(own[0]).stem: own for own in zip(responses, annotations, strict=True)}
    shards = {
        shard: sorted(asked.filter(pl.col("shard") == shard)["image_id"]) for shard in targets
    }
    for group in _groups(list(shards), _size(files, texts.columns)):
        wanted = {rows[name]: name for shard in group for name in shards[shard] if name in rows}
        found = read_texts(files, texts.columns, wanted)
        for shard in group:
            ends = [said.of(name, found.get(name)) for name in shards[shard]]
            for place, schema, column in zip(
                targets[shard], (RESPONSES, ANNOTATIONS), (0, 1), strict=True
            ):
                frame = pl.DataFrame([end[column] for end in ends], schema=schema)
                write_parquet(frame, place, schema)
            logger.info("shard %s: %d images", shard, len(ends))
    lacking = [name for names in shards.values() for name in names if name not in rows]
    _report(turned_away, lacking, len(asked), path)
    frame = pl.DataFrame(turned_away, {"image": pl.String, "reason": pl.String}, orient="row")
    with atomic_path(unused) as temporary:
        frame.sort("reason", "image").write_csv(temporary)
    counts = [(by, found_by[by]) for by in (BY_NAME, BY_DIGEST)]
    for by, count in counts:
        logger.info("%d images found by %s", count, by)
    with atomic_path(matched) as temporary:
        pl.DataFrame(counts, {"by": pl.String, "images": pl.Int64}, orient="row").write_csv(
            temporary
        )


def match(
    files: Sequence[str], image: str, columns: Sequence[str], images: pl.DataFrame
) -> tuple[dict[str, int], list[tuple[str | None, str]], Counter[str]]:
    """Find the row of each image: the first that names it and holds a text.

    Parameters
    ----------
    files, image
        As for `import_responses`.
    columns
        Columns of text.
    images
        Columns image_id, source_sha256 and sha256 of the sample.

    Returns
    -------
    dict of str to int
        Row numbers, by image_id.
    list of (str or None, str)
        Names of the rows that cannot be used, and why.
    Counter
        How many images were found by what.
    """
    names = image_matching.read_names(files, image)
    known = image_matching.Names(images["image_id"])
    meant = [None if name is None else known.image(name) for name in names]
    unknown = [row for row, name in enumerate(meant) if name is None]
    by_digest = {
        digest: name
        for column in ("sha256", "source_sha256")
        for name, digest in images.select("image_id", column).drop_nulls().iter_rows()
    }
    digests = image_matching.read_digests(files, image, unknown) if by_digest else {}
    rows: dict[str, int] = {}
    turned_away = []
    found_by = Counter[str]()
    holds_text = _hold_text(files, columns)
    for row, (name, found) in enumerate(zip(names, meant, strict=True)):
        digest = digests.get(row)
        found = found or by_digest.get(digest)
        shown = name or digest
        if found is None:
            turned_away.append((shown, STRANGE if shown else NAMELESS))
        elif not holds_text[row]:
            turned_away.append((shown, TEXTLESS))
        elif found in rows:
            turned_away.append((shown, REPEATED))
        else:
            rows[found] = row
            found_by[BY_NAME if meant[row] else BY_DIGEST] += 1
    return rows, turned_away, found_by


def _hold_text(files: Sequence[str], columns: Sequence[str]) -> list[bool]:
    """Tell of each row whether any of some columns holds a text, be it an empty one."""
    held: list[bool] = []
    for path in files:
        with image_matching.opened(path, *columns) as file:
            for column in columns:
                image_matching.check_column(file, path, column)
            for batch in file.iter_batches(ROWS, columns=list(columns)):
                valid = (batch[column].is_valid().to_pylist() for column in columns)
                held += map(any, zip(*valid, strict=True))
    return held


def read_texts(
    files: Sequence[str], columns: Sequence[str], wanted: Mapping[int, str]
) -> dict[str, dict[str, str | None]]:
    """Return the texts of some rows.

    Parameters
    ----------
    files
        Parquet files; rows are counted through all of them.
    columns
        Columns of text.
    wanted
        Row numbers, and the names by which to return the rows.
    """
    found, row = {}, 0
    for path in files:
        with image_matching.opened(path, *columns) as file:
            for batch in file.iter_batches(ROWS, columns=list(columns)):
                for n in range(len(batch)):
                    if name := wanted.get(row + n):
                        found[name] = {column: batch[column][n].as_py() for column in columns}
                row += len(batch)
    return found


def _size(files: Sequence[str], columns: Sequence[str]) -> int:
    """Return how many bytes some columns take up in memory, about."""
    total = 0
    for path in files:
        with image_matching.opened(path, *columns) as file:
            groups = map(file.metadata.row_group, range(file.metadata.num_row_groups))
            total += sum(
                group.column(n).total_uncompressed_size
                for group in groups
                for n in range(group.num_columns)
                if group.column(n).path_in_schema in columns
            )
    return total


def _groups(shards: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """Yield shards whose texts are in memory together; each group is one reading of the files."""
    count = max(1, len(shards) * AT_ONCE // max(size, 1))
    for start in range(0, len(shards), count):
        yield shards[start : start + count]


def digest(files: Sequence[str]) -> str:
    """Return the SHA-256 (hex) of the files' contents, in their order; their names do not count."""
    digests = []
    for path in files:
        with Path(path).open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    return digest_text(*digests)


def _report(
    turned_away: Sequence[tuple[str | None, str]], lacking: Sequence[str], asked: int, path: str
) -> None:
    logger.info("%d of %d images have a response in %s", asked - len(lacking), asked, path)
    if lacking:
        logger.warning("images without a response (%d): %s", len(lacking), some(lacking))
    for reason in (STRANGE, REPEATED, NAMELESS, TEXTLESS):
        names = [name or "?" for name, why in turned_away if why == reason]
        if names:
            logger.warning("rows not used, %s (%d): %s", reason, len(names), some(names))


def _strangers(
    path: str, image: str, rows: Sequence[tuple[str | None, str]], sample: Sequence[str]
) -> str:
    if not rows:
        return f"{path} has no rows"
    named = [name for name, _ in rows if name]
    what = f"it names {some(named)}" if named else "they name none"
    return (
        f"{path}: none of {len(rows)} rows names an image of the sample in its column {image!r}. "
        f"{what[0].upper()}{what[1:]}; the sample's images are called {some(sorted(sample))}. "
        "Name them so, or as files of these names with or without folders, or name another column "
        "as responses.image"
    )


if __name__ == "__main__":
    log_to(snakemake.log[0])
    model = snakemake.wildcards.model
    own = json.loads(snakemake.params.settings)["models"][model]
    import_responses(
        files=list(snakemake.input.files),
        sample=snakemake.input.sample,
        evaluated=next(iter(snakemake.input.evaluated), None),
        responses=list(snakemake.output.responses),
        annotations=list(snakemake.output.annotations),
        unused=snakemake.output.unused,
        matched=snakemake.output.matched,
        model=model,
        output=own.get("output"),
        **own["responses"],
    )
