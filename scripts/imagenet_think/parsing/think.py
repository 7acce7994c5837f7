"""InternVL3.5 and R1-Onevision: `<think>…</think>`, then free text.

R1-Onevision can close its thinking only after the answer. Then nothing follows, and a line of the
thinking announces the answer.
"""

import re

from imagenet_think.parsing import blocks
from imagenet_think.parsing.marks import ANSWER, THINK, Split
from imagenet_think.parsing.statuses import ANSWER_INSIDE_THINK, OK

RULE = (
    "Thinking is what stands before </think>, the answer the free text after it; <think> is "
    "removed and may be missing."
)

ANNOUNCED = re.compile(r"^[^\w\n]*(?:the )?(?:final )?answer\b|\\boxed\{", re.I | re.M)


def split(text: str) -> Split:
    """Take a text without special tokens apart."""
    pieces, status = blocks.split(text)
    answered = any(piece.text for piece in pieces if piece.part == ANSWER)
    announced = any(ANNOUNCED.search(piece.text) for piece in pieces if piece.part == THINK)
    if status == OK and announced and not answered:
        status = ANSWER_INSIDE_THINK
    return Split(pieces, status)
