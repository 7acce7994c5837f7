"""A `vllm serve` that belongs to the job: started, monitored, restarted, and always ended."""

import asyncio
import logging
import os
import re
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx2
import torch

from imagenet_think.core.numbers import setting, whole
from imagenet_think.inference.engines import EngineError, supervisor
from imagenet_think.inference.engines.hardware import device_name
from imagenet_think.inference.engines.openai_client import Address, Server
from imagenet_think.inference.engines.server_answers import UnavailableError

logger = logging.getLogger("imagenet_think")

_GRACE_SECONDS = 10.0  # between SIGTERM and SIGKILL
_HEALTH_SECONDS = 30.0
_POLL_SECONDS = 0.25
_TAIL_LINES = 30
_HOST = "http://127.0.0.1"
_WAITING = 8  # for one request that waits in the server, so many are computed
_PORTS = 3  # tried, where another process took the one that was free

# Of this environment, and wrong in vLLM's.
_NOT_INHERITED = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "VIRTUAL_ENV")


class VllmServer(Server):
    """A `vllm serve` process, which is restarted when it dies or hangs.

    `command` starts it, without host and port, on a number of CPU `threads`; `flags` are those of
    its arguments that can change a text. `folder` is for its log, and removed at its end. Of
    `inference`, the config's section, `device` and `engines.vllm` are read. The record has what
    `read_log` returns, `flags`, `arguments` (all that are no paths of this job), `computation`, and
    `restarts`.
    """

    def __init__(
        self,
        command: list[str],
        flags: list[str],
        inference: Mapping[str, Any],
        folder: "tempfile.TemporaryDirectory[str]",
        threads: int,
    ):
        self._settings, self._device = inference["engines"]["vllm"], inference["device"]
        rows = self._settings["batch_size"] * self._settings["gpus"]
        # Some wait in the server, so that the place of a finished one is taken at once.
        super().__init__("vllm", self._settings, _HOST, rows + rows // _WAITING)
        own = [each for each in command[3:] if folder.name not in each]
        self.record |= {"batch_size": rows, "flags": flags, "arguments": own, "restarts": 0}
        self._command, self._folder, self._threads = command, folder, threads
        self._log = Path(folder.name) / "vllm.log"
        self._process: subprocess.Popen | None = None
        self._address: Address | None = None
        self._changing = asyncio.Lock()
        self._lost = "vLLM is not running"

    async def start(self) -> None:
        """Start it for the first time, and read from its log what it computes with."""
        async with self._changing:
            await self._start()
        facts = read_log(self._log.read_text(encoding="utf-8", errors="replace"))
        self.record |= facts
        if self._device not in ("auto", facts["device"]):
            raise EngineError(
                f"inference.device is {self._device}, but this vLLM computes on "
                f"{facts['device']}: {self._command[0]}"
            )
        if facts["device"] == "cuda" and torch.cuda.is_available():
            self.record["device"] = device_name("cuda")
        version = f"vllm {self.record['versions'].get('vllm', 'of unknown version')}"
        used = [facts["attention"], facts["dtype"] or "unknown dtype", version]
        self.record["computation"] = ", ".join([*used, " ".join(self.record["flags"])])

    async def address(self) -> Address:
        """Return its address; wait during a restart; EngineError if it is gone for good."""
        async with self._changing:
            if self._address is None:
                raise EngineError(self._lost)
            return self._address

    async def recover(self, address: Address, error: UnavailableError) -> bool:
        """Restart it if it is dead or hangs; return whether it was restarted, by any request."""
        # A request that is dropped while it restarts the server must not leave it half started.
        return await asyncio.shield(self._recover(address, error))

    def continued(self, messages: list[dict], prefix: str) -> dict[str, Any]:
        """Return what makes the model continue a prefix: the chat template puts it at the end."""
        return {"chat_template_kwargs": {"continuation": prefix}}

    def stop(self) -> None:
        """End the server and remove its log."""
        self._address = None
        self._end()
        self._folder.cleanup()

    async def _recover(self, address: Address, error: UnavailableError) -> bool:
        async with self._changing:
            if self._address is None:
                raise EngineError(self._lost)
            if self._address != address:
                return True
            if not error.silent and await self._is_healthy(address):
                return False
            cause = f"{'hangs' if error.silent else 'is dead'} ({error})"
            self._address = None
            await asyncio.to_thread(self._end)
            most = self._settings["restarts"]
            while self.record["restarts"] < most:
                self.record["restarts"] += 1
                count = f"start {self.record['restarts']} of {most} more"
                logger.warning(f"vLLM {cause}; {count}. {self._tail()}")
                try:
                    await self._start()
                    return True
                except EngineError as failure:
                    cause = f"did not start ({failure})"
            self._lost = (
                f"vLLM {cause}, and was started again {most} times (engines.vllm.restarts). "
                + self._tail()
            )
            raise EngineError(self._lost)

    async def _start(self) -> None:
        for _ in range(_PORTS - 1):
            try:
                return await self._start_at(_free_port())
            except EngineError as error:
                if "address already in use" not in str(error).lower():
                    raise
        return await self._start_at(_free_port())

    async def _start_at(self, port: int) -> None:
        start, most = time.monotonic(), self._settings["start_seconds"]
        address = Address(f"{_HOST}:{port}/v1", secrets.token_urlsafe(32))
        process = self._process = self._spawn(port, address.key)
        try:
            while not await self._is_healthy(address):
                if (status := process.poll()) is not None:
                    raise EngineError(
                        f"vLLM ended with status {status} before it was healthy "
                        f"({self._command[0]}). {self._tail()}"
                    )
                if time.monotonic() > start + most:
                    raise EngineError(
                        f"vLLM was not healthy after {setting(most)} seconds "
                        f"(engines.vllm.start_seconds). {self._tail()}"
                    )
                await asyncio.sleep(_POLL_SECONDS)
            self._address = await self.discover(address)
        except BaseException as error:
            await asyncio.to_thread(self._end)
            if isinstance(error, UnavailableError):
                raise EngineError(f"vLLM does not answer. {self._tail()}") from error
            raise
        logger.info("vLLM was healthy after %s s", whole(time.monotonic() - start))

    def _spawn(self, port: int, key: str | None) -> subprocess.Popen:
        command = [*self._command, "--host=127.0.0.1", f"--port={port}"]
        inherited = {name: x for name, x in os.environ.items() if name not in _NOT_INHERITED}
        beside = str(Path(command[0]).parent)  # what the executable's environment brings along
        environment = inherited | {
            "PATH": os.pathsep.join([beside, inherited.get("PATH", os.defpath)]),
            "OMP_NUM_THREADS": str(self._threads),
            "VLLM_API_KEY": str(key),
            "VLLM_NO_USAGE_STATS": "1",
            "DO_NOT_TRACK": "1",
        }
        supervised = [sys.executable, "-I", supervisor.__file__, str(_GRACE_SECONDS), *command]
        with self._log.open("wb") as log:
            return subprocess.Popen(
                supervised,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )

    def _end(self) -> None:
        if self._process is None:
            return
        if self._process.stdin:
            self._process.stdin.close()  # its supervisor then ends it
        try:
            self._process.wait(2 * _GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    async def _is_healthy(self, address: Address) -> bool:
        if self._process is None or self._process.poll() is not None:
            return False
        url = f"{address.url.removesuffix('/v1')}/health"
        seconds = min(_HEALTH_SECONDS, self.request_seconds)
        try:
            async with self.http.stream("GET", url, timeout=seconds) as response:
                return response.status_code == 200
        except httpx2.HTTPError:
            return False

    def _tail(self) -> str:
        """Return the last lines of its log, with an introduction."""
        with self._log.open(encoding="utf-8", errors="replace") as file:
            return "Its log ends:\n" + "".join(deque(file, _TAIL_LINES)).rstrip()


def read_log(text: str) -> dict[str, Any]:
    """Return what vLLM's log says it computes with.

    Returns
    -------
    dict
        `device` and `dtype` (None where the log does not say), `devices` (their number) and
        `attention`, which is `vllm` where the log names no backend.
    """
    config = next((line for line in text.splitlines() if " with config: " in line), "")

    def value(name: str) -> str | None:
        found = re.search(rf"\b{name}=([\w.]+)", config)
        return found and found[1]

    devices = 1
    for kind in ("tensor", "pipeline", "data"):
        devices *= int(value(f"{kind}_parallel_size") or 1)
    backend = re.search(
        r"Using (?:AttentionBackendEnum\.)?([A-Z][A-Z0-9_]+) (?:attention )?backend\b", text
    )
    return {
        "device": value("device_config"),
        "devices": devices,
        "dtype": (value("dtype") or "").removeprefix("torch.") or None,
        "attention": backend[1].lower() if backend else "vllm",
    }


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
