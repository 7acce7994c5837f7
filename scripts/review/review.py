"""Make the page on which people review a sample of the teachers' responses."""

import base64
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from jinja2 import Environment, StrictUndefined
from PIL import Image

from imagenet_think.core.files import write_parquet, write_text
from imagenet_think.core.hash_order import order_key
from imagenet_think.core.logs import log_to, logger
from imagenet_think.core.schemas import REVIEWED
from imagenet_think.core.settings import names, prompt
from imagenet_think.images.preparation import prepare
from imagenet_think.parsing.outcomes import STATUSES
from imagenet_think.parsing.statuses import OK
from imagenet_think.report.examples import read_pictures
from imagenet_think.review import reviewing

if TYPE_CHECKING:
    from imagenet_think.core.job import snakemake

JPEG_QUALITY = 85
"""Of images that are scaled down for the page."""

_TEACHERS = (1, 2)


def review(
    sample: str | Path,
    images: Sequence[str | Path],
    annotations: Sequence[str | Path],
    responses: Sequence[str | Path],
    sources: Mapping[str, str | Path],
    page: str | Path,
    reviewed: str | Path,
    *,
    run: str,
    seed: int,
    number: int,
    longest_side: int,
    prompt: str,
    teachers: Sequence[str],
    names: Mapping[str, str],
) -> None:
    """Write the page and the list of what it shows.

    Parameters
    ----------
    sample, images, annotations, responses
        Parquet files of the sample, of the prepared images, and of both teachers' annotations and
        responses.
    sources
        Files of the page's `template` (Jinja), `style` and `script`.
    page
        HTML to write: one file that loads nothing.
    reviewed
        Parquet to write, schema `REVIEWED`: what `tabulate_review` reads decisions by.
    run, seed
        The run's name and seed.
    number
        Images to show, or all where there are fewer.
    longest_side
        Bound of their width and height in pixels.
    prompt
        What the teachers were asked.
    teachers, names
        Keys of teacher 1 and 2, and the models' names.

    Raises
    ------
    ValueError
        If a teacher has no annotation of an image, or an image is in no file.
    """
    ended = statuses(sample, annotations, teachers)
    order = choose(ended, seed, number)
    wanted = order["image_id"].to_list()
    texts = (
        pl.scan_parquet(annotations)
        .select("image_id", "model", "status", "think", "answer")
        .filter(pl.col("image_id").is_in(wanted), pl.col("model").is_in(list(teachers)))
        .join(
            pl.scan_parquet(responses)
            .select("image_id", "model", "text", "error")
            .filter(pl.col("image_id").is_in(wanted), pl.col("model").is_in(list(teachers))),
            on=["image_id", "model"],
            how="left",
        )
        .collect()
        .rows_by_key(["image_id", "model"], named=True, unique=True)
    )
    pictures, items = [], []
    found = read_pictures(images, wanted)
    for row in order.iter_rows(named=True):
        data, (width, height) = scale(found.pop(row["image_id"]), longest_side)
        pictures.append(data)
        said = [texts[row["image_id"], teacher] for teacher in teachers]
        compared = all(response["status"] == OK for response in said)
        items.append(
            {
                "id": row["image_id"],
                "lemma": row["lemma"],
                "domain": row["domain"],
                "sha256": row["sha256"],
                "width": width,
                "height": height,
                "left": left(seed, row["image_id"]) if compared else None,
                "responses": [
                    {key: one[key] for key in ("status", "think", "answer", "text", "error")}
                    for one in said
                ],
            }
        )
    content = describe(items, run=run, prompt=prompt, teachers=teachers, names=names)
    write_parquet(listed(content), reviewed, REVIEWED)
    write_text(render(content, pictures, sources), page)
    logger.info(
        "%s: %d of %d images, %.1f MB; responses by status: %s",
        page,
        len(items),
        len(ended),
        Path(page).stat().st_size / 1e6,
        dict(
            order.select(pl.concat_list("status_1", "status_2").explode().value_counts())
            .unnest("status_1")
            .sort("count", descending=True)
            .iter_rows()
        ),
    )


# The sample --------------------------------------------------------------------------------------


def statuses(
    sample: str | Path, annotations: Sequence[str | Path], teachers: Sequence[str]
) -> pl.DataFrame:
    """Return image_id, lemma, domain and sha256 of every image, with status_1 and status_2."""
    images = pl.read_parquet(sample, columns=["image_id", "lemma", "domain", "sha256"])
    ended = pl.scan_parquet(annotations).select("image_id", "model", "status").collect()
    for k, teacher in zip(_TEACHERS, teachers, strict=True):
        own = ended.filter(model=teacher).select("image_id", pl.col("status").alias(f"status_{k}"))
        images = images.join(own, on="image_id", how="left", validate="1:1")
        lacking = images.filter(pl.col(f"status_{k}").is_null())["image_id"]
        if len(lacking):
            raise ValueError(
                f"annotations of {teacher}: {len(lacking)} images of {sample} have none, the first "
                f"is {lacking[0]}"
            )
    return images


