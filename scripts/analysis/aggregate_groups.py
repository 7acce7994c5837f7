"""The benchmark's numbers over groups of images: by domain, complexity, and length of response."""

import json
from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np
import polars as pl

from imagenet_think.analysis.aggregation import (
    ImageScores,
    Key,
    largest_first,
    read_scores,
    summarise,
    without_thinking,
)
from imagenet_think.analysis.resampling import Intervals
from imagenet_think.core.files import write_parquet
from imagenet_think.core.job import start_job
from imagenet_think.core.logs import logger
from imagenet_think.core.schemas import GROUPS
from imagenet_think.metrics import registry

QUARTERS = (0.25, 0.5, 0.75)

Group = tuple[str, str, list[Key], np.ndarray]
"""Grouping, group, the scores to average, and the places of the images to average over."""


def by_image(scored: ImageScores, sample: pl.DataFrame) -> Iterator[Group]:
    """Yield the images of each domain, largest first, and of each stratum of complexity.

    Only scores of full outputs are averaged. A null of the sample (complexity, where the images are
    listed) belongs to no group.

    Raises
    ------
    ValueError
        If an image with scores is not in the sample.
    """
    images = scored.images.to_frame().join(sample, on="image_id", how="left", maintain_order="left")
    unknown = images.filter(pl.col("wnid").is_null())
    if len(unknown):
        raise ValueError(
            f"image {unknown['image_id'][0]} has scores, but is not in the sample; both must come "
            "from the same run"
        )
    keys = [key for key in scored.values if key.part == "full"]
    for domain in largest_first(images["domain"]):
        yield "domain", domain, keys, (images["domain"] == domain).arg_true().to_numpy()
    for stratum in images["complexity_stratum"].drop_nulls().unique().sort():
        chosen = images["complexity_stratum"] == stratum
        yield "stratum", str(stratum), keys, chosen.arg_true().to_numpy()


def by_length(scored: ImageScores, lengths: pl.DataFrame, models: Sequence[str]) -> Iterator[Group]:
    """Yield, for each model, the images of each quarter of its full outputs' lengths.

    Outputs of equal length stay in one quarter, so quarters may differ in size; an image without
    output is in none.
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


def aggregate_groups(
    scored: ImageScores,
    sample: pl.DataFrame,
    lengths: pl.DataFrame,
    models: Sequence[str],
    intervals: Intervals,
    workers: int = 1,
) -> pl.DataFrame:
    """Return the benchmark's numbers over groups of images; each has its own resamples.

    Returns
    -------
    polars.DataFrame
        Schema `GROUPS`. By domain and by stratum, scores of full outputs; by length, of every
        part, grouped by the quarters of the model's full outputs.
    """
    groups = chain(by_image(scored, sample), by_length(scored, lengths, models))
    rows = []
    for grouping, group, keys, chosen in groups:
        logger.info("%s %s: %d images", grouping, group, len(chosen))
        for row in summarise(scored, keys, chosen, intervals, workers):
            rows.append({"grouping": grouping, "group": group} | row)
    return pl.DataFrame(rows, schema=GROUPS)


if __name__ == "__main__":
    snakemake = start_job()
    settings = json.loads(snakemake.params.settings)
    models, benchmark = settings["benchmarked"], settings["benchmark"]
    scored = read_scores(
        registry.get(snakemake.wildcards.metric),
        snakemake.input.scores,
        models,
        missing=benchmark["missing"],
        unthinking=without_thinking(settings["models"]),
    )
    columns = ["image_id", "wnid", "domain", "complexity_stratum"]
    frame = aggregate_groups(
        scored,
        pl.read_parquet(snakemake.input.sample, columns=columns),
        pl.read_parquet(
            list(snakemake.input.lengths), columns=["image_id", "model", "part", "tokens"]
        ),
        models,
        Intervals(**benchmark["intervals"], seed=settings["seed"]),
        snakemake.threads,
    )
    write_parquet(frame, snakemake.output[0], GROUPS)
