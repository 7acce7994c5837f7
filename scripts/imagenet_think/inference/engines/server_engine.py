"""Generation by an OpenAI-compatible server that is there already and serves one model.

It must serve the very checkpoint that the config names. That cannot be checked from here, except
by the tokens of the prompt where the server returns them (vLLM). Besides the sampling settings of
OpenAI's interface it must know `top_k`, `repetition_penalty`, `stop_token_ids` and
`skip_special_tokens`, as vLLM and SGLang do, and for a forced prefix `continue_final_message`.
Where it returns no tokens the text is taken as given, and loops are only found at the length limit.
"""

import asyncio
import os
from collections.abc import Mapping
from typing import Any, Unpack

import httpx2

from imagenet_think.inference import checkpoints
from imagenet_think.inference.engines import EngineError, Setup, addresses, openai_client
from imagenet_think.inference.engines.openai_client import Address, ChatEngine, Server
from imagenet_think.inference.engines.server_answers import UnavailableError


def check(inference: Mapping[str, Any]) -> None:
    """Check the server's address, and that its key is set."""
    settings = inference["engines"]["server"]
    if problem := addresses.problem(settings["url"]):
        raise ValueError(f"engines.server.url {problem}")
    if variable := settings.get("key_variable"):
        key = os.environ.get(variable)
        if not key:
            raise ValueError(f"engines.server.key_variable is {variable}, which is not set")
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise ValueError(
                f"engines.server.key_variable is {variable}, which holds no key: it has spaces, "
                "line breaks or letters that no key has"
            )


def load(model: dict, **setup: Unpack[Setup]) -> ChatEngine:
    """Find the server, and check with one request that its model sees an image.

    As `imagenet_think.inference.engines.EngineModule` describes. Of `inference` it reads
    `batch_size`, `workers` and `engines.server`. No weights are read, and `threads` is not used.
    """
    encoder, stop_ids = checkpoints.load_processor(model, setup["processor"], setup["checkpoint"])
    inference = setup["inference"]
    server = RemoteServer(inference["engines"]["server"], inference["batch_size"])
    return ChatEngine(server, encoder, stop_ids, model, setup)


class RemoteServer(Server):
    """A server that runs already, as the config's `engines.server` describes it.

    It gets at most `batch_size` requests at a time.
    """

    def __init__(self, settings: Mapping[str, Any], batch_size: int):
        url, variable = settings["url"].rstrip("/"), settings.get("key_variable")
        note = "" if addresses.is_loopback(url) else addresses.proxies(url)
        try:
            super().__init__("server", settings, url, batch_size)
        except (ImportError, ValueError, httpx2.InvalidURL):  # their messages show passwords
            raise EngineError(
                f"{url} cannot be reached{note}: a proxy of the environment has an address that "
                "cannot be used here; unset it, or name a proxy with http:// or https://"
            ) from None
        self._address = Address(url, os.environ[variable] if variable else None, note=note)
        self.record |= {"device": addresses.origin(url), "dtype": None, "attention": None}
        self.record["batch_size"] = batch_size

    async def start(self) -> None:
        """Ask the server which model it serves."""
        for failures in range(self.retries + 1):
            try:
                self._address = await self.discover(self._address)
                return
            except UnavailableError as error:
                last = error
                if failures < self.retries:
                    await asyncio.sleep(openai_client.FIRST_PAUSE * 2**failures)
        raise EngineError(f"engines.server.url: no answer after {self.retries} retries: {last}")

    async def address(self) -> Address:
        """Return its address."""
        return self._address

    def continued(self, messages: list[dict], prefix: str) -> dict[str, Any]:
        """Return what makes the model continue a prefix: an unfinished turn of the assistant."""
        return {
            "messages": [*messages, {"role": "assistant", "content": prefix}],
            "add_generation_prompt": False,
            "continue_final_message": True,
        }
