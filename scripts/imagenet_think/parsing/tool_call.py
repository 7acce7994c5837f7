"""VisionThink: `<think>…</think>`, then `<tool_call>{…}</tool_call>` or `<answer>…</answer>`.

A call asks for the image at full size and ends a round; the text holds what all rounds generated,
one after the other.
"""

import re

from imagenet_think.parsing import blocks
from imagenet_think.parsing.marks import THINK, Piece, Split, cut
from imagenet_think.parsing.statuses import NO_THINK, OK, TOOL_CALL_WITHOUT_ANSWER

RULE = (
    "Tool calls end rounds and are removed; thinking is the text of all rounds before the last "
    "round's </think> (or <answer>, where that round does not think), the answer what stands "
    "after it."
)

# A call that is not closed loses its tag alone: what follows might be more than the call.
CALL = re.compile(r"<tool_call>(?:[^<]*</tool_call>)?")
TAGS = re.compile(r"(</?(?:think|answer)>|</tool_call>)")


def split(text: str) -> Split:
    """Take a text without special tokens apart."""
    *asking, last = CALL.split(text)
    if not asking:
        return blocks.split(text, TAGS)
    rounds = [cut(generated, TAGS) for generated in asking]
    pieces = [Piece(THINK, piece) for cuts in rounds for _, piece in cuts]
    end, status = blocks.split(last, TAGS)
    if status == NO_THINK:  # after an earlier round's thinking, an answer is enough
        end, status = blocks.split(last.replace("<answer>", "</think><answer>", 1), TAGS)
    if status == NO_THINK:
        return Split(pieces + end, TOOL_CALL_WITHOUT_ANSWER)
    statuses = [blocks.status_of(cuts) for cuts in rounds]
    failures = [found for found in statuses if found not in (OK, NO_THINK)]
    return Split(pieces + end, failures[0] if failures else status)
