"""Wording of metrics' settings in captions and comparisons."""

import re
from collections.abc import Collection, Mapping
from typing import Any

from imagenet_think.core import model_sources
from imagenet_think.core.wording import series

_PRECISIONS = {"float32": "", "tf32": "TF32", "float16": "half precision (float16)"}

Section = Mapping[str, Any]
"""A metric's section of the config, or its definition as data."""

WORDS = {
    "words of one letter (a, I)": ("a", "I"),
    "numbers of one digit": ("7",),
    "longer numbers": ("42",),
    "letters with accents": ("éü",),
    "words in other scripts than Latin": ("слово", "中国"),
}
"""Kinds of words that a token pattern may drop, and examples of each."""


def encoder(section: Section) -> str:
    """Return the name of a metric's encoder."""
    return model_sources.name(section["repository"])


def precision(section: Section) -> str:
    """Return a clause that names an encoder's precision, or "" for full precision."""
    name = _PRECISIONS[section["precision"]]
    return f", computed in {name}" if name else ""


def dropped(token_pattern: str) -> dict[str, list[str]]:
    """Return the kinds of `WORDS` of which a token pattern finds nothing, with their examples."""
    matches = re.compile(token_pattern).findall  # as scikit-learn does, in lower case
    return {
        kind: list(words)
        for kind, words in WORDS.items()
        if not any(matches(word.lower()) for word in words)
    }


def tokens(section: Section) -> str:
    """Say what counts as a token, given `token_pattern`, `stop_words` and `dropped`."""
    words = section["stop_words"]
    stop_words = "English stop words" if words == "english" else "the config's stop words"
    stop_words = stop_words if words else "no stop words"
    lost = series(section["dropped"])
    pattern = f", and the pattern drops {lost}" if lost else ""
    return f"lower-cased matches of {section['token_pattern']} ({stop_words} are dropped{pattern})"


def other_encoder(name: str, section: Section, known: Collection[str], why: str) -> str | None:
    """Say that a metric's encoder may not be the paper's; return None for a known one."""
    if section["repository"] in known:
        return None
    return f"{name} is computed with {encoder(section)} (the paper names no model, {why})"
