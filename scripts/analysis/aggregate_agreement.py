"""Agreement between the two teachers: means over images, differences from baselines, intervals."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import polars as pl

from imagenet_think.analysis.aggregation import largest_first, mean, means
from imagenet_think.analysis.domain import Outside, outside_share, read_outside
from imagenet_think.analysis.intervals import Classes, Intervals, classes_of, margins
from imagenet_think.core.files import write_parquet
from imagenet_think.core.job import start_job
from imagenet_think.core.schemas import (
    AGREEMENT_AGGREGATES,
    BASELINES,
    BETWEEN,
    OTHER_CLASS,
    SAME_CLASS,
)
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
    """Return the scores of one metric by comparison, of the sample's `images`.

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
    found: Mapping[Comparison, Scores],
    outside: Mapping[str, Outside],
    teachers: Sequence[str],
    domains: pl.Series,
    classes: Classes,
    intervals: Intervals,
) -> pl.DataFrame:
    """Return the means of comparisons and their intervals, over all images and by their domain.

    The schema is `AGREEMENT_AGGREGATES`, the largest domain first; an image may have none. For the
    interval of a baseline, two images that are compared are one observation of their class; images
    of two classes have none, as each class is compared with two others, and some of its images more
    than once. `outside` has the texts that are outside the domain of
    each measure's metric; in a baseline only the image's own texts are counted, not those of its
    partners.
    """
    groups = [("all", "all", np.arange(len(domains)))]
    for domain in largest_first(domains):
        groups.append(("domain", domain, (domains == domain).arg_true().to_numpy()))
    rows = []
    for grouping, group, chosen in groups:
        values = np.stack([scores.values[chosen] for scores in found.values()])
        half = np.full(len(values), np.nan)
        for place, (comparison, scores) in enumerate(found.items()):
            if comparison.against == OTHER_CLASS:
                continue
            paired = scores.paired[chosen]
            own = values[place : place + 1, paired]
            half[place] = margins(own, classes.of(chosen[paired]), intervals)[0]
        for (comparison, scores), row in zip(found.items(), means(values, half), strict=True):
            row |= {"grouping": grouping, "group": group, **vars(comparison)}
            row["unpaired"] = int((~scores.paired[chosen]).sum())
            counted = chosen[~np.isnan(scores.values[chosen])]
            row["seen"] = mean(scores.seen[counted])
            models = teachers if comparison.against == BETWEEN else [comparison.model]
            texts = [(model, comparison.part) for model in models]
            row |= outside_share(outside.get(comparison.metric, {}), texts, counted)
            rows.append(row)
    return pl.DataFrame(rows, schema=AGREEMENT_AGGREGATES)


def aggregate_agreement(
    files: Mapping[str, Sequence[str | Path]],
    sample: str | Path,
    teachers: Sequence[str],
    intervals: Intervals,
    *,
    domain: Mapping[str, Sequence[str | Path]] = MappingProxyType({}),
) -> pl.DataFrame:
    """Return the agreement between the two teachers, schema `AGREEMENT_AGGREGATES`.

    `files` are parquet files of all shards by metric, see `imagenet_think.metrics.score_schemas`;
    one metric is read at a time. `domain` are files of schema `DOMAIN`, also by metric. `sample` is
    a parquet file of schema `SAMPLE`.
    """
    columns = ["image_id", "wnid", "domain"]
    images = pl.read_parquet(sample, columns=columns).sort("image_id")
    found: dict[Comparison, Scores] = {}
    outside: dict[str, Outside] = {}
    for name, paths in files.items():
        # The frame has no name, so that it is freed before the next one is read.
        found |= measured(
            pl.read_parquet([*map(str, paths)]), registry.get(name), images["image_id"], teachers
        )
        own = read_outside(domain.get(name, ()), images["image_id"])
        outside |= dict.fromkeys((measure.name for measure in registry.get(name).measures), own)
    classes = classes_of(images["image_id"], images)
    return aggregate(found, outside, teachers, images["domain"], classes, intervals)


if __name__ == "__main__":
    snakemake = start_job()
    settings = json.loads(snakemake.params.settings)
    frame = aggregate_agreement(
        {metric.name: snakemake.input[metric.name] for metric in registry.metrics()},
        snakemake.input.sample,
        settings["teachers"],
        Intervals(**settings["benchmark"]["intervals"]),
        domain={
            metric.name: snakemake.input[f"domain_{metric.name}"] for metric in registry.metrics()
        },
    )
    write_parquet(frame, snakemake.output[0], AGREEMENT_AGGREGATES)
