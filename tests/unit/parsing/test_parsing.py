"""Parsing: shapes of real outputs, every named failure, and mutations of both."""

import re
import time
import timeit
from collections import Counter
from collections.abc import Callable

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from imagenet_think.core import plugins
from imagenet_think.core.schemas import ANNOTATIONS, RESPONSES
from imagenet_think.inference.conversations import ROUND_SEPARATOR
from imagenet_think.parsing import FINISHED, FORMATS, PARTS, Parsed, parse, thought_is_open
from imagenet_think.parsing.marks import ANSWER, THINK
from imagenet_think.parsing.outcomes import STATUSES
from parse_responses import parse_responses

CALL = '<tool_call>{"name": "resize_image", "arguments": {"action": "resize"}}</tool_call>'

# By format and name: text, "status: think | answer".
CASES = {
    "think_answer": {
        "glm": (
            "<think>Got it, let's look. A heron in water.</think><answer>A heron, wading.</answer>",
            "ok: Got it, let's look. A heron in water. | A heron, wading.",
        ),
        "glm with a box": (
            (
                "<think>Two hands, roman numerals.</think><answer>It is a "
                "<|begin_of_box|>clock<|end_of_box|>.</answer><|user|><|endoftext|><|endoftext|>"
            ),
            "ok: Two hands, roman numerals. | It is a clock.",
        ),
        "opening tag in the prompt": (
            "Got it. Stripes, hooves.</think>\n<answer>A zebra.</answer>",
            "ok: Got it. Stripes, hooves. | A zebra.",
        ),
        "text around the answer tags is the answer's": (
            "<think>Fur.</think>In short:\n<answer>a lynx</answer> (probably)",
            "ok: Fur. | In short:\na lynx\n(probably)",
        ),
        "no answer tags": ("<think>Fur.</think>A lynx.", "ok: Fur. | A lynx."),
        "several thinks": (
            "<think>Fur.</think><think>Ears.</think><answer>A lynx.</answer>",
            "several_thinks: Fur.\nEars. | A lynx.",
        ),
        "a think inside a think": (
            "<think>Fur. <think>Ears.</think><answer>A lynx.</answer>",
            "several_thinks: Fur.\nEars. | A lynx.",
        ),
        "answer tags inside the thinking": (
            "<think>Fur. <answer>A lynx.</answer></think>",
            "answer_inside_think: Fur. | A lynx.",
        ),
        "unclosed": ("<think>Fur, ears", "unclosed_think: Fur, ears | "),
        "unclosed before the answer": (
            "<think>Fur.<answer>A lynx.</answer>",
            "unclosed_think: Fur. | A lynx.",
        ),
        "answer alone": ("<answer>A lynx.</answer>", "no_think:  | A lynx."),
        "no marks": ("A lynx.", "no_think:  | A lynx."),
        "empty answer": ("<think>Fur.</think><answer></answer>", "empty_answer: Fur. | "),
        "empty think": ("<think>\n\n</think>\n\nA lynx.", "empty_think:  | A lynx."),
        "nothing": ("<|endoftext|>", "no_think:  | "),
        "an answer tag named in the thinking": (
            "<think>The user wants <answer> tags. Fur.</think>\n<answer>A lynx.</answer>",
            "ok: The user wants <answer> tags. Fur. | A lynx.",
        ),
        "an answer tag in the thinking": (
            "<think>I begin with\n<answer>\nlater. Fur.</think>\n<answer>A lynx.",
            "ok: I begin with\n<answer>\nlater. Fur. | A lynx.",
        ),
        "an answer tag named, and no answer": (
            "<think>The user wants `<answer>`. Fur.</think>",
            "empty_answer: The user wants `<answer>`. Fur. | ",
        ),
        "think tags named in the answer": (
            "<think>A page.</think><answer>It shows '</think>' and <think></think> tags.</answer>",
            "ok: A page. | It shows '</think>' and <think></think> tags.",
        ),
        "quotations around a tag": (
            "<think>It reads 'STOP'</think>'STOP', says the sign.",
            "ok: It reads 'STOP' | 'STOP', says the sign.",
        ),
        "an answer tag named without thinking": (
            "A page about <answer> elements.",
            "no_think:  | A page about <answer> elements.",
        ),
        "think tags repeated, as in bfloat16": (
            "<think>Fur.\n<think>Ears.\n<think>Tail.</think><answer>A lynx.</answer>",
            "several_thinks: Fur.\nEars.\nTail. | A lynx.",
        ),
        "special tokens of others are text": (
            "<think>A sign, [UNK].</think><answer>It reads [PAD], <box>.</answer>",
            "ok: A sign, [UNK]. | It reads [PAD], <box>.",
        ),
    },
    "kimi": {
        "kimi": (
            "◁think▷So, let's see. Snow, pines.◁/think▷To analyze it, **pines** first.<|im_end|>",
            "ok: So, let's see. Snow, pines. | To analyze it, **pines** first.",
        ),
        "kimi padded": (
            "◁think▷Snow.◁/think▷Pines.<|im_end|>[EOS][PAD][PAD]",
            "ok: Snow. | Pines.",
        ),
        "kimi keeps other tags": (
            "◁think▷A page with <think> on it.◁/think▷Source code: `<answer>`.",
            "ok: A page with <think> on it. | Source code: `<answer>`.",
        ),
        "kimi twice": ("◁think▷A◁/think▷B◁think▷C◁/think▷D", "several_thinks: A\nC | D"),
        "kimi, its tokens in the text": (
            "◁think▷A sign.◁/think▷It reads [PAD] or [EOS] twice.<|im_end|>[EOS]",
            "ok: A sign. | It reads [PAD] or [EOS] twice.",
        ),
        "kimi without": ("Pines.", "no_think:  | Pines."),
    },
    "think": {
        "internvl": (
            "<think>The question asks for a description. Ivy.</think>\nAn old wall.<|im_end|>",
            "ok: The question asks for a description. Ivy. | An old wall.",
        ),
        "internvl, prefix and its own tag": (
            "<think>\n<think>Bricks, ivy.</think>\nAn old wall.",
            "ok: Bricks, ivy. | An old wall.",
        ),
        "two thinks after a prefix": (
            "<think>\n<think>Bricks.</think><think>Ivy.</think>\nAn old wall.",
            "several_thinks: Bricks.\nIvy. | An old wall.",
        ),
        "closed twice": ("<think>Ivy.</think>\n</think>\nA wall.", "ok: Ivy. | A wall."),
        "an empty trace before the real one": (
            "<think>\n</think>\n<think>Ivy.</think>\nA wall.",
            "ok: Ivy. | A wall.",
        ),
        "internvl, echo of its system prompt": (
            (
                "<think>Enclose this entire thinking process within <think> and </think> tags.\n"
                "Bricks, ivy.</think>\nAn old wall."
            ),
            (
                "ok: Enclose this entire thinking process within <think> and </think> tags.\n"
                "Bricks, ivy. | An old wall."
            ),
        ),
        "two traces, nothing between": (
            "<think>Bricks.</think>\n\n<think>Ivy.</think>\nAn old wall.",
            "several_thinks: Bricks.\nIvy. | An old wall.",
        ),
        "two traces, text between": (
            "<think>Bricks.</think>A house?<think>Ivy.</think>\nAn old wall.",
            "several_thinks: Bricks.\nIvy. | An old wall.",
        ),
        "internvl, grounding tokens": (
            "<think>Ivy.</think>\n<ref>A wall</ref><box>[[1, 2, 3, 4]]</box>, not an <img> tag.",
            "ok: Ivy. | A wall[[1, 2, 3, 4]], not an <img> tag.",
        ),
        "r1-onevision": (
            "<think>\n## Image\nA bus, red.\n</think>\n\nA red bus.\n\n**Final answer:** bus",
            "ok: ## Image\nA bus, red. | A red bus.\n\n**Final answer:** bus",
        ),
        "r1-onevision, answer inside": (
            "<think>A bus, red.\n\n**Final Answer**: a red bus</think><|im_end|>",
            "answer_inside_think: A bus, red.\n\n**Final Answer**: a red bus | ",
        ),
        "r1-onevision, answer missing": (
            "<think>A bus, red.</think>",
            "empty_answer: A bus, red. | ",
        ),
        "the word answer is not an announcement": (
            "<think>An answer needs the colour: red.</think>",
            "empty_answer: An answer needs the colour: red. | ",
        ),
    },
    "tool_call": {
        "visionthink, one round": (
            "<think>A jetty, boats.</think>\n<answer>A harbour.</answer><|im_end|>",
            "ok: A jetty, boats. | A harbour.",
        ),
        "visionthink, two rounds as they are joined": (
            (
                f"<think>Too small.</think>{CALL}<|im_end|>{ROUND_SEPARATOR}<think>Boats.</think>"
                "<answer>A harbour.</answer><|im_end|>"
            ),
            "ok: Too small.\nBoats. | A harbour.",
        ),
        "visionthink, words before the call": (
            f"<think>Small.</think>Enlarge it.{CALL}<think>Boats.</think><answer>A port.</answer>",
            "ok: Small.\nEnlarge it.\nBoats. | A port.",
        ),
        "visionthink, no thinking before the call": (
            f"{CALL}<think>Boats.</think><answer>A harbour.</answer>",
            "ok: Boats. | A harbour.",
        ),
        "visionthink, no thinking after the call": (
            f"<think>Too small.</think>{CALL}<answer>A harbour.</answer>",
            "ok: Too small. | A harbour.",
        ),
        "visionthink, brackets in the call": (
            (
                f"<think>Small.</think>{CALL.replace('resize_image', '<resize>')}"
                "<think>Boats.</think><answer>A harbour.</answer>"
            ),
            "ok: Small.\nBoats. | A harbour.",
        ),
        "visionthink, a call named in the thinking": (
            (
                "<think>I may call within <tool_call> and </tool_call> tags. Boats.</think>"
                "<answer>A harbour.</answer>"
            ),
            "ok: I may call within <tool_call> and </tool_call> tags. Boats. | A harbour.",
        ),
        "visionthink, words after the answer": (
            f"<think>Too small.</think>{CALL}Now: <answer>A harbour.</answer> Or a port.",
            "ok: Too small.\nNow: | A harbour.\nOr a port.",
        ),
        "visionthink, call alone": (
            f"<think>Too small.</think>{CALL}<|im_end|>",
            "tool_call_without_answer: Too small. | ",
        ),
        "visionthink, call after the answer": (
            f"<think>Boats.</think><answer>A harbour.</answer>{CALL}",
            "tool_call_without_answer: Boats.\nA harbour. | ",
        ),
        "visionthink, call not closed": (
            '<think>Too small.</think><tool_call>{"name": "resize_image"',
            "tool_call_without_answer: Too small. | ",
        ),
        "visionthink, unclosed before the call": (
            f"<think>Too small.{CALL}<think>Boats.</think><answer>A harbour.</answer>",
            "unclosed_think: Too small.\nBoats. | A harbour.",
        ),
        "visionthink, twice in a round": (
            f"<think>A</think>{CALL}<think>B</think><think>C</think><answer>D</answer>",
            "several_thinks: A\nB\nC | D",
        ),
        "visionthink, nothing after the call's thinking": (
            f"<think>A</think>{CALL}<think>B</think>",
            "empty_answer: A\nB | ",
        ),
    },
    "boxed": {
        "vl-rethinker": (
            "The roof is thatched.\n\nTherefore, the final answer is \\boxed{A cottage}.<|im_end|>",
            "ok: The roof is thatched. | Therefore, the final answer is A cottage.",
        ),
        "vl-rethinker, displayed": (
            "The roof is thatched.\n\nThe answer is:\n\\[\n\\boxed{\\text{A cottage}}\n\\]",
            "ok: The roof is thatched.\n\nThe answer is: | A cottage",
        ),
        "vl-rethinker, thinking again": (
            "It may be \\boxed{a barn}. Wait, there is a chimney! So it is \\boxed{a cottage}",
            "ok: It may be a barn. Wait, there is a chimney! | So it is a cottage",
        ),
        "vl-rethinker, braces in the box": (
            "A sign.\nIt reads \\boxed{\\{x \\mid \\frac{1}{2}\\}}",
            "ok: A sign. | It reads \\{x \\mid \\frac{1}{2}\\}",
        ),
        "vl-rethinker, one escaped brace in the box": (
            "A sign. It reads \\boxed{\\left\\{ 1.5 \\right.} (2.5 m high)",
            "ok: A sign. | It reads \\left\\{ 1.5 \\right. (2.5 m high)",
        ),
        "vl-rethinker, a decimal point ends no sentence": (
            "A mast. Its height is 2.5 m, so \\boxed{a yacht}",
            "ok: A mast. | Its height is 2.5 m, so a yacht",
        ),
        "vl-rethinker, words after the box": (
            "Thatched. It is $\\boxed{A cottage}$. It looks old.",
            "ok: Thatched. | It is A cottage. It looks old.",
        ),
        "vl-rethinker, sentences in the box": (
            "Thatched.\n\n\\boxed{A cottage. It has a garden.\nIt looks old.}",
            "ok: Thatched. | A cottage. It has a garden.\nIt looks old.",
        ),
        "vl-rethinker, box in a box": (
            "Thatched. \\boxed{A \\boxed{cottage}}",
            "ok: Thatched. | A cottage",
        ),
        "vl-rethinker, text in part of the box": (
            "Thatched. \\boxed{\\text{A} \\text{cottage}}",
            "ok: Thatched. | \\text{A} \\text{cottage}",
        ),
        "vl-rethinker, last box not closed": (
            "Thatched. So \\boxed{a barn}. Or \\boxed{a cott",
            "ok: Thatched. | So a barn. Or a cott",
        ),
        "vl-rethinker, no box": ("A thatched cottage.", "no_box:  | A thatched cottage."),
        "vl-rethinker, box not closed": (
            "Thatched. \\boxed{A cott",
            "no_box:  | Thatched. A cott",
        ),
        "vl-rethinker, empty box": ("Thatched. So \\boxed{ }.", "empty_answer: Thatched. | "),
        "vl-rethinker, box first": (
            "\\boxed{A cottage.}\n\nThe roof is thatched, and smoke rises.",
            "ok: The roof is thatched, and smoke rises. | A cottage.",
        ),
        "vl-rethinker, answer tags without a box": (
            "The roof is thatched. <answer>A cottage.</answer>",
            "ok: The roof is thatched. | A cottage.",
        ),
        "vl-rethinker, a box inside answer tags": (
            "The roof is thatched.\n<answer>\\boxed{A cottage}</answer>",
            "ok: The roof is thatched. | A cottage",
        ),
        "vl-rethinker, a label without a box": (
            "The roof is thatched.\n\n**Final Answer:** A cottage.",
            "ok: The roof is thatched. | A cottage.",
        ),
        "vl-rethinker, a label after a comma": (
            "The roof is thatched, thus Answer: A cottage.",
            "ok: The roof is thatched, thus | A cottage.",
        ),
        "vl-rethinker, a label within a sentence": (
            "The roof is thatched. So I can answer: a cottage.",
            "no_box:  | The roof is thatched. So I can answer: a cottage.",
        ),
        "vl-rethinker, echo of the prompt": (
            "It goes within \\boxed{}. It is thatched. So \\boxed{A cottage}. Within \\boxed{}!",
            "ok: It goes within . It is thatched. | So A cottage. Within !",
        ),
        "vl-rethinker, only an echo of the prompt": (
            "The answer goes within \\boxed{...}.\nAnswer: A cottage.",
            "ok: The answer goes within .... | A cottage.",
        ),
        "vl-rethinker, box alone": ("\\boxed{A cottage}", "empty_think:  | A cottage"),
    },
    "plain": {
        "plain": ("A wall, old.\n\nIvy.<|im_end|>", "ok:  | A wall, old.\n\nIvy."),
        "plain keeps all tags": (
            "<think>Ivy.</think>A wall.",
            "ok:  | <think>Ivy.</think>A wall.",
        ),
        "plain, nothing": ("<|im_end|>", "empty_answer:  | "),
    },
}

