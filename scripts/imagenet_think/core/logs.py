"""Log files of jobs, and progress of long tasks: lines in the log, a bar on a terminal."""

import logging
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from imagenet_think.core.numbers import as_text, whole
from imagenet_think.core.printing import Formatter

Item = TypeVar("Item")
logger = logging.getLogger("imagenet_think")

SHOWN = 5
"""Names that a message shows at most."""

CHATTY = ("httpx", "httpx2", "filelock", "fontTools", "matplotlib", "sentence_transformers")
"""Libraries that log too much below warnings."""

ENDED = "ended by %s: unfinished files are removed, finished work is kept"
"""What is logged if a signal ends a job, given the signal's name."""


def log_to(path: str | Path) -> None:
    """Log messages, warnings and an uncaught error to `path` and to stderr, as text to print.

    Ctrl-C is one line.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    handlers: list[logging.Handler] = [
        logging.FileHandler(path, mode="w", encoding="utf-8"),
        logging.StreamHandler(sys.stderr),
    ]
    for handler in handlers:
        handler.setFormatter(Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=logging.INFO, handlers=handlers, force=True)
    logging.captureWarnings(True)
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)

    sys.excepthook = _log_error


def _log_error(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):  # Python then ends by SIGINT
        logger.error(ENDED, "SIGINT")
    else:
        logger.error("%s", error, exc_info=(kind, error, trace))


def some(names: Sequence[str], separator: str = ", ") -> str:
    """Return the first names, with an ellipsis if there are more than `SHOWN`."""
    return separator.join([*names[:SHOWN], "…"] if len(names) > SHOWN else names)


def progress(
    items: Iterable[Item],
    total: int,
    label: str,
    seconds: float = 10.0,
    *,
    tokens: Callable[[Item], int] | None = None,
    generated: Callable[[], int | None] = lambda: None,
    failure: Callable[[Item], str | None] | None = None,
) -> Generator[Item, None, None]:
    """Yield `items`; log how many are done, how fast, what failed, and the expected end.

    Lines also appear while no item is finished. On a terminal, but not in a log file, a bar shows
    the same between the lines.

    Parameters
    ----------
    items
        The items. Time is counted from the first request.
    total
        How many there are.
    label
        What they are: "images of block 0".
    seconds
        Time between lines. There is always one at the last item.
    tokens
        Returns the tokens generated for an item, for rates in tokens per second: since the last
        line, and since the start.
    generated
        Returns the tokens generated so far, including unfinished items; None if not counted.
    failure
        Returns why an item failed, or None. Failures are counted by reason.
    """
    from tqdm import tqdm
    from tqdm.contrib.logging import logging_redirect_tqdm

    shown = sys.stderr.isatty()
    tally = _Tally(label, total, tokens is not None, generated)
    bar = tqdm(total=total, desc=label, leave=False, dynamic_ncols=True, disable=not shown)
    above = logging_redirect_tqdm() if shown else nullcontext()  # lines above the bar
    with above, bar, _beat(tally, seconds):
        for item in items:
            yield item
            tally.count(tokens(item) if tokens else 0, failure(item) if failure else None)
            if bar.update():  # it was redrawn
                bar.set_postfix_str(", ".join(tally.notes()), refresh=False)
            tally.write(0 if tally.done == total else seconds)


class _Tally:
    """What is done so far, and what was done at the last line."""

    def __init__(
        self, label: str, total: int, counts_tokens: bool, generated: Callable[[], int | None]
    ):
        self.label, self.total, self.counts_tokens = label, total, counts_tokens
        self.generated, self.generated_before = generated, generated() or 0
        self.done = self.tokens_done = self.tokens_then = 0
        self.failures: Counter[str] = Counter()
        self.start = self.then = time.monotonic()
        self._lock = threading.RLock()  # lines are written from two threads

    @property
    def tokens(self) -> int:
        """Tokens generated so far."""
        generated = self.generated()
        return self.tokens_done if generated is None else generated - self.generated_before

    def count(self, tokens: int, failure: str | None) -> None:
        """Count a finished item."""
        with self._lock:
            self.done += 1
            self.tokens_done += tokens
            self.failures.update([failure] if failure else [])

    def write(self, seconds: float) -> None:
        """Log a line if the last one is at least that old."""
        with self._lock:
            if time.monotonic() - self.then >= seconds:
                logger.info("%s: %s", self.label, ", ".join(self.line()))
                self.then, self.tokens_then = time.monotonic(), self.tokens

    def notes(self) -> list[str]:
        """Return tokens per second and failures."""
        now = time.monotonic()
        notes = []
        if self.counts_tokens:
            recent = (self.tokens - self.tokens_then) / max(now - self.then, 1e-9)
            average = self.tokens / max(now - self.start, 1e-9)
            notes.append(f"{whole(recent)} tokens per second ({whole(average)} on average)")
        if self.failures:
            notes.append(", ".join(f"{n:,} {name}" for name, n in sorted(self.failures.items())))
        return notes

    def line(self) -> list[str]:
        """Return the parts of a line: the number of items, their rate, notes and the end."""
        rate = self.done / max(time.monotonic() - self.start, 1e-9)
        parts = [
            f"{self.done:,} of {self.total:,}",
            f"{as_text(rate, ',.1f')} per second",
            *self.notes(),
        ]
        if 0 < self.done < self.total:
            parts.append(_ending((self.total - self.done) / rate))
        return parts


@contextmanager
def _beat(tally: _Tally, seconds: float) -> Iterator[None]:
    """Log a line whenever the last one is too old."""
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(seconds):
            tally.write(seconds)

    thread = threading.Thread(target=beat, name="progress", daemon=True)
    if seconds > 0:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        if thread.is_alive():
            thread.join()


def _ending(seconds: float) -> str:
    """Return the remaining time and the time of day at its end."""
    end = f"until {datetime.now() + timedelta(seconds=seconds):%a %H:%M}"
    if seconds < 100:
        return f"{as_text(seconds, '.0f')} s left, {end}"
    if seconds < 6000:
        return f"{as_text(seconds / 60, '.0f')} min left, {end}"
    return f"{as_text(seconds / 3600, '.1f')} h left, {end}"
