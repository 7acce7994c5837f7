"""Jaccard index and overlap coefficient of the texts of a block."""

import json
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from imagenet_think.core.logs import log_to
from imagenet_think.metrics.score_cache import made_by
from imagenet_think.metrics.scoring import Shard, score_shard
from imagenet_think.metrics.token_overlap import sets

if TYPE_CHECKING:
    from imagenet_think.core.job import snakemake


def score_sets(
    shards: Sequence[Shard], *, token_pattern: str, stop_words: str | Sequence[str] | None
) -> None:
    """Write the scores of some shards, one shard after the other.

    Parameters
    ----------
    shards
        What is compared, and the files to write.
    token_pattern, stop_words
        See `imagenet_think.metrics.tokenization.analyzer`.
    """
    tokens = {"token_pattern": token_pattern, "stop_words": stop_words}
    score = partial(sets, **tokens)
    for shard in shards:
        code = made_by(shard.code, ["scikit-learn", "scipy", "pyarrow"])
        score_shard(shard, "sets", tokens | code, lambda: score, images=64)


if __name__ == "__main__":
    log_to(snakemake.log[0])
    settings = json.loads(snakemake.params.settings)
    score_sets(
        Shard.of_job(snakemake, settings),
        **settings["benchmark"]["sets"],
    )
