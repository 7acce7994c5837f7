"""Thread pools that work ahead by a bounded number of items."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_turn(
    pool: Executor, function: Callable[[Item], Result], items: Iterable[Item], ahead: int
) -> Iterator[Result]:
    """Yield `function` of each item in their order, at most `ahead` of them not yet asked for.

    `Executor.map` works through all items whether anyone takes the results or not: with images,
    a whole group would pile up behind one slow class.
    """
    pending = deque[Future[Result]]()
    for item in items:
        if len(pending) == ahead:
            yield pending.popleft().result()
        pending.append(pool.submit(function, item))
    while pending:
        yield pending.popleft().result()
