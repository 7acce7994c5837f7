"""An object for each thread: tokenizers, and processors with them, are not safe to share."""

import copy
import threading
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")


def per_thread(value: Value) -> Callable[[], Value]:
    """Return a function that returns the calling thread's own copy of `value`."""
    local, lock = threading.local(), threading.Lock()

    def own() -> Value:
        if not hasattr(local, "value"):
            with lock:
                local.value = copy.deepcopy(value)
        return local.value

    return own
