"""Log files of jobs, and progress lines of long work."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TypeVar

Item = TypeVar("Item")
logger = logging.getLogger("imagenet_think")


def log_to(path: str | Path) -> None:
    """Send logging, warnings and an uncaught error to `path`, and all of it to stderr too."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    handlers: list[logging.Handler] = [
        logging.FileHandler(path, mode="w", encoding="utf-8"),
        logging.StreamHandler(sys.stderr),
    ]
    for handler in handlers:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=logging.INFO, handlers=handlers, force=True)
    logging.captureWarnings(True)
    for chatty in ("httpx", "filelock", "fontTools", "matplotlib", "sentence_transformers"):
        logging.getLogger(chatty).setLevel(logging.WARNING)

    def excepthook(kind: type[BaseException], error: BaseException, trace: TracebackType) -> None:
        logger.error("%s", error, exc_info=(kind, error, trace))

    sys.excepthook = excepthook


def progress(
    items: Iterable[Item], total: int, label: str, seconds: float = 10.0
) -> Iterator[Item]:
    """Yield `items`, logging how many are done, at what rate, and how long the rest will take.

    Parameters
    ----------
    items
        What is worked through.
    total
        How many there are.
    label
        What an item is, in words: "images of block 0".
    seconds
        Least time between two lines.
    """
    start = last = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - last >= seconds or done == total:
            last = now
            rate = done / max(now - start, 1e-9)
            left = (total - done) / rate
            logger.info("%s: %d of %d, %.1f a second, %.0f s left", label, done, total, rate, left)
