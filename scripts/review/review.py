"""Make the page on which people review a sample of the teachers' responses."""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
from PIL import Image

from imagenet_think.core.files import write_parquet, write_text
from imagenet_think.core.job import start_job
from imagenet_think.core.logs import logger
from imagenet_think.core.schemas import REVIEWED
from imagenet_think.core.settings import names, prompt
from imagenet_think.images.preparation import prepare
from imagenet_think.parsing.statuses import OK
from imagenet_think.report.examples import read_pictures
from imagenet_think.review.review_page import ReviewedRun, describe, listed, render
from imagenet_think.review.review_sample import choose, left, read_statuses

JPEG_QUALITY = 85
"""Of images that are scaled down for the page."""

Response = Mapping[str, Any]
"""A response to show: status, think, answer, text and error."""


class Picture(NamedTuple):
    """A JPEG file, and its width and height in pixels."""

    data: bytes
    width: int
    height: int


def review(
    images: pl.DataFrame,
    responses: Mapping[tuple[str, str], Response],
    pictures: Mapping[str, Picture],
    run: ReviewedRun,
    seed: int,
    sources: Mapping[str, str | Path],
    page: str | Path,
    reviewed: str | Path,
) -> None:
    """Write the page and the list of the images it shows.

    Parameters
    ----------
    images
        Images to show, in their order: image_id, lemma, domain, sha256.
    responses, pictures
        Responses by image_id and teacher, and images to show by image_id.
    run, seed
        The run whose responses are reviewed, and its seed, which decides the sides.
    sources
        Files of the page's `template` (Jinja), `style` and `script`.
    page
        HTML to write: one file that loads nothing.
    reviewed
        Parquet to write, schema `REVIEWED`, by which `tabulate_review` reads decisions.
    """
    items = []
    for row in images.iter_rows(named=True):
        image_id = row["image_id"]
        own = [responses[image_id, teacher] for teacher in run.teachers]
        compared = all(response["status"] == OK for response in own)
        items.append(
            {
                "id": image_id,
                **{key: row[key] for key in ("lemma", "domain", "sha256")},
                **{key: getattr(pictures[image_id], key) for key in ("width", "height")},
                "left": left(seed, image_id) if compared else None,
                "responses": own,
            }
        )
    content = describe(items, run)
    write_parquet(listed(content), reviewed, REVIEWED)
    files = [pictures[item["id"]].data for item in items]
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


def scale(data: bytes, longest_side: int) -> Picture:
    """Return an image as a JPEG whose sides have at most so many pixels."""
    with Image.open(io.BytesIO(data)) as opened:
        prepared = prepare(data, opened, longest_side, JPEG_QUALITY)
    return Picture(prepared.data, *prepared.image.size)


if __name__ == "__main__":
    snakemake = start_job()
    settings = json.loads(snakemake.params.settings)
    teachers, seed = settings["teachers"], settings["seed"]
    teacher_names = {key: names(settings)[key] for key in teachers}
    annotations = snakemake.input.annotations
    statuses = read_statuses(snakemake.input.sample, annotations, teachers)
    images = choose(statuses, seed, settings["review"]["images"])
    ids = images["image_id"].to_list()
    pictures = read_pictures(snakemake.input.images, ids)
    side = settings["review"]["longest_side"]
    review(
        images,
        read_responses(ids, teachers, annotations, snakemake.input.responses),
        {image_id: scale(data, side) for image_id, data in pictures.items()},
        ReviewedRun(settings["run"], prompt(settings), teacher_names),
        seed,
        sources={name: snakemake.input[name] for name in ("template", "style", "script")},
        page=snakemake.output.page,
        reviewed=snakemake.output.reviewed,
    )
