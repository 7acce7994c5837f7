"""ROUGE-1 and ROUGE-L, bit-identical to rouge-score, with each text tokenized once."""

from collections.abc import Sequence
from functools import lru_cache, partial
from itertools import pairwise

import numpy as np
import pyarrow as pa
from nltk.stem.porter import PorterStemmer
from rapidfuzz.distance import LCSseq
from rapidfuzz.process import cpdist

from imagenet_think.metrics.score_function import ScoreFunction, distinct_texts
from imagenet_think.metrics.tokenization import Tokens, tokenize

TOKEN = "[a-z0-9]+"
"""Tokens of `rouge_score.tokenize`, in a lower-cased text."""

SURROGATES = range(0xD800, 0xE000)
CHARACTERS = 0x110000 - len(SURROGATES)

_stem = lru_cache(maxsize=2**20)(PorterStemmer().stem)


def load(*, stemmer: bool) -> ScoreFunction:
    """Return the function that scores pairs."""
    return partial(rouge, stemmer=stemmer)


def rouge(
    candidates: Sequence[str], references: Sequence[str], *, stemmer: bool = False
) -> dict[str, np.ndarray]:
    """Score n pairs of texts, as `rouge_score.rouge_scorer.RougeScorer` does (Lin, 2004).

    With `stemmer`, words of more than three letters are stemmed.

    Returns
    -------
    dict
        `rouge1` and `rougeL`, F1 in [0, 1], float64 of shape (n,). ROUGE-L is taken over the
        whole text, not by sentence. A text without a token scores 0.

    Notes
    -----
    The library's dynamic-programming table grows with the product of the lengths; the bit-parallel
    algorithm of rapidfuzz does not, so texts of 200,000 tokens are possible.
    """
    texts, first, second = distinct_texts(candidates, references)
    tokens = tokenize(texts, TOKEN)
    if stemmer:
        tokens = _stemmed(tokens)
    counts = tokens.counts()
    sequences = _sequences(tokens)
    lengths = np.diff(tokens.starts)
    subsequences = cpdist(
        [sequences[row] for row in first],
        [sequences[row] for row in second],
        scorer=LCSseq.similarity,
        dtype=np.int64,
    )
    common = counts[first].minimum(counts[second]).sum(axis=1)
    return {
        "rouge1": _f1(common, lengths[first], lengths[second]),
        "rougeL": _f1(subsequences, lengths[first], lengths[second]),
    }


def _stemmed(tokens: Tokens) -> Tokens:
    """Return the stems of tokens, as rouge-score computes them."""
    places: dict[str, int] = {}
    stems = [_stem(term) if len(term) > 3 else term for term in tokens.terms.to_pylist()]
    place = np.array([places.setdefault(stem, len(places)) for stem in stems], dtype=np.int32)
    return Tokens(terms=pa.array(places), ids=place[tokens.ids], starts=tokens.starts)


def _sequences(tokens: Tokens) -> list[str] | list[list[int]]:
    """Return each text as a sequence of one item per token.

    An item is a character where there are enough of them, because rapidfuzz reads strings directly
    but hashes each item of a list. It looks up the first 256 characters fastest, so these are the
    most frequent words. Surrogates are not characters.
    """
    ranks = np.empty(len(tokens.terms), dtype=np.int64)
    often = np.bincount(tokens.ids, minlength=len(ranks))
    ranks[np.argsort(-often, kind="stable")] = np.arange(len(ranks))
    if len(ranks) > CHARACTERS:
        return [ranks[tokens.ids[a:b]].tolist() for a, b in pairwise(tokens.starts.tolist())]
    codes = np.where(ranks < SURROGATES.start, ranks, ranks + len(SURROGATES)).astype("<u4")
    characters = codes[tokens.ids].tobytes().decode("utf-32-le")
    return [characters[a:b] for a, b in pairwise(tokens.starts.tolist())]


def _f1(hits: np.ndarray, candidate: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return F1 from the numbers of common tokens and of tokens, in the library's order."""
    precision, recall = hits / np.maximum(candidate, 1), hits / np.maximum(reference, 1)
    total = precision + recall
    return np.divide(2 * precision * recall, total, out=np.zeros(len(total)), where=total > 0)
