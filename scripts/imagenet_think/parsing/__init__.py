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

    It may also have `SPECIAL_TOKENS`, the special tokens of its models' tokenizers that look like
    text. Generated texts no longer have them (`imagenet_think.inference.token_text`); in other
    texts they are found by their place (`marks.without_special_tokens`). `THINKS = False` says that
    its models are not meant to think.

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
        Whether the response follows its format: one of `outcomes.STATUSES`.
    think_status, answer_status
        `ok` if the part is known, otherwise why it is not: one of the same. An answer without
        thinking is known, and so is thinking that is closed before the response is cut off.
    """

    full: str | None
    think: str | None
    answer: str | None
    status: str
    think_status: str
    answer_status: str


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
    if text is None:
        return failed()
    found = _split(output_format, text)
    full, thought, answer = _texts(found)
    is_open = found.status in _format(output_format).OPEN
    if finish_reason == "stop" and is_open and thought is None and answer is None:
        answer = full  # nothing marks any thinking
    status = found.status
    if status == statuses.OK and answer is None:
        status = statuses.EMPTY_ANSWER
    if status == statuses.OK and thought is None and found.think == statuses.OK:
        status = statuses.EMPTY_THINK
    think_status = found.think
    if think_status == statuses.OK and thought is None:
        followed = found.closed or found.status == statuses.OK
        think_status = statuses.EMPTY_THINK if followed else found.status
    answer_status = statuses.OK
    if answer is None:
        followed = found.status == statuses.OK
        answer_status = statuses.EMPTY_ANSWER if followed else found.status
    if finish_reason != "stop":
        status = answer_status = FINISHED[finish_reason]
        if finish_reason == "error" or not found.closed:
            think_status = status
    return Parsed(full, thought, answer, status, think_status, answer_status)


def failed() -> Parsed:
    """Return what there is of a response without text."""
    return Parsed(None, None, None, *(3 * [statuses.ERROR]))


def _split(output_format: str, text: str) -> Split:
    module = _format(output_format)
    tokens = getattr(module, "SPECIAL_TOKENS", ())
    return module.split(without_special_tokens(text, tokens))


def _texts(found: Split) -> list[str | None]:
    """Return the texts of `PARTS`."""
    return [
        "\n".join(p.text for p in found.pieces if p.text and part in ("full", p.part)) or None
        for part in PARTS
    ]


def rule(output_format: str) -> str:
    """Return how a format splits a text, in one sentence."""
    return _format(output_format).RULE


def thinks(output_format: str) -> bool:
    """Return whether models of a format are meant to think."""
    return getattr(_format(output_format), "THINKS", True)


def thought_is_open(output_format: str, text: str) -> bool:
    """Return whether a text ends within its thinking: no mark closes it, and no answer has begun.

    Parameters
    ----------
    output_format
        One of `FORMATS`.
    text
        The generated text of one round, with or without the opening mark.
    """
    found = _split(output_format, text)
    *_, answer = _texts(found)
    return found.status in _format(output_format).OPEN and answer is None


def _format(name: str) -> Format:
    if name not in FORMATS:
        raise ValueError(f"unknown output format {name!r}; known: {', '.join(FORMATS)}")
    return cast(Format, plugins.get("parsing.formats", name))
