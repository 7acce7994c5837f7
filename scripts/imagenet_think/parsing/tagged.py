"""The rule that the tagged formats share: the thinking ends at its closing tag.

Everything before the closing tag is thinking, with or without an opening tag: that tag may be part
of the chat template, or occur twice in a row if a model repeats the one that starts its response.
Everything after the closing tag is the answer, inside answer tags or not. So no text is lost: in a
text that parses, every piece belongs to one of the parts.
"""

from collections.abc import Sequence
from itertools import pairwise

from imagenet_think.parsing.marks import ANSWER, THINK, Piece, Split, cut
from imagenet_think.parsing.statuses import OK

NO_THINK = "no_think"
UNCLOSED_THINK = "unclosed_think"
SEVERAL_THINKS = "several_thinks"
ANSWER_INSIDE_THINK = "answer_inside_think"

FAILURES = {
    NO_THINK: "No mark of thinking anywhere.",
    UNCLOSED_THINK: "The thinking is opened and never closed.",
    SEVERAL_THINKS: "More than one block of thinking where the format has one.",
    ANSWER_INSIDE_THINK: "The answer is given before the thinking is closed.",
}

OPEN = frozenset({NO_THINK, UNCLOSED_THINK})

MARKS = ("<think>", "</think>", "<answer>", "</answer>")


def split(text: str, tags: Sequence[str] = MARKS) -> Split:
    """Split a tagged text.

    Parameters
    ----------
    text
        The text without special tokens.
    tags
        The format's tags; without their brackets they read think, /think and, if the format has
        them, answer and /answer.

    Returns
    -------
    Split
        If the text violates the format, a piece inside opened thinking or inside answer tags still
        belongs to that part. In a text without a think tag, text outside answer tags belongs to
        neither part.
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
    """Return the status that a text's tags and pieces (`marks.cut`) imply."""
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
