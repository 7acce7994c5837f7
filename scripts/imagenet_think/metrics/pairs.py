"""Pairs of texts to compare: responses with both teachers', and the teachers' with each other."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from imagenet_think.core.hash_order import image_order_key, order_key
from imagenet_think.core.schemas import BASELINES, BETWEEN, TEACHERS
from imagenet_think.parsing import PARTS
from imagenet_think.parsing.marks import ANSWER, THINK
from imagenet_think.parsing.statuses import OK

KEYS = ["image_id", "model", "part"]


@dataclass(frozen=True)
class Pairs:
    """The comparisons of a shard.

    Attributes
    ----------
    texts
        Every text, one per response and part; null where it cannot be scored.
    rows
        `row, image_id, model, part, against, text, other`: one row per comparison, counted from 0;
        `against` is one of `schemas.TEACHERS` or `schemas.AGAINST`; `text` and `other` are places
        in `texts`. Images are sorted by class, so that those compared with each other are close.
    """

    texts: pl.Series
    rows: pl.DataFrame

    def batches(self, images: int) -> Iterator["Pairs"]:
        """Yield the comparisons of the given number of images at a time."""
        rows = self.rows.with_columns(batch=pl.col("image_id").rle_id() // images)
        for some in rows.partition_by("batch", maintain_order=True, include_key=False):
            yield Pairs(self.texts, some)

    def scorable(self) -> pl.DataFrame:
        """Return the rows that have both texts."""
        there = self.texts.is_not_null().to_numpy()
        rows = self.rows.select("text", "other").to_numpy()
        return self.rows.filter(there[rows].all(axis=1))

    def columns(self, rows: pl.DataFrame) -> tuple[list[str], list[str]]:
        """Return both texts of each row; a text of many rows is one object."""
        places = np.unique(rows.select("text", "other").to_numpy())
        found = dict(zip(places.tolist(), self.texts.gather(places).to_list(), strict=True))
        texts, others = ([found[place] for place in rows[name]] for name in ("text", "other"))
        return texts, others


@dataclass(frozen=True)
class Shard:
    """What a scoring job reads and writes for one shard.

    Attributes
    ----------
    annotations
        Parquet files of annotations, one for each teacher and model.
    sample
        Parquet file of schema `SAMPLE`, with the shard's images and their classes.
    evaluated
        Parquet file of schema `EVALUATED`; the images that benchmarked models are scored on.
    scores, agreement
        Parquet files to write, see `imagenet_think.metrics.score_schemas`.
    name
        Name of the shard.
    models
        The benchmarked ones.
    teachers
        The two models whose texts are the references. Their texts are compared with each other,
        and each teacher's with its own on other images (see `partners`).
    seed
        Of the order in which partners are chosen.
    """

    annotations: Sequence[str | Path]
    sample: str | Path
    evaluated: str | Path
    scores: str | Path
    agreement: str | Path
    name: str
    models: Sequence[str]
    teachers: Sequence[str]
    seed: int

    def pairs(self) -> Pairs:
        """Return the comparisons.

        Raises
        ------
        ValueError
            If a model or a row is missing or appears twice.
        """
        texts = pl.concat([read_texts(path) for path in self.annotations])
        own = pl.col("shard") == self.name
        classes = pl.scan_parquet(self.sample).filter(own).select("image_id", "wnid").collect()
        images = partners(classes, self.seed)
        evaluated = pl.scan_parquet(self.evaluated).filter(own).collect()["image_id"].implode()
        chosen = images.filter(pl.col("image_id").is_in(evaluated))
        for model in [*self.teachers, *self.models]:
            check_images(
                texts.filter(model=model, part=PARTS[0])["image_id"],
                (images if model in self.teachers else chosen)["image_id"],
                f"annotations of {model}",
                ": generate its responses of this shard",
            )
        teachers = list(zip(TEACHERS, self.teachers, strict=True))
        compared = [(model, *teacher) for model in self.models for teacher in teachers]
        compared += [(self.teachers[0], BETWEEN, self.teachers[1])]
        compared += [(teacher, kind, teacher) for kind in BASELINES for teacher in self.teachers]
        columns = ["model", "against", "other_model"]
        places = texts.select(*KEYS, text=pl.int_range(pl.len()))
        others = {"image_id": "partner", "model": "other_model", "text": "other"}
        rows = (
            images.with_columns(pl.col("image_id").alias(teacher) for teacher in TEACHERS)
            .unpivot([*TEACHERS, *BASELINES], index=["image_id", "position"])
            .rename({"variable": "against", "value": "partner"})
            .drop_nulls("partner")
            .join(pl.DataFrame(compared, columns, orient="row"), on="against")
            .filter(pl.col("model").is_in(self.teachers) | pl.col("image_id").is_in(evaluated))
            .join(pl.DataFrame({"part": PARTS}), how="cross")
            .join(places, on=KEYS, how="left")
            .join(places.rename(others), on=["partner", "other_model", "part"], how="left")
            .sort("position", "against", "model", "part")
            .select(*KEYS, "against", "text", "other")
            .with_row_index("row")
        )
        return Pairs(texts["text"], rows)


def check_images(found: pl.Series, images: pl.Series, where: str, remedy: str = "") -> None:
    """Raise a ValueError if an image appears twice in `found`, or one of `images` does not."""
    twice = found.filter(found.is_duplicated())
    if len(twice):
        raise ValueError(f"{where}: image {twice[0]} appears more than once")
    missing = images.filter(~images.is_in(found.implode()))
    if len(missing):
        raise ValueError(
            f"{where}: {len(missing)} of {len(images)} images have no row, the first being "
            f"{missing[0]}{remedy}"
        )


def read_texts(annotations: str | Path) -> pl.DataFrame:
    """Return one model's texts that can be scored, one row per image and part.

    Parameters
    ----------
    annotations
        Parquet file of one model's annotations.

    Returns
    -------
    polars.DataFrame
        `image_id, model, part, text`. The full output is scored wherever it is not blank, thinking
        and answer where they are known (their own status is ok); `text` is null elsewhere.
    """
    wide = pl.read_parquet(annotations)
    return wide.select(
        "image_id",
        "model",
        pl.when(pl.col("full").str.strip_chars() != "").then("full"),
        *(pl.when(pl.col(f"{part}_status") == OK).then(part) for part in (THINK, ANSWER)),
    ).unpivot(list(PARTS), index=["image_id", "model"], variable_name="part", value_name="text")


def partners(classes: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Choose for some images another image of their class, and one of another class.

    Parameters
    ----------
    classes
        `image_id, wnid` of the images to choose from.
    seed
        Of the order of classes, and of images in a class.

    Returns
    -------
    polars.DataFrame
        `image_id, position, same_class, other_class`, classes in a random order. The partners are
        image_ids. The images of a class form pairs. The first image of a pair has two partners:
        the second one, and the second one of a pair of the next class. No two images are each
        other's partner, so that different rows compare different images. The rest have no
        partners: second images, those left over, and the image of a class of one.
    """
    members: dict[str, list[str]] = {}
    for image_id, wnid in classes.iter_rows():
        members.setdefault(wnid, []).append(image_id)
    groups = []
    for wnid in sorted(members, key=lambda wnid: order_key(seed, wnid)):
        groups.append(sorted(members[wnid], key=partial(image_order_key, seed, wnid)))
    seconds = [images[1::2] for images in groups if len(images) > 1]
    rows: list[tuple[str, int, str | None, str | None]] = []
    paired = 0
    for images in groups:
        if len(images) > 1:
            paired += 1
        others = seconds[paired % len(seconds)] if len(seconds) > 1 else []
        for k, image in enumerate(images):
            first = k % 2 == 0 and k + 1 < len(images) and others
            same = images[k + 1] if first else None
            other = others[k // 2 % len(others)] if first else None
            rows.append((image, len(rows), same, other))
    schema = {"image_id": pl.String, "position": pl.Int64} | dict.fromkeys(BASELINES, pl.String)
    return pl.DataFrame(rows, schema=schema, orient="row")