# By format and name: text, finish reason, and whether thinking and answer are known.
KNOWN = {
    "think_answer": {
        "no marks": ("A lynx.", "stop", "no_think", "ok"),
        "no marks, cut off": ("A lynx, and", "length", "cut_off", "cut_off"),
        "answer tags only": ("Fur. <answer>A lynx.</answer>", "stop", "no_think", "ok"),
        "empty thinking": ("<think></think>A lynx.", "stop", "empty_think", "ok"),
        "empty thinking, no answer": ("<think></think>", "stop", "empty_think", "empty_answer"),
        "no answer": ("<think>Fur.</think>", "stop", "ok", "empty_answer"),
        "unclosed": ("<think>Fur.", "stop", "unclosed_think", "unclosed_think"),
        "unclosed before the answer": ("<think>Fur.<answer>A lynx.", "stop", "ok", "ok"),
        "answer inside": ("<think>Fur.<answer>A lynx.</think>", "stop", "ok", "ok"),
        "cut off while thinking": ("<think>Fur, ", "length", "cut_off", "cut_off"),
        "cut off while answering": ("<think>Fur.</think>A ly", "length", "ok", "cut_off"),
        "a loop in the answer": ("<think>Fur.</think>A A A", "loop", "ok", "loop"),
        "an error": ("<think>Fur.</think>A lynx.", "error", "error", "error"),
    },
    "think": {
        "text between two traces": (
            *("<think>A</think>B<think>C</think>D", "stop"),
            *("several_thinks", "ok"),
        ),
        "two traces": ("<think>A</think><think>C</think>D", "stop", "ok", "ok"),
        "a trace after the answer": (
            *("<think>A</think>B<think>C", "stop"),
            *("several_thinks", "ok"),
        ),
        "an announced answer inside": (
            *("<think>A bus.\nAnswer: a bus</think>", "stop"),
            *("ok", "answer_inside_think"),
        ),
    },
    "kimi": {"no marks": ("Pines.", "stop", "no_think", "ok")},
    "tool_call": {
        "no answer after the call": (
            *(f"<think>A</think>{CALL}", "stop"),
            *("ok", "tool_call_without_answer"),
        ),
        "cut off in the second round": (
            *(f"<think>A</think>{CALL}<think>B", "length"),
            *("cut_off", "cut_off"),
        ),
        "cut off in the second answer": (
            *(f"<think>A</think>{CALL}<think>B</think>C", "length"),
            *("ok", "cut_off"),
        ),
    },
    "boxed": {
        "no box": ("A cottage.", "stop", "no_box", "ok"),
        "a box": ("Thatched.\n\\boxed{A cottage}", "stop", "ok", "ok"),
        "cut off after a box": ("Thatched. So \\boxed{a barn}. Wait", "length", *2 * ["cut_off"]),
        "a box alone": ("\\boxed{A cottage}", "stop", "empty_think", "ok"),
        "an empty box": ("Thatched. So \\boxed{}", "stop", "ok", "empty_answer"),
    },
    "plain": {
        "an answer": ("A wall.", "stop", "no_think", "ok"),
        "cut off": ("A wall, and", "length", "no_think", "cut_off"),
        "nothing": ("", "stop", "no_think", "empty_answer"),
    },
}

