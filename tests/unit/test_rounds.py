from itertools import islice

from noise import noise

from imagenet_think.chat import first_conversation
from imagenet_think.engines import Request, Response
from imagenet_think.rounds import converse

MODEL = {"second_round": {"first_scale": 0.5, "template": "{image}Look again."}}
CALL = "Small. <tool_call>{}</tool_call><|im_end|>"


class Script:
    """An engine that answers by a script, in batches of two; it remembers what it was asked."""

    def __init__(self, *answers):
        self.answers = dict(answers)
        self.asked = []

    def generate(self, requests):
        requests = iter(requests)
        while batch := list(islice(requests, 2)):
            self.asked.append([request.key for request in batch])
            for request in reversed(batch):
                text, reason = self.answers[request.key][len(request.messages) > 1]
                error = text if reason == "error" else None
                yield Response(request.key, None if error else text, reason, 10, 4, 3, error)


def ask(script, keys, model=MODEL):
    requests = [Request(k, first_conversation(noise(0), "Describe.", model), 1) for k in keys]
    answers = list(converse(script.generate, requests, model, second_seed=lambda key: 2))
    return {answer.response.key: answer for answer in answers}, len(answers)


def test_one_round_is_passed_on():
    script = Script(("a", [("A", "stop")]), ("b", [("B", "length")]), ("c", [("C", "stop")]))
    found, count = ask(script, "abc")
    assert count == 3
    assert found["a"].response == Response("a", "A", "stop", 10, 4, 3)
    assert {answer.rounds for answer in found.values()} == {1}


def test_two_rounds_are_joined_and_counted_together():
    script = Script(("a", [(CALL, "stop"), ("<answer>A</answer>", "length")]))
    found, count = ask(script, "a")
    assert count == 1
    assert found["a"].rounds == 2
    text = CALL + "\n<answer>A</answer>"
    assert found["a"].response == Response("a", text, "length", 20, 8, 6)


def test_second_rounds_of_the_last_batch_are_asked_too():
    both = [(CALL, "stop"), ("done", "stop")]
    script = Script(("a", both), ("b", both), ("c", both))
    found, count = ask(script, "abc")
    assert count == 3
    assert all(answer.rounds == 2 for answer in found.values())
    assert sorted(key for batch in script.asked for key in batch) == list("aabbcc")


def test_there_are_two_rounds_at_most():
    script = Script(("a", [(CALL, "stop"), (CALL, "stop")]))
    found, _ = ask(script, "a")
    assert found["a"].rounds == 2
    assert len(script.asked) == 2


def test_a_first_round_cut_short_has_no_second():
    script = Script(("a", [(CALL + " and so on", "length")]))
    found, _ = ask(script, "a")
    assert found["a"].rounds == 1


def test_a_failing_second_round_fails_the_row():
    script = Script(("a", [(CALL, "stop"), ("no image token", "error")]))
    found, _ = ask(script, "a")
    response = found["a"].response
    assert (response.finish_reason, response.text) == ("error", None)
    assert response.error == "second round: no image token"


def test_models_without_a_second_round_never_have_one():
    script = Script(("a", [(CALL, "stop")]))
    found, _ = ask(script, "a", model={})
    assert found["a"].rounds == 1
