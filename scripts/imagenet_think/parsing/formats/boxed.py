r"""VL-Rethinker: no tags, a chain of thought that ends in a last `\boxed{…}`.

That box is the one whose closing brace comes last (braces balanced, `\{` and `\}` not counted). The
answer begins with the sentence or line that contains the box: after the last line break before it,
or the last full stop, question or exclamation mark followed by white space. It continues to the end
of the text, so that no text is lost. The box is replaced by its content; math delimiters around it
and a `\text{…}` that fills it are removed too. Earlier boxes, which the model reconsidered, are
thinking; only their command and braces are removed.
"""

import re

from imagenet_think.parsing.marks import ANSWER, THINK, Piece, Split
from imagenet_think.parsing.statuses import OK

RULE = (
    "Thinking is what precedes the sentence or line with the last closed \\boxed{...}, the answer "
    "what begins there, with the box replaced by its content."
)

NO_BOX = "no_box"
FAILURES = {NO_BOX: "No box that is closed, so nothing marks the answer."}
OPEN = frozenset({NO_BOX})

BOX, TEXT = r"\boxed{", r"\text{"
MARKS = (BOX,)
BRACE = re.compile(r"\\boxed\{|\\[^\\]|[{}]", re.DOTALL)
BOUNDARY = re.compile(r"\n|[.!?][\"')*\]]*\s")
MATHEMATICS = (("\\[", "\\]"), ("\\(", "\\)"), ("$$", "$$"), ("$", "$"))

Span = tuple[int, int]


def split(text: str) -> Split:
    """Split a text without special tokens."""
    boxes, closing = _braces(text)
    spans = [(start, start + len(BOX)) for start in boxes]
    # Where a box begins, where its content begins, and where its closing brace is.
    closed = [(start, end, closing[end - 1]) for start, end in spans if end - 1 in closing]
    if not closed:
        return Split([Piece(None, _without(text, spans, (0, len(text))))], NO_BOX)
    spans += [(brace, brace + 1) for _, _, brace in closed]
    start, end, brace = max(closed, key=lambda box: box[2])
    inner = _inner(text, (end, brace), closing)
    outer = _outer(text, (start, brace + 1))
    spans += [(outer[0], inner[0]), (inner[1], outer[1])]
    begin = max((match.end() for match in BOUNDARY.finditer(text, 0, outer[0])), default=0)
    part = ANSWER if _without(text, spans, inner) else None
    think = Piece(THINK, _without(text, spans, (0, begin)))
    return Split([think, Piece(part, _without(text, spans, (begin, len(text))))], OK)


def _braces(text: str) -> tuple[list[int], dict[int, int]]:
    """Return the positions of boxes, and of the closing brace by that of the opening brace."""
    boxes: list[int] = []
    closing: dict[int, int] = {}
    stack: list[int] = []
    for match in BRACE.finditer(text):
        if match.group() == BOX:
            boxes.append(match.start())
        if match.group() in (BOX, "{"):
            stack.append(match.end() - 1)
        elif match.group() == "}" and stack:
            closing[stack.pop()] = match.start()
    return boxes, closing


def _inner(text: str, content: Span, closing: dict[int, int]) -> Span:
    r"""Return the span of a box's content, without a `\text{…}` that fills it."""
    words = text[slice(*content)]
    start = content[0] + len(words) - len(words.lstrip())
    end = start + len(words.strip())
    if text.startswith(TEXT, start) and closing.get(start + len(TEXT) - 1) == end - 1:
        return start + len(TEXT), end - 1
    return content


def _outer(text: str, box: Span) -> Span:
    """Return the span of a box including math delimiters around it."""
    before, after = text[: box[0]].rstrip(), text[box[1] :]
    skipped = len(after) - len(after.lstrip())
    for left, right in MATHEMATICS:
        if before.endswith(left) and after.startswith(right, skipped):
            return len(before) - len(left), box[1] + skipped + len(right)
    return box


def _without(text: str, spans: list[Span], inside: Span) -> str:
    """Return the text inside a span, without the given spans, which may overlap."""
    kept, position = [], inside[0]
    for start, end in sorted(spans):
        kept.append(text[position : min(start, inside[1])])
        position = max(position, min(end, inside[1]))
    kept.append(text[position : inside[1]])
    # Removing a command can join the halves of another; replacing it by a space cannot.
    return "".join(kept).replace(BOX, " ").strip()
