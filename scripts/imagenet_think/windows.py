"""What an embedding model sees of a text: the first tokens, up to its window."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Windowed:
    """Texts cut to a window.

    Attributes
    ----------
    ids
        Token ids inside the window, special tokens included, for each distinct input.
    rows
        For each text, which of `ids` is its input; shape (n,).
    seen
        For each text, the share of its tokens inside the window, 1 for a text without tokens;
        shape (n,), in (0, 1].
    """

    ids: list[list[int]]
    rows: np.ndarray
    seen: np.ndarray


def window(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_tokens: int) -> Windowed:
    """Tokenize texts and cut each to `max_tokens` tokens, special tokens included.

    Long texts that begin alike are the same input once cut (a full output and its thinking,
    most often), and need embedding once.
    """
    if not texts:
        return Windowed([], np.zeros(0, dtype=np.int64), np.zeros(0))
    texts = list(texts)
    special = len(tokenizer("")["input_ids"])
    whole = tokenizer(texts, truncation=False, verbose=False)["input_ids"]
    cut = tokenizer(texts, truncation=True, max_length=max_tokens)["input_ids"]
    distinct: dict[tuple[int, ...], int] = {}
    rows = [distinct.setdefault(tuple(ids), len(distinct)) for ids in cut]
    tokens = np.array([len(ids) - special for ids in whole])
    kept = np.array([len(ids) - special for ids in cut])
    return Windowed(
        [list(ids) for ids in distinct],
        np.array(rows, dtype=np.int64),
        np.where(tokens > 0, kept / np.maximum(tokens, 1), 1.0),
    )
