"""Conversations with an OpenAI-compatible server: many at once, and none lost.

A response is read by its tokens where the server returns them (vLLM's `return_token_ids`): text,
loops and end tokens are then the same as those of the engine in this process.
"""

import asyncio
import base64
import io
import json
import logging
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from concurrent import futures
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from functools import partial
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, TypeVar

import httpx2
from PIL import ExifTags, Image

from imagenet_think.core.numbers import setting
from imagenet_think.core.printing import escaped
from imagenet_think.inference import checkpoints, seeding
from imagenet_think.inference.chat import (
    PromptError,
    encode,
    first_conversation,
    fitted,
    parts_of,
    png_file,
)
from imagenet_think.inference.engines import EngineError, Request, Response, Setup, versions
from imagenet_think.inference.engines.addresses import is_loopback
from imagenet_think.inference.engines.server_answers import (
    MOST_BYTES,
    RefusedError,
    StreamedResponse,
    UnavailableError,
    cached_tokens,
    failure,
    read,
)
from imagenet_think.inference.engines.thread_copies import per_thread
from imagenet_think.inference.loops import ends_in_loop
from imagenet_think.inference.token_text import decode

logger = logging.getLogger("imagenet_think")

FIRST_PAUSE = 1.0
"""Seconds before a failed request is sent again; they double each time."""

LONGEST_PAUSE = 60.0

_CONNECT_SECONDS = 30.0

Result = TypeVar("Result")


@dataclass(frozen=True)
class Address:
    """Where a server is reached, and what it serves.

    `url` ends in `/v1`. Where the server says it, `context` is the greatest number of tokens of
    prompt and response together, `cached_tokens` that of all requests at a time. `note` is for
    messages.
    """

    url: str
    key: str | None
    model: str = ""
    context: int | None = None
    cached_tokens: int | None = None
    note: str = ""

    def __str__(self) -> str:
        return self.url + self.note

    @property
    def headers(self) -> dict[str, str]:
        """The headers that a request needs."""
        return {"Authorization": f"Bearer {self.key}"} if self.key else {}


class Server:
    """A server of one model at `url`; subclasses know how it is started and reached.

    `settings` are the config's for the engine `name`: `request_seconds`, for how long a server may
    give no token to any request, and `retries`, how often a request is sent again. `most` is the
    greatest number of requests in flight. `record` is as of every engine
    (`imagenet_think.inference.engines.Engine`).
    """

    def __init__(self, name: str, settings: Mapping[str, Any], url: str, most: int):
        self.most = most
        self.request_seconds, self.retries = settings["request_seconds"], settings["retries"]
        self.http = httpx2.AsyncClient(
            timeout=httpx2.Timeout(None, connect=_CONNECT_SECONDS),
            limits=httpx2.Limits(),  # none: the engine bounds requests and their time
            trust_env=not is_loopback(url),  # no proxy reaches this machine
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),  # none
        )
        packages = versions("transformers", "tokenizers", "pillow")  # which encode and decode here
        self.record: dict[str, Any] = {"engine": name, "versions": packages}

    async def start(self) -> None:
        """Start the server, or find it, and complete its record.

        Raises
        ------
        EngineError
            If it does not start or answer, or is not what the settings ask for.
        """
        raise NotImplementedError

    async def address(self) -> Address:
        """Return its address, once it can be reached."""
        raise NotImplementedError

    async def recover(self, address: Address, error: UnavailableError) -> bool:
        """Do what can be done after an error; return whether the server was restarted."""
        return False

    def continued(self, messages: list[dict], prefix: str) -> dict[str, Any]:
        """Return the part of a request that makes the model continue a prefix."""
        raise NotImplementedError

    def stop(self) -> None:
        """End the server, if this job started it."""

    async def discover(self, address: Address) -> Address:
        """Complete an address by what is served there; record vLLM's version."""
        models = (await self._get(f"{address.url}/models", address, partial(read, "models")))[
            "data"
        ]
        if len(models) != 1:
            names = ", ".join(escaped(model["id"])[:100] for model in models[:5]) or "none"
            raise EngineError(
                f"{address} serves {len(models)} models, and must serve one; they are {names}"
            )
        root, cached = address.url.removesuffix("/v1"), None
        with suppress(EngineError, UnavailableError):
            found = await self._get(f"{root}/version", address, partial(read, "version"))
            self.record["versions"]["vllm"] = found["version"]
        with suppress(EngineError, UnavailableError):
            cached = await self._get(f"{root}/metrics", address, cached_tokens)
        self.record["cached_tokens"] = cached
        context = models[0].get("max_model_len")
        return replace(address, model=models[0]["id"], context=context, cached_tokens=cached)

    async def _get(self, url: str, address: Address, reader: Callable[[bytes], Result]) -> Result:
        try:
            async with (
                asyncio.timeout(_CONNECT_SECONDS),
                self.http.stream("GET", url, headers=address.headers) as response,
            ):
                await _raise_for_status(response)
                data = await _beginning(response, MOST_BYTES + 1)
            if len(data) > MOST_BYTES:
                raise UnavailableError(f"the answer has more than {MOST_BYTES:,} bytes")
            return reader(data)
        except (RefusedError, EngineError) as error:
            raise EngineError(f"{url}{address.note}: {error}") from error
        except (UnavailableError, httpx2.HTTPError, TimeoutError) as error:
            name = "" if isinstance(error, UnavailableError) else f"{type(error).__name__}: "
            raise UnavailableError(f"{url}{address.note}: {name}{escaped(str(error))}") from error


