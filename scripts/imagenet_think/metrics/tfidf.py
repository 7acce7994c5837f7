"""Cosines of word counts: raw, and weighted by inverse document frequency (section 5.3.4).

The paper does not say how its two cosines were fitted, and no single definition yields both of its
numbers, so three named variants are computed:

- `tfidf`: document frequencies of a corpus (the references), as `TfidfVectorizer` fitted on it;
- `tfidf_pair`: document frequencies of the pair itself, as `TfidfVectorizer` fitted on two texts;
- `cosine`: raw counts, as `CountVectorizer`.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import repeat
from pathlib import Path

import numpy as np
import polars as pl

from imagenet_think.metrics.score_function import ScoreFunction, distinct_texts
from imagenet_think.metrics.tokenization import StopWords, tokenize


@dataclass
class DocumentFrequencies:
    """The number of a corpus's documents, and how many of them contain each term."""

    documents: int = 0
    terms: Counter[str] = field(default_factory=Counter)

    def add(
        self,
        texts: Sequence[str],
        *,
        token_pattern: str,
        stop_words: StopWords = None,
    ) -> None:
        """Count more documents; for tokens see `imagenet_think.metrics.tokenization.analyzer`."""
        tokens = tokenize(texts, token_pattern, stop_words)
        documents = np.bincount(tokens.counts().indices, minlength=len(tokens.terms))
        self.terms.update(dict(zip(tokens.terms.to_pylist(), documents.tolist(), strict=True)))
        self.documents += len(texts)


def read_frequencies(path: str | Path, part: str) -> DocumentFrequencies:
    """Read the document frequencies of one part, schema `DOCUMENT_FREQUENCIES`."""
    rows = pl.read_parquet(path).filter(pl.col("part") == part)
    documents = dict(rows.select("part", "documents").iter_rows()).get(part, 0)
    return DocumentFrequencies(
        documents, Counter(dict(rows.select("term", "frequency").iter_rows()))
    )


def load(
    *, document_frequencies: str | Path, part: str, token_pattern: str, stop_words: StopWords
) -> ScoreFunction:
    """Return the function that scores pairs of one part."""
    return partial(
        vectors,
        frequencies=read_frequencies(document_frequencies, part),
        token_pattern=token_pattern,
        stop_words=stop_words,
    )


def vectors(
    candidates: Sequence[str],
    references: Sequence[str],
    frequencies: DocumentFrequencies,
    *,
    token_pattern: str,
    stop_words: StopWords = None,
) -> dict[str, np.ndarray]:
    """Score pairs of texts.

    Parameters
    ----------
    candidates, references
        n texts each.
    frequencies
        Of the corpus on which `tfidf` is fitted, with the same tokens. Other terms have weight 0,
        as in scikit-learn.
    token_pattern, stop_words
        See `imagenet_think.metrics.tokenization.analyzer`.

    Returns
    -------
    dict
        `tfidf`, `tfidf_pair` and `cosine`, float64 of shape (n,). A text without a term
        scores 0.
    """
    texts, first, second = distinct_texts(candidates, references)
    # Terms are summed in one order, so that a score does not depend on the other pairs.
    tokens = tokenize(texts, token_pattern, stop_words).in_order()
    counts = tokens.counts().astype(np.float64)
    a, b = counts[first], counts[second]
    products = a.multiply(b)
    squares = counts.power(2)
    weights = _inverse_document_frequencies(tokens.terms.to_pylist(), frequencies) ** 2
    weighted, plain = squares @ weights, squares.sum(axis=1)

    # Fitted on two documents, a shared term has weight ln(3/3) + 1 = 1 and any other ln(3/2) + 1:
    # no fit is needed, only the squared counts of the shared terms.
    lone = (np.log(3 / 2) + 1) ** 2
    shared = a.multiply(b.sign())
    shared_first = shared.power(2).sum(axis=1)
    shared.data = products.data / shared.data  # the same places, with the second text's counts
    shared_second = shared.power(2).sum(axis=1)
    pair_first = shared_first + lone * (plain[first] - shared_first)
    pair_second = shared_second + lone * (plain[second] - shared_second)

    dots = products.sum(axis=1)
    return {
        "tfidf": _cosines(products @ weights, weighted[first], weighted[second]),
        "tfidf_pair": _cosines(dots, pair_first, pair_second),
        "cosine": _cosines(dots, plain[first], plain[second]),
    }


def _inverse_document_frequencies(
    terms: Sequence[str], frequencies: DocumentFrequencies
) -> np.ndarray:
    """Return scikit-learn's smoothed weights, ln((1 + n) / (1 + df)) + 1; 0 for other terms."""
    found = map(frequencies.terms.get, terms, repeat(0))
    df = np.fromiter(found, dtype=np.float64, count=len(terms))
    return np.where(df > 0, np.log((1 + frequencies.documents) / (1 + df)) + 1, 0.0)


def _cosines(dots: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return cosines from dot products and squared norms; 0 where a text has no term."""
    norms = np.sqrt(first * second)
    return np.divide(dots, norms, out=np.zeros(len(dots)), where=norms > 0)
