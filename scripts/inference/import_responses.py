"""Import responses that were generated elsewhere, to score them without generating any."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import polars as pl

from imagenet_think.core.csv_files import write_csv
from imagenet_think.core.digests import digest_settings, digest_text
from imagenet_think.core.files import write_parquet
from imagenet_think.core.job import start_job
from imagenet_think.core.logs import logger, some
from imagenet_think.core.schemas import ANNOTATIONS, RESPONSES
from imagenet_think.inference.response_files import (
    BY_DIGEST,
    BY_NAME,
    NAMELESS,
    REPEATED,
    TEXTLESS,
    UNKNOWN,
    Columns,
    Matches,
    ResponseFiles,
    Row,
)
from imagenet_think.parsing import failed

ENGINE = "imported"
"""Recorded as the engine's name."""

AT_ONCE = 2**29
"""Approximate bytes of text in memory at a time."""


def import_responses(
    model: str,
    files: ResponseFiles,
    output: str | None,
    sample: str | Path,
    evaluated: str | Path | None,
    responses: Sequence[str | Path],
    annotations: Sequence[str | Path],
) -> Matches:
    """Write responses and annotations of a model from its files.

    Every image that should have a response has a row in both. If the files have no text for it, its
    finish_reason is `error`, so that the account adds up. Columns that only a generation can fill
    (prompt, tokens, attempts) are null. `revision` is a digest of the files.

    Parameters
    ----------
    model, files
        The model's key and its files.
    output
        Format of raw text; None if the parts are in columns of their own.
    sample
        Parquet of schema `SAMPLE`.
    evaluated
        Parquet of schema `EVALUATED`: the images that should have a response; None for all.
    responses, annotations
        Parquets to write, one per shard, schemas `RESPONSES` and `ANNOTATIONS`, by image_id.

    Returns
    -------
    Matches
        As from `ResponseFiles.match`, with its errors. A row of an image that is in the sample, but
        not evaluated, counts as used.
    """
    images = pl.read_parquet(sample, columns=["image_id", "shard", "source_sha256", "sha256"])
    found = files.match(images)
    wanted = images
    if evaluated is not None:
        wanted = images.join(pl.read_parquet(evaluated), on="image_id", how="semi")
    wanted = wanted.sort("shard", "image_id")
    shards = dict(wanted.group_by("shard", maintain_order=True).agg("image_id").iter_rows())
    revision = files.digest()
    paths = list(zip(responses, annotations, strict=True))
    for part in _parts(paths, found.text_bytes):
        parts = {Path(out).stem: (out, annotated) for out, annotated in part}
        rows = {
            found.rows[image]: image
            for shard in parts
            for image in shards.get(shard, [])
            if image in found.rows
        }
        texts = files.read(rows)
        for shard, (out, annotated) in parts.items():
            shown = shards.get(shard, [])
            pairs = [_imported(model, files, output, revision, i, texts.get(i)) for i in shown]
            for path, schema, column in ((out, RESPONSES, 0), (annotated, ANNOTATIONS, 1)):
                frame = pl.DataFrame([pair[column] for pair in pairs], schema=schema)
                write_parquet(frame, path, schema)
            logger.info("shard %s: %d images", shard, len(shown))
    lacking = [image for shown in shards.values() for image in shown if image not in found.rows]
    logger.info("%d of %d images have a response", len(wanted) - len(lacking), len(wanted))
    if lacking:
        logger.warning("images without a response (%d): %s", len(lacking), some(lacking))
    return found


def _parts(paths: Sequence, size: int) -> Iterator[Sequence]:
    """Yield shards whose texts are in memory together; the files are read once for each part."""
    count = max(1, len(paths) * AT_ONCE // max(size, 1))
    for start in range(0, len(paths), count):
        yield paths[start : start + count]


def _imported(
    model: str,
    files: ResponseFiles,
    output: str | None,
    revision: str,
    image: str,
    row: Row | None,
) -> tuple[Mapping, Mapping]:
    """Return the response to an image and its annotation; `row` is None if there is no text."""
    columns = files.columns.texts
    settings = {"revision": revision, "columns": columns, "output": output}
    response = {
        "image_id": image,
        "model": model,
        "revision": revision,
        "finish_reason": "stop",
        "engine": ENGINE,
        "fingerprint": digest_text(digest_settings(settings), image),
    }
    if row is None:
        parsed = failed()
        response |= {"finish_reason": "error", "error": f"no response in {files.label}"}
    else:
        parsed = files.columns.parse(row, output)
        raw = files.columns.text
        response["text"] = (row[raw] if raw else parsed.full) or ""
    return response, {"image_id": image, "model": model, **parsed._asdict()}


def report_matches(found: Matches, unused: str | Path, matched: str | Path) -> None:
    """Log and write which rows are used.

    The CSV `unused` has image (as the file names it) and reason of every row that is not used,
    `matched` the number of images matched by `name` and by `sha256`.
    """
    for reason in (UNKNOWN, REPEATED, NAMELESS, TEXTLESS):
        names = [name or "?" for name, why in found.unused if why == reason]
        if names:
            logger.warning("rows not used, %s (%d): %s", reason, len(names), some(names))
    frame = pl.DataFrame(found.unused, {"image": pl.String, "reason": pl.String}, orient="row")
    write_csv(frame.sort("reason", "image"), unused)
    counts = [(by, found.matched_by[by]) for by in (BY_NAME, BY_DIGEST)]
    logger.info("images matched by %s", ", by ".join(f"{by}: {n}" for by, n in counts))
    frame = pl.DataFrame(counts, {"by": pl.String, "images": pl.Int64}, orient="row")
    write_csv(frame, matched)


if __name__ == "__main__":
    snakemake = start_job()
    model = snakemake.wildcards.model
    entry = json.loads(snakemake.params.settings)["models"][model]
    label = entry["responses"].pop("path")
    found = import_responses(
        model,
        ResponseFiles(list(snakemake.input.files), Columns(**entry["responses"]), label),
        entry.get("output"),
        sample=snakemake.input.sample,
        evaluated=next(iter(snakemake.input.evaluated), None),
        responses=list(snakemake.output.responses),
        annotations=list(snakemake.output.annotations),
    )
    report_matches(found, snakemake.output.unused, snakemake.output.matched)
