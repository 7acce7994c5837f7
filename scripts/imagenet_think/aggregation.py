"""From scores against two references to a benchmark's numbers: equations 1 to 3 of the paper.

Uncertainty comes from resampling images: an image carries both references and every model, so
its scores stay together. A resample weights each image by an independent Poisson(1) count.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits

from imagenet_think.parsing import PARTS
from imagenet_think.schemas import AGGREGATES, SCORE_COLUMNS, SEEN

AGGREGATE_NAMES = ("avg", "max")

METRICS: dict[str, tuple[str, str]] = {
    column if file != "bertscore" else "bertscore": (file, column)
    for file, columns in SCORE_COLUMNS.items()
    for column in columns
    if file != "bertscore" or column == "f1"
}
"""Metrics that are aggregated: the scores file and the column of each. BERTScore is its F1."""

IMAGES_AT_ONCE = 500
"""Images weighted at once; part of the definition of the resamples, because it orders the draws."""

QUANTUM = 2.0**-30
"""Scores are resampled in multiples of this. Weighted sums of up to eight million scores of 1 are
then exact in float64, and no order of summation, number of threads or processor changes a byte."""


@dataclass(frozen=True)
class Intervals:
    """How intervals are made: resamples, level in (0, 1), and seed."""

    draws: int
    level: float
    seed: int


def aggregate(
    scores: dict[str, pl.DataFrame], models: Sequence[str], intervals: Intervals
) -> pl.DataFrame:
    """Return the benchmark's numbers with their intervals.

    Parameters
    ----------
    scores
        For each kind of scores file, the rows of all shards (schema `scores(kind)`).
    models
        Benchmarked models in the order to report.
    intervals
        See `Intervals`.

    Returns
    -------
    polars.DataFrame
        Schema `AGGREGATES`, a row a model, part, metric and aggregate. An image is left out, and
        counted, where one of its two scores is null. Without any image the value is null.

    Raises
    ------
    ValueError
        If an image, model and part has no row, or more than one.
    """
    images = pl.concat([frame["image_id"] for frame in scores.values()]).unique().sort()
    rows, columns = [], []
    for model in models:
        for part in PARTS:
            chosen = {
                file: _rows(frame, images, model, part, file) for file, frame in scores.items()
            }
            for metric, (file, column) in METRICS.items():
                pair = chosen[file].select(f"{column}_1", f"{column}_2").to_numpy()
                both = np.where(np.isnan(pair).any(axis=1, keepdims=True), np.nan, pair)
                seen = _seen(chosen[file], both) if file in SEEN else (None, None)
                for name, values in zip(
                    AGGREGATE_NAMES, (both.mean(axis=1), both.max(axis=1)), strict=True
                ):
                    rows.append((model, part, metric, name, *seen))
                    columns.append(values)
    matrix = np.column_stack(columns) if columns else np.zeros((len(images), 0))
    low, high = bootstrap(matrix, intervals)
    counted = (~np.isnan(matrix)).sum(axis=0)
    return pl.DataFrame(
        [
            {
                "model": model,
                "part": part,
                "metric": metric,
                "aggregate": name,
                "value": _mean(matrix[:, place]),
                "low": _number(low[place]),
                "high": _number(high[place]),
                "images": int(counted[place]),
                "left_out": len(images) - int(counted[place]),
                "seen": seen,
                "seen_references": seen_references,
            }
            for place, (model, part, metric, name, seen, seen_references) in enumerate(rows)
        ],
        schema=AGGREGATES,
    )


def bootstrap(values: np.ndarray, intervals: Intervals) -> tuple[np.ndarray, np.ndarray]:
    """Return percentile intervals of column means under resampling of rows.

    Parameters
    ----------
    values
        Shape (images, columns); NaN where an image is left out of a column.
    intervals
        See `Intervals`.

    Returns
    -------
    tuple of numpy.ndarray
        Lower and upper ends, shape (columns,); NaN for a column without a value. The means are
        those of the weighted images, so a column's left-out images weigh nothing.

    Notes
    -----
    Memory is bounded by `draws` × `IMAGES_AT_ONCE` weights and `draws` × columns sums.
    """
    images, width = values.shape
    present, group = np.unique(~np.isnan(values), axis=1, return_inverse=True)
    group = group.ravel()
    steps = np.rint(np.nan_to_num(values) / QUANTUM)
    sums = np.zeros((intervals.draws, width))
    counts = np.zeros((intervals.draws, present.shape[1]))
    with threadpool_limits(limits=1, user_api="blas"):
        for start, weights in resamples(images, intervals):
            block = slice(start, start + weights.shape[1])
            sums += weights @ steps[block]
            counts += weights @ present[block].astype(np.float64)
    counts = counts[:, group]
    means = np.full_like(sums, np.nan)
    np.divide(sums * QUANTUM, counts, out=means, where=counts > 0)
    tail = (1 - intervals.level) / 2
    ends = np.full((2, width), np.nan)
    filled = ~np.isnan(means).all(axis=0)
    ends[:, filled] = np.nanquantile(means[:, filled], [tail, 1 - tail], axis=0)
    return ends[0], ends[1]


def resamples(images: int, intervals: Intervals) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the first row of a block of images and its weights, of shape (draws, images).

    Each block has a random stream of its own, so that it can be made alone.
    """
    for start in range(0, images, IMAGES_AT_ONCE):
        size = min(IMAGES_AT_ONCE, images - start)
        generator = np.random.default_rng([intervals.seed, start])
        yield start, generator.poisson(1.0, (intervals.draws, size)).astype(np.float64)


def _rows(frame: pl.DataFrame, images: pl.Series, model: str, part: str, file: str) -> pl.DataFrame:
    """Return a model's rows of a part in the images' order."""
    rows = frame.filter((pl.col("model") == model) & (pl.col("part") == part)).sort("image_id")
    if not rows["image_id"].equals(images):
        raise ValueError(
            f"scores of {file}: {model}, {part} has {len(rows)} rows for {len(images)} images; "
            "every image needs one row in every metric, null where it could not be scored"
        )
    return rows


def _seen(rows: pl.DataFrame, scores: np.ndarray) -> tuple[float | None, float | None]:
    """Return the mean shares of tokens seen, of responses and references, where both scored."""
    scored = ~np.isnan(scores[:, 0])
    return tuple(
        _mean(rows.select(names).to_numpy()[scored].ravel())
        for names in (["seen"], ["seen_1", "seen_2"])
    )


def _mean(values: np.ndarray) -> float | None:
    """Return the mean without NaN, exactly summed; None without values."""
    values = values[~np.isnan(values)]
    return math.fsum(values) / len(values) if len(values) else None


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