OUTER_MARKS = ("<|im_end|>", "<|user|>", "<|endoftext|>", "<|begin_of_box|>")
LOOPING = "Fur, and fur, " * 40
MODULES = {name: plugins.get("parsing.formats", name) for name in FORMATS}


@pytest.mark.parametrize(("output_format", "name"), [(f, n) for f in CASES for n in CASES[f]])
def test_case(output_format: str, name: str) -> None:
    text, expected = CASES[output_format][name]
    parsed = parse(output_format, text, "stop")
    assert f"{parsed.status}: {parsed.think or ''} | {parsed.answer or ''}" == expected
    if parsed.status == "ok":
        assert parsed.full == "\n".join(filter(None, (parsed.think, parsed.answer)))


@pytest.mark.parametrize(("output_format", "name"), [(f, n) for f in KNOWN for n in KNOWN[f]])
def test_each_part_is_known_or_not(output_format: str, name: str) -> None:
    text, finish_reason, think_status, answer_status = KNOWN[output_format][name]
    parsed = parse(output_format, text, finish_reason)
    assert (parsed.think_status, parsed.answer_status) == (think_status, answer_status)


@pytest.mark.parametrize(
    ("output_format", "text"),
    [
        ("think_answer", "<think>{think}</think><answer>{answer}</answer>"),
        ("think_answer", "<think>{think}</think><answer>{answer}"),
        ("kimi", "◁think▷{think}◁/think▷{answer}<|im_end|>"),
        ("think", "<think>\n{think}\n</think>\n\n{answer}<|im_end|>"),
        ("boxed", "{think}\n\n\\boxed{{{answer}}}<|im_end|>"),
    ],
)
def test_texts_like_those_of_figure_2_are_kept_verbatim(output_format: str, text: str) -> None:
    think = (
        "Got it, let's go step by step. First, the subject: a rower in a red cap (on the left?). "
        "Wait, the oars are wooden... Then the water: calm, with reeds."
    )
    answer = (
        "To analyze it, we break it down: ### 1. **Subject & Activity** A person **rowing**; "
        "posture (back bent) -> effort. - **Oars**: wooden. - *Score* > 9, x < y, {a}, 50% & more."
    )
    parsed = parse(output_format, text.format(think=think, answer=answer), "stop")
    assert parsed == Parsed(f"{think}\n{answer}", think, answer, "ok", "ok", "ok")


