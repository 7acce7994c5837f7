"""VisionThink: `<think>…</think>`, then `<tool_call>{…}</tool_call>` or `<answer>…</answer>`.

A call requests the image at full size and ends a round; the text is that of all rounds, one after
the other.
"""

from imagenet_think.parsing import tagged, tool_calls
from imagenet_think.parsing.marks import ANSWER, THINK, Piece, Split, find, pieces
from imagenet_think.parsing.statuses import OK
from imagenet_think.parsing.tagged import NO_THINK, OPEN

__all__ = ["FAILURES", "MARKS", "OPEN", "RULE", "split"]

RULE = (
    "Tool calls end rounds and are removed; thinking is the text of all rounds before the last "
    "round's </think> (or <answer>, if that round does not think), the answer what follows it."
)

TOOL_CALL_WITHOUT_ANSWER = "tool_call_without_answer"
FAILURES = tagged.FAILURES | {TOOL_CALL_WITHOUT_ANSWER: "No answer follows the last tool call."}

MARKS = (*tagged.MARKS, *tool_calls.MARKS)


def split(text: str) -> Split:
    """Split a text without special tokens."""
    *earlier, last = _rounds(text)
    end = tagged.split(last, MARKS)
    if not earlier:
        return end
    cut = [pieces(generated, find(generated, MARKS), THINK) for generated in earlier]
    before = [piece for round_pieces in cut for piece in round_pieces]
    answer = [place for place, piece in enumerate(end.pieces) if piece.part == ANSWER]
    if end.status == NO_THINK and not answer:
        return Split([*before, *end.pieces], TOOL_CALL_WITHOUT_ANSWER, closed=True)
    if end.status == NO_THINK:  # after the thinking of an earlier round, an answer is enough
        parts = [THINK if place < answer[0] else ANSWER for place in range(len(end.pieces))]
        rest = [Piece(part, piece.text) for part, piece in zip(parts, end.pieces, strict=True)]
        end = Split(rest, OK, closed=True)
    statuses = [tagged.split(generated, MARKS).status for generated in earlier]
    failures = [found for found in statuses if found not in (OK, NO_THINK)]
    status = failures[0] if failures else end.status
    return end._replace(pieces=[*before, *end.pieces], status=status)


def _rounds(text: str) -> list[str]:
    """Return the text of each round, without its call.

    A call that is never closed ends a round too, but loses only its tag: what follows may be more
    than the call.
    """
    cuts = [(call.start, call.end) for call in tool_calls.calls(text)]
    last = cuts[-1][1] if cuts else 0
    cuts += [(last + tag.start, last + tag.end) for tag in find(text[last:], [tool_calls.OPENING])]
    starts = [0, *(end for _, end in cuts)]
    ends = [*(start for start, _ in cuts), len(text)]
    return [text[start:end] for start, end in zip(starts, ends, strict=True)]
