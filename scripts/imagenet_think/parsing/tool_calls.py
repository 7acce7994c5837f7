"""Tool calls in a generated text, and what is wrong with them, as in VisionThink's program.

One reader serves both the conversation, in which a call leads to a second round, and the parser,
for which it ends a round.
"""

import json
from typing import NamedTuple

from imagenet_think.parsing.marks import find

OPENING, CLOSING = MARKS = ("<tool_call>", "</tool_call>")

ACTIONS = ("resize",)


class Call(NamedTuple):
    """A tool call: where it is in the text, and what is between its tags."""

    start: int
    end: int
    content: str


def calls(text: str) -> list[Call]:
    """Return the whole calls of a text, in order; one that is never closed is none.

    A call ends at the next closing tag, whatever is in between.
    """
    found: list[Call] = []
    start = None
    for tag in find(text, MARKS):
        if tag.name == "tool_call" and start is None:
            start = tag
        elif tag.name == "/tool_call" and start is not None:
            found.append(Call(start.start, tag.end, text[start.end : tag.start]))
            start = None
    return found


def problem(found: list[Call]) -> str | None:
    """Return what is wrong with the calls of one round, or None: they request the larger image.

    Wrong are a call that is no JSON, an unknown action, and more than one call. The words of the
    last two are those of VisionThink's program (`scripts/vllm_tool.py`).
    """
    for call in found:
        try:
            action = _action(call.content)
        except (ValueError, RecursionError) as error:
            return str(error)
        if action not in ACTIONS:
            known = ", ".join(f"`{name}`" for name in ACTIONS)
            return f"Unknown Tool Type: {action}. Available function tools are: {known}"
    if len(found) > 1:
        return "You should only call function `resize` once per function call."
    return None


def _action(content: str) -> object:
    """Return the action that the content of a call names; ValueError if it names none."""
    start, end = content.find("{"), content.rfind("}")
    if start < 0 or end < start:
        raise ValueError("the call holds no JSON object")
    call = json.loads(content[start : end + 1])
    arguments = call.get("arguments")
    if not isinstance(arguments, dict) or "action" not in arguments:
        raise ValueError("the call names no action in its arguments")
    return arguments["action"]
