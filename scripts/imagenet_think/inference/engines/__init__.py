"""Engines: what turns requests into responses.

An engine takes requests as it has room for them and yields finished responses in any order. Once
loaded it knows neither model families nor files. Each module of this folder named in `NAMES` holds
one engine, with the functions of `EngineModule`.
"""

import importlib
import platform
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol, TypedDict, Unpack, cast

NAMES = {"transformers": "transformers_engine", "vllm": "vllm_engine", "server": "server_engine"}

DECIDED_HERE = {
    "device": {"transformers", "vllm"},
    "dtype": {"transformers", "vllm"},
    "attention": {"transformers"},
}
"""Keys of `inference` that say how a model is computed, and the engines that read them."""


@dataclass(frozen=True)
class Request:
    """One round of one conversation.

    `messages` are as in `imagenet_think.inference.chat`, their images as bytes of an image file.
    The response continues `prefix`, which is not part of its text. `seed` matters only where
    decoding samples, `max_new_tokens` bounds the response, and `key`, which no other open request
    has, is returned with it.
    """

    key: str
    messages: list[dict]
    seed: int
    max_new_tokens: int
    prefix: str = ""


@dataclass(frozen=True)
class Response:
    """What a model generated.

    `text` keeps special tokens, the end token included, except for those that look like text
    (`imagenet_think.inference.token_text`). `finish_reason` is stop, length, loop (cut
    off because its end repeats itself) or error. With an error there is no text, and `error` says
    what is wrong with the request, which would fail again.
    """

    key: str
    text: str | None
    finish_reason: str
    prompt_tokens: int = 0
    image_tokens: int = 0
    completion_tokens: int = 0
    error: str | None = None


class Engine(Protocol):
    """One loaded model.

    `record` says how it computes: `engine`, `device`, `dtype`, `attention`, `versions`, and what
    happened (`out_of_memory`: each event, with the bounds that follow; `restarts` of a server); in
    `computation`, where more than `attention` can change a text, all that can. It may grow while
    the engine works.
    """

    record: dict[str, Any]

    def generate(self, requests: Iterable[Request]) -> Iterator[Response]:
        """Yield a response for each request, in any order.

        Requests are taken in the caller's thread, when there is room for them.
        """

    def close(self) -> None:
        """Free what the engine holds: memory, threads, a server."""


class Setup(TypedDict):
    """What an engine is loaded with.

    `loop` is what counts as a loop (the keywords of `loops.ends_in_loop`; None: nothing does),
    `checkpoint` and `processor` are a folder or hub id, and a revision, `inference` is the
    config's section with `engines`, and `threads` the number of CPU threads.
    """

    loop: dict | None
    checkpoint: tuple[str, str | None]
    processor: tuple[str, str | None]
    inference: Mapping[str, Any]
    threads: int


class EngineModule(Protocol):
    """What every module with an engine has."""

    def check(self, inference: Mapping[str, Any]) -> None:
        """Raise a ValueError, which says what to do, if the settings cannot be met here."""

    def load(self, model: dict, **setup: Unpack[Setup]) -> Engine:
        """Return the engine of one model, which is its entry in the config.

        Raises
        ------
        ValueError
            If the engine cannot load the checkpoint as it is.
        EngineError
            If the server does not start or answer, or does not show the model the image.
        """


class EngineError(RuntimeError):
    """The engine cannot go on. What it has yielded is valid; a new job generates the rest."""


def chosen(model: Mapping[str, Any], inference: Mapping[str, Any]) -> str:
    """Return the name of a model's engine, from its entry in the config and `inference`."""
    return model.get("engine") or inference["engine"]


def get(name: str) -> EngineModule:
    """Return the module of an engine."""
    if name not in NAMES:
        raise ValueError(f"inference.engine is {name!r}; known are {', '.join(NAMES)}")
    module = importlib.import_module(f"imagenet_think.inference.engines.{NAMES[name]}")
    return cast(EngineModule, module)


def versions(*packages: str) -> dict[str, str]:
    """Return the versions of Python and of those packages that are installed."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
