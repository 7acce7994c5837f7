"""Special tokens and tags in a generated text, and the pieces of text between them."""

import re
from typing import NamedTuple

THINK, ANSWER = "think", "answer"

SPECIAL_TOKEN = re.compile(
    r"<\|[a-z0-9_]{1,40}\|>|\[(?:BOS|EOS|EOT|PAD|UNK|g?MASK|sMASK)\]|<[se]op>"
)
"""What the seven tokenizers call special, among them GLM's marks of a boxed answer."""


class Piece(NamedTuple):
    """Text between two marks.

    Attributes
    ----------
    part
        `THINK`, `ANSWER`, or None where the format cannot tell.
    text
        The text, without outer white space; possibly empty.
    """

    part: str | None
    text: str


class Split(NamedTuple):
    """A text taken apart: all its pieces in order, and what its marks say of it."""

    pieces: list[Piece]
    status: str


def without_special_tokens(text: str) -> str:
    """Return `text` without special tokens.

    Taking one out can join the halves of another; a space in its place cannot, so two passes are
    enough for any text.
    """
    return SPECIAL_TOKEN.sub(" ", SPECIAL_TOKEN.sub("", text))


def cut(text: str, tags: re.Pattern[str]) -> list[tuple[str, str]]:
    """Cut `text` at its tags.

    Parameters
    ----------
    text
        Any text.
    tags
        Matches a tag, as its only group.

    Returns
    -------
    list of (str, str)
        The tag before a piece, without its brackets ("think", "/think"; "" at the beginning), and
        the piece without outer white space.
    """
    pieces = ["", *tags.split(text)]
    return [
        (tag[1:-1], piece.strip()) for tag, piece in zip(pieces[::2], pieces[1::2], strict=True)
    ]
