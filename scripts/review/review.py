"""Make the page on which people review a sample of the teachers' responses."""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from PIL import Image

from imagenet_think.core.files import write_parquet, write_text
from imagenet_think.core.job import start_job
from imagenet_think.core.logs import logger
from imagenet_think.core.schemas import REVIEWED
from imagenet_think.core.settings import names, question
from imagenet_think.images.preparation import prepare
from imagenet_think.parsing.statuses import OK
from imagenet_think.report.examples import read_pictures
from imagenet_think.review.review_page import ReviewedRun, describe, listed, render
from imagenet_think.review.review_sample import choose, left, read_statuses

JPEG_QUALITY = 85
"""Of images that are scaled down for the page."""

Response = Mapping[str, Any]
"""A response to show: status, think, answer, text and error."""


def review(
    sample: str | Path,
    shards: Sequence[str | Path],
    annotations: Sequence[str | Path],
    responses: Sequence[str | Path],
    sources: Mapping[str, str | Path],
    page: str | Path,
    reviewed: str | Path,
    *,
    run: ReviewedRun,
    seed: int,
    images: int,
    longest_side: int,
) -> None:
    """Write the page and the list of the images it shows.

    Parameters
    ----------
    sample, shards
        The run's sample, and its prepared images.
    annotations, responses
        Files of both teachers.
    sources
        Files of the page's `template` (Jinja), `style` and `script`.
    page
        HTML to write: one file that loads nothing.
    reviewed
        Parquet to write, schema `REVIEWED`, by which `tabulate_review` reads decisions.
    run, seed
        The run whose responses are reviewed, and its seed, which decides images and sides.
    images, longest_side
        Images to show at the most, and pixels of their longest side.
    """
    teachers = list(run.teachers)
    chosen = choose(read_statuses(sample, annotations, teachers), seed, images)
    ids = chosen["image_id"].to_list()
    said = read_responses(ids, teachers, annotations, responses)
    files, items = [], []
    pictures = read_pictures(shards, ids)
    for row in chosen.iter_rows(named=True):
        image_id = row["image_id"]
        own = [said[image_id, teacher] for teacher in teachers]
        compared = all(response["status"] == OK for response in own)
        with Image.open(io.BytesIO(pictures[image_id])) as opened:
            prepared = prepare(pictures[image_id], opened, longest_side, JPEG_QUALITY)
        files.append(prepared.data)
        items.append(
            {
                "id": image_id,
                **{key: row[key] for key in ("lemma", "domain", "sha256")},
                "width": prepared.image.width,
                "height": prepared.image.height,
                "left": left(seed, image_id) if compared else None,
                "responses": own,
            }
        )
    content = describe(items, run)
    write_parquet(listed(content), reviewed, REVIEWED)
    write_text(render(content, files, sources), page)
    logger.info("%s: %d images, %.1f MB", page, len(items), Path(page).stat().st_size / 1e6)


def read_responses(
    images: Sequence[str],
    teachers: Sequence[str],
    annotations: Sequence[str | Path],
    responses: Sequence[str | Path],
) -> dict[Any, Response]:
    """Return the teachers' responses to some images, by image_id and the teacher's key."""
    wanted = pl.col("image_id").is_in(images), pl.col("model").is_in(teachers)
    parts = pl.scan_parquet(list(map(Path, annotations))).filter(*wanted)
    texts = pl.scan_parquet(list(map(Path, responses))).filter(*wanted)
    found: dict[Any, Any] = (
        parts.select("image_id", "model", "status", "think", "answer")
        .join(
            texts.select("image_id", "model", "text", "error"), on=["image_id", "model"], how="left"
        )
        .collect()
        .rows_by_key(["image_id", "model"], named=True, unique=True)
    )
    return found


if __name__ == "__main__":
    snakemake = start_job()
    settings = json.loads(snakemake.params.settings)
    teachers = {key: names(settings)[key] for key in settings["teachers"]}
    review(
        snakemake.input.sample,
        snakemake.input.images,
        snakemake.input.annotations,
        snakemake.input.responses,
        sources={name: snakemake.input[name] for name in ("template", "style", "script")},
        page=snakemake.output.page,
        reviewed=snakemake.output.reviewed,
        run=ReviewedRun(settings["run"], question(settings), teachers),
        seed=settings["seed"],
        **settings["review"],
    )
