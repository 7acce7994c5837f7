"""Generation by an OpenAI-compatible server that is there already and serves one model.

It must serve the very checkpoint that the config names: that cannot be checked from here, but for
the tokens of the prompt where the server gives them (vLLM). Beside the sampling settings of
OpenAI's interface it must know `top_k`, `repetition_penalty`, `stop_token_ids` and
`skip_special_tokens`, as vLLM and SGLang do, and for a forced prefix `continue_final_message`.
Where it gives no tokens the text is taken as given, and loops are only found at the length limit.
"""

import asyncio
import os
from collections.abc import Mapping
from typing import Any

from imagenet_think.inference import checkpoints, families
from imagenet_think.inference.engines import EngineError, versions
from imagenet_think.inference.engines.openai_client import (
    FIRST_PAUSE,
    PACKAGES,
    Address,
    ChatEngine,
    UnavailableError,
    discover,
    http_client,
    server_version,
)


def check(inference: Mapping[str, Any]) -> None:
    """Check that the config names a server, and that its key is set."""
    settings = inference["engines"].get("server")
    if not settings:
        raise ValueError("inference.engine is server, and engines.server.url names none")
    if not settings["url"].startswith(("http://", "https://")):
        raise ValueError(f"engines.server.url is {settings['url']!r}, no address (http://…/v1)")
    variable = settings.get("key_variable")
    if variable and not os.environ.get(variable):
        raise ValueError(f"engines.server.key_variable is {variable}, which is not set")
    for name in ("device", "attention", "dtype"):
        if inference[name] != "auto":
            raise ValueError(
                f"inference.{name} is {inference[name]}, but with engine server that is decided "
                "where the server was started: say auto"
            )


def load(
    model: dict,
    *,
    loop: dict | None,
    checkpoint: tuple[str, str | None],
    processor: tuple[str, str | None],
    inference: Mapping[str, Any],
    threads: int,
) -> ChatEngine:
    """Find the server, and check with one request that its model sees an image.

    Parameters and errors are those of `imagenet_think.inference.engines.EngineModule`. Of
    `inference` it reads `batch_size` and `engines.server`; no weights are read, and `threads` is
    not used.
    """
    settings = inference["engines"]["server"]
    family = families.get(model["family"])
    path, revision = processor
    encoder = family.load_processor(path, model.get("image"), revision=revision)
    server = RemoteServer(settings)
    engine = ChatEngine(
        server,
        encoder,
        model=model,
        loop=loop,
        stop_ids=checkpoints.stop_ids(family, encoder, checkpoints.local_folder(*checkpoint)),
        batch_size=inference["batch_size"],
        record={
            "engine": "server",
            "device": server.url,
            "dtype": None,
            "attention": None,
            "batch_size": inference["batch_size"],
            "versions": versions(*PACKAGES),
        },
    )
    try:
        version = engine.run(server.find())
        if version:
            engine.record["versions"]["vllm"] = version
        engine.probe()
    except BaseException:
        engine.close()
        raise
    return engine


class RemoteServer:
    """A server that others start and end.

    Parameters
    ----------
    settings
        The config's `engines.server`: `url`, `key_variable`, `request_seconds`, `retries`.
    """

    def __init__(self, settings: dict):
        self.url = settings["url"].rstrip("/")
        self.request_seconds, self.retries = settings["request_seconds"], settings["retries"]
        variable = settings.get("key_variable")
        self._key = os.environ[variable] if variable else None
        self._address: Address | None = None

    async def find(self) -> str | None:
        """Ask the server what it serves; return its version, if it says one.

        Raises
        ------
        EngineError
            If it does not answer, refuses, or does not serve exactly one model.
        """
        async with http_client() as client:
            for failures in range(self.retries + 1):
                try:
                    self._address = await discover(client, self.url, self._key)
                    return await server_version(client, self.url)
                except UnavailableError as error:
                    last = error
                    if failures < self.retries:
                        await asyncio.sleep(FIRST_PAUSE * 2**failures)
        raise EngineError(f"engines.server.url: no answer after {self.retries} retries: {last}")

    async def address(self) -> Address:
        """Return where it is."""
        assert self._address is not None  # it has been found
        return self._address

    async def recover(self, address: Address, error: UnavailableError) -> bool:
        """Do nothing: it is for others to start it again."""
        return False

    def continued(self, messages: list[dict], prefix: str) -> dict[str, Any]:
        """Return what makes the model go on from a prefix: an unfinished turn of the assistant."""
        return {
            "messages": [*messages, {"role": "assistant", "content": prefix}],
            "add_generation_prompt": False,
            "continue_final_message": True,
        }

    def stop(self) -> None:
        """Leave it as it is."""
