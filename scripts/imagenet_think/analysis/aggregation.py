"""Aggregate scores against two references: equations 1 to 3 of the paper."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from imagenet_think.analysis.resampling import Intervals, bootstrap
from imagenet_think.metrics.registry import Metric
from imagenet_think.parsing import PARTS

AGGREGATE_NAMES = ("avg", "max")

MISSING = ("leave_out", "zero")
"""How a missing response counts: its image is left out, or it scores 0 in every metric."""


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
        One of `MISSING`. An image without both references is left out in either case.

    Raises
    ------
    ValueError
        If an image, model and part has no row or more than one, a null has no reason, or `missing`
        is neither.

    Notes
    -----
    Memory is 8 bytes for each image, model, part, measure and aggregate, and the scores.
    """
    if missing not in MISSING:
        raise ValueError(f"missing is {' or '.join(MISSING)}, not {missing!r}")
    images = _image_ids(paths)
    cells = list(product(models, parts))
    shares = ["seen", "seen_1", "seen_2"] if metric.coverage else []
    columns = [f"{own.score_column}_{k}" for own in metric.measures for k in (1, 2)]
    numbers, absent = _read(metric.name, paths, images, cells, columns + shares)
    values = {}
    for place, cell in enumerate(cells):
        for row, measure in enumerate(metric.measures):
            first, second = numbers[2 * row : 2 * row + 2, place]
            for name, value in (("avg", (first + second) / 2), ("max", np.maximum(first, second))):
                if missing == "zero":
                    value[absent[place]] = 0.0
                values[Key(*cell, measure.name, name)] = value
    no_response = dict(zip(cells, absent, strict=True))
    seen = {cell: numbers[-3:, place] for place, cell in enumerate(cells)} if shares else {}
    return ImageScores(images, values, no_response, seen)


def summarise(
    scored: ImageScores,
    keys: Sequence[Key],
    chosen: np.ndarray,
    intervals: Intervals,
    workers: int = 1,
) -> Iterator[dict[str, object]]:
    """Yield the means of some keys over some images, with their intervals.

    Parameters
    ----------
    scored, keys
        What to average.
    chosen
        Places of the images to average over, ascending.
    intervals, workers
        As in `bootstrap`.

    Yields
    ------
    dict
        A row of schema `AGGREGATES` for each key.
    """
    matrix = np.empty((len(keys), len(chosen)))
    for place, key in enumerate(keys):
        matrix[place] = scored.values[key][chosen]
    low, high = bootstrap(matrix.T, intervals, workers)
    windows: dict[tuple[str, str], dict[str, float | None]] = {}
    for place, key in enumerate(keys):
        cell = (key.model, key.part)
        if cell not in windows:
            windows[cell] = _window(scored, cell, chosen)
        counted = int((~np.isnan(matrix[place])).sum())
        yield {
            **key._asdict(),
            "value": mean(matrix[place]),
            "low": number(low[place]),
            "high": number(high[place]),
            "images": counted,
            "left_out": len(chosen) - counted,
            "no_response": int(scored.no_response[cell][chosen].sum()),
            **windows[cell],
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


def _image_ids(paths: Sequence[str | Path]) -> pl.Series:
    """Return the ids of the images in the files, sorted."""
    shards = [pl.read_parquet(path, columns=["image_id"])["image_id"].unique() for path in paths]
    return pl.concat(shards).unique().sort()


def _read(
    metric: str,
    paths: Sequence[str | Path],
    images: pl.Series,
    cells: Sequence[tuple[str, str]],
    names: Sequence[str],
) -> tuple[np.ndarray, np.ndarray]:
    """Return columns of shape (names, cells, images), and where there is no response.

    A cell is a model and part. A column is NaN where its score is null.
    """
    index = pl.DataFrame({"image_id": images, "image": np.arange(len(images))})
    order = pl.DataFrame(
        [(*cell, place) for place, cell in enumerate(cells)],
        schema={"model": pl.String, "part": pl.String, "cell": pl.Int64},
        orient="row",
    )
    numbers = np.full((len(names), len(cells) * len(images)), np.nan)
    rows = np.zeros(len(cells) * len(images), dtype=np.uint8)
    absent = np.zeros(len(cells) * len(images), dtype=bool)
    for path in paths:
        frame = (
            pl.read_parquet(path, columns=["image_id", "model", "part", "missing", *names])
            .join(order, on=["model", "part"])
            .join(index, on="image_id")
        )
        place = (frame["cell"] * len(images) + frame["image"]).to_numpy()
        np.add.at(rows, place, 1)
        absent[place] = (frame["missing"] == "response").fill_null(False).to_numpy()
        for row, name in enumerate(names):
            numbers[row, place] = frame[name].to_numpy()
        unexplained = frame.filter(
            pl.col("missing").is_null(), pl.any_horizontal(pl.col(names).is_null())
        )
        if len(unexplained):
            model, part, image = unexplained.row(0)[1], unexplained.row(0)[2], unexplained.row(0)[0]
            raise ValueError(
                f"{path}: {model}, {part}, {image} has a null score, but its column `missing` "
                "names no missing text; delete the file and run again"
            )
    wrong = np.flatnonzero(rows != 1)
    if len(wrong):
        cell, image = divmod(int(wrong[0]), len(images))
        raise ValueError(
            f"scores of {metric}: {', '.join(cells[cell])} has {rows[wrong[0]]} rows of image "
            f"{images[image]}; every image needs one row, null where it could not be scored"
        )
    shape = (len(cells), len(images))
    return numbers.reshape(len(names), *shape), absent.reshape(shape)


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
