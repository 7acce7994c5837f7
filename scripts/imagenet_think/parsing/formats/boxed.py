r"""VL-Rethinker: no tags, a chain of thought that ends in a last `\boxed{…}`.

That box is the one whose closing brace comes last (braces balanced, `\{` and `\}` not counted). The
answer begins with the sentence or line that contains the box: after the last line break before it,
or the last full stop, question or exclamation mark followed by white space. It continues to the end
of the text, so that no text is lost; but if nothing precedes that sentence, the answer ends with
it, and what follows explains it: that is the thinking. The box is replaced by its content; math
delimiters around it and a `\text{…}` that fills it are removed too. Earlier boxes, which the model
reconsidered, are thinking; only their command and braces are removed. A box that holds no word
(`within \boxed{}`) echoes the prompt, and is none.

Without a box, as in the authors' program, the answer is what the last `<answer>` introduces, or
otherwise the last "Answer:" (without the capital only where it begins a line or sentence). Without
any of them nothing is known to be thinking.
"""

import re

from imagenet_think.parsing.marks import ANSWER, THINK, Piece, Split, Tag, find, pieces, without
from imagenet_think.parsing.statuses import OK

RULE = (
    "Thinking is what precedes the sentence or line with the last closed \\boxed{...}, the answer "
    "what begins there, with the box replaced by its content; if there is no box, <answer> or "
    "'Answer:' begins the answer."
)

NO_BOX = "no_box"
FAILURES = {NO_BOX: "No closed box, answer tag or 'Answer:', so nothing marks the answer."}
OPEN = frozenset({NO_BOX})

BOX, TEXT = r"\boxed{", r"\text{"
TAGS = ("<answer>", "</answer>")
MARKS = (BOX, *TAGS)
BRACE = re.compile(r"\\boxed\{|\\[^\\]|[{}]", re.DOTALL)
BOUNDARY = re.compile(r"\n|[.!?][\"')*\]]*\s")
LABEL = re.compile(
    r"(?:(?:^|(?<=[.!?]\s))[ \t*#_>]*(?i:(?:the |my )?(?:final )?answer)[*_]*:|\bAnswer:)[*_]*",
    re.M,
)
WORD = re.compile(r"\w")
MATHEMATICS = (("\\[", "\\]"), ("\\(", "\\)"), ("$$", "$$"), ("$", "$"))

Span = tuple[int, int]


def split(text: str) -> Split:
    """Split a text without special tokens."""
    boxes, closing = _braces(text)
    spans = [(start, start + len(BOX)) for start in boxes]
    # Where a box begins, where its content begins, and where its closing brace is.
    closed = [(start, end, closing[end - 1]) for start, end in spans if end - 1 in closing]
    spans += [(brace, brace + 1) for _, _, brace in closed]
    filled = [box for box in closed if WORD.search(text, box[1], box[2])]
    # An empty box is the answer only where it ends the text.
    last = [box for box in closed if not WORD.search(text, box[2])]
    if (filled or last) and find(text, TAGS):
        return split(without(text, TAGS))
    if filled or last:
        return _boxed(text, spans, closing, max(filled or last, key=lambda box: box[2]))
    begin = _introduction(text)
    if begin is None:
        return Split(_pieces(text, spans, (0, len(text)), None), NO_BOX, think=NO_BOX)
    think = _pieces(text, spans, (0, begin.start), THINK)
    return Split([*think, *_pieces(text, spans, (begin.end, len(text)), ANSWER)], OK)


def _pieces(text: str, spans: list[Span], inside: Span, part: str | None) -> list[Piece]:
    """Return the pieces of a span between answer tags, without boxes."""
    words = _without(text, spans, inside)
    return pieces(words, find(words, TAGS), part)


def _boxed(
    text: str, spans: list[Span], closing: dict[int, int], box: tuple[int, int, int]
) -> Split:
    """Split a text at the sentence that has its last box."""
    start, end, brace = box
    inner = _inner(text, (end, brace), closing)
    outer = _outer(text, (start, brace + 1))
    spans = [*spans, (outer[0], inner[0]), (inner[1], outer[1])]
    begin = max((match.end() for match in BOUNDARY.finditer(text, 0, outer[0])), default=0)
    part = ANSWER if _without(text, spans, inner) else None
    think, stop = _without(text, spans, (0, begin)), len(text)
    if not think and (boundary := BOUNDARY.search(text, outer[1])):
        stop = boundary.end()
        think = _without(text, spans, (stop, len(text)))
    return Split(
        [Piece(THINK, think), Piece(part, _without(text, spans, (begin, stop)))], OK, False
    )


def _introduction(text: str) -> Tag | None:
    """Return the mark that introduces an answer without a box, or None."""
    tags = [tag for tag in find(text, TAGS) if tag.name == ANSWER]
    labels = [Tag("label", match.start(), match.end()) for match in LABEL.finditer(text)]
    return next((mark for mark in (*tags[::-1], *labels[::-1]) if text[mark.end :].strip()), None)


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
