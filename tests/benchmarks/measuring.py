"""Time and memory of a function, for the benchmarks of metrics and analysis."""

import multiprocessing
import resource
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any


def timed(
    function: Callable, *given: object, repeats: int = 1, clock: Callable = time.process_time
) -> tuple[float, Any]:
    """Return the seconds of a function's fastest call, and what it returns."""
    seconds = []
    for _ in range(repeats):
        start = clock()
        result = function(*given)
        seconds.append(clock() - start)
    return min(seconds), result


def alone(function: Callable, *given: object) -> Any:
    """Return what a function returns in a process of its own.

    The peak memory of a process counts from its parent's, so the parent has to stay small.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *given).result()


def peak() -> float:
    """Return the greatest memory that this process has held, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
