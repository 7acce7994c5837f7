"""Score the texts of a shard in one metric, computing only the pairs that are not known yet."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from imagenet_think.core.digests import digest_files
from imagenet_think.core.files import write_parquet
from imagenet_think.core.logs import logger, progress
from imagenet_think.core.model_sources import resolve
from imagenet_think.core.numbers import setting
from imagenet_think.core.schemas import BASELINES, TEACHERS
from imagenet_think.metrics.pairs import KEYS, Pairs, Shard
from imagenet_think.metrics.registry import Metric
from imagenet_think.metrics.score_cache import ScoreCache, digest, is_possible, key, made_by
from imagenet_think.metrics.score_function import ScoreFunction
from imagenet_think.metrics.score_schemas import agreement, scores
from imagenet_think.parsing import PARTS


def score_shards(
    metric: Metric,
    shards: Sequence[Shard],
    *,
    settings: Mapping[str, Any],
    tuning: Mapping[str, Any],
    statistics: Mapping[str, str | Path],
    cache_folder: str | Path,
    code: str,
) -> None:
    """Write the scores of some shards, one shard after the other.

    Parameters
    ----------
    metric, shards
        What to compute, and for which texts.
    settings, tuning
        The metric's keys of the config that decide its scores, and its other keys.
    statistics
        Path of each of the metric's `statistics` by name. Where one has changed, all pairs are
        scored again.
    cache_folder
        Folder of the metric's known scores.
    code
        Digest of the metric's code, see `imagenet_think.metrics.score_cache.made_by`.
    """
    deciding = {**settings, **made_by(code, metric.packages)}
    deciding |= {name: digest_files([path]) for name, path in statistics.items()}
    if "repository" in settings:
        _, deciding["revision"] = resolve(settings["repository"], settings["revision"])

    # Statistics are those of full outputs for every part, so that its scores are on one scale.
    counted = {"part": PARTS[0]} if metric.statistics else {}

    @cache  # one model for all shards
    def load() -> ScoreFunction:
        return metric.load(**settings, **tuning, **statistics, **counted)

    key_of_cache = deciding | {"part": counted.get("part")}
    for shard in shards:
        pairs = shard.pairs()
        known = ScoreCache(
            cache_folder,
            shard.name,
            key_of_cache,
            _columns(metric),
            metric.lowest,
            [key_of_cache | {"code": code} for code in metric.earlier],
        )
        frame = score_pairs(pairs, metric, known, load, metric.images_at_once(settings))
        write_scores(frame, metric, shard, pairs)


def score_pairs(
    pairs: Pairs, metric: Metric, known: ScoreCache, load: Callable[[], ScoreFunction], images: int
) -> pl.DataFrame:
    """Score comparisons, so many images at a time, which bounds the memory.

    `load` is called only if there is a pair whose score is not known. All texts of some images are
    passed to the metric's function in one call, so that each is processed once.

    Returns
    -------
    polars.DataFrame
        Rows of `pairs` with the metric's columns, null where one of the two texts is. The numbers
        of pairs computed and known are logged.

    Raises
    ------
    ValueError
        If a score is not finite or outside its range; it would stay in the cache.
    """
    score, computed, found = None, 0, 0
    values = np.full((len(pairs.rows), len(known.columns)), np.nan)
    batches = list(pairs.batches(images))
    for batch in progress(batches, len(batches), f"batches of {images} images"):
        rows = batch.scorable()
        texts = batch.columns(rows)
        digests = {text: digest(text) for text in dict.fromkeys([*texts[0], *texts[1]])}
        keys = [key(digests[a], digests[b]) for a, b in zip(*texts, strict=True)]
        new = {pair: row for row, pair in enumerate(keys) if pair not in known}
        if new:
            score = score or load()
            candidates, references = ([column[row] for row in new.values()] for column in texts)
            numbers = score(candidates, references)
            _check(numbers, rows[list(new.values())], metric)
            known.add(list(new), numbers)
        values[rows["row"].to_numpy()] = known.get(keys)
        computed += len(new)
        found += len(keys) - len(new)
    known.save()
    logger.info(
        "%s of shard %s: %d pairs computed, %d known, %d without text",
        *(metric.name, known.path.stem, computed, found, len(pairs.rows) - computed - found),
    )
    frame = pl.DataFrame(values, schema=dict.fromkeys(known.columns, pl.Float64)).fill_nan(None)
    return pairs.rows.hstack(frame)


def write_scores(frame: pl.DataFrame, metric: Metric, shard: Shard, pairs: Pairs) -> None:
    """Write both files of a shard; `frame` is from `score_pairs`, for all comparisons."""
    there = pairs.texts.is_not_null()
    frame = frame.with_columns(
        pl.Series(f"{name}_there", there.gather(frame[name])) for name in ("text", "other")
    )
    orders = {
        "model": [*shard.teachers, *shard.models],
        "part": PARTS,
        "against": [*TEACHERS, *BASELINES],
    }
    frame = frame.sort("image_id", *(pl.col(c).cast(pl.Enum(o)) for c, o in orders.items()))
    benchmarked = pl.col("model").is_in(list(shard.models))
    responses = _side_by_side(frame.filter(benchmarked), metric)
    teachers = frame.filter(~benchmarked).rename(
        {"seen_candidate": "seen", "seen_reference": "seen_other"}, strict=False
    )
    for rows, path, schema in (
        (responses, shard.scores, scores(metric)),
        (teachers, shard.agreement, agreement(metric)),
    ):
        write_parquet(rows.select(list(schema)), path, schema)


def _columns(metric: Metric) -> list[str]:
    """Return the columns that a metric's function returns."""
    shares = ["seen_candidate", "seen_reference"] if metric.coverage else []
    return [*metric.score_columns, *shares]


def _check(values: Mapping[str, np.ndarray], rows: pl.DataFrame, metric: Metric) -> None:
    for name, column in values.items():
        wrong = np.flatnonzero(~is_possible(column, metric.lowest))
        if len(wrong):
            row = rows.row(int(wrong[0]), named=True)
            raise ValueError(
                f"{metric.name}: {name} is {column[wrong[0]]}, not between "
                f"{setting(metric.lowest)} and "
                f"1, for {row['model']}, {row['part']} of image {row['image_id']} against "
                f"{row['against']}"
            )


def _side_by_side(frame: pl.DataFrame, metric: Metric) -> pl.DataFrame:
    """Return one row per response and part, with the scores against both teachers as columns."""
    first, second = (frame.filter(pl.col("against") == teacher) for teacher in TEACHERS)
    both = first.join(second, on=KEYS, how="inner", maintain_order="left", suffix="_2")
    missing = (
        pl.when(~pl.col("other_there") | ~pl.col("other_there_2"))
        .then(pl.lit("reference"))
        .when(~pl.col("text_there"))
        .then(pl.lit("response"))
    )
    both = both.rename({name: f"{name}_1" for name in metric.score_columns})
    if metric.coverage:
        both = both.with_columns(
            pl.coalesce("seen_candidate", "seen_candidate_2").alias("seen"),
            pl.col("seen_reference").alias("seen_1"),
            pl.col("seen_reference_2").alias("seen_2"),
        )
    return both.with_columns(missing.alias("missing"))
