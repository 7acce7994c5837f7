"""A scoring job: the comparisons of each shard in one metric, those known and those new."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from imagenet_think.core import schemas
from imagenet_think.core.files import write_parquet
from imagenet_think.core.logs import logger, progress
from imagenet_think.metrics.pairs import KEYS, Pairs, read_pairs
from imagenet_think.metrics.score_cache import ScoreCache, digest, key
from imagenet_think.parsing import PARTS

Score = Callable[[Sequence[str], Sequence[str]], dict[str, np.ndarray]]
"""Takes candidates and references, gives columns of numbers, one a pair."""


@dataclass(frozen=True)
class Shard:
    """What a scoring job reads and writes for one shard.

    Attributes
    ----------
    annotations, sample, evaluated
        Parquet files, see `imagenet_think.metrics.pairs.read_pairs`.
    scores, agreement
        Parquet files to write, of schemas `scores(metric)` and `agreement(metric)`.
    cache
        Folder of the metric's known scores, see `imagenet_think.metrics.score_cache`.
    code
        Digest of the metric's code, see `imagenet_think.metrics.score_cache.made_by`.
    name
        Name of the shard.
    models, teachers, seed
        See `imagenet_think.metrics.pairs.read_pairs`.
    """

    annotations: Sequence[str | Path]
    sample: str | Path
    evaluated: str | Path
    scores: str | Path
    agreement: str | Path
    cache: str | Path
    code: str
    name: str
    models: Sequence[str]
    teachers: Sequence[str]
    seed: int

    @classmethod
    def of_job(cls, job: Any, settings: Mapping[str, Any]) -> list["Shard"]:
        """Return the shards of a Snakemake job; `settings` hold benchmarked, teachers and seed.

        The job's annotations come shard by shard, and those of a shard as the class has them.
        """
        annotations, count = list(job.input.annotations), len(job.output.scores)
        models = len(annotations) // count
        return [
            cls(
                annotations=annotations[k * models : (k + 1) * models],
                sample=job.input.sample,
                evaluated=job.input.evaluated,
                scores=job.output.scores[k],
                agreement=job.output.agreement[k],
                cache=job.params.cache,
                code=json.loads(job.params.metric_code)["metric_code"],
                name=Path(job.output.scores[k]).stem,
                models=settings["benchmarked"],
                teachers=settings["teachers"],
                seed=settings["seed"],
            )
            for k in range(count)
        ]

    def pairs(self) -> Pairs:
        """Read the comparisons."""
        return read_pairs(
            self.annotations,
            self.sample,
            self.evaluated,
            shard=self.name,
            teachers=self.teachers,
            models=self.models,
            seed=self.seed,
        )


def score_pairs(
    pairs: Pairs,
    metric: str,
    settings: object,
    load: Callable[[], Score],
    *,
    images: int,
    cache: str | Path,
    name: str,
) -> pl.DataFrame:
    """Score comparisons, some images at a time.

    Parameters
    ----------
    pairs
        The comparisons.
    metric
        Which scores file they are for.
    settings
        All that decides a score but the texts: the metric's settings and its code (see
        `imagenet_think.metrics.score_cache.made_by`).
    load
        Makes the metric; called only if there is a pair whose score is not known. The texts of
        some images come to it in one call, so that each is worked on once.
    images
        How many images to score at once: what bounds the memory.
    cache, name
        Folder of the metric's known scores, and name of the shard.

    Returns
    -------
    polars.DataFrame
        Keys and `against` of every comparison, and the metric's columns, null where one of the two
        texts is. The numbers of pairs computed and known are logged.
    """
    columns = [*schemas.SCORE_COLUMNS[metric]]
    if metric in schemas.SEEN:
        columns += ["seen_candidate", "seen_reference"]
    known = ScoreCache(cache, name, settings, columns)
    score, computed, found = None, 0, 0
    values = np.full((len(pairs.rows), len(columns)), np.nan)
    batches = list(pairs.batches(images))
    for batch in progress(batches, len(batches), f"batches of {images} images"):
        rows = batch.scorable()
        texts = batch.columns(rows)
        digests = {text: digest(text) for text in dict.fromkeys([*texts[0], *texts[1]])}
        keys = [key(digests[a], digests[b]) for a, b in zip(*texts, strict=True)]
        new = {pair: row for row, pair in enumerate(keys) if pair not in known}
        if new:
            score = score or load()
            chosen = ([column[row] for row in new.values()] for column in texts)
            known.add(list(new), _numbers(score(*chosen), rows[list(new.values())], metric))
        values[rows["row"].to_numpy()] = known.get(keys)
        computed += len(new)
        found += len(keys) - len(new)
    known.save()
    logger.info(
        "%s of shard %s: %d pairs computed, %d known, %d without text",
        *(metric, name, computed, found, len(pairs.rows) - computed - found),
    )
    frame = pl.DataFrame(values, schema=dict.fromkeys(columns, pl.Float64)).fill_nan(None)
    return pairs.rows.hstack(frame)


def _numbers(
    values: dict[str, np.ndarray], rows: pl.DataFrame, metric: str
) -> dict[str, np.ndarray]:
    """Return a metric's columns; refuse what is no number, which would be known for ever."""
    for name, column in values.items():
        wrong = np.flatnonzero(~np.isfinite(column))
        if len(wrong):
            row = rows.row(int(wrong[0]), named=True)
            raise ValueError(
                f"{metric}: {name} is {column[wrong[0]]}, no number, for {row['model']}, "
                f"{row['part']} of image {row['image_id']} against {row['against']}"
            )
    return values