def test_formats_declare_their_rule_and_every_status_that_they_reach() -> None:
    reached = {f: {parse(f, case[0], "stop").status for case in CASES[f].values()} for f in CASES}
    ends = {parse("kimi", "a", reason).status for reason in FINISHED if reason != "stop"}
    assert ends.union(*reached.values()) == set(STATUSES)
    common = {"ok", "empty_think", "empty_answer"}
    for name, module in MODULES.items():
        assert reached[name] <= common | module.FAILURES.keys()
        assert module.FAILURES.keys() >= module.OPEN
        assert re.fullmatch(r"[A-Z].{50,}\.", module.RULE), "not one sentence"


@pytest.mark.parametrize(
    ("reason", "status"), [("length", "cut_off"), ("loop", "loop"), ("error", "error")]
)
def test_the_finish_reason_takes_precedence_and_parts_are_kept(reason: str, status: str) -> None:
    parsed = parse("think_answer", "<think>Fur.</think><answer>A lyn", reason)
    known = status if reason == "error" else "ok"
    assert parsed == Parsed("Fur.\nA lyn", "Fur.", "A lyn", status, known, status)
    for output_format, module in MODULES.items():
        opening = "" if output_format in ("boxed", "plain") else module.MARKS[0]
        parsed = parse(output_format, opening + LOOPING, reason)
        assert (parsed.full, parsed.status) == (LOOPING.strip(), status)


