"""How alike the teachers' texts are: means over images, differences from baselines, intervals."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from imagenet_think.analysis.aggregation import largest_first, mean, number
from imagenet_think.analysis.resampling import Intervals, bootstrap
from imagenet_think.core.files import write_parquet
from imagenet_think.core.logs import log_to
from imagenet_think.core.schemas import (
    AGREEMENT_AGGREGATES,
    BASELINES,
    BETWEEN,
    SAME_CLASS,
)
from imagenet_think.metrics import registry
from imagenet_think.metrics.registry import Metric
from imagenet_think.parsing import PARTS

if TYPE_CHECKING:
    from imagenet_think.core.job import snakemake


@dataclass(frozen=True)
class Series:
    """What a column of numbers, one an image, is. Fields as in `AGREEMENT_AGGREGATES`."""

    metric: str
    part: str
    model: str
    against: str
    minus: str | None = None


@dataclass(frozen=True)
class Measured:
    """Numbers of all images in one order.

    Attributes
    ----------
    values
        Shape (images,), NaN where there is none.
    paired
        Shape (images,), whether the comparison has a row of the image: a baseline has none of an
        image without a partner, or that is the partner of another.
    seen
        Shape (images,), NaN where the metric has no window.
    """

    values: np.ndarray
    paired: np.ndarray
    seen: np.ndarray


def measured(
    frame: pl.DataFrame, metric: Metric, images: pl.Series, teachers: Sequence[str]
) -> dict[Series, Measured]:
    """Return the numbers of one metric.

    Parameters
    ----------
    frame
        Rows of all shards, see `imagenet_think.metrics.score_schemas.agreement`.
    metric
        Whose they are.
    images
        Ids of the sample's images.
    teachers
        Keys of teacher 1 and teacher 2.

    Returns
    -------
    dict
        For each measure and part: teacher 1's texts against teacher 2's; each teacher's against
        its baselines; and for each teacher the difference between the former and its same_class
        baseline, on images that have both.

    Raises
    ------
    ValueError
        If an image stands twice for the same comparison, is not in the sample, or has no row of
        the two teachers' texts.
    """
    places = pl.DataFrame({"image_id": images}).with_row_index("place")
    frame = frame.join(places, on="image_id", how="left")
    strange = frame.filter(pl.col("place").is_null())["image_id"]
    if len(strange):
        raise ValueError(f"agreement of {metric.name}: image {strange[0]} is not in the sample")
    wanted = [(teachers[0], BETWEEN), *((t, baseline) for t in teachers for baseline in BASELINES)]
    found: dict[Series, Measured] = {}
    for part in PARTS:
        for model, against in wanted:
            rows = frame.filter(
                pl.col("part") == part, pl.col("model") == model, pl.col("against") == against
            )
            _check(
                rows, metric.name, images if against == BETWEEN else None, (model, part, against)
            )
            place = rows["place"].to_numpy()
            paired = np.zeros(len(images), dtype=bool)
            paired[place] = True
            seen = np.full(len(images), np.nan)
            if metric.coverage:
                shares = pl.mean_horizontal("seen", "seen_other", ignore_nulls=False)
                seen[place] = rows.select(shares).to_series()
            for measure in metric.measures:
                values = np.full(len(images), np.nan)
                values[place] = rows[measure.score_column]
                found[Series(measure.name, part, model, against)] = Measured(values, paired, seen)
        for measure in metric.measures:
            between = found[Series(measure.name, part, teachers[0], BETWEEN)]
            for teacher in teachers:
                baseline = found[Series(measure.name, part, teacher, SAME_CLASS)]
                found[Series(measure.name, part, teacher, BETWEEN, SAME_CLASS)] = Measured(
                    between.values - baseline.values,
                    between.paired & baseline.paired,
                    np.full(len(images), np.nan),
                )
    return found


def _check(rows: pl.DataFrame, metric: str, images: pl.Series | None, what: Sequence[str]) -> None:
    twice = rows["image_id"].filter(rows["image_id"].is_duplicated())
    if len(twice):
        raise ValueError(
            f"agreement of {metric}, {', '.join(what)}: image {twice[0]} appears more than once"
        )
    if images is not None and len(rows) < len(images):
        missing = images.filter(~images.is_in(rows["image_id"].implode()))
        raise ValueError(
            f"agreement of {metric}, {', '.join(what)}: {len(missing)} of {len(images)} images "
            f"have no row, the first being {missing[0]}"
        )


def aggregate(
    found: Mapping[Series, Measured], domains: pl.Series, intervals: Intervals, workers: int = 1
) -> pl.DataFrame:
    """Return means and intervals over all images, and by domain.

    Parameters
    ----------
    found
        From `measured`.
    domains
        Domain of each image, in the order of the numbers; null where it has none.
    intervals
        How intervals are made, by resampling images.
    workers
        Threads of the resampling.

    Returns
    -------
    polars.DataFrame
        Schema `AGREEMENT_AGGREGATES`, the largest domain first.
    """
    rows = _rows("all", "all", found, slice(None), intervals, workers)
    for domain in largest_first(domains):
        chosen = np.flatnonzero((domains == domain).fill_null(False).to_numpy())
        rows += _rows("domain", domain, found, chosen, intervals, workers)
    return pl.DataFrame(rows, schema=AGREEMENT_AGGREGATES)


def _rows(
    grouping: str,
    group: str,
    found: Mapping[Series, Measured],
    chosen: slice | np.ndarray,
    intervals: Intervals,
    workers: int,
) -> list[dict[str, object]]:
    matrix = np.column_stack([one.values[chosen] for one in found.values()])
    low, high = bootstrap(matrix, intervals, workers)
    rows = []
    for place, (series, one) in enumerate(found.items()):
        scored = ~np.isnan(matrix[:, place])
        rows.append(
            {"grouping": grouping, "group": group}
            | vars(series)
            | {
                "value": mean(matrix[:, place]),
                "low": number(low[place]),
                "high": number(high[place]),
                "images": int(scored.sum()),
                "left_out": int((~scored).sum()),
                "unpaired": int((~one.paired[chosen]).sum()),
                "seen": mean(one.seen[chosen][scored]),
            }
        )
    return rows


def aggregate_agreement(
    files: Mapping[str, Sequence[str | Path]],
    sample: str | Path,
    teachers: Sequence[str],
    intervals: Intervals,
    workers: int = 1,
) -> pl.DataFrame:
    """Return the agreement between the two teachers.

    Parameters
    ----------
    files
        Parquet files of all shards by metric, see `imagenet_think.metrics.score_schemas`; one
        metric is read at a time.
    sample
        Parquet file of schema `SAMPLE`.
    teachers
        Keys of teacher 1 and teacher 2.
    intervals, workers
        See `imagenet_think.analysis.resampling.bootstrap`.

    Returns
    -------
    polars.DataFrame
        Schema `AGREEMENT_AGGREGATES`.
    """
    images = pl.read_parquet(sample, columns=["image_id", "domain"]).sort("image_id")
    found: dict[Series, Measured] = {}
    for name, paths in files.items():
        # The frame has no name, so that it is freed before the next one is read.
        found |= measured(
            pl.read_parquet([*map(str, paths)]), registry.get(name), images["image_id"], teachers
        )
    return aggregate(found, images["domain"], intervals, workers)


if __name__ == "__main__":
    log_to(snakemake.log[0])
    settings = json.loads(snakemake.params.settings)
    frame = aggregate_agreement(
        {metric.name: snakemake.input[metric.name] for metric in registry.metrics()},
        snakemake.input.sample,
        settings["teachers"],
        Intervals(**settings["benchmark"]["intervals"], seed=settings["seed"]),
        snakemake.threads,
    )
    write_parquet(frame, snakemake.output[0], AGREEMENT_AGGREGATES)
