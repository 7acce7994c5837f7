"""Special tokens and tags in a generated text, and the pieces of text between them."""

import re
from collections.abc import Sequence
from typing import NamedTuple

THINK, ANSWER = "think", "answer"

SPECIAL_TOKEN = re.compile(
    r"<\|[a-z0-9_]{1,40}\|>|\[(?:BOS|EOS|EOT|PAD|UNK|g?MASK|sMASK)\]|<[se]op>"
)
"""The special tokens of the seven tokenizers, including GLM's marks of a boxed answer."""


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
    """All pieces of a text in order, and the status that its marks imply."""

    pieces: list[Piece]
    status: str


def without_special_tokens(text: str) -> str:
    """Return `text` without special tokens.

    Removing one can join the halves of another; replacing it by a space cannot, so two passes are
    enough for any text.
    """
    return SPECIAL_TOKEN.sub(" ", SPECIAL_TOKEN.sub("", text))


def cut(text: str, tags: Sequence[str]) -> list[tuple[str, str]]:
    """Cut `text` at its tags.

    Parameters
    ----------
    text
        Any text.
    tags
        The tags, such as "<think>"; their first and last characters are brackets.

    Returns
    -------
    list of (str, str)
        The tag before each piece, without its brackets ("think", "/think"; "" at the beginning),
        and the stripped piece.
    """
    pieces = ["", *re.split(f"({'|'.join(map(re.escape, tags))})", text)]
    return [
        (tag[1:-1], piece.strip()) for tag, piece in zip(pieces[::2], pieces[1::2], strict=True)
    ]
