"""One answer from one or two rounds of conversation, whichever engine speaks for the model."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from imagenet_think.chat import ROUND_SEPARATOR, second_conversation
from imagenet_think.engines import Request, Response


@dataclass(frozen=True)
class Answer:
    """A finished answer: the last response, with texts joined and tokens summed over rounds."""

    response: Response
    rounds: int


def converse(
    generate: Callable[[Iterable[Request]], Iterator[Response]],
    requests: Iterable[Request],
    model_settings: dict,
    second_seed: Callable[[str], int],
) -> Iterator[Answer]:
    """Yield an answer for each request, in the order in which they finish.

    A second round is asked before new first rounds, so that few images are held in memory.

    Parameters
    ----------
    generate
        An engine's `generate`.
    requests
        First rounds; taken as the engine asks for them.
    model_settings
        The model's entry in the config.
    second_seed
        Gives the seed of a key's second round.
    """
    requests = iter(requests)
    waiting: deque[Request] = deque()
    asked: dict[str, Request] = {}
    firsts: dict[str, Response] = {}

    def source() -> Iterator[Request]:
        while True:
            request = waiting.popleft() if waiting else next(requests, None)
            if request is None:
                return
            asked[request.key] = request
            yield request

    # An engine may ask for more while rows that will want a second round are still open: so ask it
    # again.
    while True:
        for response in generate(source()):
            request = asked.pop(response.key)
            if response.key in firsts:
                yield Answer(_joined(firsts.pop(response.key), response), rounds=2)
                continue
            messages = _second_messages(request, response, model_settings)
            if messages is None:
                yield Answer(response, rounds=1)
            else:
                firsts[response.key] = response
                waiting.append(Request(response.key, messages, second_seed(response.key)))
        if not waiting:
            return


def _second_messages(request: Request, response: Response, model_settings: dict) -> list | None:
    if response.finish_reason != "stop":
        return None
    image = next(
        part["image"]
        for message in request.messages
        if not isinstance(message["content"], str)
        for part in message["content"]
        if part["type"] == "image"
    )
    return second_conversation(request.messages, response.text, image, model_settings)


def _joined(first: Response, second: Response) -> Response:
    if second.finish_reason == "error":
        return replace(second, error=f"second round: {second.error}")
    return replace(
        second,
        text=first.text + ROUND_SEPARATOR + second.text,
        prompt_tokens=first.prompt_tokens + second.prompt_tokens,
        image_tokens=first.image_tokens + second.image_tokens,
        completion_tokens=first.completion_tokens + second.completion_tokens,
    )