@pytest.mark.parametrize("output_format", FORMATS)
def test_no_text_is_an_error(output_format: str) -> None:
    assert parse(output_format, None, "error") == Parsed(None, None, None, *3 * ["error"])
    assert parse(output_format, "", "stop").full is None


def test_failures_keep_the_whole_text_without_marks() -> None:
    assert parse("kimi", "Snow.<|im_end|>", "stop").full == "Snow."
    assert parse("think", "A<think>B</think>C<think>D<|im_end|>", "stop").full == "A\nB\nC\nD"
    assert parse("boxed", "So \\boxed{a cott", "length").full == "So a cott"


@pytest.mark.parametrize(
    ("output_format", "text", "is_open"),
    [
        ("think_answer", "<think>Fur", True),
        ("think_answer", "<think>\nFur <|begin_of_box|>", True),
        ("think_answer", "Fur", True),
        ("think_answer", "", True),
        ("think_answer", "<think>Fur</think>", False),
        ("think_answer", "<answer>A ly", False),
        ("think_answer", "<think>Fur<answer>A ly", False),
        ("think", "<think>Fur</think>A", False),
        ("kimi", "◁think▷Fur", True),
        ("kimi", "Fur </think> is no mark of mine", True),
        ("kimi", "◁think▷Fur◁/think▷", False),
        ("tool_call", "<think>Fur", True),
        ("tool_call", "<think>Fur</think><tool_call>{", False),
        ("boxed", LOOPING, True),
        ("boxed", "So \\boxed{A ly", True),
        ("boxed", "So \\boxed{A lynx}. Wait", False),
        ("plain", LOOPING, False),
    ],
)
def test_open_thinking(output_format: str, text: str, is_open: bool) -> None:
    assert thought_is_open(output_format, text) is is_open


