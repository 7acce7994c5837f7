"""Runaway generations: a text that goes on repeating its end until its length limit."""

from collections.abc import Sequence

CHECK_EVERY = 32
"""Tokens after which a row is checked again. Rows are checked at the same numbers of their own
tokens, whoever is beside them, so the same row always ends at the same token."""


def ends_in_loop(
    tokens: Sequence[int], *, longest_period: int, repeats: int, least_tokens: int
) -> bool:
    """Tell whether a sequence ends in one block that stands there over and over.

    The block may be cut anywhere: of a loop that is found, every later token is found in a loop
    too. A text is compared by its tokens, so a list with running numbers, or a table whose rows
    differ in a word, is none.

    Parameters
    ----------
    tokens
        Token ids in the order in which they were generated.
    longest_period
        Greatest length of the block in tokens.
    repeats
        Times the block must stand at the end at least, the first time included.
    least_tokens
        Tokens that those times must hold together at least: a short block must stand there more
        often, so that a line of equal marks is no loop.

    Returns
    -------
    bool
        True if there is such a block.
    """
    reach = max(repeats * longest_period, least_tokens + longest_period)
    tail = list(tokens[-reach:])
    # Newest first: a block can begin behind those tokens alone that equal the last one.
    earlier = tail[-2 : -longest_period - 2 : -1]
    return any(
        token == tail[-1] and _stands(tail, period, max(repeats, -(-least_tokens // period)))
        for period, token in enumerate(earlier, start=1)
    )


def _stands(tail: list[int], period: int, times: int) -> bool:
    """Tell whether the last `period` tokens stand at the end `times` times over."""
    length = period * times
    # Of fewer tokens than that the two parts differ in length.
    return tail[-length:-period] == tail[period - length :]
