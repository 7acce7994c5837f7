"""Words in running text."""

from collections.abc import Iterable


def series(items: Iterable[str], conjunction: str = "and") -> str:
    """Return `a, b and c`; nothing for no items."""
    *first, last = list(items) or [""]
    return f"{', '.join(first)} {conjunction} {last}" if first else last
