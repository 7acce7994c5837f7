"""Splitting generated texts into thinking and answer (section 3.2), by the model's format."""

from collections.abc import Collection, Mapping
from typing import NamedTuple, Protocol, cast

from imagenet_think.core import plugins
from imagenet_think.parsing import statuses
from imagenet_think.parsing.marks import ANSWER, THINK, Split, without_special_tokens

FORMATS = plugins.names("parsing.formats")
"""Names of the formats: the values of a model's `output` in the config."""

PARTS = ("full", THINK, ANSWER)
"""The parts of a response that are kept, measured and scored."""

FINISHED = {
    "stop": statuses.OK,
    "length": statuses.CUT_OFF,
    "loop": statuses.LOOP,
    "error": statuses.ERROR,
}
"""The status that each finish reason of a generation implies."""


class Format(Protocol):
    """What a module in `formats` declares.

    Attributes
    ----------
    RULE
        How the format splits a text, in one sentence.
    MARKS
        Tags and commands that are removed.
    FAILURES
        Statuses that its `split` can return, except `ok`, with their meanings.
    OPEN
        Those of them that mean that nothing marks the end of the thinking.
    """

    RULE: str
    MARKS: tuple[str, ...]
    FAILURES: Mapping[str, str]
    OPEN: Collection[str]

    def split(self, text: str) -> Split:
        """Split a text without special tokens."""


class Parsed(NamedTuple):
    """A parsed response. A part without text is None.

    Attributes
    ----------
    full
        Thinking, a newline, and the answer, without marks. If parsing failed: the whole text
        without marks, with newlines in place of tags.
    think, answer
        The parts. If `status` is a failure, they are still kept where the format can distinguish
        them.
    status
        One of `outcomes.STATUSES`.
    """

    full: str | None
    think: str | None
    answer: str | None
    status: str


def parse(output_format: str, text: str | None, finish_reason: str) -> Parsed:
    """Split a response into thinking and answer.

    Marks (the format's tags and the models' special tokens) are removed; the text between them is
    kept verbatim, but stripped.

    Parameters
    ----------
    output_format
        One of `FORMATS`.
    text
        The generated text of all rounds, with special tokens; None if there is none.
    finish_reason
        stop, length, loop or error.

    Returns
    -------
    Parsed
        For any text, in time linear in its length.

    Raises
    ------
    ValueError
        If format or finish reason is unknown.
    """
    if finish_reason not in FINISHED:
        raise ValueError(f"unknown finish reason {finish_reason!r}; known: {', '.join(FINISHED)}")
    module = _format(output_format)
    if text is None:
        return Parsed(None, None, None, statuses.ERROR)
    pieces, status = module.split(without_special_tokens(text))
    full, thought, answer = (
        "\n".join(piece.text for piece in pieces if piece.text and part in ("full", piece.part))
        or None
        for part in PARTS
    )
    if status == statuses.OK and answer is None:
        status = statuses.EMPTY_ANSWER
    if status == statuses.OK and thought is None:
        status = statuses.EMPTY_THINK
    if finish_reason != "stop":
        status = FINISHED[finish_reason]
    return Parsed(full, thought, answer, status)


def rule(output_format: str) -> str:
    """Return how a format splits a text, in one sentence."""
    return _format(output_format).RULE


def thought_is_open(output_format: str, text: str) -> bool:
    """Return whether a text ends within its thinking: no mark closes it, and no answer has begun.

    Parameters
    ----------
    output_format
        One of `FORMATS`.
    text
        The generated text of one round, with or without the opening mark.
    """
    parsed = parse(output_format, text, "stop")
    return parsed.status in _format(output_format).OPEN and parsed.answer is None


def _format(name: str) -> Format:
    if name not in FORMATS:
        raise ValueError(f"unknown output format {name!r}; known: {', '.join(FORMATS)}")
    return cast(Format, plugins.get("parsing.formats", name))