def test_unknown_names_are_rejected() -> None:
    with pytest.raises(ValueError, match="'xml'; known: boxed"):
        parse("xml", "", "stop")
    with pytest.raises(ValueError, match="'abort'; known: stop"):
        parse("kimi", "", "abort")


def test_statuses_keep_the_order_of_earlier_versions() -> None:
    assert list(STATUSES) == [
        *("ok", "no_think", "unclosed_think", "several_thinks", "answer_inside_think"),
        *("tool_call_without_answer", "no_box", "empty_think", "empty_answer"),
        *("cut_off", "loop", "error"),
    ]


# Mutations


def _letters(text: str | None) -> str:
    return "".join((text or "").split())


def _is_subsequence(part: str, text: str) -> bool:
    characters = iter(text)
    return all(character in characters for character in part)


def check(output_format: str, text: str, reason: str) -> None:
    """Assert what holds for any text."""
    parsed = parse(output_format, text, reason)
    assert parsed.status in STATUSES
    assert (parsed.status in {"cut_off", "loop", "error"}) == (reason != "stop")
    for part in PARTS:
        value = getattr(parsed, part)
        assert value is None or (value and value == value.strip())
        for mark in OUTER_MARKS:
            assert mark not in (value or ""), (part, mark)
        if output_format == "boxed":  # an explanation after the box is put before the answer
            assert not Counter(_letters(value)) - Counter(_letters(text))
        else:
            assert _is_subsequence(_letters(value), _letters(text))
    for part in (parsed.think, parsed.answer):
        # Line by line, because text between two pieces may belong to the other part.
        lines = _letters(parsed.full) if parsed.full else ""
        assert all(_letters(line) in lines for line in (part or "").split("\n"))
    assert {parsed.think_status, parsed.answer_status} <= set(STATUSES)
    for part in (THINK, ANSWER):
        assert getattr(parsed, part) or getattr(parsed, f"{part}_status") != "ok"
    if parsed.status == "ok":
        thinks = output_format != "plain"
        assert (parsed.think_status, parsed.answer_status) == ("ok" if thinks else "no_think", "ok")
        assert parsed.full == "\n".join(filter(None, (parsed.think, parsed.answer)))
    if parsed.status in {"no_think", "no_box", "empty_think"}:
        assert parsed.think is None
    if parsed.status in {"tool_call_without_answer", "empty_answer"}:
        assert parsed.answer is None
    if reason == "stop" and parsed.full and not parsed.think:
        # An answer without thinking is the whole text, but for what precedes its own tags.
        assert (parsed.answer or "") in parsed.full
        # What only introduces an empty box is neither part.
        nothing = "empty_answer" if output_format == "boxed" else "tool_call_without_answer"
        assert parsed.answer or parsed.status == nothing


