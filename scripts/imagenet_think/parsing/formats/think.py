"""InternVL3.5 and R1-Onevision: `<think>…</think>`, then free text.

R1-Onevision sometimes closes its thinking only after the answer. Then nothing follows, and a line
of the thinking announces the answer.
"""

import re

from imagenet_think.parsing import tagged
from imagenet_think.parsing.marks import ANSWER, THINK, Split
from imagenet_think.parsing.statuses import OK
from imagenet_think.parsing.tagged import ANSWER_INSIDE_THINK, FAILURES, MARKS, OPEN

__all__ = ["FAILURES", "MARKS", "OPEN", "RULE", "SPECIAL_TOKENS", "split"]

RULE = (
    "Thinking is what precedes </think>, the answer the free text after it; <think> is removed and "
    "may be missing."
)

SPECIAL_TOKENS = (
    *("<ref>", "</ref>", "<box>", "</box>", "<quad>", "</quad>", "<img>", "</img>"),
    "<IMG_CONTEXT>",
)

ANNOUNCEMENT = re.compile(r"^[^\w\n]*(?:the )?(?:final )?answer\b|\\boxed\{", re.I | re.M)


def split(text: str) -> Split:
    """Split a text without special tokens."""
    found = tagged.split(text)
    answered = any(piece.text for piece in found.pieces if piece.part == ANSWER)
    announced = any(ANNOUNCEMENT.search(p.text) for p in found.pieces if p.part == THINK)
    if found.status == OK and announced and not answered:
        return found._replace(status=ANSWER_INSIDE_THINK)
    return found