class ChatEngine:
    """Answers requests by sending them to a server, a bounded number at a time.

    A thread talks to the server; requests are taken in the caller's. A request is the same however
    often it is sent; only which others the server computes at the same time depends on timing.

    Parameters
    ----------
    server
        The server, which is started here.
    processor
        The family's, of the same checkpoint: it gives the prompt's tokens, rejects what cannot be
        encoded, and decodes the response's tokens.
    stop_ids
        Tokens that end a response.
    model, setup
        As of every engine. `workers` threads encode and decode.

    As many requests are in flight as the server takes (`Server.most`), or fewer: as many as its
    attention cache has room for. How long a request becomes is estimated by the mean of those that
    have ended, and of one with the longest response that the model may give.

    Raises
    ------
    EngineError
        If the server does not start, refuses a request about a gray image, does not show it to the
        model in the same tokens as the processor, or has too short a context for the model's limit.
    """

    def __init__(
        self,
        server: Server,
        processor: Any,
        stop_ids: list[int],
        model: dict,
        setup: Setup,
    ):
        self.server, self.processor, self.record = server, processor, server.record
        self._model, self._loop, self._stop_ids = model, setup["loop"], stop_ids
        self.record["most_in_flight"] = 0
        self._last_token = 0.0  # when the server last gave one to any request
        tokens = processor.tokenizer.get_vocab()
        self._longest = max(map(len, tokens))
        self._vocabulary = checkpoints.vocabulary_size(tokens, setup["checkpoint"])
        self._own_processor = per_thread(processor)
        workers = setup["inference"]["workers"]
        self._coders = futures.ThreadPoolExecutor(workers, thread_name_prefix="coder")
        self._events = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._events.run_forever, name="server", daemon=True)
        self._thread.start()
        try:
            self.run(server.start())
            self._cached_tokens = self.run(server.address()).cached_tokens
            self._ended, self._tokens = 1, self._probe()
        except BaseException:
            self.close()
            raise

    def generate(self, requests: Iterable[Request]) -> Iterator[Response]:
        """Yield a response for each request, one with an error where it cannot be answered.

        Requests are taken as others end, which depends on timing; what is generated does not.

        Raises
        ------
        EngineError
            If the server cannot be brought to answer.
        """
        requests = iter(requests)
        asked: set[futures.Future] = set()
        try:
            while True:
                while len(asked) < self._room() and (request := next(requests, None)):
                    asked.add(self._submit(self._answer(request)))
                if not asked:
                    return
                self.record["most_in_flight"] = max(self.record["most_in_flight"], len(asked))
                done, _ = futures.wait(asked, return_when=futures.FIRST_COMPLETED)
                # Responses come first, since an error ends the job.
                for future in sorted(done, key=lambda future: future.exception() is not None):
                    asked.remove(future)
                    response = future.result()
                    if response.finish_reason != "error":
                        self._ended += 1
                        self._tokens += response.prompt_tokens + response.completion_tokens
                    yield response
        finally:
            for future in asked:
                future.cancel()

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Await something in the thread that talks to the server."""
        return self._submit(work).result()

    def close(self) -> None:
        """Drop what is in flight, end the server if it is our own, and end the threads."""
        if self._events.is_closed():
            return
        self.run(self._drop())
        self.server.stop()
        self._events.call_soon_threadsafe(self._events.stop)
        self._thread.join()
        self._events.close()
        self._coders.shutdown()

    def _room(self) -> int:
        """Return how many requests may be in flight."""
        if self._cached_tokens is None:
            return self.server.most
        return max(1, min(self.server.most, self._cached_tokens * self._ended // self._tokens))

    def _probe(self) -> int:
        """Send a request about a gray image, in the form of all later ones.

        Return the number of tokens of such a request with the longest response.
        """
        gray = png_file(Image.new("RGB", (224, 224), (128, 128, 128)))
        messages = first_conversation(gray, "Describe the image.", self._model)
        request = Request("probe", messages, 0, 1, self._model.get("prefix") or "")
        response = self.run(self._answer(request))
        if response.finish_reason == "error":
            raise EngineError(f"the server refuses a request about a gray image: {response.error}")
        context = self.run(self.server.address()).context
        closing = self._model.get("close_thought") or {}
        limit = self._model["decoding"]["max_new_tokens"] + closing.get("max_new_tokens", 0)
        longest = response.prompt_tokens + limit
        if context is not None and context < longest:
            raise EngineError(
                f"the server's context has {context} tokens, too few for a prompt of "
                f"{response.prompt_tokens} and the model's limit of {limit}: start it with more "
                "(vLLM: --max-model-len), or lower decoding.max_new_tokens"
            )
        return longest

    def _submit(self, work: Coroutine[Any, Any, Result]) -> "futures.Future[Result]":
        return asyncio.run_coroutine_threadsafe(work, self._events)

    async def _drop(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.server.http.aclose()

    async def _answer(self, request: Request) -> Response:
        try:
            return await self._send_until_answered(request)
        except (PromptError, RefusedError) as error:
            return Response(request.key, None, "error", error=str(error))

    async def _send_until_answered(self, request: Request) -> Response:
        in_thread = partial(self._events.run_in_executor, self._coders)
        messages, prompt = await in_thread(self._prompt, request)
        failures = 0
        while True:
            address = await self.server.address()
            needed = len(prompt) + request.max_new_tokens
            if address.context is not None and address.context < needed:
                raise RefusedError(
                    f"the prompt has {len(prompt)} tokens, the response up to "
                    f"{request.max_new_tokens}, and the server's context {address.context}"
                )
            body = self._body(request, messages) | {"model": address.model}
            try:
                row = StreamedResponse(
                    self._loop, request.max_new_tokens, self._vocabulary, self._longest
                )
                await self._watched(self._stream(address, body, row))
                return await in_thread(self._response, request, prompt, row)
            except UnavailableError as error:
                if await self.server.recover(address, error):
                    continue
                failures += 1
                if failures > self.server.retries:
                    raise EngineError(
                        f"{address} failed {failures} times to answer {request.key}: {error}"
                    ) from error
                pause = error.pause or FIRST_PAUSE * 2 ** (failures - 1)
                logger.warning("%s, try %d: %s", request.key, failures, error)
                await asyncio.sleep(min(pause, LONGEST_PAUSE))

    def _prompt(self, request: Request) -> tuple[list[dict], list[int]]:
        """Return the messages as the server gets them, and the prompt's tokens."""
        processor = self._own_processor()
        messages = fitted(processor, request.messages)
        ids = encode(processor, messages, request.prefix)["input_ids"][0].tolist()
        return messages, ids

    def _body(self, request: Request, messages: list[dict]) -> dict[str, Any]:
        """Return a request. All sampling settings are named: a server has defaults of its own."""
        decoding = self._model["decoding"]
        sent = [message | {"content": _content(message["content"])} for message in messages]
        body = {
            "messages": sent,
            "max_tokens": request.max_new_tokens,
            "temperature": 0.0,
            "top_p": 1.0,
            "top_k": -1,
            "repetition_penalty": decoding.get("repetition_penalty") or 1.0,
            "stop_token_ids": self._stop_ids,
            "skip_special_tokens": False,
            "return_token_ids": True,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if seeding.at_random(decoding):
            body |= {
                "seed": request.seed,  # which keeps vLLM from its fastest sampler
                "temperature": decoding["temperature"],
                "top_p": 1.0 if decoding.get("top_p") is None else decoding["top_p"],
                "top_k": decoding.get("top_k") or -1,
            }
        if any(part.get("fitted") for message in messages for part in parts_of(message)):
            body["mm_processor_kwargs"] = {"do_resize": False}
        return body | (self.server.continued(sent, request.prefix) if request.prefix else {})

    async def _watched(self, answer: Coroutine[Any, Any, Result]) -> Result:
        """Await an answer as long as any request gets tokens: one that gets none may be queued."""
        task, seconds = asyncio.ensure_future(answer), self.server.request_seconds
        sent = time.monotonic()
        try:
            while (left := max(sent, self._last_token) + seconds - time.monotonic()) > 0:
                done, _ = await asyncio.wait({task}, timeout=left)
                if done:
                    return task.result()
            raise UnavailableError(f"no token for {setting(seconds)} seconds", silent=True)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _stream(self, address: Address, body: dict, row: StreamedResponse) -> None:
        url = f"{address.url}/chat/completions"
        try:
            # Leaving the block early closes the connection, which ends the response on the server.
            async with self.server.http.sse(
                url,
                method="POST",
                json=body,
                headers=address.headers,
                max_event_size=MOST_BYTES,
            ) as events:
                await _raise_for_status(events.response)
                events.response.encoding = "utf-8"  # whatever the server says
                async for event in events:
                    if event.data == "[DONE]":
                        break
                    if row.take(event.data):
                        self._last_token = time.monotonic()
                    if row.finish_reason == "loop":
                        break
        except EngineError as error:
            raise EngineError(f"{address}: {error}") from error
        except httpx2.HTTPError as error:
            raise UnavailableError(f"{type(error).__name__}: {escaped(str(error))}") from error
        row.check()

    def _response(self, request: Request, prompt: list[int], row: StreamedResponse) -> Response:
        image_tokens = self._checked_image_tokens(request, prompt, row)
        tokenizer = self._own_processor().tokenizer
        prompt_tokens = len(row.prompt) or row.usage.get("prompt_tokens") or len(prompt)
        if row.tokens:
            text, tokens = decode(tokenizer, row.tokens), row.tokens
            length = len(tokens)
        else:
            text = row.text
            tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
            length = row.usage.get("completion_tokens") or len(tokens)
        reason = row.finish_reason
        if reason == "length" and self._loop and ends_in_loop(tokens, **self._loop):
            reason = "loop"
        return Response(request.key, text, reason, prompt_tokens, image_tokens, length)

    def _checked_image_tokens(
        self, request: Request, prompt: list[int], row: StreamedResponse
    ) -> int:
        """Return the number of image tokens that the model was shown; the prompt must be ours."""
        image = self.processor.image_token_id
        shown = expected = prompt.count(image)
        if row.prompt:
            shown = row.prompt.count(image)
        elif (row.usage.get("prompt_tokens") or len(prompt)) <= len(prompt) - expected:
            shown = 0  # without its tokens, the prompt's length must do
        if shown != expected:
            raise EngineError(
                f"the server showed the model {shown} image tokens, the processor gives {expected}:"
                " it drops the image, or has other image settings"
            )
        if row.prompt and row.prompt != prompt:
            same = [theirs == ours for theirs, ours in zip(row.prompt, prompt, strict=False)]
            place = [*same, False].index(False)
            part = slice(max(0, place - 4), place + 8)
            theirs, ours = (
                _decode(self._own_processor().tokenizer, ids[part]) for ids in (row.prompt, prompt)
            )
            raise EngineError(
                f"the server's prompt for {request.key} differs from the processor's at token "
                f"{place}: {escaped(theirs)!r}, not {escaped(ours)!r}. Start it with the chat "
                "template and tokenizer of this checkpoint"
            )
        return shown


async def _raise_for_status(response: httpx2.Response) -> None:
    if response.status_code == 200:
        return
    text = (await _beginning(response, 4000)).decode("utf-8", errors="replace")
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        answer = text.strip()
    raise failure(response.status_code, answer, response.headers.get("retry-after", ""))


async def _beginning(response: httpx2.Response, most: int) -> bytes:
    """Return at most so many bytes of a body, without reading more of it."""
    data = bytearray()
    async with aclosing(response.aiter_bytes(most)) as parts:
        async for part in parts:
            data += part
            if len(data) >= most:
                break
    return bytes(data[:most])


def _content(content: str | list[dict]) -> str | list[dict]:
    if isinstance(content, str):
        return content
    return [_image_part(part["image"]) if part["type"] == "image" else part for part in content]


def _image_part(data: bytes) -> dict:
    """Return an image as a data URL: the very bytes, where no reader sees anything else in them."""
    with Image.open(io.BytesIO(data)) as image:
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) != 1
        if image.mode != "RGB" or turned:
            # Servers have their own ways to make RGB of others, and turn what a camera marked.
            data, kind = png_file(image.convert("RGB")), "image/png"
        else:
            kind = Image.MIME.get(image.format or "", "application/octet-stream")
    url = f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
    return {"type": "image_url", "image_url": {"url": url}}


def _decode(tokenizer: Any, tokens: list[int]) -> str:
    return tokenizer.decode(tokens, skip_special_tokens=False, clean_up_tokenization_spaces=False)
