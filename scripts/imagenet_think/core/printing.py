"""Text from outside (names of files, messages of others) on a terminal and in a log."""

import logging
import re
import traceback
from copy import copy
from types import TracebackType
from typing import Any

_BREAK = re.compile(r"\n(?=[^\n])")


def is_text(name: str) -> bool:
    """Return whether a name can be written as UTF-8; that of a file may be any bytes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def escaped(text: str) -> str:
    r"""Return a text on one line, with what is not printable as an escape such as `\n` or `\x1b`.

    A terminal would obey control characters, and reorder text by some of Unicode's.
    """
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def escaped_lines(text: str) -> str:
    """Return a text as `escaped` does, with its line breaks."""
    return "\n".join(map(escaped, text.split("\n")))


class Formatter(logging.Formatter):
    """Escapes what messages contain, so that no text from outside begins a line of a log.

    Strings that a message is formatted with are put on one line. The lines of the message itself,
    and those of an error, remain; all but the first are indented.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the lines of a record."""
        record = copy(record)
        if isinstance(record.args, tuple) and record.name != "py.warnings":  # one string of lines
            record.args = tuple(escaped(x) if isinstance(x, str) else x for x in record.args)
        record.msg, record.args = _indented(record.getMessage()), None
        record.exc_text = None  # of another formatter
        return escaped_lines(super().format(record))

    def formatException(  # noqa: N802
        self, ei: tuple[type[BaseException], BaseException, TracebackType | None] | Any
    ) -> str:
        """Return the lines of a traceback."""
        found = traceback.format_exception(*ei)
        lines = (part if part.startswith((" ", "\n")) else _indented(part) for part in found)
        return "".join(lines).rstrip("\n")


def _indented(text: str) -> str:
    return _BREAK.sub("\n    ", text)
