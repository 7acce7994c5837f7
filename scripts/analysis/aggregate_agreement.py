"""Agreement between the two teachers: means over images, differences from baselines, intervals."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from imagenet_think.analysis.aggregation import largest_first, mean, number
from imagenet_think.analysis.resampling import Intervals, bootstrap
from imagenet_think.core.files import write_parquet
from imagenet_think.core.job import start_job
from imagenet_think.core.schemas import AGREEMENT_AGGREGATES, BASELINES, BETWEEN, SAME_CLASS
from imagenet_think.metrics import registry
from imagenet_think.metrics.pairs import check_images
from imagenet_think.metrics.registry import Metric
from imagenet_think.parsing import PARTS


@dataclass(frozen=True)
class Comparison:
    """What texts are compared, in which measure. Fields as in `AGREEMENT_AGGREGATES`."""

    metric: str
    part: str
    model: str
    against: str
    minus: str | None = None


@dataclass(frozen=True)
class Scores:
    """Scores of one comparison, one per image, all of shape (images,).

    Attributes
    ----------
    values
        NaN where there is none.
    paired
        Whether the comparison has a row for the image. A baseline has none for an image without a
        partner, or that is the partner of another image.
    seen
        Mean share of both texts' tokens inside the window; NaN where the metric has no window.
    """

    values: np.ndarray
    paired: np.ndarray
    seen: np.ndarray


def measured(
    frame: pl.DataFrame, metric: Metric, images: pl.Series, teachers: Sequence[str]
) -> dict[Comparison, Scores]:
    """Return the scores of one metric by comparison.

    Parameters
    ----------
    frame
        Rows of all shards, see `imagenet_think.metrics.score_schemas.agreement`.
    metric
        The metric of these rows.
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
        If an image appears twice in a comparison, is not in the sample, or has no row that compares
        the two teachers.
    """
    unknown = frame.filter(~pl.col("image_id").is_in(images.implode()))["image_id"]
    if len(unknown):
        raise ValueError(f"agreement of {metric.name}: image {unknown[0]} is not in the sample")
    wanted = [(teachers[0], BETWEEN), *((t, baseline) for t in teachers for baseline in BASELINES)]
    shares = ("seen", "seen_other") if metric.coverage else ()
    found: dict[Comparison, Scores] = {}
    for part in PARTS:
        for model, against in wanted:
            rows = frame.filter(part=part, model=model, against=against)
            where = f"agreement of {metric.name}, {model}, {part}, {against}"
            needed = images if against == BETWEEN else images.clear()
            check_images(rows["image_id"], needed, where)
            rows = images.to_frame("image_id").join(
                rows, on="image_id", how="left", maintain_order="left"
            )
            seen = pl.mean_horizontal(*shares, ignore_nulls=False) if shares else pl.lit(None)
            numbers = rows.with_columns(mean_seen=seen.cast(pl.Float64))
            for measure in metric.measures:
                found[Comparison(measure.name, part, model, against)] = Scores(
                    numbers[measure.score_column].to_numpy(),
                    numbers["model"].is_not_null().to_numpy(),
                    numbers["mean_seen"].to_numpy(),
                )
        for measure in metric.measures:
            between = found[Comparison(measure.name, part, teachers[0], BETWEEN)]
            for teacher in teachers:
                baseline = found[Comparison(measure.name, part, teacher, SAME_CLASS)]
                found[Comparison(measure.name, part, teacher, BETWEEN, SAME_CLASS)] = Scores(
                    between.values - baseline.values,
                    between.paired & baseline.paired,
                    np.full(len(images), np.nan),
                )
    return found


def aggregate(
    found: Mapping[Comparison, Scores], domains: pl.Series, intervals: Intervals, workers: int = 1
) -> pl.DataFrame:
    """Return means and intervals over all images, and by domain.

    Parameters
    ----------
    found
        From `measured`.
    domains
        Domain of each image, in the order of the scores; null where it has none.
    intervals, workers
        See `imagenet_think.analysis.resampling.bootstrap`.

    Returns
    -------
    polars.DataFrame
        Schema `AGREEMENT_AGGREGATES`, the largest domain first.
    """
    rows = _rows("all", "all", found, np.arange(len(domains)), intervals, workers)
    for domain in largest_first(domains):
        chosen = np.flatnonzero((domains == domain).fill_null(False).to_numpy())
        rows += _rows("domain", domain, found, chosen, intervals, workers)
    return pl.DataFrame(rows, schema=AGREEMENT_AGGREGATES)


def _rows(
    grouping: str,
    group: str,
    found: Mapping[Comparison, Scores],
    chosen: np.ndarray,
    intervals: Intervals,
    workers: int,
) -> list[dict[str, object]]:
    matrix = np.column_stack([scores.values[chosen] for scores in found.values()])
    low, high = bootstrap(matrix, intervals, workers)
    rows = []
    for place, (comparison, scores) in enumerate(found.items()):
        scored = ~np.isnan(matrix[:, place])
        rows.append(
            {
                "grouping": grouping,
                "group": group,
                **vars(comparison),
                "value": mean(matrix[:, place]),
                "low": number(low[place]),
                "high": number(high[place]),
                "images": int(scored.sum()),
                "left_out": int((~scored).sum()),
                "unpaired": int((~scores.paired[chosen]).sum()),
                "seen": mean(scores.seen[chosen][scored]),
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
    """Return the agreement between the two teachers, schema `AGREEMENT_AGGREGATES`.

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
    """
    images = pl.read_parquet(sample, columns=["image_id", "domain"]).sort("image_id")
    found: dict[Comparison, Scores] = {}
    for name, paths in files.items():
        # The frame has no name, so that it is freed before the next one is read.
        found |= measured(
            pl.read_parquet([*map(str, paths)]), registry.get(name), images["image_id"], teachers
        )
    return aggregate(found, images["domain"], intervals, workers)


if __name__ == "__main__":
    snakemake = start_job()
    settings = json.loads(snakemake.params.settings)
    frame = aggregate_agreement(
        {metric.name: snakemake.input[metric.name] for metric in registry.metrics()},
        snakemake.input.sample,
        settings["teachers"],
        Intervals(**settings["benchmark"]["intervals"], seed=settings["seed"]),
        snakemake.threads,
    )
    write_parquet(frame, snakemake.output[0], AGREEMENT_AGGREGATES)
