"""Cosines of word counts: raw, and weighted by inverse document frequency (section 5.3.4).

The paper does not say how its two cosines were fitted, and no one definition gives both its
numbers, so three named variants are computed:

- `tfidf`: document frequencies of a corpus (the references), as `TfidfVectorizer` fitted on it;
- `tfidf_pair`: document frequencies of the pair itself, as `TfidfVectorizer` fitted on two texts;
- `cosine`: raw counts, as `CountVectorizer`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.sparse import csr_array, diags_array

from imagenet_think.tokenization import analyzer


@dataclass
class DocumentFrequencies:
    """How many of a corpus's documents hold a term.

    Attributes
    ----------
    documents
        Number of documents.
    terms
        Documents by term.
    """

    documents: int = 0
    terms: Counter[str] = field(default_factory=Counter)

    def add(
        self,
        texts: Iterable[str],
        *,
        token_pattern: str,
        stop_words: str | Sequence[str] | None = None,
    ) -> None:
        """Count further documents; for tokens see `imagenet_think.tokenization.analyzer`."""
        analyze = analyzer(token_pattern, stop_words)
        for text in texts:
            self.documents += 1
            self.terms.update(set(analyze(text)))


def vectors(
    candidates: Sequence[str],
    references: Sequence[str],
    frequencies: DocumentFrequencies,
    *,
    token_pattern: str,
    stop_words: str | Sequence[str] | None = None,
) -> dict[str, np.ndarray]:
    """Score pairs of texts.

    Parameters
    ----------
    candidates, references
        The pairs, `n` texts each.
    frequencies
        Of the corpus on which `tfidf` is fitted, with the same tokens. A term outside it weighs
        nothing, as in scikit-learn.
    token_pattern, stop_words
        See `imagenet_think.tokenization.analyzer`.

    Returns
    -------
    dict
        `tfidf`, `tfidf_pair` and `cosine`, float64 of shape (n,). A text without a term
        scores 0.
    """
    texts = {text: row for row, text in enumerate(dict.fromkeys([*candidates, *references]))}
    counts, vocabulary = _count(texts, token_pattern, stop_words)
    first = np.array([texts[text] for text in candidates], dtype=np.int64)
    second = np.array([texts[text] for text in references], dtype=np.int64)
    weighted = counts @ diags_array(_inverse_document_frequencies(vocabulary, frequencies))
    return {
        "tfidf": _cosines(weighted.tocsr(), first, second),
        "tfidf_pair": _pair_cosines(counts, first, second),
        "cosine": _cosines(counts, first, second),
    }


def _count(
    texts: Iterable[str], token_pattern: str, stop_words: str | Sequence[str] | None
) -> tuple[csr_array, list[str]]:
    """Return the counts, one row a text, and the terms of their columns."""
    analyze = analyzer(token_pattern, stop_words)
    vocabulary: dict[str, int] = {}
    columns: list[int] = []
    values: list[int] = []
    starts = [0]
    for text in texts:
        for term, count in Counter(analyze(text)).items():
            columns.append(vocabulary.setdefault(term, len(vocabulary)))
            values.append(count)
        starts.append(len(columns))
    counts = csr_array(
        (np.array(values, dtype=np.float64), np.array(columns, dtype=np.int64), np.array(starts)),
        shape=(len(starts) - 1, len(vocabulary)),
    )
    counts.sort_indices()
    return counts, list(vocabulary)


def _inverse_document_frequencies(
    terms: Sequence[str], frequencies: DocumentFrequencies
) -> np.ndarray:
    """Return scikit-learn's smoothed weights, ln((1 + n) / (1 + df)) + 1, and 0 outside."""
    documents: Mapping[str, int] = frequencies.terms
    df = np.array([documents.get(term, 0) for term in terms], dtype=np.float64)
    return np.where(df > 0, np.log((1 + frequencies.documents) / (1 + df)) + 1, 0.0)


def _divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Divide, with 0 where a text has no term."""
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)


def _cosines(rows: csr_array, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    norms = np.sqrt(rows.multiply(rows).sum(axis=1))
    dots = rows[first].multiply(rows[second]).sum(axis=1)
    return _divide(dots, norms[first] * norms[second])


def _pair_cosines(counts: csr_array, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the cosines of TF-IDF weights fitted on each pair.

    With two documents a shared term weighs ln(3/3) + 1 = 1 and any other ln(3/2) + 1, so the
    weights need no fit: only the squared counts of shared terms.
    """
    lone = (np.log(1.5) + 1) ** 2
    a, b = counts[first], counts[second]
    shared_a = a.multiply(a).multiply(b.sign()).sum(axis=1)
    shared_b = b.multiply(b).multiply(a.sign()).sum(axis=1)
    squares_a = shared_a + lone * (a.multiply(a).sum(axis=1) - shared_a)
    squares_b = shared_b + lone * (b.multiply(b).sum(axis=1) - shared_b)
    return _divide(a.multiply(b).sum(axis=1), np.sqrt(squares_a * squares_b))
