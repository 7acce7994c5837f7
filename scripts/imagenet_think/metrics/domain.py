"""What a metric can read of a text: a score of a text that it cannot read means nothing.

Some metrics match words by a pattern, which may drop a script altogether (`[a-z0-9]+`), cut its
words apart (`\\w` matches no vowel sign of Devanagari or Thai) or take whole clauses for words
(Chinese, Japanese, Thai and others are written without spaces). Encoders have a vocabulary; what is
not in it is one `[UNK]` token, the same for all words, or the bytes of a character one by one.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import regex

from imagenet_think.metrics.registry import Metric
from imagenet_think.metrics.tokenization import analyzer, tokenize

AT_ONCE = 256
"""Texts tokenized at once."""

Counts = Mapping[str, np.ndarray]
"""Of n texts: `tokens`; `unknown`, those of them that stand for no text; `letters`, letters, marks
and digits; `in_words`, those of them in words that are read; int64 of shape (n,)."""

Counter = Callable[[Sequence[str]], Counts]

_WORD = regex.compile(r"[\p{L}\p{N}][\p{L}\p{M}\p{N}]*")

# Letters of scripts that put no space between words, by the classes of Unicode's line breaking
# (UAX 14): ideographs, small kana and the scripts of South East Asia.
_UNSPACED = regex.compile(
    r"[\p{L}&&[\p{Line_Break=ID}\p{Line_Break=CJ}\p{Line_Break=SA}]]", regex.VERSION1
)


def counter(metric: Metric, section: Mapping[str, Any], load: Callable[..., Any]) -> Counter | None:
    """Return what counts the tokens of a metric.

    Parameters
    ----------
    metric, section
        The metric and its section of the config.
    load
        Loads the tokenizer of a `repository` and `revision`.

    Returns
    -------
    callable
        None for a metric that declares neither words nor an encoder's repository: nothing is known
        of its domain.
    """
    if metric.words:
        return words_counter(*metric.words(section))
    if metric.encoder and "repository" in section:
        return vocabulary_counter(load(section["repository"], section["revision"]))
    return None


def words_counter(token_pattern: str, stop_words: Any) -> Counter:
    """Return what counts the tokens of a pattern, and the letters in words that it reads.

    A word is read if its tokens leave out none of its letters and none of them holds two letters of
    a script without spaces, because it would be a clause. Stop words are read, but are no tokens.
    """
    analyze = analyzer(token_pattern, None)
    known: dict[str, int] = {}

    def read(word: str) -> int:
        """Return the number of letters of a word that is read, otherwise 0."""
        if word not in known:
            tokens = analyze(word)
            clause = any(len(_UNSPACED.findall(token)) > 1 for token in tokens)
            known[word] = len(word) if "".join(tokens) == word.lower() and not clause else 0
        return known[word]

    def count(texts: Sequence[str]) -> Counts:
        words = [_WORD.findall(text) for text in texts]
        return {
            "tokens": np.diff(tokenize(texts, token_pattern, stop_words).starts),
            "unknown": np.zeros(len(texts), dtype=np.int64),
            "letters": np.array([sum(map(len, own)) for own in words], dtype=np.int64),
            "in_words": np.array([sum(map(read, own)) for own in words], dtype=np.int64),
        }

    return count


def vocabulary_counter(tokenizer: Any) -> Counter:
    """Return what counts the tokens of a tokenizer, and those that stand for no text.

    These are the unknown token and, where a vocabulary has bytes in place of characters, tokens
    that are a part of a character.
    """
    known: dict[int, bool] = {}

    def stands_for_nothing(token: int) -> bool:
        if token not in known:
            text = tokenizer.decode([token])
            known[token] = token == tokenizer.unk_token_id or "\ufffd" in text
        return known[token]

    def count(texts: Sequence[str]) -> Counts:
        tokens, unknown = [], []
        for start in range(0, len(texts), AT_ONCE):
            encoded = tokenizer(
                list(texts[start : start + AT_ONCE]),
                add_special_tokens=False,
                truncation=False,
                padding=False,
                return_attention_mask=False,
                verbose=False,
            )
            for ids in encoded["input_ids"]:
                tokens.append(len(ids))
                distinct, often = np.unique(np.asarray(ids, dtype=np.int64), return_counts=True)
                nothing = [stands_for_nothing(token) for token in distinct.tolist()]
                unknown.append(int(often[np.array(nothing, dtype=bool)].sum()))
        zeros = np.zeros(len(texts), dtype=np.int64)
        return {
            "tokens": np.array(tokens, dtype=np.int64),
            "unknown": np.array(unknown, dtype=np.int64),
            "letters": zeros,
            "in_words": zeros,
        }

    return count