def score_shard(
    shard: Shard,
    metric: str,
    settings: object,
    load: Callable[[], Score],
    *,
    images: int,
    pairs: Pairs | None = None,
) -> None:
    """Score a shard in one metric and write its files; parameters as of `score_pairs`."""
    pairs = pairs or shard.pairs()
    frame = score_pairs(
        pairs, metric, settings, load, images=images, cache=shard.cache, name=shard.name
    )
    write_scores(frame, metric, shard, pairs)


def write_scores(frame: pl.DataFrame, metric: str, shard: Shard, pairs: Pairs) -> None:
    """Write both files of a shard.

    Parameters
    ----------
    frame
        From `score_pairs`, for all comparisons.
    metric
        Which scores files.
    shard, pairs
        What was scored.
    """
    there = pairs.texts.is_not_null()
    frame = frame.with_columns(
        pl.Series(f"{name}_there", there.gather(frame[name])) for name in ("text", "other")
    ).sort(
        "image_id",
        _place("model", [*shard.teachers, *shard.models]),
        _place("part", PARTS),
        _place("against", [*schemas.TEACHERS, *schemas.BASELINES]),
    )
    benchmarked = pl.col("model").is_in(list(shard.models))
    columns = schemas.SCORE_COLUMNS[metric]
    scores = _side_by_side(frame.filter(benchmarked), columns)
    write_parquet(scores.select(list(schemas.scores(metric))), shard.scores, schemas.scores(metric))
    agreement = schemas.agreement(metric)
    teachers = frame.filter(~benchmarked).rename(
        {"seen_candidate": "seen", "seen_reference": "seen_other"}, strict=False
    )
    write_parquet(teachers.select(list(agreement)), shard.agreement, agreement)


def _side_by_side(frame: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """Return a row a response and part, the scores against both teachers beside each other."""
    first, second = (frame.filter(pl.col("against") == teacher) for teacher in schemas.TEACHERS)
    both = first.join(second, on=KEYS, how="inner", maintain_order="left", suffix="_2")
    missing = (
        pl.when(~pl.col("other_there") | ~pl.col("other_there_2"))
        .then(pl.lit("reference"))
        .when(~pl.col("text_there"))
        .then(pl.lit("response"))
    )
    both = both.rename({name: f"{name}_1" for name in columns})
    if "seen_candidate" in both.columns:
        both = both.with_columns(
            pl.coalesce("seen_candidate", "seen_candidate_2").alias("seen"),
            pl.col("seen_reference").alias("seen_1"),
            pl.col("seen_reference_2").alias("seen_2"),
        )
    return both.with_columns(missing.alias("missing"))


def _place(column: str, order: Sequence[str]) -> pl.Expr:
    """Return the place of a column's values in an order, to sort by."""
    places = {value: place for place, value in enumerate(order)}
    return pl.col(column).replace_strict(places, return_dtype=pl.Int64)
