"""Special tokens and tags in a generated text, and the pieces of text between them.

A tag that the text only names ("put it in <answer> tags", "`</think>`") is no mark: it is text.
"""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

THINK, ANSWER = "think", "answer"

SPECIAL_TOKEN = re.compile(r"<\|[a-z0-9_]{1,40}\|>")
"""Special tokens that cannot be confused with text, including GLM's marks of a boxed answer."""

QUOTES = {'"': '"', "'": "'", "`": "`", "“": "”", "‘": "’", "«": "»", "「": "」"}
NAMED = re.compile(r"[ \t]+(?:and|or|tags?|marks?|markers?|tokens?|blocks?|sections?|elements?)\b")
"""What follows a tag that is named in a sentence."""
BETWEEN = re.compile(r"[ \t]*(?:and|or|/|,|…|\.\.\.)?[ \t]*")
"""What may be between the tags of a pair that is named in a sentence."""


class Piece(NamedTuple):
    """Text between two marks.

    Attributes
    ----------
    part
        `THINK`, `ANSWER`, or None if that is unknown.
    text
        The text, stripped; possibly empty.
    """

    part: str | None
    text: str


class Split(NamedTuple):
    """All pieces of a text in order, and what its marks imply.

    Attributes
    ----------
    pieces
        The pieces.
    status
        `ok`, or how the text violates its format. The parts may be known all the same.
    closed
        Whether a mark ends the thinking, so that what follows cannot change it.
    think
        `ok`, or why the pieces of thinking are not known to be the whole thinking.
    """

    pieces: list[Piece]
    status: str
    closed: bool = False
    think: str = "ok"


class Tag(NamedTuple):
    """A tag in a text: its name without brackets ("think", "/think"), and where it is."""

    name: str
    start: int
    end: int


def without_special_tokens(text: str, tokens: Sequence[str] = ()) -> str:
    """Return `text` without special tokens.

    Parameters
    ----------
    text
        Any text.
    tokens
        Those that look like text: "<ref>", which is kept where the text only names it (`find`), and
        "[PAD]", which is removed only from the ends of the text.
    """
    tags = [SPECIAL_TOKEN.pattern, *(re.escape(token) for token in tokens if token[0] == "<")]
    text = _without(text, re.compile("|".join(tags)))
    words = [token for token in tokens if token[0] == "["]
    ends = "|".join([r"\s", *map(re.escape, words)])
    text = re.sub(rf"\A(?:{ends})+", "", text)
    end = len(text)
    while size := _last(text, end, words):
        end -= size
    return text[:end]


def without(text: str, tags: Sequence[str]) -> str:
    """Return `text` without those tags that are marks."""
    return _without(text, re.compile("|".join(map(re.escape, tags))))


def _without(text: str, pattern: re.Pattern[str]) -> str:
    # Removing a tag can join the halves of another; replacing it by a space cannot.
    for filler in ("", " "):
        text = filler.join(_between(text, _find(text, pattern)))
    return text


def _last(text: str, end: int, words: Sequence[str]) -> int:
    """Return the length of the word or white space that ends at a place; 0 if there is none."""
    if end and text[end - 1].isspace():
        return 1
    return next((len(word) for word in words if text.endswith(word, 0, end)), 0)


def find(text: str, tags: Sequence[str]) -> list[Tag]:
    """Return the tags of a text that are marks, in order; those that it only names are left out.

    A tag is only named if it is in quotes, if words such as "tags" or "and" follow it within a
    sentence, or if it forms a pair with such a tag ("<think> and </think> tags").

    Parameters
    ----------
    text
        Any text.
    tags
        The tags, such as "<think>"; their first and last characters are brackets.
    """
    return _find(text, re.compile("|".join(map(re.escape, tags))))


def _find(text: str, pattern: re.Pattern[str]) -> list[Tag]:
    found = [Tag(m[0][1:-1], m.start(), m.end()) for m in pattern.finditer(text)]
    named = [_is_named(text, tag, tag) for tag in found]
    for k, (first, second) in enumerate(pairwise(found)):
        gap = text[first.end : second.start] if second.start - first.end < 9 else "-"
        pair = second.name == f"/{first.name}" and BETWEEN.fullmatch(gap)
        if pair and (named[k] or _is_named(text, first, second)):
            named[k] = named[k + 1] = True
    return [tag for tag, only_named in zip(found, named, strict=True) if not only_named]


def _is_named(text: str, first: Tag, last: Tag) -> bool:
    """Return whether a sentence names what begins with one tag and ends with another."""
    if first.name.startswith("|"):  # a special token, which is never text
        return False
    before = text[first.start - 1] if first.start else ""
    if before in QUOTES and text.startswith(QUOTES[before], last.end):
        # Not where one quotation ends before the tag, and another begins after it.
        return text[max(first.start - 2, 0) : first.start - 1] in ("", " ", "\t", "\n", "(", "[")
    return before in (" ", "\t") and NAMED.match(text, last.end) is not None


def pieces(text: str, tags: Sequence[Tag], part: str | None) -> list[Piece]:
    """Return the pieces of a text between tags; the tags' positions are in this text."""
    return [Piece(part, piece.strip()) for piece in _between(text, tags)]


def _between(text: str, tags: Sequence[Tag]) -> list[str]:
    starts = [0, *(tag.end for tag in tags)]
    ends = [*(tag.start for tag in tags), len(text)]
    return [text[start:end] for start, end in zip(starts, ends, strict=True)]
