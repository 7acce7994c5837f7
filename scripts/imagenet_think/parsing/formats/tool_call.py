"""VisionThink: `<think>…</think>`, then `<tool_call>{…}</tool_call>` or `<answer>…</answer>`.

A call requests the image at full size and ends a round; the text is that of all rounds, one after
the other.
"""

import re

from imagenet_think.parsing import tagged
from imagenet_think.parsing.marks import THINK, Piece, Split, cut
from imagenet_think.parsing.statuses import OK
from imagenet_think.parsing.tagged import NO_THINK, OPEN

__all__ = ["FAILURES", "MARKS", "OPEN", "RULE", "split"]

RULE = (
    "Tool calls end rounds and are removed; thinking is the text of all rounds before the last "
    "round's </think> (or <answer>, if that round does not think), the answer what follows it."
)

TOOL_CALL_WITHOUT_ANSWER = "tool_call_without_answer"
FAILURES = tagged.FAILURES | {TOOL_CALL_WITHOUT_ANSWER: "No answer follows the last tool call."}

MARKS = (*tagged.MARKS, "<tool_call>", "</tool_call>")

# An unclosed call loses only its tag: what follows may be more than the call.
CALL = re.compile(r"<tool_call>(?:[^<]*</tool_call>)?")
TAGS = tuple(mark for mark in MARKS if mark != "<tool_call>")


def split(text: str) -> Split:
    """Split a text without special tokens."""
    *earlier, last = CALL.split(text)
    if not earlier:
        return tagged.split(text, TAGS)
    rounds = [cut(generated, TAGS) for generated in earlier]
    pieces = [Piece(THINK, piece) for cuts in rounds for _, piece in cuts]
    end, status = tagged.split(last, TAGS)
    if status == NO_THINK:  # after the thinking of an earlier round, an answer is enough
        end, status = tagged.split(last.replace("<answer>", "</think><answer>", 1), TAGS)
    if status == NO_THINK:
        return Split(pieces + end, TOOL_CALL_WITHOUT_ANSWER)
    statuses = [tagged.status_of(cuts) for cuts in rounds]
    failures = [found for found in statuses if found not in (OK, NO_THINK)]
    return Split(pieces + end, failures[0] if failures else status)
