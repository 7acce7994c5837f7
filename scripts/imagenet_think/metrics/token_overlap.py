"""Jaccard index and overlap coefficient of the sets of tokens (section 5.3.3)."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from imagenet_think.metrics.score_function import ScoreFunction, distinct_texts
from imagenet_think.metrics.tokenization import StopWords, tokenize


def load(*, token_pattern: str, stop_words: StopWords) -> ScoreFunction:
    """Return the function that scores pairs."""
    return partial(sets, token_pattern=token_pattern, stop_words=stop_words)


def sets(
    candidates: Sequence[str],
    references: Sequence[str],
    *,
    token_pattern: str,
    stop_words: StopWords = None,
) -> dict[str, np.ndarray]:
    """Score n pairs of texts by their common distinct tokens, see `tokenization.analyzer`.

    Returns
    -------
    dict
        `jaccard`, common tokens divided by all tokens, and `overlap`, divided by the tokens of the
        smaller set; in [0, 1], float64 of shape (n,). A text without a token scores 0.
    """
    texts, first, second = distinct_texts(candidates, references)
    held = tokenize(texts, token_pattern, stop_words).counts().sign()
    sizes = np.diff(held.indptr)
    common = held[first].multiply(held[second]).sum(axis=1)
    union = sizes[first] + sizes[second] - common
    smaller = np.minimum(sizes[first], sizes[second])
    return {"jaccard": common / np.maximum(union, 1), "overlap": common / np.maximum(smaller, 1)}
