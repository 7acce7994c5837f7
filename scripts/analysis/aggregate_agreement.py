"""How alike the teachers' texts are: means over images, differences from baselines, intervals."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from imagenet_think.analysis.aggregation import METRICS, kind_of, largest_first, mean, number
from imagenet_think.analysis.resampling import Intervals, bootstrap
from imagenet_think.core.files import write_parquet
from imagenet_think.core.logs import log_to, logger
from imagenet_think.core.schemas import (
    AGREEMENT_AGGREGATES,
    BASELINES,
    BETWEEN,
    SAME_CLASS,
    SCORE_COLUMNS,
    SEEN,
    agreement,
)
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


def group_files(paths: Iterable[str | Path]) -> dict[str, list[str | Path]]:
    """Return the files of agreement by kind of metric, which their columns tell.

    Raises
    ------
    ValueError
        If a file has the columns of no kind, or a kind has no file.
    """
    found: dict[str, list[str | Path]] = {kind: [] for kind in SCORE_COLUMNS}
    for path in paths:
        found[kind_of(path, agreement)].append(path)
    missing = [kind for kind, own in found.items() if not own]
    if missing:
        raise ValueError(f"no agreement file of {', '.join(missing)} among those given")
    return found


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
    frame: pl.DataFrame, kind: str, images: pl.Series, teachers: Sequence[str]
) -> dict[Series, Measured]:
    """Return the numbers of one kind of metric.

    Parameters
    ----------
    frame
        Rows of schema `agreement(kind)` of all shards.
    kind
        Key of `SCORE_COLUMNS`.
    images
        Ids of the sample's images.
    teachers
        Keys of teacher 1 and teacher 2.

    Returns
    -------
    dict
        For each metric and part: teacher 1's texts against teacher 2's; each teacher's against
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
        raise ValueError(f"agreement of {kind}: image {strange[0]} is not in the sample")
    wanted = [(teachers[0], BETWEEN), *((t, baseline) for t in teachers for baseline in BASELINES)]
    metrics = {metric: column for metric, (file, column) in METRICS.items() if file == kind}
    found: dict[Series, Measured] = {}
    for part in PARTS:
        for model, against in wanted:
            rows = frame.filter(
                pl.col("part") == part, pl.col("model") == model, pl.col("against") == against
            )
            _check(rows, kind, images if against == BETWEEN else None, (model, part, against))
            place = rows["place"].to_numpy()
            paired = np.zeros(len(images), dtype=bool)
            paired[place] = True
            seen = np.full(len(images), np.nan)
            if kind in SEEN:
                shares = pl.mean_horizontal("seen", "seen_other", ignore_nulls=False)
                seen[place] = rows.select(shares).to_series()
            for metric, column in metrics.items():
                values = np.full(len(images), np.nan)
                values[place] = rows[column]
                found[Series(metric, part, model, against)] = Measured(values, paired, seen)
        for metric in metrics:
            between = found[Series(metric, part, teachers[0], BETWEEN)]
            for teacher in teachers:
                baseline = found[Series(metric, part, teacher, SAME_CLASS)]
                found[Series(metric, part, teacher, BETWEEN, SAME_CLASS)] = Measured(
                    between.values - baseline.values,
                    between.paired & baseline.paired,
                    np.full(len(images), np.nan),
                )
    return found


def _check(rows: pl.DataFrame, kind: str, images: pl.Series | None, what: Sequence[str]) -> None:
    twice = rows["image_id"].filter(rows["image_id"].is_duplicated())
    if len(twice):
        raise ValueError(
            f"agreement of {kind}, {', '.join(what)}: image {twice[0]} appears more than once"
        )
    if images is not None and len(rows) < len(images):
        missing = images.filter(~images.is_in(rows["image_id"].implode()))
        raise ValueError(
            f"agreement of {kind}, {', '.join(what)}: {len(missing)} of {len(images)} images have "
            f"no row, the first being {missing[0]}"
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
    files: Iterable[str | Path],
    sample: str | Path,
    output: str | Path,
    *,
    teachers: Sequence[str],
    intervals: Mapping[str, float],
    seed: int,
    workers: int = 1,
) -> None:
    """Write how alike the teachers' texts are.

    Parameters
    ----------
    files
        Parquets of schemas `agreement(kind)`, all kinds and shards; one kind is read at a time.
    sample
        Parquet of schema `SAMPLE`.
    output
        Parquet to write, schema `AGREEMENT_AGGREGATES`.
    teachers
        Keys of teacher 1 and teacher 2.
    intervals
        `draws` and `level` of the intervals.
    seed
        Of the resamples.
    workers
        Threads of the resampling, which change nothing of the result.
    """
    images = pl.read_parquet(sample, columns=["image_id", "domain"]).sort("image_id")
    found: dict[Series, Measured] = {}
    for kind, paths in group_files(files).items():
        # No name for the frame: it is to be gone before the next is read.
        found |= measured(pl.read_parquet(paths), kind, images["image_id"], teachers)
    frame = aggregate(found, images["domain"], Intervals(**intervals, seed=seed), workers)
    shown = frame.filter(pl.col("minus").is_null())
    for row in shown.filter(grouping="all", metric="sbert", part="full").iter_rows(named=True):
        logger.info(
            "%s against %s: %d images, %d left out",
            *(row["model"], row["against"], row["images"], row["left_out"]),
        )
    write_parquet(frame, output, AGREEMENT_AGGREGATES)


if __name__ == "__main__":
    log_to(snakemake.log[0])
    settings = json.loads(snakemake.params.settings)
    aggregate_agreement(
        snakemake.input.agreement,
        snakemake.input.sample,
        snakemake.output[0],
        teachers=settings["teachers"],
        intervals=settings["benchmark"]["intervals"],
        seed=settings["seed"],
        workers=snakemake.threads,
    )
