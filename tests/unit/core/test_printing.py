"""No text from outside acts on a terminal or begins a line of a log."""

import logging
import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagenet_think.core.logs import log_to
from imagenet_think.core.printing import Formatter, escaped, escaped_lines, is_text
from imagenet_think.run.failures import from_error

NAMES = {
    "\x1b[31mred\x1b[0m": r"\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07": r"\x1b]0;title\x07",
    "a\nb\r\nc\td": r"a\nb\r\nc\td",
    "a\x08\x08b\x7f\x00": r"a\x08\x08b\x7f\x00",
    "\x9b31m": r"\x9b31m",
    "gpj\u202egnp.exe": r"gpj\u202egnp.exe",
    "line\u2028break\x85": r"line\u2028break\x85",
    "\udcff": r"\udcff",
    "größe 弓 \U0001f3f9.jpg": "größe 弓 \U0001f3f9.jpg",
}
ANY = st.text(st.characters(exclude_categories=[]))


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_printed_on_one_line(name):
    assert escaped(name) == NAMES[name]
    assert is_text(name) == (name != "\udcff")


@given(ANY)
def test_any_text_is_printable_and_printable_text_is_unchanged(text):
    assert escaped(text).isprintable()
    assert escaped(escaped(text)) == escaped(text)
    assert escaped_lines(text).split("\n") == list(map(escaped, text.split("\n")))


def formatted(message, *arguments, error=None):
    """Return the lines of a message in a log."""
    cause = error and (type(error), error, error.__traceback__)
    record = logging.LogRecord("x", logging.ERROR, "", 0, message, arguments, cause)
    return Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S").format(record).split("\n")


def raised(text, cause):
    """Return an error with a traceback and a cause."""
    try:
        try:
            raise RuntimeError(cause)
        except RuntimeError as first:
            raise ValueError(text) from first
    except ValueError as error:
        return error


FORGED = "a.jpg\n12:00:00 ERROR the disk is full\nOSError: the disk is full"
OWN = re.compile(r" |Traceback \(|The above exception|(RuntimeError|ValueError)(: |$)|$")


@given(st.one_of(st.just(FORGED), ANY), st.one_of(st.just(FORGED), ANY))
def test_no_text_begins_a_line_of_a_log(text, other):
    first, *others = formatted("%s: cannot be read (%d)\nsecond", text, 3)
    assert first.endswith(f" ERROR {escaped(text)}: cannot be read (3)")
    assert others == ["    second"]
    error = raised(text, other)
    first, *others = formatted("%s", error, error=error)
    assert re.match(r"\d\d:\d\d:\d\d ERROR ", first)
    assert all(line.isprintable() and OWN.match(line) for line in others)


def test_the_reason_of_a_failure_is_not_taken_from_a_name():
    error = raised(FORGED, "")
    assert from_error("\n".join(formatted("%s", error, error=error))).text == "ValueError: a.jpg"
    assert from_error("\n".join(formatted("%s is no image", FORGED))).text.startswith(r"a.jpg\n12")


def test_names_are_escaped_in_the_log_file_and_on_the_terminal(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys, "excepthook", None)
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    try:
        log_to(tmp_path / "job.log")
        logging.getLogger("imagenet_think").warning("%s: %s", "\x1b[31mred\n\udcff", ["\x1b"])
    finally:
        logging.captureWarnings(False)
    for said in (capsys.readouterr().err, (tmp_path / "job.log").read_text("utf-8")):
        assert said.endswith(" WARNING \\x1b[31mred\\n\\udcff: ['\\x1b']\n")
