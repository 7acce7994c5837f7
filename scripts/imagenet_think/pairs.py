"""Which texts are compared: every response of a benchmarked model with both teachers' texts."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from imagenet_think.logs import progress
from imagenet_think.parsing import PARTS
from imagenet_think.parsing.statuses import OK

KEYS = ["image_id", "model", "part"]

Score = Callable[[Sequence[str], Sequence[str]], dict[str, np.ndarray]]
"""Takes candidates and references, gives columns of numbers, one a pair."""


def read_texts(annotations: str | Path) -> pl.DataFrame:
    """Return one model's texts that can be scored, one row an image and part.

    Parameters
    ----------
    annotations
        Parquet file of one model's annotations.

    Returns
    -------
    polars.DataFrame
        `image_id, model, part, text`. The full output is scored wherever it holds text, thinking
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
    annotations: Iterable[str | Path], teachers: Sequence[str], models: Sequence[str]
) -> pl.DataFrame:
    """Return what a shard has to score.

    Parameters
    ----------
    annotations
        Parquet files of annotations, at least one for each teacher and model.
    teachers
        The two whose texts are the references.
    models
        The benchmarked ones.

    Returns
    -------
    polars.DataFrame
        `image_id, model, part, text, text_1, text_2`: a row for every image, benchmarked model
        and part, in that order, with the response and the teachers' texts. A text is null where
        it cannot be scored, and no row is dropped for it.

    Raises
    ------
    ValueError
        If a model or a row is missing or appears twice.
    """
    texts = pl.concat([read_texts(path) for path in annotations])
    first, second = teachers
    images = texts["image_id"].unique().sort()
    _check(texts, images, [first, second, *models])
    rows = (
        pl.DataFrame({"image_id": images})
        .join(pl.DataFrame({"model": list(models)}), how="cross", maintain_order="left_right")
        .join(pl.DataFrame({"part": list(PARTS)}), how="cross", maintain_order="left_right")
        .join(texts, on=KEYS, how="left", maintain_order="left")
    )
    for place, teacher in enumerate((first, second), start=1):
        reference = texts.filter(pl.col("model") == teacher).select(
            "image_id", "part", pl.col("text").alias(f"text_{place}")
        )
        rows = rows.join(reference, on=["image_id", "part"], how="left", maintain_order="left")
    return rows


def _check(texts: pl.DataFrame, images: pl.Series, models: Sequence[str]) -> None:
    for model in models:
        rows = texts.filter((pl.col("model") == model) & (pl.col("part") == PARTS[0]))["image_id"]
        twice = rows.filter(rows.is_duplicated())
        if len(twice):
            raise ValueError(f"annotations of {model}: image {twice[0]} appears more than once")
        missing = images.filter(~images.is_in(rows.implode()))
        if len(missing):
            raise ValueError(
                f"annotations of {model} lack {len(missing)} of {len(images)} images that other "
                f"models have, the first being {missing[0]}: make its responses of this shard"
            )


def score_pairs(
    pairs: pl.DataFrame, score: Score, columns: Sequence[str], *, images: int
) -> pl.DataFrame:
    """Score the pairs of a shard, some images at a time.

    Parameters
    ----------
    pairs
        See `read_pairs`.
    score
        The metric. An image's texts come in one call, so that each is worked on once.
    columns
        Which of the metric's columns to keep. `seen_candidate` and `seen_reference`, where the
        metric gives them, are kept as `seen` (response) and `seen_1`, `seen_2` (teachers).
    images
        How many images to score at once: what bounds the memory.

    Returns
    -------
    polars.DataFrame
        The keys and, against teacher 1 and 2, `<column>_1` and `<column>_2`; null where one of the
        two texts is.
    """
    groups = pairs.partition_by("image_id", maintain_order=True)
    batches = [pl.concat(groups[k : k + images]) for k in range(0, len(groups), images)]
    scored = [
        _score(batch, score, columns)
        for batch in progress(batches, len(batches), f"batches of {images} images")
    ]
    return pl.concat(scored) if scored else _score(pairs, score, columns)


def _score(pairs: pl.DataFrame, score: Score, columns: Sequence[str]) -> pl.DataFrame:
    """Score pairs in one call."""
    rows = [_scorable(pairs, place) for place in (1, 2)]
    candidates = [text for place in (0, 1) for text in pairs["text"].gather(rows[place])]
    references = [
        text for place in (0, 1) for text in pairs[f"text_{place + 1}"].gather(rows[place])
    ]
    values = score(candidates, references)
    split = len(rows[0])

    def spread(name: str, place: int) -> pl.Series:
        """Put the values of one teacher's pairs into their rows."""
        column: list[float | None] = [None] * len(pairs)
        part = values[name][:split] if place == 1 else values[name][split:]
        for row, value in zip(rows[place - 1], part.tolist(), strict=True):
            column[row] = value
        return pl.Series(f"{name}_{place}", column, dtype=pl.Float64)

    frame = pairs.select(KEYS).with_columns(
        *(spread(name, place) for name in columns for place in (1, 2))
    )
    if "seen_candidate" not in values:
        return frame
    return frame.with_columns(
        pl.coalesce(spread("seen_candidate", 1), spread("seen_candidate", 2)).alias("seen"),
        spread("seen_reference", 1).alias("seen_1"),
        spread("seen_reference", 2).alias("seen_2"),
    )


def _scorable(pairs: pl.DataFrame, place: int) -> list[int]:
    both = pairs["text"].is_not_null() & pairs[f"text_{place}"].is_not_null()
    return both.arg_true().to_list()
