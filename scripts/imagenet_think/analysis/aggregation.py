"""Aggregate scores against two references: equations 1 to 3 of the paper."""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from imagenet_think import parsing
from imagenet_think.analysis.resampling import Intervals, bootstrap
from imagenet_think.core.settings import Values
from imagenet_think.metrics.pairs import check_images
from imagenet_think.metrics.registry import Metric
from imagenet_think.parsing import PARTS
from imagenet_think.parsing.marks import THINK

AGGREGATE_NAMES = ("avg", "max")


class Key(NamedTuple):
    """What one number of the benchmark describes; `metric` is the name of a measure."""

    model: str
    part: str
    metric: str
    aggregate: str


@dataclass(frozen=True)
class ImageScores:
    """The average and the maximum of the two scores of every image, in one metric.

    Attributes
    ----------
    images
        The evaluated images' ids, sorted.
    values
        For each key, an array of shape (images,); NaN where the image is left out.
    no_response
        For each model and part, where only the response is missing; shape (images,).
    seen
        For each model and part, the shares of tokens inside the window, of the response and of the
        two references; shape (3, images), NaN where a text is missing. Empty without a window.
    """

    images: pl.Series
    values: Mapping[Key, np.ndarray]
    no_response: Mapping[tuple[str, str], np.ndarray]
    seen: Mapping[tuple[str, str], np.ndarray]


def read_scores(
    metric: Metric,
    paths: Sequence[str | Path],
    models: Sequence[str],
    parts: Sequence[str] = PARTS,
    missing: str = "leave_out",
    unthinking: Collection[str] = (),
) -> ImageScores:
    """Read scores files one at a time, and keep each image's averages and maxima.

    Parameters
    ----------
    metric
        Whose scores they are.
    paths
        Parquet files of all shards, in any order, see `imagenet_think.metrics.score_schemas`.
    models, parts
        The ones to read.
    missing
        How a missing response counts: its image is left out (`leave_out`), or it scores 0
        (`zero`). An image without both references is left out in either case.
    unthinking
        Models that answer without thinking by design (`without_thinking`): the thinking that they
        do not have is no response that is missing, and never scores 0.

    Raises
    ------
    ValueError
        If an image, model and part has no row or more than one, or a null has no reason.
    """
    cells = list(product(models, parts))
    shares = ["seen", "seen_1", "seen_2"] if metric.coverage else []
    columns = [f"{own.score_column}_{k}" for own in metric.measures for k in (1, 2)]
    files = [_read(path, metric.name, cells, columns + shares) for path in paths]
    images = pl.concat([ids for ids, _, _ in files])
    check_images(images, images, f"scores of {metric.name}")
    order = images.arg_sort().to_numpy()
    numbers = np.concatenate([found for _, found, _ in files], axis=-1)[..., order]
    absent = np.concatenate([found for _, _, found in files], axis=-1)[..., order]
    values = {}
    for place, cell in enumerate(cells):
        for row, measure in enumerate(metric.measures):
            first, second = numbers[2 * row : 2 * row + 2, place]
            for name, value in (("avg", (first + second) / 2), ("max", np.maximum(first, second))):
                if missing == "zero" and not (cell[0] in unthinking and cell[1] == THINK):
                    value[absent[place]] = 0.0
                values[Key(*cell, measure.name, name)] = value
    no_response = dict(zip(cells, absent, strict=True))
    seen = {cell: numbers[-3:, place] for place, cell in enumerate(cells)} if shares else {}
    return ImageScores(images.gather(order), values, no_response, seen)


def without_thinking(models: Values) -> set[str]:
    """Return those of a config's `models` that answer without thinking by design."""

    def thinks(model: Values) -> bool:
        if "output" in model:
            return parsing.thinks(model["output"])
        return "think" in model["responses"]

    return {key for key, model in models.items() if not thinks(model)}


