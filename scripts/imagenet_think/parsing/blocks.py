"""The rule that the tagged formats share: the thinking ends at its closing tag.

What stands before the closing tag is thinking, with or without an opening tag, because that one
can be part of the chat template, or twice in a row, because a model can repeat the one that its
answer is made to begin with. What stands after it is the answer, inside answer tags or not. So no
text is lost: in a text that parses, every piece belongs to one of the parts.
"""

import re
from itertools import pairwise

from imagenet_think.parsing.marks import ANSWER, THINK, Piece, Split, cut
from imagenet_think.parsing.statuses import (
    ANSWER_INSIDE_THINK,
    NO_THINK,
    OK,
    SEVERAL_THINKS,
    UNCLOSED_THINK,
)

TAGS = re.compile(r"(</?(?:think|answer)>)")


def split(text: str, tags: re.Pattern[str] = TAGS) -> Split:
    """Take a tagged text apart.

    Parameters
    ----------
    text
        The text without special tokens.
    tags
        Matches a tag of the format, as its only group; without their brackets the tags read
        think, /think and, where the format has them, answer and /answer.

    Returns
    -------
    Split
        Where the text is not as the format has it, inside opened thinking and inside answer tags
        a piece still belongs to that part. In a text without a think tag, text outside answer
        tags belongs to none.
    """
    cuts = cut(text, tags)
    status = status_of(cuts)
    before_answer = None if status == NO_THINK else THINK
    thinking = True
    pieces = []
    for tag, piece in cuts:
        if tag in ("think", "/think"):
            thinking = tag == "think"
        answering = tag == "answer" or not thinking
        pieces.append(Piece(ANSWER if answering else before_answer, piece))
    return Split(pieces, status)


def status_of(cuts: list[tuple[str, str]]) -> str:
    """Return what the tags of a text say of it, from its tags and pieces (`marks.cut`)."""
    tags = [
        tag
        for (tag, piece), (following, _) in pairwise([*cuts, ("", "")])
        if (tag, piece, following) != ("think", "", "think")
    ]
    thinks = [tag for tag in tags if tag in ("think", "/think")]
    if not thinks:
        return NO_THINK
    if "/think" not in thinks:
        return UNCLOSED_THINK
    if thinks not in (["think", "/think"], ["/think"]):
        return SEVERAL_THINKS
    if "answer" in tags[: tags.index("/think")]:
        return ANSWER_INSIDE_THINK
    return OK
