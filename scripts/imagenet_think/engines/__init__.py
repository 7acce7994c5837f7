"""Engines: what turns requests into responses.

An engine has `generate(requests)`. It takes requests as it has room for them and yields finished
responses in any order. It knows neither model families nor files.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Request:
    """One round of one conversation.

    `messages` are as in `imagenet_think.chat`, `seed` decides the row's draws where decoding is not
    greedy, and `key` comes back with the response.
    """

    key: str
    messages: list[dict]
    seed: int


@dataclass(frozen=True)
class Response:
    """What a model said.

    `text` keeps special tokens, the end token included. `finish_reason` is stop, length, loop
    (length, and the tail repeats itself) or error; with an error there is no text, and `error` says
    why.
    """

    key: str
    text: str | None
    finish_reason: str
    prompt_tokens: int = 0
    image_tokens: int = 0
    completion_tokens: int = 0
    error: str | None = None
