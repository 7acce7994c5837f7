r"""VL-Rethinker: no tags, a chain of thought whose result stands in a last `\boxed{…}`.

The box is the one whose closing brace stands last (braces balanced, `\{` and `\}` not counted).
The answer begins with the sentence or line that holds the box: behind the last line break, or the
last full stop, question or exclamation mark with white space after it, before the box. It goes on
to the end of the text, so that no text is lost. The box is replaced by its content, together with
delimiters of mathematics around it and a `\text{…}` that fills it. Earlier boxes, whose results the
model has thought over again, are thinking; of them the command and the brace are removed.
"""

import re

from imagenet_think.parsing.marks import ANSWER, THINK, Piece, Split
from imagenet_think.parsing.statuses import NO_BOX, OK

RULE = (
    "Thinking is what stands before the sentence or line that holds the last closed \\boxed{...}, "
    "the answer what begins there, with the box replaced by its content."
)

BOX, TEXT = r"\boxed{", r"\text{"
BRACE = re.compile(r"\\boxed\{|\\[^\\]|[{}]", re.DOTALL)
BOUNDARY = re.compile(r"\n|[.!?][\"')*\]]*\s")
MATHEMATICS = (("\\[", "\\]"), ("\\(", "\\)"), ("$$", "$$"), ("$", "$"))

Span = tuple[int, int]


def split(text: str) -> Split:
    """Take a text without special tokens apart."""
    boxes, closing = _braces(text)
    spans = [(start, start + len(BOX)) for start in boxes]
    closed = [closing[end - 1] for _, end in spans if end - 1 in closing]
    if not closed:
        return Split([Piece(None, _without(text, spans, (0, len(text))))], NO_BOX)
    last = max(
        (span for span in spans if span[1] - 1 in closing), key=lambda span: closing[span[1] - 1]
    )
    spans += [(end, end + 1) for end in closed]
    inner = _inner(text, (last[1], closing[last[1] - 1]), closing)
    outer = _outer(text, (last[0], closing[last[1] - 1] + 1))
    spans += [(outer[0], inner[0]), (inner[1], outer[1])]
    begin = max((match.end() for match in BOUNDARY.finditer(text, 0, outer[0])), default=0)
    part = ANSWER if _without(text, spans, inner) else None
    think = Piece(THINK, _without(text, spans, (0, begin)))
    return Split([think, Piece(part, _without(text, spans, (begin, len(text))))], OK)


def _braces(text: str) -> tuple[list[int], dict[int, int]]:
    """Return where boxes start, and for each brace that is closed where that is."""
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
    """Return the span of a box with the delimiters of mathematics around it."""
    before, after = text[: box[0]].rstrip(), text[box[1] :]
    skipped = len(after) - len(after.lstrip())
    for left, right in MATHEMATICS:
        if before.endswith(left) and after.startswith(right, skipped):
            return len(before) - len(left), box[1] + skipped + len(right)
    return box


def _without(text: str, spans: list[Span], inside: Span) -> str:
    """Return the text inside a span without other spans, which may overlap."""
    kept, position = [], inside[0]
    for start, end in sorted(spans):
        kept.append(text[position : min(start, inside[1])])
        position = max(position, min(end, inside[1]))
    kept.append(text[position : inside[1]])
    # Taking a command out can join the halves of another; a space in its place cannot.
    return "".join(kept).replace(BOX, " ").strip()
