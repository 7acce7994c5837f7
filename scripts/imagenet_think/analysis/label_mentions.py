"""Whether a text names a class: by its lemmas, or those of its hyponyms or hypernym."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain

import polars as pl

from imagenet_think.core.hash_order import order_key

_MARK = r"[\u0300-\u036f]"
WORD = re.compile(rf"[^\W_]+(?:{_MARK}+[^\W_]*)*")
"""A run of letters and digits with their combining marks. An underscore is not a letter: it may
be Markdown's mark of emphasis."""

_GAP = re.compile(r"[\s_\u2010\u2011-]+")
_BEFORE, _AFTER = rf"(?<![^\W_]|{_MARK})", rf"(?![^\W_]|{_MARK})"

RELATIONS = ("synset", "hyponym", "hypernym")
"""Whose lemmas name a class: its own, those of all classes below it in the list, and those of the
class directly above it, whether in the list or not."""

ClassNames = Mapping[str, tuple[str, ...]]
"""The names of a class, by relation."""


def class_names(
    classes: pl.DataFrame,
    hypernyms: Mapping[str, str] | None = None,
    irregular: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, ClassNames]:
    """Return the names of every class of a list.

    Parameters
    ----------
    classes
        Columns wnid, lemmas (separated by commas) and hypernym (wnid of the class above, in the
        list or not; null or empty where it is unknown).
    hypernyms
        wnid and lemmas of hypernyms that are not in the list.
    irregular
        Nouns, or names of several words, and their irregular plurals: further names.

    Returns
    -------
    dict
        Names by wnid. Where hypernyms form a cycle, a class is not its own hyponym.
    """
    own_lemmas = dict(classes.select("wnid", "lemmas").iter_rows())
    known = {
        wnid: with_irregular_plurals(_split(text), irregular or {})
        for wnid, text in {**(hypernyms or {}), **own_lemmas}.items()
    }
    lemmas = {wnid: known[wnid] for wnid in own_lemmas}
    above = dict(classes.select("wnid", "hypernym").iter_rows())
    below: dict[str, list[str]] = defaultdict(list)
    for wnid, hypernym in above.items():
        if hypernym:
            below[hypernym].append(wnid)
    found: dict[str, ClassNames] = {}
    for wnid, own in lemmas.items():
        lower = chain.from_iterable(lemmas[hyponym] for hyponym in _descendants(wnid, below))
        names = (own, tuple(dict.fromkeys(lower)), known.get(above[wnid], ()))
        found[wnid] = dict(zip(RELATIONS, names, strict=True))
    return found


def _split(lemmas: str | None) -> tuple[str, ...]:
    names = map(str.strip, (lemmas or "").split(","))
    return tuple(dict.fromkeys(filter(None, names)))


def with_irregular_plurals(
    names: Iterable[str], irregular: Mapping[str, Sequence[str]]
) -> tuple[str, ...]:
    """Return names and their irregular plurals, those of the last word or of the whole name.

    A name in capitals only is matched as it is written and has none.
    """
    found: dict[str, None] = {}
    for name in names:
        found[name] = None
        if not name.isupper():
            start = max(name.rfind(gap) for gap in " -") + 1
            found |= dict.fromkeys(
                name[:start] + form for form in irregular.get(name[start:].lower(), ())
            )
            found |= dict.fromkeys(irregular.get(name.lower(), ()))
    return tuple(found)


def _descendants(wnid: str, below: Mapping[str, list[str]]) -> list[str]:
    """Return all classes below one, each once, without itself."""
    found, waiting = {wnid: None}, [wnid]
    while waiting:
        lower = [c for c in below.get(waiting.pop(), ()) if c not in found]
        found |= dict.fromkeys(lower)
        waiting += lower
    return list(found)[1:]


def plurals(word: str) -> tuple[str, ...]:
    """Return a word and its regular plurals.

    -es after s, x, z, ch and sh; -ies for a consonant and y; -s or -es after o; -men or -mans for
    -man; otherwise -s.
    """
    lower = word.lower()
    if lower.endswith(("s", "x", "z", "ch", "sh")):
        return (word, f"{word}es")
    if re.search(r"[^\W\d_aeiou]y$", lower):
        return (word, f"{word[:-1]}ies")
    if lower.endswith("man"):
        return (word, f"{word}s", f"{word[:-2]}en")
    return (word, f"{word}s", f"{word}es") if lower.endswith("o") else (word, f"{word}s")


@cache
def pattern(name: str) -> re.Pattern[str]:
    """Return the regular expression that finds a name, which contains a letter or digit.

    It matches whole words, in a lower-cased text. A name in capitals only (OR, ER, C) is matched in
    the text as written, because in lower case it is a common word. Spaces and hyphens between words
    match each other; the last word may be a regular plural.
    """
    name = name if name.isupper() else name.lower()
    *first, last = filter(None, _GAP.split(name.replace("’", "'")))
    word = re.search(rf"{WORD.pattern}$", last)
    if word:
        start = re.escape(last[: word.start()])
        last = f"{start}(?:{'|'.join(map(re.escape, plurals(word[0])))})"
    else:
        last = re.escape(last)
    return re.compile(_BEFORE + _GAP.pattern.join([*map(re.escape, first), last]) + _AFTER)


@dataclass(frozen=True)
class Text:
    """A text prepared for searching: as written, in lower case, and its distinct words."""

    written: str
    lowered: str
    words: frozenset[str]


def prepare(text: str) -> Text:
    """Return a text prepared for searching, with all apostrophes as '."""
    written = text.replace("’", "'")
    lowered = written.lower()
    return Text(written, lowered, frozenset(WORD.findall(lowered)))


Index = Mapping[str, tuple[str, ...]]
"""Names by their first word, which a text must contain to contain the name."""


def index(names: Iterable[str]) -> Index:
    """Index names by their first word, so that few expressions must be tried on a text.

    A name of one word is also indexed by its plurals. One without letter or digit is left out.
    """
    by_word: dict[str, list[str]] = defaultdict(list)
    for name in names:
        words = WORD.findall(name.lower())
        for word in plurals(words[0]) if len(words) == 1 else words[:1]:
            by_word[word].append(name)
    return {word: tuple(found) for word, found in by_word.items()}


def named(text: Text, names: Index) -> bool:
    """Return whether a text contains one of the names."""
    small, large = sorted((text.words, names.keys()), key=len)
    return any(
        pattern(name).search(text.written if name.isupper() else text.lowered)
        for word in small
        if word in large
        for name in names[word]
    )


def mentioned(text: Text, names: Mapping[str, Index]) -> dict[str, bool]:
    """Return for each of `RELATIONS` whether a text contains one of its names."""
    return {relation: named(text, own) for relation, own in names.items()}


def indices(names: ClassNames) -> dict[str, Index]:
    """Return the indices of a class's names, by relation."""
    return {relation: index(own) for relation, own in names.items()}


def other_class(seed: int, image_id: str, wnid: str, classes: Sequence[str]) -> str | None:
    """Choose a random class of the sample's, which are sorted, other than an image's own `wnid`.

    Each of the other classes has the same probability, and an image always gets the same one; None
    where there is no other.
    """
    if len(classes) < 2:
        return None
    number = int.from_bytes(order_key(seed, "mentions", image_id))
    chosen = number % (len(classes) - 1)
    return classes[chosen + (classes[chosen] >= wnid)]
