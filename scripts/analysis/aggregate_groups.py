"""The benchmark's numbers over groups of images: by domain, complexity, and length of response."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from imagenet_think.analysis.aggregation import (
    ImageScores,
    Key,
    largest_first,
    read_scores,
    summarise,
)
from imagenet_think.analysis.resampling import Intervals
from imagenet_think.core.files import write_parquet
from imagenet_think.core.logs import log_to, logger
from imagenet_think.core.schemas import GROUPS
from imagenet_think.metrics import registry
from imagenet_think.metrics.registry import Metric

if TYPE_CHECKING:
    from imagenet_think.core.job import snakemake

QUARTERS = (0.25, 0.5, 0.75)

Group = tuple[str, str, list[Key], np.ndarray]
"""Grouping, group, the numbers to make, and the places of the images to make them of."""


def by_image(scored: ImageScores, sample: pl.DataFrame) -> Iterator[Group]:
    """Yield the images of each domain, largest first, and of each stratum of complexity.

    Parameters
    ----------
    scored
        Scores, of which those of full outputs are taken.
    sample
        Schema `SAMPLE`. What is null, as complexity in a listing of one's own, makes no group.

    Raises
    ------
    ValueError
        If an image with scores is not in the sample.
    """
    images = scored.images.to_frame().join(sample, on="image_id", how="left", maintain_order="left")
    unknown = images.filter(pl.col("wnid").is_null())
    if len(unknown):
        raise ValueError(
            f"image {unknown['image_id'][0]} has scores, but is not in the sample; both have to be "
            "of the same run"
        )
    keys = [key for key in scored.values if key.part == "full"]
    for domain in largest_first(images["domain"]):
        yield "domain", domain, keys, _where(images["domain"] == domain)
    for stratum in images["complexity_stratum"].drop_nulls().unique().sort():
        yield "stratum", str(stratum), keys, _where(images["complexity_stratum"] == stratum)


def by_length(scored: ImageScores, lengths: pl.DataFrame, models: Sequence[str]) -> Iterator[Group]:
    """Yield, for each model, the images of each quarter of its full outputs' lengths.

    Parameters
    ----------
    scored
        Scores of all parts.
    lengths
        Schema `LENGTHS`, of the models. Outputs of one length stay in one quarter, so that quarters
        may differ in size; an image without output is in none.
    models
        The models.
    """
    for model in models:
        own = lengths.filter(pl.col("model") == model, pl.col("part") == "full")
        tokens = scored.images.to_frame().join(
            own.select("image_id", "tokens"), on="image_id", how="left", maintain_order="left"
        )["tokens"]
        known = tokens.drop_nulls().to_numpy()
        if not len(known):
            continue
        bounds = np.quantile(known, QUARTERS)
        numbers = tokens.cast(pl.Float64).to_numpy()
        quarter = np.where(np.isnan(numbers), -1, np.searchsorted(bounds, numbers))
        keys = [key for key in scored.values if key.model == model]
        for place in range(len(QUARTERS) + 1):
            chosen = np.flatnonzero(quarter == place)
            if len(chosen):
                shortest, longest = (int(end(numbers[chosen])) for end in (np.min, np.max))
                spread = f"{shortest:,}" + (f"–{longest:,}" if longest > shortest else "")
                yield "length", f"{place + 1} ({spread} tokens)", keys, chosen


def _where(chosen: pl.Series) -> np.ndarray:
    return np.flatnonzero(chosen.fill_null(False).to_numpy())


def aggregate_groups(
    metric: Metric,
    score_files: Sequence[str | Path],
    sample: str | Path,
    length_files: Sequence[str | Path],
    output: str | Path,
    *,
    models: Sequence[str],
    missing: str,
    intervals: Mapping[str, float],
    seed: int,
    workers: int = 1,
) -> None:
    """Write the benchmark's numbers over groups of images.

    Parameters
    ----------
    metric
        Whose scores they are.
    score_files
        Parquet files of all shards, see `imagenet_think.metrics.score_schemas`.
    sample
        Parquet file of schema `SAMPLE`.
    length_files
        Parquet files of schema `LENGTHS`, of the benchmarked models.
    output
        Parquet file of schema `GROUPS`. By domain and by stratum, scores of full outputs; by
        length, of every part, the group being a quarter of the model's own full outputs.
    models
        Keys of the benchmarked models.
    missing
        `leave_out` or `zero`: what a missing response counts.
    intervals
        `draws` and `level` of the intervals.
    seed
        Of the resamples, which are drawn for each group by itself.
    workers
        Threads; the numbers do not depend on them.
    """
    scored = read_scores(metric, score_files, models, missing=missing)
    columns = ["wnid", "domain", "complexity_stratum"]
    frame = pl.read_parquet(sample, columns=["image_id", *columns])
    lengths = pl.concat(
        pl.read_parquet(path, columns=["image_id", "model", "part", "tokens"])
        for path in length_files
    )
    resampling = Intervals(**intervals, seed=seed)
    rows = []
    for groups in (by_image(scored, frame), by_length(scored, lengths, models)):
        for grouping, group, keys, chosen in groups:
            logger.info("%s %s: %d images", grouping, group, len(chosen))
            rows += [
                {"grouping": grouping, "group": group} | row
                for row in summarise(scored, keys, chosen, resampling, workers)
            ]
    write_parquet(pl.DataFrame(rows, schema=GROUPS), output, GROUPS)


if __name__ == "__main__":
    log_to(snakemake.log[0])
    settings = json.loads(snakemake.params.settings)
    aggregate_groups(
        registry.get(snakemake.wildcards.metric),
        snakemake.input.scores,
        snakemake.input.sample,
        snakemake.input.lengths,
        snakemake.output[0],
        models=settings["benchmarked"],
        missing=settings["benchmark"]["missing"],
        intervals=settings["benchmark"]["intervals"],
        seed=settings["seed"],
        workers=snakemake.threads,
    )
