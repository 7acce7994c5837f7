import io
import logging
import re
import time

import pytest

from imagenet_think.core import logs
from imagenet_think.core.logs import log_to, progress, some


class Clock:
    """A clock that a test moves."""

    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(logs.time, "monotonic", clock.monotonic)
    return clock


@pytest.fixture
def lines(caplog):
    """A function that works through items, one a step of the clock, and returns the lines."""
    caplog.set_level(logging.INFO, logger="imagenet_think")

    def work(clock, items, step, **options):
        caplog.clear()
        for _ in progress(items, len(items), "things", **options):
            clock.now += step
        return caplog.messages

    return work


def test_a_line_is_written_when_its_time_has_come_and_at_the_end(clock, lines):
    found = lines(clock, range(25), 1.0)
    assert [line.split(",")[0] for line in found] == [
        "things: 10 of 25",
        "things: 20 of 25",
        "things: 25 of 25",
    ]
    assert "1.0 per second" in found[0]
    assert "15 s left, until" in found[0]
    assert "left" not in found[-1]


def test_tokens_a_second_are_those_since_the_last_line_and_on_average(clock, lines):
    found = lines(clock, [100] * 10 + [300] * 10, 1.0, tokens=lambda item: item)
    assert "100 tokens per second (100 on average)" in found[0]
    assert "300 tokens per second (200 on average)" in found[1]


def test_tokens_of_unfinished_items_count_where_somebody_counts_them(clock, lines):
    found = lines(
        clock,
        range(20),
        1.0,
        tokens=lambda item: 1,
        generated=lambda: int(1000 + 500 * (clock.now - 100)),
    )
    assert all("500 tokens per second (500 on average)" in line for line in found)


def test_lines_come_also_while_nothing_is_finished(caplog):
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


def test_failures_are_counted_by_reason(clock, lines):
    items = [None, "length", "error", "length"]
    (line,) = lines(clock, items, 1.0, failure=lambda item: item)
    assert "1 error, 2 length" in line
    assert "error" not in lines(clock, [None] * 4, 1.0, failure=lambda item: item)[0]


@pytest.mark.parametrize(
    ("step", "left"), [(5, "90 s"), (60, "18 min"), (600, "3.0 h"), (3600, "18.0 h")]
)
def test_the_time_left_is_in_units_that_can_be_read(clock, lines, step, left):
    found = lines(clock, range(20), step, seconds=2 * step)
    assert f"{left} left, until " in found[0]
    assert re.search(r"until [A-Z][a-z]{2} \d\d:\d\d$", found[0])


def test_the_last_item_has_one_line_only(clock, lines):
    assert len(lines(clock, range(10), 1.0)) == 1


def test_no_items_have_no_line(clock, lines):
    assert lines(clock, [], 1.0) == []


class Terminal(io.StringIO):
    def isatty(self):
        return True


def run(stream, log, monkeypatch):
    monkeypatch.setattr(logs.sys, "stderr", stream)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    hook = logs.sys.excepthook
    try:
        log_to(log)
        for _ in progress(range(3), 3, "things", seconds=0.0, tokens=lambda item: 7):
            pass
    finally:
        logging.captureWarnings(False)
        logs.sys.excepthook = hook
        for handler in set(root.handlers) - set(handlers):
            handler.close()
        root.handlers[:], _ = handlers, root.setLevel(level)
    return stream.getvalue()


def test_a_terminal_shows_a_bar_and_the_lines_above_it(tmp_path, monkeypatch):
    shown = run(Terminal(), tmp_path / "log", monkeypatch)
    assert "| 0/3 [" in shown
    assert "INFO things: 3 of 3" in shown
    assert "\rthings" not in (tmp_path / "log").read_text()


def test_a_log_file_holds_lines_and_no_bar(tmp_path, monkeypatch):
    shown = run(io.StringIO(), tmp_path / "log", monkeypatch)
    text = (tmp_path / "log").read_text()
    for place in (shown, text):
        assert len(place.splitlines()) == 3
        assert "%|" not in place
        assert "\r" not in place


def test_a_few_of_many_names_stand_for_all():
    assert some([]) == ""
    assert some(list("abcde")) == "a, b, c, d, e"
    assert some(list("abcdef"), "; ") == "a; b; c; d; e; …"
