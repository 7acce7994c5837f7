"""Length of responses in tokens and words, and whether they are in Latin script and English."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import polars as pl
import regex

from imagenet_think.analysis.vocabulary import word_tokens
from imagenet_think.core import model_sources
from imagenet_think.core.schemas import LENGTHS
from imagenet_think.parsing import PARTS
from imagenet_think.parsing.statuses import OK

NON_LATIN_SHARE = 0.05
"""Share of non-Latin letters from which a text counts as not in Latin script. Ten Chinese
characters of a sign, quoted in an English answer of two hundred words, are below it; a Chinese
paragraph is not."""

ENGLISH_SHARE = 0.25
"""Share of English function words from which a text counts as English. English prose has 40% to
60%; in other languages of Latin script, words that are spelled alike make up at most 20%. Lists of
keywords are not recognized."""

AT_ONCE = 256
"""Texts tokenized at once."""

LATIN = regex.compile(r"\p{Script=Latin}+")

# Single Greek letters are symbols of mathematics; styled mathematical letters, like digits, marks
# and emoji, are of script Common.
NON_LATIN = regex.compile(
    r"[\p{L}--\p{Script=Latin}--\p{Script=Greek}--\p{Script=Common}]+|\p{Script=Greek}{2,}",
    regex.VERSION1,
)


def load_tokenizer(repository: str, revision: str | None) -> Any:
    """Load the tokenizer of a repository: a hub id, a local folder or `package:<module>`."""
    # transformers takes seconds to import, and the tables that use this module do not need it.
    from transformers import AutoTokenizer

    path, commit = model_sources.pretrained(repository, revision)
    return AutoTokenizer.from_pretrained(path, revision=commit)


def count_tokens(tokenizer: Any, texts: Sequence[str]) -> list[int]:
    """Count the tokens of each whole text, without special tokens."""
    counts: list[int] = []
    for start in range(0, len(texts), AT_ONCE):
        # Explicitly off, because a tokenizer's file may turn truncation and padding on.
        encoded = tokenizer(
            list(texts[start : start + AT_ONCE]),
            add_special_tokens=False,
            truncation=False,
            padding=False,
            return_attention_mask=False,
            verbose=False,
        )
        counts += map(len, encoded["input_ids"])
    return counts


def is_non_latin(text: str) -> bool:
    """Return whether at least `NON_LATIN_SHARE` of a text's letters are not Latin.

    Digits, punctuation, emoji and mathematics (styled letters such as 𝑥 and single Greek letters)
    do not count as letters. A text without letters is not non-Latin.
    """
    if text.isascii():
        return False
    other = sum(map(len, NON_LATIN.findall(text)))
    latin = sum(map(len, LATIN.findall(text)))
    return other > 0 and other >= NON_LATIN_SHARE * (other + latin)


def is_english(text: str) -> bool:
    """Return whether at least `ENGLISH_SHARE` of a text's words are English function words.

    These are scikit-learn's list of stop words. A text that `is_non_latin` is not English.
    """
    found = word_tokens(text)
    if not found or is_non_latin(text):
        return False
    return sum(map(_stop_words().__contains__, found)) >= ENGLISH_SHARE * len(found)


@cache
def _stop_words() -> frozenset[str]:
    # scikit-learn takes seconds to import, and the tables that use this module do not need it.
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    return ENGLISH_STOP_WORDS


def measure(annotations: pl.DataFrame, tokenizer: Any) -> pl.DataFrame:
    """Measure every part of every response of annotations, schema `ANNOTATIONS`.

    Returns
    -------
    polars.DataFrame
        Schema `LENGTHS`: for each response, in order, one row each for full, think and answer. As
        for scores, full is measured wherever there is text, think and answer where they are known
        (their own status is ok); elsewhere all measures are null. Words are separated by
        white space.
    """
    rows = []
    for response in annotations.iter_rows(named=True):
        for part in PARTS:
            known = part == "full" or response[f"{part}_status"] == OK
            text = response[part] if known else None
            rows.append((response["image_id"], response["model"], part, text))
    tokens = iter(count_tokens(tokenizer, [text for *_, text in rows if text is not None]))
    measured = [
        (*key, None, None, None, None)
        if text is None
        else (*key, next(tokens), len(text.split()), is_non_latin(text), is_english(text))
        for *key, text in rows
    ]
    return pl.DataFrame(measured, schema=LENGTHS, orient="row")


def sample_tokens(lengths: pl.DataFrame, teachers: Sequence[str]) -> pl.DataFrame:
    """Sum the tokens of each sample: an image with thinking and answer of every teacher.

    Returns
    -------
    polars.DataFrame
        image_id and tokens, sorted by image_id. An image that lacks one of the parts is left out.
    """
    parts = lengths.filter(
        pl.col("model").is_in(list(teachers))
        & pl.col("part").is_in(["think", "answer"])
        & pl.col("tokens").is_not_null()
    )
    return (
        parts.group_by("image_id")
        .agg(pl.col("tokens").sum(), pl.len().alias("parts"))
        .filter(pl.col("parts") == 2 * len(teachers))
        .select("image_id", "tokens")
        .sort("image_id")
    )
