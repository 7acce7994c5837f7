import io
import logging
import re
import time
from types import SimpleNamespace

import pytest

from imagenet_think.core import logs
from imagenet_think.core.logs import log_to, progress, some


@pytest.fixture
def clock(monkeypatch):
    """A clock that only a test advances."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(logs.time, "monotonic", lambda: clock.now)
    return clock


@pytest.fixture
def lines(caplog, clock):
    """A function that processes items, `step` seconds each, and returns the lines logged."""
    caplog.set_level(logging.INFO, logger="imagenet_think")

    def work(items, step, **options):
        caplog.clear()
        for _ in progress(items, len(items), "things", **options):
            clock.now += step
        return caplog.messages

    return work


def test_a_line_is_logged_after_each_interval_and_at_the_end(lines):
    found = lines(range(25), 1.0)
    assert [line.split(",")[0] for line in found] == [
        "things: 10 of 25",
        "things: 20 of 25",
        "things: 25 of 25",
    ]
    assert "1.0 per second" in found[0]
    assert "15 s left, until" in found[0]
    assert "left" not in found[-1]


def test_tokens_per_second_are_since_the_last_line_and_on_average(lines):
    found = lines([100] * 10 + [300] * 10, 1.0, tokens=lambda item: item)
    assert "100 tokens per second (100 on average)" in found[0]
    assert "300 tokens per second (200 on average)" in found[1]


def test_tokens_of_unfinished_items_count_if_known(clock, lines):
    def generated():
        return int(1000 + 500 * (clock.now - 100))

    found = lines(range(20), 1.0, tokens=lambda item: 1, generated=generated)
    assert all("500 tokens per second (500 on average)" in line for line in found)


def test_lines_are_logged_while_no_item_finishes(caplog):
    caplog.set_level(logging.INFO, logger="imagenet_think")

    def waiting():
        return [line for line in caplog.messages if line.startswith("things: 0 of 1")]

    def slow():
        deadline = time.monotonic() + 300
        while len(waiting()) < 2:
            assert time.monotonic() < deadline, "no lines"
            time.sleep(0.01)
        yield 1

    list(progress(slow(), 1, "things", seconds=0.1, generated=lambda: 7, tokens=lambda item: 7))
    assert "left" not in waiting()[0]
    assert caplog.messages[-1].startswith("things: 1 of 1")


def test_failures_are_counted_by_reason(lines):
    items = [None, "length", "error", "length"]
    (line,) = lines(items, 1.0, failure=lambda item: item)
    assert "1 error, 2 length" in line
    assert "error" not in lines([None] * 4, 1.0, failure=lambda item: item)[0]


@pytest.mark.parametrize(
    ("step", "left"), [(5, "90 s"), (60, "18 min"), (600, "3.0 h"), (3600, "18.0 h")]
)
def test_the_time_left_is_in_readable_units(lines, step, left):
    found = lines(range(20), step, seconds=2 * step)
    assert f"{left} left, until " in found[0]
    assert re.search(r"until [A-Z][a-z]{2} \d\d:\d\d$", found[0])


def test_the_last_item_has_one_line_and_no_items_have_none(lines):
    assert [len(lines(range(items), 1.0)) for items in (10, 0)] == [1, 0]


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("stream", [Terminal(), io.StringIO()], ids=["terminal", "file"])
def test_a_terminal_shows_a_bar_and_a_log_file_holds_lines_only(tmp_path, monkeypatch, stream):
    root = logging.getLogger()
    level = root.level
    monkeypatch.setattr(logs.sys, "stderr", stream)
    monkeypatch.setattr(logs.sys, "excepthook", None)
    monkeypatch.setattr(root, "handlers", [])
    log_to(tmp_path / "log")
    list(progress(range(3), 3, "things", seconds=0.0, tokens=lambda item: 7))
    logging.captureWarnings(False)
    root.handlers[0].close()
    root.setLevel(level)
    texts = [(tmp_path / "log").read_text(), stream.getvalue()]
    if stream.isatty():
        shown = texts.pop()
        assert "| 0/3 [" in shown
        assert "INFO things: 3 of 3" in shown
    for text in texts:
        assert len(text.splitlines()) == 3
        assert "%|" not in text
        assert "\r" not in text


def test_only_the_first_names_are_listed():
    assert some([]) == ""
    assert some(list("abcde")) == "a, b, c, d, e"
    assert some(list("abcdef"), "; ") == "a; b; c; d; e; …"
