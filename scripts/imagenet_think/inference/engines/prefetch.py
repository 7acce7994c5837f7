"""Requests encoded ahead of the model that asks for them, so that it never waits for an image."""

import copy
import threading
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from imagenet_think.inference.chat import PromptError, encode
from imagenet_think.inference.engines import Request

Encoded = tuple[Request, dict | PromptError]


class EncodedAhead:
    """The requests of an iterable, each with its model inputs, in their order.

    Threads decode and preprocess the images. Requests are taken from the iterable in the caller's
    thread, `depth` of them ahead: which request comes when does not depend on how fast that is.

    Parameters
    ----------
    requests
        Taken one after another.
    processor
        From a family's loader. Each thread works with a copy: tokenizers are not safe to share.
    workers
        Threads.
    depth
        Requests encoded or waiting at a time.
    """

    def __init__(self, requests: Iterable[Request], processor: Any, workers: int, depth: int):
        self._requests = iter(requests)
        self._depth = depth
        self._waiting: deque[tuple[Request, Future]] = deque()
        self._own = threading.local()
        self._processor = processor
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="encode")

    def take(self) -> Encoded | None:
        """Return the next request with its inputs, or why there are none; None at the end."""
        while len(self._waiting) < self._depth:
            request = next(self._requests, None)
            if request is None:
                break
            self._waiting.append((request, self._threads.submit(self.encode, request)))
        if not self._waiting:
            return None
        request, future = self._waiting.popleft()
        return request, future.result()

    def close(self) -> None:
        """Drop what waits and end the threads."""
        self._threads.shutdown(cancel_futures=True)

    def encode(self, request: Request) -> dict | PromptError:
        """Return a request's model inputs, or why there are none."""
        if not hasattr(self._own, "processor"):
            with self._lock:
                self._own.processor = copy.deepcopy(self._processor)
        try:
            return encode(self._own.processor, request.messages, request.prefix)
        except PromptError as error:
            return error
