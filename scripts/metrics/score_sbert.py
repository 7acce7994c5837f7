"""Cosine of sentence embeddings of the texts of a block."""

import json
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import torch

from imagenet_think.core.logs import log_to
from imagenet_think.core.model_sources import pretrained, resolve
from imagenet_think.metrics.precision import reporting
from imagenet_think.metrics.sbert import SentenceBert
from imagenet_think.metrics.score_cache import made_by
from imagenet_think.metrics.scoring import Score, Shard, score_shard

if TYPE_CHECKING:
    from imagenet_think.core.job import snakemake


def score_sbert(
    shards: Sequence[Shard],
    *,
    repository: str,
    max_tokens: int,
    windows: str,
    precision: str,
    batch_size: int,
    revision: str | None = None,
) -> None:
    """Write the scores of some shards, one shard after the other.

    Parameters
    ----------
    shards
        What is compared, and the files to write.
    repository, revision
        The encoder; see `imagenet_think.core.model_sources.pretrained`.
    max_tokens, windows, precision, batch_size
        See `imagenet_think.metrics.sbert.SentenceBert`.
    """
    # Sums of several threads depend on their number; blocks run side by side instead.
    torch.set_num_threads(1)
    path, commit = pretrained(repository, revision)
    chosen = {"max_tokens": max_tokens, "windows": windows, "precision": precision}

    @cache  # one model for all shards
    def load() -> Score:
        return reporting(SentenceBert(path, revision=commit, batch_size=batch_size, **chosen))

    encoder = {"repository": repository, "revision": resolve(repository, revision)[1]}
    packages = ["torch", "transformers", "sentence-transformers"]
    for shard in shards:
        code = made_by(shard.code, packages)
        score_shard(shard, "sbert", encoder | chosen | code, load, images=64)


if __name__ == "__main__":
    log_to(snakemake.log[0])
    settings = json.loads(snakemake.params.settings)
    inference = json.loads(snakemake.params.inference)
    score_sbert(
        Shard.of_job(snakemake, settings),
        batch_size=inference["benchmark"]["sbert"]["batch_size"],
        **settings["benchmark"]["sbert"],
    )
