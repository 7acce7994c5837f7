"""Words in running text."""

from collections.abc import Callable, Iterable


def count(
    number: int,
    one: str,
    several: str | None = None,
    spell: Callable[[int], str] = "{:,}".format,
) -> str:
    """Return `1 image` or `2 images`; `several` is the plural if it is irregular."""
    return f"{spell(number)} {one if number == 1 else several or one + 's'}"


def series(items: Iterable[str], conjunction: str = "and") -> str:
    """Return `a, b and c`; nothing for no items."""
    *first, last = list(items) or [""]
    return f"{', '.join(first)} {conjunction} {last}" if first else last
