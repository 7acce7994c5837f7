"""The form of every metric's function."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np

ScoreFunction = Callable[[Sequence[str], Sequence[str]], dict[str, np.ndarray]]
"""Takes n candidates and n references, returns columns of n finite numbers."""


def distinct_texts(
    candidates: Iterable[str], references: Iterable[str]
) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return the distinct texts of pairs, and the places of candidates and references in them.

    Raises
    ------
    ValueError
        If there are not as many candidates as references.
    """
    places: dict[str, int] = {}
    first, second = (
        np.array([places.setdefault(text, len(places)) for text in texts], dtype=np.int64)
        for texts in (candidates, references)
    )
    if len(first) != len(second):
        raise ValueError(f"{len(first)} candidates, but {len(second)} references: give pairs")
    return list(places), first, second