FRAGMENTS = [
    *sorted({mark for module in MODULES.values() for mark in module.MARKS} | set(OUTER_MARKS)),
    *("<", ">", "<thi", "nk>", "\\", "{", "}", "\\text{", "\\[", "\\]", "$", "<|", "|>", ". "),
    *("[PAD]", "<box>", " tags", " and ", "`", '"'),
    *("\n", " ", "A word", "Answer: ", CALL, "猫", "\x00", "\ud83d\ude00"),
]
SPLIT = re.compile("(" + "|".join(map(re.escape, sorted(FRAGMENTS, key=len, reverse=True))) + ")")


@st.composite
def mutated(draw: st.DrawFn) -> tuple[str, str]:
    """A case's text with fragments deleted, repeated, swapped and inserted."""
    output_format = draw(st.sampled_from(list(CASES)))
    text, *_ = draw(st.sampled_from(list(CASES[output_format].values())))
    pieces = SPLIT.split(text)
    for _ in range(draw(st.integers(1, 6))):
        place = draw(st.integers(0, max(len(pieces) - 1, 0)))
        other = draw(st.integers(0, max(len(pieces) - 1, 0)))
        match draw(st.sampled_from(["delete", "repeat", "swap", "insert"])):
            case "delete":
                del pieces[place : place + 1]
            case "repeat":
                pieces[other:other] = pieces[place : place + 1]
            case "swap" if pieces:
                pieces[place], pieces[other] = pieces[other], pieces[place]
            case _:
                pieces.insert(place, draw(st.sampled_from(FRAGMENTS) | st.text(max_size=5)))
    return output_format, "".join(pieces)


ANY = st.tuples(
    st.sampled_from(FORMATS),
    st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=8), max_size=14).map("".join),
)


@settings(max_examples=1500, deadline=None)
@given(mutated() | ANY, st.sampled_from(list(FINISHED)))
@example(("think", "<thi<|im_end|>nk>a</think>b"), "stop")
@example(("kimi", "◁/think▷<|im<|im_end|>_end|>a"), "stop")
@example(("kimi", "a◁/think▷<|im<|im<|im_end|>_end|>_end|>a"), "stop")
@example(("boxed", "a. \\bo\\bo\\boxed{b}xed{c}xed{d}"), "stop")
@example(("boxed", "\\boxed\\boxed\\boxed{{{a}}}"), "stop")
@example(("boxed", "So it is \\boxed{ }."), "stop")
def test_any_text_can_be_parsed(case: tuple[str, str], reason: str) -> None:
    check(*case, reason)


@settings(max_examples=200, deadline=None)
@given(st.text("ab .{}$\\\n", min_size=1), st.text("ab .\n", min_size=1))
def test_parsed_texts_lose_nothing(think: str, answer: str) -> None:
    for output_format, text in (
        ("think_answer", f"<think>{think}</think><answer>{answer}</answer>"),
        ("kimi", f"◁think▷{think}◁/think▷{answer}"),
        ("tool_call", f"<think>{think}</think>{CALL}<think>.</think>{answer}"),
    ):
        parsed = parse(output_format, text, "stop")
        said = think + ("." if output_format == "tool_call" else "") + answer
        assert _letters(parsed.full) == _letters(said)


TAGGED = st.lists(st.sampled_from([*MODULES["think"].MARKS, "Fur.", "\n"])).map("".join)
TAG = re.compile("|".join(map(re.escape, {*MODULES["think"].MARKS, *MODULES["kimi"].MARKS})))
WORDS = ("A lynx", "fur. ", "\n", " ", " and ", " tags", "`", '"', "猫")


