"""JSON Schema, strictly, for whatever people and other programs write: configs, exported files.

A number is finite and an integer has no decimal point: 2.0 and 1e400 are no integers, infinity and
NaN no numbers, and none has more than 64 bits. A text can be written as UTF-8. A pattern ends
where the text does.
"""

import math
import re
from collections.abc import Iterator

import jsonschema

from imagenet_think.core.printing import is_text

LEAST, MOST = -(2**63), 2**63 - 1
"""Integers have 64 bits."""


def _is_integer(_: object, value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and LEAST <= value <= MOST


def _is_number(_: object, value: object) -> bool:
    return _is_integer(_, value) or (isinstance(value, float) and math.isfinite(value))


def _is_string(_: object, value: object) -> bool:
    return isinstance(value, str) and is_text(value)  # half of a surrogate pair is none


def _pattern(
    _: object, pattern: str, value: object, __: object
) -> Iterator[jsonschema.ValidationError]:
    # In JSON Schema `$` is the end of the text; Python's also matches before a last line break.
    strict = re.sub(r"\$$", r"\\Z", pattern)
    if isinstance(value, str) and not re.search(strict, value):
        yield jsonschema.ValidationError(f"{value!r} does not match {pattern!r}")


Validator = jsonschema.validators.extend(
    jsonschema.Draft202012Validator,
    {"pattern": _pattern},
    type_checker=jsonschema.Draft202012Validator.TYPE_CHECKER.redefine_many(
        {"integer": _is_integer, "number": _is_number, "string": _is_string}
    ),
)
"""Makes a validator of a schema."""
