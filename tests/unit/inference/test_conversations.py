from dataclasses import replace

import pytest
from generation_runs import Echo
from hypothesis import given
from hypothesis import strategies as st
from miniatures import load_miniature

from imagenet_think.inference.chat import png_file
from imagenet_think.inference.conversations import ROUND_SEPARATOR, Answer, Policy, converse
from imagenet_think.inference.engines import Response
from imagenet_think.inference.usage import TOKENS
from imagenet_think.miniature.drawings import NAMES, draw, scene_of
from imagenet_think.parsing import Parsed, parse

GREEDY = {"decoding": {"max_new_tokens": 100, "temperature": 0.0}, "output": "think_answer"}
DRAWING = GREEDY | {"decoding": {"max_new_tokens": 100, "temperature": 0.8}}
TOOL = GREEDY | {
    "output": "tool_call",
    "second_round": {"first_scale": 0.5, "template": "{image}Look again."},
}
DRAWING_TOOL = TOOL | {"decoding": DRAWING["decoding"]}
CLOSING = {"close_thought": {"text": "</think><answer>", "max_new_tokens": 40}}
RESIZE = '<tool_call>{"name": "resize_image", "arguments": {"action": "resize"}}</tool_call>'
CALL = f"<think>Small.</think>{RESIZE}"


def seed(image_id, attempt, turn):
    return 10 * attempt + turn


def scripted(script, batch=2):
    """A fake engine whose texts and finish reasons are given by image, attempt and turn."""
    return Echo(lambda _, request: script[request.key, *divmod(request.seed, 10)], batch=batch)


def two_rounds(keys):
    return {
        (key, 1, turn): (text, "stop") for key in keys for turn, text in ((1, CALL), (2, "done"))
    }


def ask(script, model=GREEDY, attempts=1, batch=2):
    """Return the answers by image, the engine, and the images in the order of their answers."""
    engine = scripted(script, batch)
    images = [(key, key.encode()) for key in dict.fromkeys(key for key, *_ in script)]
    found = list(converse(engine.generate, images, Policy(model, "Describe.", attempts, seed)))
    return {answer.response.key: answer for answer in found}, engine, found


def test_an_answer_of_one_round():
    found, engine, answers = ask(
        {("a", 1, 1): ("A", "stop"), ("b", 1, 1): ("B", "length"), ("c", 1, 1): ("C", "stop")}
    )
    assert [answer.response.key for answer in answers] == ["b", "a", "c"]
    answer = found["a"]
    assert answer.response == Response("a", "A", "stop", 10, 4, 3)
    assert (answer.rounds, answer.forced, answer.attempt, answer.seed) == (1, False, 1, 11)
    assert answer.spent == {"prompt_tokens": 10, "image_tokens": 4, "completion_tokens": 3}
    request = engine.requests[0]
    assert (request.key, request.seed, request.max_new_tokens, request.prefix) == ("a", 11, 100, "")
    assert request.messages[0]["content"][0]["image"] == b"a"


# Rounds


def test_two_rounds_are_joined_and_counted_together():
    found, engine, _ = ask(
        {("a", 1, 1): (CALL, "stop"), ("a", 1, 2): ("<answer>A</answer>", "length")}, TOOL
    )
    assert found["a"].rounds == 2
    text = CALL + ROUND_SEPARATOR + "<answer>A</answer>"
    assert found["a"].response == Response("a", text, "length", 20, 8, 6)
    assert found["a"].spent["completion_tokens"] == 6
    second = engine.requests[1].messages
    assert [turn["role"] for turn in second] == ["user", "assistant", "user"]
    assert second[2]["content"][0] == {"type": "image", "image": b"a", "scale": 1.0}


def test_a_wrong_call_is_answered_by_its_error():
    wrong = "<think>Small.</think><tool_call>resize</tool_call>"
    found, engine, _ = ask({("a", 1, 1): (wrong, "stop"), ("a", 1, 2): ("<think>T", "stop")}, TOOL)
    assert found["a"].rounds == 2
    assert found["a"].response.text == f"{wrong}{ROUND_SEPARATOR}<think>T"
    (turn,) = engine.requests[1].messages[2]["content"]
    assert turn["text"].startswith("the call holds no JSON objectPlease analyze the error")


