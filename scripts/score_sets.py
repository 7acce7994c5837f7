"""Jaccard index and overlap coefficient of a shard's responses against both teachers."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from imagenet_think.files import write_parquet
from imagenet_think.logs import log_to
from imagenet_think.pairs import read_pairs, score_pairs
from imagenet_think.schemas import SCORE_COLUMNS, scores
from imagenet_think.sets import sets


def score_sets(
    annotations: Sequence[str | Path],
    output: str | Path,
    *,
    models: Sequence[str],
    teachers: Sequence[str],
    token_pattern: str,
    stop_words: str | Sequence[str] | None,
) -> None:
    """Write the scores of a shard.

    Parameters
    ----------
    annotations
        Parquet files of schema `ANNOTATIONS`, one a model.
    output
        Parquet file of schema `scores("sets")`.
    models, teachers
        Keys of the benchmarked models and of the two teachers.
    token_pattern, stop_words
        See `imagenet_think.tokenization.analyzer`.
    """
    pairs = read_pairs(annotations, teachers, models)
    score = partial(sets, token_pattern=token_pattern, stop_words=stop_words)
    frame = score_pairs(pairs, score, SCORE_COLUMNS["sets"], images=64)
    write_parquet(frame, output, scores("sets"))


if __name__ == "__main__":
    log_to(snakemake.log[0])
    score_sets(
        snakemake.input.annotations,
        snakemake.output[0],
        **json.loads(snakemake.params.settings),
    )