def choose(images: pl.DataFrame, seed: int, number: int) -> pl.DataFrame:
    """Return the images to review, in the order in which they are shown.

    The strata are domain × status × teacher; an image belongs to two of them, one a teacher.
    First comes the first image of each stratum, by keyed hash, so that each is represented while
    there is room, the largest strata before the others. All others follow such that any beginning
    holds domains and statuses in the shares of the whole run.

    Parameters
    ----------
    images
        Columns image_id, domain, status_1 and status_2.
    seed
        The run's seed.
    number
        How many. A larger number keeps all of a smaller one, in their order.
    """
    strata = [["domain", f"status_{k}"] for k in _TEACHERS]
    cell = ["domain", "status_1", "status_2"]
    keys = [order_key(seed, "review", image) for image in images["image_id"]]
    first = [pl.int_range(pl.len()).over(stratum) == 0 for stratum in strata]
    return (
        images.with_columns(pl.Series("key", keys, dtype=pl.Binary))
        .sort("key")
        .with_columns(
            pl.any_horizontal(first).alias("first"),
            # In a cell of 4 images these stand at 1/8, 3/8, 5/8 and 7/8 of the way.
            ((pl.int_range(pl.len()) + 0.5) / pl.len()).over(cell).alias("way"),
        )
        .sort(pl.col("first").not_(), "way", "key")
        .drop("key", "first", "way")
        .head(number)
    )


def left(seed: int, image_id: str) -> int:
    """Return which teacher's response, 0 or 1, stands at the left."""
    return order_key(seed, "review", "left", image_id)[0] & 1


# The page ----------------------------------------------------------------------------------------


def scale(data: bytes, longest_side: int) -> tuple[bytes, tuple[int, int]]:
    """Return an image as a JPEG within a bound, and its width and height in pixels."""
    with Image.open(io.BytesIO(data)) as opened:
        prepared = prepare(data, opened, longest_side, JPEG_QUALITY)
    return prepared.data, prepared.image.size


def describe(
    items: Sequence[Mapping[str, Any]],
    *,
    run: str,
    prompt: str,
    teachers: Sequence[str],
    names: Mapping[str, str],
) -> dict[str, Any]:
    """Return all that the page shows but its pictures.

    Parameters
    ----------
    items
        In their order: id, lemma, domain, sha256 (of the prepared image), width, height, left (0 or
        1; None where they are not compared) and responses, one a teacher, with status, think,
        answer, text and error.
    run, prompt, teachers, names
        As for `review`.
    """
    judged = [
        [item[key] for key in ("id", "domain", "sha256", "left", "responses")] for item in items
    ]
    origin = {"run": run, "prompt": prompt, "teachers": list(teachers)}
    chain = reviewing.digests(origin, judged)
    return {
        "format": reviewing.FORMAT,
        "version": reviewing.VERSION,
        "run": run,
        "prompt": prompt,
        "teachers": [{"key": key, "name": names[key]} for key in teachers],
        "statuses": STATUSES,
        "questions": reviewing.QUESTIONS,
        "answers": list(reviewing.ANSWERS),
        "choices": reviewing.CHOICES,
        "limits": reviewing.LIMITS,
        "items": [
            dict(item) | {"sample": digest} for item, digest in zip(items, chain, strict=True)
        ],
    }


def listed(content: Mapping[str, Any]) -> pl.DataFrame:
    """Return the sample of a page, schema `REVIEWED`."""
    models = [teacher["key"] for teacher in content["teachers"]]
    rows = [
        {
            "image_id": item["id"],
            "domain": item["domain"],
            **{f"model_{k}": model for k, model in zip(_TEACHERS, models, strict=True)},
            **{
                f"status_{k}": response["status"]
                for k, response in zip(_TEACHERS, item["responses"], strict=True)
            },
            "left": None if item["left"] is None else models[item["left"]],
            "sample": item["sample"],
        }
        for item in content["items"]
    ]
    return pl.DataFrame(rows, schema=REVIEWED)


def render(
    content: Mapping[str, Any], pictures: Sequence[bytes], sources: Mapping[str, str | Path]
) -> str:
    """Return the page: HTML that loads nothing, and in which nothing runs but its own script.

    Parameters
    ----------
    content
        As `describe` returns it.
    pictures
        JPEG files, one an item.
    sources
        As for `review`.
    """
    template, style, script = (
        Path(sources[name]).read_text(encoding="utf-8") for name in ("template", "style", "script")
    )
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(template).render(
        **{key: content[key] for key in ("run", "prompt", "questions", "answers", "choices")},
        limits=content["limits"],
        policy=policy(style, script),
        style=style,
        script=script,
        data=embedded(content),
        pictures=[base64.b64encode(picture).decode() for picture in pictures],
    )


def policy(style: str, script: str) -> str:
    """Return the content security policy under which one style and one script work, and no more."""
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src '{_hash(script)}'",
            f"style-src '{_hash(style)}'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            # Nothing may turn text into markup, not even the page's own script.
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        ]
    )


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def embedded(content: Mapping[str, Any]) -> str:
    """Return JSON that may stand in an HTML script element, whatever texts it holds."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


if __name__ == "__main__":
    log_to(snakemake.log[0])
    settings = json.loads(snakemake.params.settings)
    review(
        sample=snakemake.input.sample,
        images=snakemake.input.images,
        annotations=snakemake.input.annotations,
        responses=snakemake.input.responses,
        sources={name: snakemake.input[name] for name in ("template", "style", "script")},
        page=snakemake.output.page,
        reviewed=snakemake.output.reviewed,
        run=settings["run"],
        seed=settings["seed"],
        number=settings["review"]["images"],
        longest_side=settings["review"]["longest_side"],
        prompt=prompt(settings),
        teachers=settings["teachers"],
        names=names(settings),
    )
