"""Runaway generations: a text whose end repeats itself until its length limit."""

from collections.abc import Sequence

LONGEST_PERIOD = 256
REPEATS = 3
LEAST = 64


def is_loop(tokens: Sequence[int]) -> bool:
    """Tell whether the tail of a sequence repeats one block.

    Parameters
    ----------
    tokens
        Token ids in the order in which they were generated.

    Returns
    -------
    bool
        True if, for some block of at most 256 tokens, the sequence ends in that block at least four
        times over, and in at least 64 tokens beyond the first of them (so that a short list of
        equal marks is none).
    """
    tokens = list(tokens)
    for period in range(1, LONGEST_PERIOD + 1):
        tail = max(LEAST, REPEATS * period)
        if len(tokens) < tail + period:
            continue
        if tokens[-tail:] == tokens[-tail - period : -period]:
            return True
    return False
