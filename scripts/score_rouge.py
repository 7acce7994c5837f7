"""ROUGE-1 and ROUGE-L of a shard's responses against both teachers."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from imagenet_think.files import write_parquet
from imagenet_think.logs import log_to
from imagenet_think.pairs import read_pairs, score_pairs
from imagenet_think.rouge import rouge
from imagenet_think.schemas import SCORE_COLUMNS, scores


def score_rouge(
    annotations: Sequence[str | Path],
    output: str | Path,
    *,
    models: Sequence[str],
    teachers: Sequence[str],
    stemmer: bool,
    workers: int = 1,
) -> None:
    """Write the scores of a shard.

    Parameters
    ----------
    annotations
        Parquet files of schema `ANNOTATIONS`, one a model.
    output
        Parquet file of schema `scores("rouge")`.
    models, teachers
        Keys of the benchmarked models and of the two teachers.
    stemmer, workers
        See `imagenet_think.rouge.rouge`.
    """
    pairs = read_pairs(annotations, teachers, models)
    score = partial(rouge, stemmer=stemmer, workers=workers)
    frame = score_pairs(pairs, score, SCORE_COLUMNS["rouge"], images=64)
    write_parquet(frame, output, scores("rouge"))


if __name__ == "__main__":
    log_to(snakemake.log[0])
    score_rouge(
        snakemake.input.annotations,
        snakemake.output[0],
        workers=snakemake.threads,
        **json.loads(snakemake.params.settings),
    )
