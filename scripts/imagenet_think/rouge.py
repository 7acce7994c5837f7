"""ROUGE-1 and ROUGE-L, bit for bit as rouge-score computes them, each text tokenized once."""

from collections import Counter
from collections.abc import Sequence
from functools import cache

import numpy as np
from nltk.stem.porter import PorterStemmer
from rapidfuzz.distance import LCSseq
from rapidfuzz.process import cpdist
from rouge_score.scoring import fmeasure
from rouge_score.tokenize import tokenize


class _Stemmer:
    """The Porter stemmer of rouge-score, each word stemmed once."""

    def __init__(self) -> None:
        self.stem = cache(PorterStemmer().stem)


def rouge(
    candidates: Sequence[str],
    references: Sequence[str],
    *,
    stemmer: bool = False,
    workers: int = 1,
) -> dict[str, np.ndarray]:
    """Score pairs of texts.

    Parameters
    ----------
    candidates, references
        The pairs, `n` texts each.
    stemmer
        Whether words of more than three letters are stemmed.
    workers
        Threads for the longest common subsequences.

    Returns
    -------
    dict
        `rouge1` and `rougeL`, F1 in [0, 1], float64 of shape (n,). ROUGE-L is taken over the
        whole text, not by sentence. A text without a token scores 0.

    Notes
    -----
    Definitions: Lin (2004) as in `rouge_score.rouge_scorer.RougeScorer`. Its dynamic-programming
    table grows with the product of the lengths; the bit-parallel subsequence of rapidfuzz does
    not, so texts of 200,000 tokens go through.
    """
    stem = _Stemmer() if stemmer else None
    vocabulary: dict[str, int] = {}
    tokens = {
        text: [vocabulary.setdefault(word, len(vocabulary)) for word in tokenize(text, stem)]
        for text in dict.fromkeys([*candidates, *references])
    }
    counts = {text: Counter(words) for text, words in tokens.items()}
    common = [(counts[c] & counts[r]).total() for c, r in zip(candidates, references, strict=True)]
    subsequences = cpdist(
        [tokens[text] for text in candidates],
        [tokens[text] for text in references],
        scorer=LCSseq.similarity,
        dtype=np.int64,
        workers=workers,
    )
    lengths = [
        (len(tokens[c]), len(tokens[r])) for c, r in zip(candidates, references, strict=True)
    ]
    return {"rouge1": _f1(common, lengths), "rougeL": _f1(subsequences.tolist(), lengths)}


def _f1(hits: Sequence[int], lengths: Sequence[tuple[int, int]]) -> np.ndarray:
    """Return F1 from the common tokens and the tokens of candidate and reference."""
    return np.array(
        [
            fmeasure(hit / max(candidate, 1), hit / max(reference, 1))
            for hit, (candidate, reference) in zip(hits, lengths, strict=True)
        ],
        dtype=np.float64,
    )