def summarise(
    scored: ImageScores,
    keys: Sequence[Key],
    chosen: np.ndarray,
    intervals: Intervals,
    workers: int = 1,
) -> Iterator[dict[str, object]]:
    """Yield a row of schema `AGGREGATES` for each key: its mean over the images at these places."""
    matrix = np.empty((len(keys), len(chosen)))
    for place, key in enumerate(keys):
        matrix[place] = scored.values[key][chosen]
    for key, interval in zip(keys, means(matrix, intervals, workers), strict=True):
        cell = (key.model, key.part)
        no_response = int(scored.no_response[cell][chosen].sum())
        yield {
            **key._asdict(),
            **interval,
            "no_response": no_response,
            **_window(scored, cell, chosen),
        }


def means(matrix: np.ndarray, intervals: Intervals, workers: int) -> Iterator[dict[str, Any]]:
    """Yield the mean of each row of shape (rows, images), its interval, and how many it is over."""
    low, high = bootstrap(matrix.T, intervals, workers)
    for place, values in enumerate(matrix):
        counted = int((~np.isnan(values)).sum())
        yield {
            "value": mean(values),
            "low": number(low[place]),
            "high": number(high[place]),
            "images": counted,
            "left_out": len(values) - counted,
        }


def mean(values: np.ndarray) -> float | None:
    """Return the mean without NaN, exactly summed; None without values."""
    values = values[~np.isnan(values)].tolist()
    return math.fsum(values) / len(values) if values else None


def number(value: float) -> float | None:
    """Return a float, None for NaN."""
    return None if math.isnan(value) else float(value)


def largest_first(groups: pl.Series) -> list[str]:
    """Return the names of groups, largest first; null is not a group."""
    sizes = groups.drop_nulls().rename("group").value_counts()
    return sizes.sort(["count", "group"], descending=[True, False])["group"].to_list()


def _read(
    path: str | Path, metric: str, cells: Sequence[tuple[str, str]], names: Sequence[str]
) -> tuple[pl.Series, np.ndarray, np.ndarray]:
    """Return a file's images, columns of shape (names, cells, images), and missing responses.

    A cell is a model and part. A column is NaN where its score is null.
    """
    keys = ["model", "part", "image_id"]
    rows = pl.read_parquet(path, columns=[*keys, "missing", *names]).with_columns(found=True)
    scored = pl.all_horizontal(pl.col(names).is_not_null())
    unexplained = rows.filter(~scored, pl.col("missing").is_null())
    if len(unexplained):
        raise ValueError(
            f"{path}: {', '.join(unexplained.row(0)[:3])} has a null score, but its column "
            "`missing` names no missing text; delete the file and run again"
        )
    images = rows.select(pl.col("image_id").unique().sort())
    grid = pl.DataFrame(cells, keys[:2], orient="row")
    grid = grid.join(images, how="cross", maintain_order="left_right")
    rows = grid.join(rows, on=keys, how="left", maintain_order="left")
    if len(rows) > len(grid) or rows["found"].null_count():
        counts = rows.group_by(keys).agg(pl.col("found").count()).sort(keys)
        model, part, image, found = counts.filter(pl.col("found") != 1).row(0)
        raise ValueError(
            f"scores of {metric}: {model}, {part} has {found} rows of image {image}; every image "
            "needs one row, null where it could not be scored"
        )
    shape = (len(cells), len(images))
    numbers = [column.to_numpy().reshape(shape) for column in rows.select(names)]
    absent = (rows["missing"] == "response").fill_null(False).to_numpy()
    return images["image_id"], np.stack(numbers), absent.reshape(shape)


def _window(
    scored: ImageScores, cell: tuple[str, str], chosen: np.ndarray
) -> dict[str, float | None]:
    """Return the coverage of a model's texts by a window, over the images that have all texts."""
    if cell not in scored.seen:
        return dict.fromkeys(("seen", "seen_references", "cut", "cut_references"))
    shares = scored.seen[cell][:, chosen]
    shares = shares[:, ~np.isnan(shares).any(axis=0)]
    return {
        "seen": mean(shares[0]),
        "seen_references": mean(shares[1:].ravel()),
        "cut": mean((shares[0] < 1).astype(np.float64)),
        "cut_references": mean((shares[1:] < 1).astype(np.float64).ravel()),
    }
