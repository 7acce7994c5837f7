"""Generated texts taken apart into thinking and answer, one module a format (section 3.2)."""

from types import ModuleType
from typing import NamedTuple

from imagenet_think.parsing import boxed, kimi, statuses, think, think_answer, tool_call
from imagenet_think.parsing.marks import ANSWER, THINK, without_special_tokens

FORMATS: dict[str, ModuleType] = {
    "think_answer": think_answer,
    "kimi": kimi,
    "think": think,
    "tool_call": tool_call,
    "boxed": boxed,
}
"""The formats by the name that a model's `output` has in the config."""

RULES: dict[str, str] = {name: module.RULE for name, module in FORMATS.items()}
"""For each format, how it splits a text, in one sentence."""

STATUSES = statuses.STATUSES

PARTS = ("full", THINK, ANSWER)
"""The parts of a response that are kept, measured and scored."""

FINISHED = {
    "stop": statuses.OK,
    "length": statuses.CUT_OFF,
    "loop": statuses.LOOP,
    "error": statuses.ERROR,
}
"""What the finish reason of a generation says of its parsing."""


class Parsed(NamedTuple):
    """A response taken apart. What has no text is None.

    Attributes
    ----------
    full
        Thinking, a newline, and the answer, without marks. Where parsing failed: the whole text
        without marks, a newline in the place of a tag.
    think, answer
        The parts. They are kept where they could be told apart, even if `status` is a failure;
        only where it is ok are they what the model was asked for.
    status
        One of `STATUSES`.
    """

    full: str | None
    think: str | None
    answer: str | None
    status: str


def parse(output_format: str, text: str | None, finish_reason: str) -> Parsed:
    """Take a response apart.

    Marks are the tags of the format and the special tokens of the models. They are removed; the
    text between is kept to the letter, without outer white space.

    Parameters
    ----------
    output_format
        One of `FORMATS`.
    text
        What was generated, with special tokens, all rounds; None where there is nothing.
    finish_reason
        stop, length, loop or error.

    Returns
    -------
    Parsed
        Any text gives one, in time linear in its length.

    Raises
    ------
    ValueError
        If format or finish reason is unknown.
    """
    if output_format not in FORMATS:
        raise ValueError(f"unknown output format {output_format!r}; known: {', '.join(FORMATS)}")
    if finish_reason not in FINISHED:
        raise ValueError(f"unknown finish reason {finish_reason!r}; known: {', '.join(FINISHED)}")
    if text is None:
        return Parsed(None, None, None, statuses.ERROR)
    pieces, status = FORMATS[output_format].split(without_special_tokens(text))
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


def thought_is_open(output_format: str, text: str) -> bool:
    """Tell whether a text ends within its thinking: no mark closes it, and no answer has begun.

    Parameters
    ----------
    output_format
        One of `FORMATS`.
    text
        What was generated in one round; with or without the opening mark.
    """
    parsed = parse(output_format, text, "stop")
    return parsed.status in statuses.OPEN and parsed.answer is None
