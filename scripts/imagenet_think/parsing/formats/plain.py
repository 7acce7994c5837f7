"""Models that answer without thinking: the whole text is the answer."""

from imagenet_think.parsing.marks import ANSWER, Piece, Split
from imagenet_think.parsing.statuses import OK
from imagenet_think.parsing.tagged import NO_THINK

RULE = "The whole text is the answer, because the model is not meant to think."

FAILURES: dict[str, str] = {}
OPEN: frozenset[str] = frozenset()
MARKS = ()

THINKS = False


def split(text: str) -> Split:
    """Return a text without special tokens as the answer."""
    return Split([Piece(ANSWER, text.strip())], OK, closed=True, think=NO_THINK)
