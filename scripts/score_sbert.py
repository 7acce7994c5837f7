"""Cosine of sentence embeddings of a shard's responses against both teachers."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch

from imagenet_think.files import write_parquet
from imagenet_think.logs import log_to
from imagenet_think.pairs import read_pairs, score_pairs
from imagenet_think.repositories import pretrained
from imagenet_think.sbert import SentenceBert
from imagenet_think.schemas import SCORE_COLUMNS, scores


def score_sbert(
    annotations: Sequence[str | Path],
    output: str | Path,
    *,
    models: Sequence[str],
    teachers: Sequence[str],
    repository: str,
    max_tokens: int,
    batch_size: int,
    revision: str | None = None,
) -> None:
    """Write the scores of a shard.

    Parameters
    ----------
    annotations
        Parquet files of schema `ANNOTATIONS`, one a model.
    output
        Parquet file of schema `scores("sbert")`.
    models, teachers
        Keys of the benchmarked models and of the two teachers.
    repository, revision
        The encoder; see `imagenet_think.repositories.pretrained`.
    max_tokens, batch_size
        See `imagenet_think.sbert.SentenceBert`.
    """
    # Sums of several threads depend on their number; shards run side by side instead.
    torch.set_num_threads(1)
    pairs = read_pairs(annotations, teachers, models)
    path, commit = pretrained(repository, revision)
    score = SentenceBert(
        path,
        revision=commit,
        max_tokens=max_tokens,
        batch_size=batch_size,
    )
    frame = score_pairs(pairs, score, SCORE_COLUMNS["sbert"], images=64)
    write_parquet(frame, output, scores("sbert"))


if __name__ == "__main__":
    log_to(snakemake.log[0])
    score_sbert(
        snakemake.input.annotations,
        snakemake.output[0],
        **json.loads(snakemake.params.settings),
    )
