"""Thread pools with a bounded number of pending items."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_turn(
    pool: Executor, function: Callable[[Item], Result], items: Iterable[Item], ahead: int
) -> Iterator[Result]:
    """Yield `function` of each item in order, with at most `ahead` results pending.

    `Executor.map` processes all items even if nobody takes the results: with images, a whole group
    would accumulate behind one slow class.
    """
    pending = deque[Future[Result]]()
    for item in items:
        if len(pending) == ahead:
            yield pending.popleft().result()
        pending.append(pool.submit(function, item))
    while pending:
        yield pending.popleft().result()
