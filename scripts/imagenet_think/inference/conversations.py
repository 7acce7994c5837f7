"""One answer from as many requests as it takes, with any engine.

Rounds: a model with a `second_round` that calls its tool is shown the image at full size (or told
what is wrong with its call) and answers again. Attempts: an answer that is cut off (at its length
limit, or in a loop) is generated again from the first round with new seeds, if decoding samples;
greedy decoding would give the same text. Forced closing: if the last attempt, too, is cut off
within its thinking, the model's `close_thought` closes it and the answer is generated.

The text of an answer is that of its rounds, joined by `ROUND_SEPARATOR`. A round is the model's
`prefix` and the generated text after it, including the end token; if thinking was closed by force,
the closing text and the text generated after it follow. So `imagenet_think.parsing` splits it like
any other text: prefix, tool call and closing mark look as if the model had generated them.

A failing request does not lose an earlier result: after an error in a later attempt or in a forced
answer, the answer that was cut off is kept. An error in a round is that of its answer (a model that
requested the image at full size and cannot be shown it has given none).
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

from imagenet_think.inference import seeding
from imagenet_think.inference.chat import first_conversation, second_conversation
from imagenet_think.inference.engines import Request, Response
from imagenet_think.inference.usage import TOKENS
from imagenet_think.parsing import thought_is_open

ROUND_SEPARATOR = "\n"
CUT_OFF = ("length", "loop")

Talk = Generator[Request, Response, "Answer"]


class Round(NamedTuple):
    """A request, and its response with the request's prefix before the text."""

    request: Request
    response: Response


@dataclass(frozen=True)
class Policy:
    """How one model is prompted."""

    model: dict  # its entry in the config
    prompt: str
    attempts: int  # the greatest number if decoding samples; otherwise there is one
    # The seed of a request by image id, attempt and turn, both counted from 1. A forced answer is a
    # separate turn, after the rounds.
    seed: Callable[[str, int, int], int]


@dataclass(frozen=True)
class Answer:
    """A finished answer.

    Its response has the image's id as key, the whole text, and the tokens of all requests behind
    it: one that continues a conversation counts its prompt again, as the engine reads it again.
    """

    response: Response
    rounds: int
    forced: bool  # whether the thinking was closed by force
    attempt: int  # the one that was kept, counted from 1
    seed: int  # of that attempt's first round
    spent: dict[str, int]  # tokens of everything generated for it, including dropped attempts


def converse(
    generate: Callable[[Iterable[Request]], Iterator[Response]],
    images: Iterable[tuple[str, bytes]],
    policy: Policy,
) -> Iterator[Answer]:
    """Yield an answer for each image, in the order in which they finish.

    Requests that continue a conversation come before new images, so that few images are held in
    memory. Each image has one open request at a time, with the image's id as its key. The order of
    requests depends only on the order of responses. `images`, unique ids and image files, is
    consumed as the engine takes requests.
    """
    requests = _Requests(images, policy)
    # An engine may have stopped taking requests before the last responses led to further ones.
    while True:
        for response in generate(requests):
            answer = requests.answered(response)
            if answer is not None:
                yield answer
        if not requests.waiting:
            return


class _Requests(Iterator[Request]):
    """The requests that can be made now.

    It ends when none is waiting and no image is left. An engine that calls it again finds the
    requests that its responses have led to since, and so stays full to the end of a run.
    """

    def __init__(self, images: Iterable[tuple[str, bytes]], policy: Policy):
        self.images, self.policy = iter(images), policy
        self.waiting: deque[Request] = deque()
        self.talks: dict[str, Talk] = {}

    def __next__(self) -> Request:
        if self.waiting:
            return self.waiting.popleft()
        image_id, image = next(self.images)
        if image_id in self.talks:
            raise ValueError(f"image {image_id} has two open conversations")
        self.talks[image_id] = _talk(self.policy, image_id, image)
        return next(self.talks[image_id])

    def answered(self, response: Response) -> Answer | None:
        """Continue a conversation; return its answer if it has ended."""
        try:
            self.waiting.append(self.talks[response.key].send(response))
        except StopIteration as end:
            del self.talks[response.key]
            return end.value
        return None


def _talk(policy: Policy, image_id: str, image: bytes) -> Talk:
    """Generate one answer: yield each request, receive its response, return the answer."""
    spent = dict.fromkeys(TOKENS, 0)
    attempts = policy.attempts if seeding.at_random(policy.model["decoding"]) else 1
    kept: list[Round] = []
    for number in range(1, attempts + 1):
        seed = partial(policy.seed, image_id, number)
        rounds = yield from _rounds(policy, image_id, image, seed, spent)
        reason = rounds[-1].response.finish_reason
        if number == 1 or reason != "error":
            kept, attempt = rounds, number
        if reason not in CUT_OFF:
            break
    seed = partial(policy.seed, image_id, attempt)
    closed = yield from _closed(policy.model, kept, seed, spent)
    return Answer(
        _joined(closed or kept),
        rounds=len(kept),
        forced=closed is not None,
        attempt=attempt,
        seed=seed(1),
        spent=spent,
    )


def _rounds(
    policy: Policy, image_id: str, image: bytes, seed: Callable[[int], int], spent: dict[str, int]
) -> Generator[Request, Response, list[Round]]:
    """Request the first round and, if the model calls its tool, the second."""
    model = policy.model
    prefix, limit = model.get("prefix") or "", model["decoding"]["max_new_tokens"]
    messages = first_conversation(image, policy.prompt, model)
    first = yield from _round(Request(image_id, messages, seed(1), limit, prefix), spent)
    if first.response.finish_reason != "stop":
        return [first]
    longer = second_conversation(messages, first.response.text or "", image, model)
    if longer is None:
        return [first]
    second = yield from _round(Request(image_id, longer, seed(2), limit, prefix), spent)
    return [first, second]


def _closed(
    model: dict, rounds: list[Round], seed: Callable[[int], int], spent: dict[str, int]
) -> Generator[Request, Response, list[Round] | None]:
    """Return the rounds with the last one's thinking closed and answered; None if it is not."""
    closing, (request, response) = model.get("close_thought"), rounds[-1]
    text = response.text or ""
    cut_off = response.finish_reason in CUT_OFF
    if not closing or not cut_off or not thought_is_open(model["output"], text):
        return None
    request = replace(
        request,
        prefix=text + closing["text"],
        seed=seed(len(rounds) + 1),
        max_new_tokens=closing["max_new_tokens"],
    )
    _, answer = yield from _round(request, spent)
    if answer.finish_reason == "error":
        return None
    return [*rounds[:-1], Round(request, _sum([response, answer], answer.text))]


def _round(request: Request, spent: dict[str, int]) -> Generator[Request, Response, Round]:
    """Send a request, count its tokens, and put the prefix before the generated text."""
    response = yield request
    for name in TOKENS:
        spent[name] += getattr(response, name)
    if response.finish_reason != "error":
        response = replace(response, text=request.prefix + (response.text or ""))
    return Round(request, response)


def _joined(rounds: list[Round]) -> Response:
    responses = [response for _, response in rounds]
    if responses[-1].finish_reason != "error":
        return _sum(responses, ROUND_SEPARATOR.join(each.text or "" for each in responses))
    if len(responses) == 1:
        return responses[0]
    return replace(responses[-1], error=f"second round: {responses[-1].error}")


def _sum(responses: list[Response], text: str | None) -> Response:
    """Return the last response with a text and the tokens of all."""
    tokens = {name: sum(getattr(response, name) for response in responses) for name in TOKENS}
    return replace(responses[-1], text=text, **tokens)