def _words(text: str | None) -> list[str]:
    return re.findall(r"\w+", TAG.sub(" ", text or ""))


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(["think", "think_answer", "kimi", "plain"]),
    st.lists(st.sampled_from([*WORDS, *2 * MODULES["think"].MARKS, *MODULES["kimi"].MARKS])),
    st.sampled_from(list(FINISHED)),
)
def test_no_word_is_lost(output_format: str, fragments: list[str], reason: str) -> None:
    """Whatever the marks, every word is in the full text, in order; think and answer are of it."""
    text = "".join(fragments)
    parsed = parse(output_format, text, reason)
    assert _words(parsed.full) == _words(text)
    parts = Counter([*_words(parsed.think), *_words(parsed.answer)])
    assert not parts - Counter(_words(text))
    if parsed.status == "ok":
        assert parts == Counter(_words(text))


def _seconds(action: Callable[[], object]) -> float:
    """Return the least processor time of five runs; `timeit` holds the garbage collection back."""
    return min(timeit.repeat(action, timer=time.process_time, number=1, repeat=5))


REPEATED = [
    *("<think>", "</think>", "<answer>", "<tool_call>", "<tool_call>{", "◁think▷", "\\boxed{"),
    *("\\boxed{a}", "{", "}", "\\", "$", ".)", "<|a", "<|im_end|>", " \n", "the ", "* \nanswer"),
]


@pytest.mark.parametrize("output_format", FORMATS)
def test_time_is_linear(output_format: str) -> None:
    """Sixteen times the text takes about sixteen times as long, not 256 times."""
    for unit in REPEATED:
        short = "<think>" + unit * (4_000 // len(unit)) + "</think>"
        long = "<think>" + unit * (64_000 // len(unit)) + "</think>"
        ratios = (
            _seconds(lambda text=long: parse(output_format, text, "stop"))
            / _seconds(lambda text=short: parse(output_format, text, "stop"))
            for _ in range(3)
        )
        # A busy machine can spoil one measurement; what is quadratic fails every one.
        assert any(ratio < 80 for ratio in ratios), unit


# The script


def annotated(folder, *rows) -> pl.DataFrame:
    """Write a file of responses (image_id, model, text, finish reason), and parse it."""
    columns = ["image_id", "model", "text", "finish_reason"]
    schema = {name: RESPONSES[name] for name in columns}
    pl.DataFrame(rows, schema, orient="row").write_parquet(folder / "responses.parquet")
    parse_responses(folder / "responses.parquet", folder / "annotations.parquet", "think_answer")
    return pl.read_parquet(folder / "annotations.parquet")


def test_a_row_for_each_response_in_the_same_order(tmp_path) -> None:
    frame = annotated(
        tmp_path,
        ("b", "glm", "<think>T</think><answer>A</answer>", "stop"),
        ("a", "glm", None, "error"),
        ("d", "glm", "<think>T", "length"),
        ("c", "glm", "nothing", "stop"),
    )
    assert frame.schema == ANNOTATIONS
    assert frame.rows() == [
        ("b", "glm", "T\nA", "T", "A", "ok", "ok", "ok"),
        ("a", "glm", None, None, None, "error", "error", "error"),
        ("d", "glm", "T", "T", None, "cut_off", "cut_off", "cut_off"),
        ("c", "glm", "nothing", None, "nothing", "no_think", "no_think", "ok"),
    ]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.none() | st.text(max_size=9) | TAGGED, st.sampled_from([*FINISHED]))))
def test_any_responses_give_as_many_rows(tmp_path_factory, texts) -> None:
    rows = [(f"i{place}", "glm", *row) for place, row in enumerate(texts)]
    frame = annotated(tmp_path_factory.mktemp("rows"), *rows)
    assert frame["image_id"].to_list() == [image_id for image_id, *_ in rows]
    assert frame["status"].null_count() == 0
    for part in (THINK, ANSWER):
        assert frame.filter(pl.col(f"{part}_status") == "ok")[part].null_count() == 0


def test_no_responses_give_an_empty_file(tmp_path) -> None:
    assert annotated(tmp_path).schema == ANNOTATIONS


def test_an_unknown_finish_reason_names_file_and_image(tmp_path) -> None:
    with pytest.raises(ValueError, match=r"responses\.parquet, image n1_7: .*'abort'"):
        annotated(tmp_path, ("n1_7", "glm", "x", "abort"))
    assert not (tmp_path / "annotations.parquet").exists()
