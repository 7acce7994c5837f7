"""ROUGE-1 and ROUGE-L of the texts of a block."""

import json
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from imagenet_think.core.logs import log_to
from imagenet_think.metrics.rouge import rouge
from imagenet_think.metrics.score_cache import made_by
from imagenet_think.metrics.scoring import Shard, score_shard

if TYPE_CHECKING:
    from imagenet_think.core.job import snakemake


def score_rouge(shards: Sequence[Shard], *, stemmer: bool) -> None:
    """Write the scores of some shards, one shard after the other.

    Parameters
    ----------
    shards
        What is compared, and the files to write.
    stemmer
        See `imagenet_think.metrics.rouge.rouge`.
    """
    score = partial(rouge, stemmer=stemmer)
    for shard in shards:
        code = made_by(shard.code, ["rapidfuzz", "nltk", "pyarrow"])
        score_shard(shard, "rouge", {"stemmer": stemmer} | code, lambda: score, images=64)


if __name__ == "__main__":
    log_to(snakemake.log[0])
    settings = json.loads(snakemake.params.settings)
    score_rouge(
        Shard.of_job(snakemake, settings),
        **settings["benchmark"]["rouge"],
    )
