"""The rule that the tagged formats share: marks count by their place, as in the authors' programs.

The thinking ends at its last closing tag, or at the last one that an answer tag follows. What
precedes it is thinking, with or without an opening tag: that tag may be part of the chat template,
or occur twice in a row if a model repeats the one that starts its response. What follows it is the
answer, inside answer tags or not. So an answer tag within the thinking is text, unless nothing
follows the thinking: then the last one begins the answer.

Of a text without closing tag, the last answer tag begins the answer. A violation of the format is
named, but a part that is clear from the marks is known all the same.
"""

from collections.abc import Sequence

from imagenet_think.parsing.marks import ANSWER, THINK, Piece, Split, Tag, find, pieces
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
        them, answer and /answer. Other tags are only removed.

    Returns
    -------
    Split
        In a text without a think tag, text outside answer tags belongs to neither part, nor does
        text between two blocks of thinking.
    """
    found = find(text, tags)
    names = [tag.name for tag in found]
    closes = [k for k, name in enumerate(names) if name == "/think"]
    if not closes:
        return _unclosed(text, found)
    end = next((k for k in reversed(closes) if _begins_answer(text, found, k)), closes[-1])
    answer, later = _after(text[found[end].end :], _moved(found[end + 1 :], -found[end].end))
    before, thought = found[:end], text[: found[end].start]
    if not any(piece.text for piece in answer) and "answer" in names[:end]:
        k = _last(before, "answer")
        inside, after = _answer(thought, before[k:])
        thinking, _ = _blocks(thought[: before[k].start], before[:k])
        return Split([*thinking, *inside, *after], ANSWER_INSIDE_THINK, closed=True)
    thinking, several = _blocks(thought, before)
    unclear = later or any(piece.part is None and piece.text for piece in thinking)
    return Split(
        [*thinking, *answer],
        SEVERAL_THINKS if several or later else OK,
        closed=True,
        think=SEVERAL_THINKS if unclear else OK,
    )


def _begins_answer(text: str, found: Sequence[Tag], k: int) -> bool:
    """Return whether an answer tag follows a tag, with nothing in between."""
    return (
        k + 1 < len(found)
        and found[k + 1].name == "answer"
        and not text[found[k].end : found[k + 1].start].strip()
    )


def _last(found: Sequence[Tag], name: str) -> int:
    return max(k for k, tag in enumerate(found) if tag.name == name)


def _moved(found: Sequence[Tag], by: int) -> list[Tag]:
    return [Tag(tag.name, tag.start + by, tag.end + by) for tag in found]


def _unclosed(text: str, found: Sequence[Tag]) -> Split:
    """Split a text without closing tag."""
    names = [tag.name for tag in found]
    opened = "think" in names
    status, part = (UNCLOSED_THINK, THINK) if opened else (NO_THINK, None)
    if "answer" not in names:
        return Split(pieces(text, found, part), status, closed=False, think=status)
    k = _last(found, "answer")
    before = [tag for tag in found[:k] if not opened or tag.name not in ("answer", "/answer")]
    answer, after = _answer(text, found[k:])
    thinking = pieces(text[: found[k].start], before, part)
    after = [Piece(part, piece.text) for piece in after]
    return Split([*thinking, *answer, *after], status, closed=opened)


def _answer(text: str, found: Sequence[Tag]) -> tuple[list[Piece], list[Piece]]:
    """Return the pieces from an answer tag, the first of the tags, to its closing one, and after.

    What follows the closing tag is thinking: the answer is inside of it.
    """
    start = found[0].end
    end = next((k for k, tag in enumerate(found) if tag.name == "/answer"), len(found))
    stop = found[end].start if end < len(found) else len(text)
    inside = pieces(text[start:stop], _moved(found[1:end], -start), ANSWER)
    if end == len(found):
        return inside, []
    rest = found[end].end
    return inside, pieces(text[rest:], _moved(found[end + 1 :], -rest), THINK)


def _after(text: str, found: Sequence[Tag]) -> tuple[list[Piece], bool]:
    """Return the pieces after the thinking, and whether a later block of thinking is among them."""
    cut = pieces(text, found, ANSWER)
    thinking, later, parts = False, False, [cut[0]]
    for tag, piece in zip(found, cut[1:], strict=True):
        if tag.name in ("think", "/think"):
            thinking = tag.name == "think"
            later = later or bool(thinking or piece.text)
        parts.append(Piece(THINK if thinking else ANSWER, piece.text))
    return parts, later


def _blocks(text: str, found: Sequence[Tag]) -> tuple[list[Piece], bool]:
    """Return the pieces of the thinking, and whether more than one block of it holds text.

    The text begins within the thinking, with or without an opening tag, and ends where it is
    closed. Text between two blocks belongs to neither part.
    """
    marks, last = [], "think"
    for tag in found:
        last = tag.name if tag.name in ("think", "/think") else last
        if last == "/think" or tag.name not in ("answer", "/answer"):
            marks.append(tag)  # within the thinking, an answer tag is text
    found = marks
    cut = pieces(text, found, THINK)
    parts, depth, several, begun, held = [cut[0]], 1, False, False, bool(cut[0].text)
    for tag, piece in zip(found, cut[1:], strict=True):
        if tag.name == "think" and begun:
            several = several or held
            depth += depth == 0 or bool(parts[-1].text)
        elif tag.name == "/think":
            depth = max(depth - 1, 0)
        begun = begun or tag.name in ("think", "/think")
        several = several or bool(piece.text and not depth)
        held = held or bool(piece.text)
        parts.append(Piece(THINK if depth else None, piece.text))
    return parts, several
