"""JSON that people and other programs write."""

import json
from collections import Counter
from typing import Any


def loads(text: str | bytes) -> Any:
    """Return the value of a JSON text.

    Raises
    ------
    ValueError
        If it is no JSON in UTF-8, or an object has a key twice: which of the two values is meant
        cannot be known, and `json` would take the last one.
    RecursionError
        If it is nested too deeply.
    """
    return json.loads(text, object_pairs_hook=_object)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        ((key, _),) = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"duplicate key {key[:60]!a}")
    return found
