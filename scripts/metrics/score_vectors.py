"""Cosines of word counts of the texts of a block."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from imagenet_think.core.digests import digest_files
from imagenet_think.core.logs import log_to
from imagenet_think.metrics.pairs import Pairs
from imagenet_think.metrics.score_cache import made_by
from imagenet_think.metrics.scoring import Shard, score_pairs, write_scores
from imagenet_think.metrics.tfidf import DocumentFrequencies, vectors
from imagenet_think.parsing import PARTS

if TYPE_CHECKING:
    from imagenet_think.core.job import snakemake


def read_frequencies(path: str | Path, part: str) -> DocumentFrequencies:
    """Read the document frequencies of one part."""
    rows = pl.read_parquet(path).filter(pl.col("part") == part)
    corpus = DocumentFrequencies(documents=rows["documents"].max() or 0)
    corpus.terms.update(dict(rows.select("term", "frequency").iter_rows()))
    return corpus


def score_vectors(
    shards: Sequence[Shard],
    document_frequencies: str | Path,
    *,
    token_pattern: str,
    stop_words: str | Sequence[str] | None,
) -> None:
    """Write the scores of some shards, one shard after the other.

    Parameters
    ----------
    shards
        What is compared, and the files to write.
    document_frequencies
        Parquet file of schema `DOCUMENT_FREQUENCIES`, made with the same tokens. Where it has
        changed, so have the weights of TF-IDF, and all pairs are scored anew.
    token_pattern, stop_words
        See `imagenet_think.metrics.tokenization.analyzer`.
    """
    tokens = {"token_pattern": token_pattern, "stop_words": stop_words}
    corpus = digest_files([document_frequencies])
    for shard in shards:
        code = made_by(shard.code, ["scikit-learn", "scipy", "pyarrow"])
        pairs = shard.pairs()
        frames = []
        for part in PARTS:
            rows = pairs.rows.filter(pl.col("part") == part)
            frame = score_pairs(
                Pairs(pairs.texts, rows.with_columns(pl.int_range(pl.len()).alias("row"))),
                "vectors",
                tokens | code | {"corpus": corpus, "part": part},
                lambda part=part: partial(
                    vectors, frequencies=read_frequencies(document_frequencies, part), **tokens
                ),
                # Each batch looks up its own terms in the corpus: large ones share more.
                images=256,
                cache=shard.cache,
                name=shard.name,
            )
            frames.append(frame)
        write_scores(pl.concat(frames), "vectors", shard, pairs)


if __name__ == "__main__":
    log_to(snakemake.log[0])
    settings = json.loads(snakemake.params.settings)
    score_vectors(
        Shard.of_job(snakemake, settings),
        snakemake.input.document_frequencies,
        **settings["benchmark"]["vectors"],
    )
