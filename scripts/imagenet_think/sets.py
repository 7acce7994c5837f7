"""Jaccard index and overlap coefficient of the sets of tokens (section 5.3.3)."""

from collections.abc import Sequence

import numpy as np

from imagenet_think.tokenization import analyzer


def sets(
    candidates: Sequence[str],
    references: Sequence[str],
    *,
    token_pattern: str,
    stop_words: str | Sequence[str] | None = None,
) -> dict[str, np.ndarray]:
    """Score pairs of texts by the distinct tokens they share.

    Parameters
    ----------
    candidates, references
        The pairs, `n` texts each.
    token_pattern, stop_words
        See `imagenet_think.tokenization.analyzer`.

    Returns
    -------
    dict
        `jaccard`, common tokens by all tokens, and `overlap`, common tokens by the tokens of the
        smaller set; in [0, 1], float64 of shape (n,). A text without a token scores 0.
    """
    analyze = analyzer(token_pattern, stop_words)
    tokens = {text: frozenset(analyze(text)) for text in dict.fromkeys([*candidates, *references])}
    pairs = [(tokens[c], tokens[r]) for c, r in zip(candidates, references, strict=True)]
    common = np.array([len(c & r) for c, r in pairs], dtype=np.float64)
    union = np.array([len(c) + len(r) for c, r in pairs], dtype=np.float64) - common
    smaller = np.array([min(len(c), len(r)) for c, r in pairs], dtype=np.float64)
    return {"jaccard": common / np.maximum(union, 1), "overlap": common / np.maximum(smaller, 1)}
