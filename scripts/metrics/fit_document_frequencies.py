"""Count in how many of the teachers' texts each term occurs, part by part."""

import json
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from imagenet_think.core.files import write_parquet
from imagenet_think.core.job import start_job
from imagenet_think.core.logs import progress
from imagenet_think.core.schemas import DOCUMENT_FREQUENCIES
from imagenet_think.metrics.pairs import read_texts
from imagenet_think.metrics.tfidf import DocumentFrequencies
from imagenet_think.parsing import PARTS


def fit_document_frequencies(
    annotations: Sequence[str | Path],
    output: str | Path,
    *,
    token_pattern: str,
    stop_words: str | Sequence[str] | None,
) -> None:
    """Write the document frequencies of the references.

    Parameters
    ----------
    annotations
        Parquet files of schema `ANNOTATIONS`, all shards of both teachers.
    output
        Parquet file of schema `DOCUMENT_FREQUENCIES`. A document is a teacher's text that can be
        scored; full outputs, thinking and answers are separate corpora.
    token_pattern, stop_words
        See `imagenet_think.metrics.tokenization.analyzer`.
    """
    corpora = {part: DocumentFrequencies() for part in PARTS}
    for path in progress(annotations, len(annotations), "files of annotations"):
        texts = read_texts(path).drop_nulls("text")
        for part, corpus in corpora.items():
            documents = texts.filter(pl.col("part") == part)["text"].to_list()
            corpus.add(documents, token_pattern=token_pattern, stop_words=stop_words)
    frames = []
    for part, corpus in corpora.items():
        terms = sorted(corpus.terms)
        columns = {
            "part": [part] * len(terms),
            "term": terms,
            "frequency": [corpus.terms[term] for term in terms],
            "documents": [corpus.documents] * len(terms),
        }
        frames.append(pl.DataFrame(columns, schema=DOCUMENT_FREQUENCIES))
    write_parquet(pl.concat(frames), output, DOCUMENT_FREQUENCIES)


if __name__ == "__main__":
    snakemake = start_job()
    settings = json.loads(snakemake.params.settings)
    fit_document_frequencies(
        snakemake.input, snakemake.output[0], **settings["benchmark"]["vectors"]
    )
