"""Pairs of texts to compare: responses with both teachers', and the teachers' with each other."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl

from imagenet_think.core.hash_order import image_order_key, order_key
from imagenet_think.core.schemas import BASELINES, BETWEEN, SAME_CLASS, TEACHERS
from imagenet_think.parsing import PARTS
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
        place = self.rows["image_id"].rle_id().to_numpy().astype(np.int64)
        bounds = np.flatnonzero(np.diff(place // images, prepend=-1, append=-1)).tolist()
        for start, end in pairwise(bounds):
            yield Pairs(self.texts, self.rows[start:end])

    def of_part(self, part: str) -> "Pairs":
        """Return the comparisons of one part, numbered from 0."""
        rows = self.rows.filter(pl.col("part") == part)
        return Pairs(self.texts, rows.with_columns(pl.int_range(pl.len()).alias("row")))

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
        and answer only where the response was parsed (status ok); `text` is null elsewhere.
    """
    wide = pl.read_parquet(annotations)
    parsed = pl.col("status") == OK
    return wide.select(
        "image_id",
        "model",
        pl.when(pl.col("full").str.strip_chars() != "").then("full").alias("full"),
        pl.when(parsed).then("think").alias("think"),
        pl.when(parsed).then("answer").alias("answer"),
    ).unpivot(list(PARTS), index=["image_id", "model"], variable_name="part", value_name="text")


def read_pairs(
    annotations: Sequence[str | Path],
    sample: str | Path,
    evaluated: str | Path,
    *,
    shard: str,
    teachers: Sequence[str],
    models: Sequence[str],
    seed: int,
) -> Pairs:
    """Return the comparisons of a shard.

    Parameters
    ----------
    annotations
        Parquet files of annotations, one for each teacher and model.
    sample
        Parquet file of schema `SAMPLE`, with the shard's images and their classes.
    evaluated
        Parquet file of schema `EVALUATED`; the images that benchmarked models are scored on.
    shard
        Name of the shard.
    teachers
        The two models whose texts are the references. Their texts are compared with each other,
        and each teacher's with its own on other images (see `partners`).
    models
        The benchmarked ones.
    seed
        Of the order in which partners are chosen.

    Raises
    ------
    ValueError
        If a model or a row is missing or appears twice.
    """
    texts = pl.concat([read_texts(path) for path in annotations]).with_row_index("place")
    own = pl.col("shard") == shard
    classes = pl.scan_parquet(sample).filter(own).select("image_id", "wnid").collect()
    images = partners(classes, seed)
    scored = pl.scan_parquet(evaluated).filter(own).select("image_id").collect()
    chosen = images.join(scored, on="image_id", how="semi", maintain_order="left")
    for model in teachers:
        _check(texts, images["image_id"], model)
    for model in models:
        _check(texts, chosen["image_id"], model)
    rows = [
        _compare(texts, chosen, models, "image_id", against, teacher)
        for against, teacher in zip(TEACHERS, teachers, strict=True)
    ]
    rows.append(_compare(texts, images, teachers[:1], "image_id", BETWEEN, teachers[1]))
    with_partners = images.drop_nulls(SAME_CLASS)
    for against in BASELINES:
        rows += [
            _compare(texts, with_partners, [teacher], against, against, teacher)
            for teacher in teachers
        ]
    ordered = pl.concat(rows).sort("position", maintain_order=True).drop("position")
    return Pairs(texts["text"], ordered.with_row_index("row"))


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


def _compare(
    texts: pl.DataFrame,
    images: pl.DataFrame,
    models: Sequence[str],
    partner: str,
    against: str,
    other: str,
) -> pl.DataFrame:
    """Return comparisons of models' texts with those of `other` on the images' partners."""
    model = pl.DataFrame({"model": list(models)})
    part = pl.DataFrame({"part": list(PARTS)})
    reference = texts.filter(pl.col("model") == other)
    return (
        images.select("image_id", "position", pl.col(partner).alias("partner"))
        .join(model, how="cross", maintain_order="left_right")
        .join(part, how="cross", maintain_order="left_right")
        .join(texts, on=KEYS, how="left", maintain_order="left")
        .rename({"place": "at"})
        .join(
            reference,
            left_on=["partner", "part"],
            right_on=["image_id", "part"],
            how="left",
            maintain_order="left",
        )
        .select(
            *KEYS,
            "position",
            pl.lit(against).alias("against"),
            pl.col("at").alias("text"),
            pl.col("place").alias("other"),
        )
    )


def _check(texts: pl.DataFrame, images: pl.Series, model: str) -> None:
    """Raise a ValueError if annotations of a model do not contain each image once."""
    rows = texts.filter((pl.col("model") == model) & (pl.col("part") == PARTS[0]))["image_id"]
    twice = rows.filter(rows.is_duplicated())
    if len(twice):
        raise ValueError(f"annotations of {model}: image {twice[0]} appears more than once")
    missing = images.filter(~images.is_in(rows.implode()))
    if len(missing):
        raise ValueError(
            f"annotations of {model} lack {len(missing)} of {len(images)} images that it is scored "
            f"on, the first being {missing[0]}: generate its responses of this shard"
        )