def test_second_rounds_come_before_new_images():
    _, engine, answers = ask(two_rounds("abcd"), TOOL)
    assert engine.batches == [["a", "b"], ["b", "a"], ["c", "d"], ["d", "c"]]
    assert [answer.response.key for answer in answers] == ["a", "b", "c", "d"]


# By name: the model, what is generated (text and finish reason by seed, in the order of the
# requests), and the answer: `requests` are those whose text and tokens it keeps.
ANSWERS = {
    "there are two rounds at most": (
        TOOL,
        {11: (CALL, "stop"), 12: (CALL, "stop")},
        {"text": f"{CALL}\n{CALL}", "requests": 2, "rounds": 2},
    ),
    "a first round that is cut off has no second": (
        TOOL,
        {11: (CALL + " and so on", "length")},
        {"text": CALL + " and so on", "reason": "length"},
    ),
    "a failing second round fails the row": (
        TOOL,
        {11: (CALL, "stop"), 12: ("no image token", "error")},
        {"error": "second round: no image token", "rounds": 2},
    ),
    "a failing first round fails the row at once": (
        DRAWING | {"prefix": "<think>"},
        {11: ("image cannot be read", "error")},
        {"error": "image cannot be read"},
    ),
    "a truncated answer is generated again": (
        DRAWING,
        {11: ("and and", "length"), 21: ("A", "stop")},
        {"text": "A", "attempt": 2},
    ),
    "the last attempt is kept and marked": (
        DRAWING,
        {11: ("text 1", "loop"), 21: ("text 2", "length"), 31: ("text 3", "loop")},
        {"text": "text 3", "reason": "loop", "attempt": 3},
    ),
    **{
        f"greedy decoding has one attempt: {greedy}": (
            GREEDY | {"decoding": {"max_new_tokens": 100} | greedy},
            {11: ("A", "length")},
            {"text": "A", "reason": "length"},
        )
        for greedy in ({"temperature": 0.0}, {"temperature": 0.8, "top_k": 1}, {"top_p": 0.9})
    },
    "every attempt has the prefix": (
        DRAWING | {"prefix": "<think>\n"},
        {11: ("on", "length"), 21: ("T</think>A", "stop")},
        {"text": "<think>\nT</think>A", "attempt": 2},
    ),
    "an attempt is the whole conversation": (
        DRAWING_TOOL,
        {11: (CALL, "stop"), 12: ("on and on", "length"), 21: ("<think>T</think>A", "stop")},
        {"text": "<think>T</think>A", "attempt": 2},
    ),
    "an error in a later attempt keeps the earlier one": (
        DRAWING_TOOL,
        {11: ("on and on", "loop"), 21: (CALL, "stop"), 22: ("the image token", "error")},
        {"text": "on and on", "reason": "loop"},
    ),
    "only the last attempt is closed by force": (
        DRAWING | CLOSING,
        {
            11: ("<think>Fur", "length"),
            21: ("<think>Ears", "loop"),
            31: ("<think>Tail", "loop"),
            32: ("A lynx.", "length"),
        },
        {
            "text": "<think>Tail</think><answer>A lynx.",
            "reason": "length",
            "requests": 2,
            "forced": True,
            "attempt": 3,
        },
    ),
    "text truncated outside its thinking is kept": (
        GREEDY | CLOSING,
        {11: ("<think>Fur</think><answer>A ly", "loop")},
        {"text": "<think>Fur</think><answer>A ly", "reason": "loop"},
    ),
    "text that the model finished is kept": (
        GREEDY | CLOSING,
        {11: ("<think>Fur", "stop")},
        {"text": "<think>Fur"},
    ),
    "an error in a forced answer keeps the truncated one": (
        GREEDY | CLOSING,
        {11: ("<think>Fur <|image|>", "loop"), 12: ("image token", "error")},
        {"text": "<think>Fur <|image|>", "reason": "loop"},
    ),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_is_composed_of_its_requests(name):
    model, said, expected = ANSWERS[name]
    script = {("a", *divmod(number, 10)): outcome for number, outcome in said.items()}
    found, engine, _ = ask(script, model, attempts=3)
    error, attempt = expected.get("error"), expected.get("attempt", 1)
    counts = [count * (0 if error else expected.get("requests", 1)) for count in (10, 4, 3)]
    reason = "error" if error else expected.get("reason", "stop")
    finished = sum(reason != "error" for _, reason in said.values())
    assert found["a"] == Answer(
        Response("a", expected.get("text"), reason, *counts, error=error),
        rounds=expected.get("rounds", 1),
        forced=expected.get("forced", False),
        attempt=attempt,
        seed=10 * attempt + 1,
        spent=dict(zip(TOKENS, (10 * finished, 4 * finished, 3 * finished), strict=True)),
    )
    assert [request.seed for request in engine.requests] == list(said)
    prefix = model.get("prefix", "")
    assert all(request.prefix.startswith(prefix) for request in engine.requests)


def test_every_round_has_the_prefix():
    found, engine, _ = ask(
        {("a", 1, 1): (f"S</think>{RESIZE}", "stop"), ("a", 1, 2): ("B", "stop")},
        TOOL | {"prefix": "<think>"},
    )
    assert [request.prefix for request in engine.requests] == ["<think>"] * 2
    first = f"<think>S</think>{RESIZE}"
    assert engine.requests[1].messages[1]["content"] == first
    assert found["a"].response.text == f"{first}\n<think>B"


# Forced closing


@pytest.mark.parametrize("reason", ["length", "loop"])
def test_truncated_thinking_is_closed(reason):
    found, engine, _ = ask(
        {("a", 1, 1): ("<think>Fur, fur", reason), ("a", 1, 2): ("A lynx.</answer>", "stop")},
        GREEDY | CLOSING,
    )
    answer = found["a"]
    text = "<think>Fur, fur</think><answer>A lynx.</answer>"
    assert answer.response == Response("a", text, "stop", 20, 8, 6)
    assert (answer.forced, answer.rounds, answer.attempt, answer.seed) == (True, 1, 1, 11)
    first, second = engine.requests
    assert second == replace(
        first, prefix="<think>Fur, fur</think><answer>", seed=12, max_new_tokens=40
    )


def test_thinking_of_a_second_round_is_closed_with_its_own_messages():
    found, engine, _ = ask(
        {
            ("a", 1, 1): (CALL, "stop"),
            ("a", 1, 2): ("<think>Boats", "length"),
            ("a", 1, 3): ("A port.", "stop"),
        },
        TOOL | CLOSING,
    )
    text = f"{CALL}\n<think>Boats</think><answer>A port."
    assert found["a"].response == Response("a", text, "stop", 30, 12, 9)
    assert (found["a"].rounds, found["a"].forced) == (2, True)
    assert engine.requests[2].messages == engine.requests[1].messages
    assert engine.requests[2].prefix == "<think>Boats</think><answer>"
    assert parse("tool_call", text, "stop").answer == "A port."


@pytest.mark.parametrize(
    ("output", "prefix", "said", "closing"),
    [
        ("think_answer", None, "<think>Fur, ears", "</think><answer>"),
        ("think_answer", "<think>\n", "Fur, ears", "\n</think>\n\n<answer>"),
        ("think", "<think>\n", "Fur, ears", "\n</think>\n\n"),
        ("think", None, "Fur, ears", "</think>"),
        ("kimi", None, "◁think▷Fur, ears", "◁/think▷"),
        ("tool_call", None, "<think>Fur, ears", "</think><answer>"),
        ("boxed", None, "Fur, ears", "\n\nSo the answer is \\boxed{"),
    ],
)
def test_forced_answers_parse(output, prefix, said, closing):
    model = GREEDY | {
        "output": output,
        "prefix": prefix,
        "close_thought": {"text": closing, "max_new_tokens": 40},
    }
    ending = "A lynx}" if output == "boxed" else "A lynx<|im_end|>"
    found, *_ = ask({("a", 1, 1): (said, "length"), ("a", 1, 2): (ending, "stop")}, model)
    assert found["a"].forced
    parsed = parse(output, found["a"].response.text, "stop")
    answer = "So the answer is A lynx" if output == "boxed" else "A lynx"
    assert parsed == Parsed(f"Fur, ears\n{answer}", "Fur, ears", answer, *3 * ["ok"])


# With a trained model


def test_a_model_whose_thinking_is_closed_by_force_answers():
    closing = {"text": "</think><answer>", "max_new_tokens": 200}
    decoding = {"max_new_tokens": 12, "temperature": 0.0}
    engine, policy = load_miniature("glm-4.1v", decoding=decoding, close_thought=closing)
    images = [(wnid, png_file(draw(scene_of(11, wnid, 0)))) for wnid in tuple(NAMES)[:2]]
    answers = list(converse(engine.generate, images, policy))
    assert len(answers) == 2
    for answer in answers:
        assert answer.forced
        assert answer.response.finish_reason == "stop"
        assert answer.response.completion_tokens > decoding["max_new_tokens"]
        thought = answer.response.text.split(closing["text"])[0]
        assert thought.startswith("<think>Got it")
        parsed = parse("think_answer", answer.response.text, "stop")
        assert parsed.think.startswith(thought.removeprefix("<think>").strip())
        assert len(parsed.answer) > 20


# Order


def test_an_engine_that_took_all_requests_at_once_is_called_again():
    engine = scripted(two_rounds("abc"))
    images = [(key, b"") for key in "abc"]
    policy = Policy(TOOL, "Describe.", 1, seed)
    answers = list(converse(lambda requests: engine.generate(list(requests)), images, policy))
    assert [answer.rounds for answer in answers] == [2, 2, 2]


def test_an_exhausted_iterator_of_requests_can_continue():
    engine = scripted(two_rounds("ab"))
    open_at_end = []

    def generate(requests):
        asked = [next(requests), next(requests)]
        assert next(requests, None) is None
        while asked:
            open_at_end.append(len(asked))
            yield from engine.generate(asked[:1])
            asked = [*asked[1:], *requests]

    policy = Policy(TOOL, "Describe.", 1, seed)
    answers = list(converse(generate, [("a", b""), ("b", b"")], policy))
    assert [answer.rounds for answer in answers] == [2, 2]
    assert open_at_end == [2, 2, 2, 1]


def test_two_open_conversations_about_an_image_are_an_error():
    engine = scripted({("a", 1, 1): ("A", "stop")})
    policy = Policy(GREEDY, "Describe.", 1, seed)
    with pytest.raises(ValueError, match="image a has two open conversations"):
        list(converse(engine.generate, [("a", b""), ("a", b"")], policy))


TEXTS = st.sampled_from([CALL, "<think>T</think>A", "<think>T", "T"])
REASONS = st.sampled_from(["stop", "stop", "length", "loop", "error"])


@given(
    outcomes=st.fixed_dictionaries(
        {
            (key, attempt, turn): st.tuples(TEXTS, REASONS)
            for key in "abcde"
            for attempt in (1, 2)
            for turn in (1, 2, 3)
        }
    ),
    batches=st.tuples(st.integers(1, 6), st.integers(1, 6)),
)
def test_an_answer_does_not_depend_on_the_batch(outcomes, batches):
    model = DRAWING_TOOL | CLOSING
    (one, first, _), (two, second, _) = (ask(outcomes, model, 2, batch) for batch in batches)
    assert one == two
    assert sorted(one) == list("abcde")

    def asked(engine):
        return sorted((request.key, request.seed) for request in engine.requests)

    assert asked(first) == asked(second)
    # Each image has one open request at a time, so a key identifies its request.
    assert all(len(set(batch)) == len(batch) for batch in (*first.batches, *second.batches))
    for key, answer in one.items():
        reasons = [outcomes[key, a, t][1] for k, a, t in outcomes if k == key]
        assert answer.response.finish_reason in reasons
        assert answer.spent["completion_tokens"] >= answer.response.completion_tokens
