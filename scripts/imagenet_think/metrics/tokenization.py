"""Tokenization of the word metrics: that of scikit-learn's analyzer, for many texts at once."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import csr_array
from sklearn.feature_extraction.text import CountVectorizer

from imagenet_think.metrics import repeats

StopWords = str | Sequence[str] | None

# Patterns that match all adjacent characters of a class, and how many there must be at least.
RUNS = {"[a-z0-9]+": ("[a-z0-9]", 1), r"(?u)\b\w\w+\b": (r"\w", 2)}

# Characters whose lower case depends on their neighbours or has more than one character.
IRREGULAR = "Σİ"


@dataclass(frozen=True)
class Tokens:
    """The tokens of texts, in order.

    Attributes
    ----------
    terms
        The distinct tokens, strings.
    ids
        The place of each token in `terms`, text after text, int32 of shape (tokens,).
    starts
        Where in `ids` each text starts, and where the last one ends; shape (texts + 1,).
    """

    terms: pa.Array
    ids: np.ndarray
    starts: np.ndarray

    def counts(self) -> csr_array:
        """Return how often each term occurs in each text: int32 of shape (texts, terms)."""
        shape = (len(self.starts) - 1, len(self.terms))
        once = np.ones(len(self.ids), dtype=np.int32)
        counts = csr_array((once, self.ids, self.starts), shape=shape)
        counts = counts.tocsc().tocsr()  # sorts each row, faster than `sort_indices`
        counts.sum_duplicates()
        return counts

    def in_order(self) -> "Tokens":
        """Return the same tokens with the terms in alphabetical order."""
        order = pc.array_sort_indices(self.terms).to_numpy()
        place = np.empty(len(order), dtype=np.int32)
        place[order] = np.arange(len(order), dtype=np.int32)
        return Tokens(self.terms.take(order), place[self.ids], self.starts)


def tokenize(texts: Sequence[str], token_pattern: str, stop_words: StopWords = None) -> Tokens:
    """Tokenize texts as `analyzer` does; the parameters are the same.

    For the patterns in `RUNS`, a table of all characters turns a text to lower case, and what is
    in no token to blanks. Both follow Python, whose notion of a letter differs from Arrow's; Arrow
    splits at blanks and numbers the tokens. No token contains a line feed, so the tokens of a full
    output are those of its thinking and its answer.
    """
    if token_pattern not in RUNS:
        analyze = analyzer(token_pattern, stop_words)
        lists = pa.array(map(analyze, texts), pa.large_list(pa.large_string()))
        return _number(lists, least=0, dropped=[])
    member, least = RUNS[token_pattern]
    table = _table(member)
    parts = repeats.parts(texts)
    blanked = pa.array([_blank(text, table) for text in parts.distinct], pa.large_string())
    dropped = CountVectorizer(stop_words=_words(stop_words)).get_stop_words() or []
    tokens = _number(pc.ascii_split_whitespace(blanked), least, dropped)
    return Tokens(tokens.terms, *parts.expand(tokens.ids, tokens.starts))


def analyzer(token_pattern: str, stop_words: StopWords) -> Callable[[str], list[str]]:
    """Return the function that scikit-learn's vectorizers apply to a text.

    `token_pattern` is matched after lower-casing; `stop_words` are dropped: none, "english" for
    scikit-learn's list, or your own list.
    """
    vectorizer = CountVectorizer(token_pattern=token_pattern, stop_words=_words(stop_words))
    return vectorizer.build_analyzer()


def _words(stop_words: StopWords) -> str | list[str] | None:
    """Return stop words as scikit-learn takes them."""
    return stop_words if stop_words is None or isinstance(stop_words, str) else list(stop_words)


@cache
def _table(member: str) -> np.ndarray:
    """Return the table of characters: lower case if that is in the class, otherwise a blank."""
    characters = np.arange(0x110000, dtype="<u4").tobytes().decode("utf-32-le", "surrogatepass")
    lower = re.sub(f"[{IRREGULAR}]", " ", characters).lower()
    table = np.full(len(lower), ord(" "), dtype="<u4")
    codes = _codes(lower)
    for run in re.finditer(f"{member}+", lower):
        table[slice(*run.span())] = codes[slice(*run.span())]
    return table


def _blank(text: str, table: np.ndarray) -> str:
    """Return a text in lower case, with blanks for what is in no token."""
    if any(character in text for character in IRREGULAR):
        text = text.lower()
    return table.take(_codes(text)).tobytes().decode("utf-32-le").strip()


def _codes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


def _number(lists: pa.Array, least: int, dropped: Iterable[str]) -> Tokens:
    """Return the tokens of Arrow's lists that are long enough and not dropped."""
    numbered = lists.values.dictionary_encode()
    terms = numbered.dictionary
    left_out = pc.is_in(terms, value_set=pa.array(dropped, terms.type))
    kept = pc.and_not(pc.greater_equal(pc.utf8_length(terms), least), left_out)
    kept = kept.to_numpy(zero_copy_only=False)
    ids, starts = numbered.indices.to_numpy(), lists.offsets.to_numpy()
    if kept.all():
        return Tokens(terms, ids, starts)
    there = kept[ids]
    return Tokens(
        terms=terms.filter(kept),
        ids=(np.cumsum(kept, dtype=np.int32) - 1)[ids[there]],
        starts=np.concatenate([[0], np.cumsum(there)])[starts],
    )
