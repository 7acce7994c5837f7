"""Tool calls: where they are, and what is wrong with them."""

import pytest

from imagenet_think.miniature.reply_templates import TOOL_CALL
from imagenet_think.parsing import parse
from imagenet_think.parsing.tool_calls import calls, problem


def call(content: str) -> str:
    return f"<tool_call>{content}</tool_call>"


WITH_BRACKETS = call('{"name": "a < b", "arguments": {"action": "resize", "why": "x<y </think>"}}')

FOUND = {
    "no call": ("<think>Boats.</think><answer>A port.</answer>", 0),
    "one call": (f"<think>Small.</think>{TOOL_CALL}<|im_end|>", 1),
    "brackets in its JSON": (f"<think>Small.</think>{WITH_BRACKETS}", 1),
    "two calls": (f"{TOOL_CALL}\n{TOOL_CALL}", 2),
    "never closed": ('<think>Small.</think><tool_call>{"name": 1', 0),
    "named in a sentence": ("I may place a call within <tool_call> and </tool_call> tags.", 0),
    "in quotes": ("There is no `<tool_call>` or `</tool_call>` here.", 0),
    "opened twice": (f"<tool_call>{TOOL_CALL}", 1),
}


@pytest.mark.parametrize("name", FOUND)
def test_calls_are_found_by_place(name: str) -> None:
    text, number = FOUND[name]
    assert len(calls(text)) == number


PROBLEMS = {
    "right": (TOOL_CALL, None),
    "right, with line breaks": (call('\n{"arguments": {"action": "resize"}}\n'), None),
    "right, with brackets": (WITH_BRACKETS, None),
    "no JSON": (call("resize the image"), "the call holds no JSON object"),
    "damaged JSON": (call('{"arguments": {"action": resize}}'), "Expecting value"),
    "deep JSON": (call('{"a":' * 100_000 + "}" * 100_000), "maximum recursion depth exceeded"),
    "no action": (call("{}"), "the call names no action in its arguments"),
    "arguments of another kind": (call('{"arguments": ["action"]}'), "the call names"),
    "an unknown action": (
        call('{"arguments": {"action": "crop"}}'),
        "Unknown Tool Type: crop. Available function tools are: `resize`",
    ),
    "an action of another kind": (
        call('{"arguments": {"action": ["resize"]}}'),
        "Unknown Tool Type: ['resize']. ",
    ),
    "two calls": (
        TOOL_CALL + TOOL_CALL,
        "You should only call function `resize` once per function call.",
    ),
    "two objects in one call": (
        call('{"arguments": {"action": "resize"}} {"arguments": {"action": "resize"}}'),
        "Extra data",
    ),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_what_is_wrong_with_calls_is_named(name: str) -> None:
    text, message = PROBLEMS[name]
    found = problem(calls(text))
    assert found is message or (found or "").startswith(message or "?")


@pytest.mark.parametrize("name", [name for name in FOUND if FOUND[name][1]])
def test_the_parser_sees_the_same_calls(name: str) -> None:
    """A call that leads to a second round ends a round for the parser, and is no thought."""
    text, _ = FOUND[name]
    parsed = parse("tool_call", f"{text}\n<think>Boats.</think><answer>A port.</answer>", "stop")
    assert (parsed.status, parsed.answer) == ("ok", "A port.")
    assert (parsed.think or "").splitlines() in (["Small.", "Boats."], ["Boats."])
