"""BERTScore of the texts of a block."""

import json
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import torch

from imagenet_think.core.logs import log_to
from imagenet_think.core.model_sources import pretrained, resolve
from imagenet_think.metrics.bertscore import BertScore
from imagenet_think.metrics.precision import reporting
from imagenet_think.metrics.score_cache import made_by
from imagenet_think.metrics.scoring import Score, Shard, score_shard

if TYPE_CHECKING:
    from imagenet_think.core.job import snakemake


def score_bertscore(
    shards: Sequence[Shard],
    *,
    repository: str,
    layer: int,
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
    layer, max_tokens, windows, precision, batch_size
        See `imagenet_think.metrics.bertscore.BertScore`.
    """
    # Sums of several threads depend on their number; blocks run side by side instead.
    torch.set_num_threads(1)
    path, commit = pretrained(repository, revision)
    chosen = {"layer": layer, "max_tokens": max_tokens, "windows": windows, "precision": precision}

    @cache  # one model for all shards
    def load() -> Score:
        return reporting(BertScore(path, revision=commit, batch_size=batch_size, **chosen))

    encoder = {"repository": repository, "revision": resolve(repository, revision)[1]}
    # 16 images' texts of 512 tokens and 1,024 dimensions are 700 MB of embeddings; with all their
    # windows they may be several times that.
    images = 16 if windows == "first" else 4
    for shard in shards:
        code = made_by(shard.code, ["torch", "transformers"])
        score_shard(shard, "bertscore", encoder | chosen | code, load, images=images)


if __name__ == "__main__":
    log_to(snakemake.log[0])
    settings = json.loads(snakemake.params.settings)
    inference = json.loads(snakemake.params.inference)
    score_bertscore(
        Shard.of_job(snakemake, settings),
        batch_size=inference["benchmark"]["bertscore"]["batch_size"],
        **settings["benchmark"]["bertscore"],
    )
