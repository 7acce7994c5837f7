"""Encoding of requests ahead of the model, so that it never waits for an image."""

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from imagenet_think.inference.chat import PromptError, encode
from imagenet_think.inference.engines import Request
from imagenet_think.inference.engines.thread_copies import per_thread

Encoded = dict | PromptError


class Prefetcher:
    """The requests of an iterable with their model inputs, in order.

    `workers` threads decode and preprocess the images. Requests are taken from the iterable in the
    caller's thread, `depth` of them ahead, so their order does not depend on the threads' speed.
    """

    def __init__(self, requests: Iterable[Request], processor: Any, workers: int, depth: int):
        self._requests = iter(requests)
        self._depth = depth
        self._queue: deque[tuple[Request, Callable[[], Encoded]]] = deque()
        self._processor = per_thread(processor)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="encode")

    def take(self) -> tuple[Request, Encoded] | None:
        """Return the next request with its inputs, or why it has none; None at the end."""
        while len(self._queue) < self._depth:
            request = next(self._requests, None)
            if request is None:
                break
            self._queue.append((request, self._threads.submit(self._encode, request).result))
        if not self._queue:
            return None
        request, result = self._queue.popleft()
        return request, result()

    def put_back(self, request: Request, inputs: dict | None = None) -> None:
        """Put a request before all others; without its inputs it is encoded again."""
        self._queue.appendleft((request, lambda: inputs or self._encode(request)))

    def close(self) -> None:
        """Drop what is left and end the threads."""
        self._threads.shutdown(cancel_futures=True)

    def _encode(self, request: Request) -> Encoded:
        try:
            return encode(self._processor(), request.messages, request.prefix)
        except PromptError as error:
            return error
