"""Cosines of word counts of a shard's responses against both teachers."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import polars as pl

from imagenet_think.files import write_parquet
from imagenet_think.logs import log_to
from imagenet_think.pairs import KEYS, read_pairs, score_pairs
from imagenet_think.parsing import PARTS
from imagenet_think.schemas import SCORE_COLUMNS, scores
from imagenet_think.vectors import DocumentFrequencies, vectors


def read_frequencies(path: str | Path, part: str) -> DocumentFrequencies:
    """Read the document frequencies of one part."""
    rows = pl.read_parquet(path).filter(pl.col("part") == part)
    corpus = DocumentFrequencies(documents=rows["documents"].max() or 0)
    corpus.terms.update(dict(rows.select("term", "frequency").iter_rows()))
    return corpus


def score_vectors(
    annotations: Sequence[str | Path],
    document_frequencies: str | Path,
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
    document_frequencies
        Parquet file of schema `DOCUMENT_FREQUENCIES`, made with the same tokens.
    output
        Parquet file of schema `scores("vectors")`.
    models, teachers
        Keys of the benchmarked models and of the two teachers.
    token_pattern, stop_words
        See `imagenet_think.tokenization.analyzer`.
    """
    pairs = read_pairs(annotations, teachers, models)
    frames = []
    for part in PARTS:
        score = partial(
            vectors,
            frequencies=read_frequencies(document_frequencies, part),
            token_pattern=token_pattern,
            stop_words=stop_words,
        )
        chosen = pairs.filter(pl.col("part") == part)
        frames.append(score_pairs(chosen, score, SCORE_COLUMNS["vectors"], images=64))
    frame = pairs.select(KEYS).join(pl.concat(frames), on=KEYS, how="left", maintain_order="left")
    write_parquet(frame, output, scores("vectors"))


if __name__ == "__main__":
    log_to(snakemake.log[0])
    score_vectors(
        snakemake.input.annotations,
        snakemake.input.document_frequencies,
        snakemake.output[0],
        **json.loads(snakemake.params.settings),
    )
