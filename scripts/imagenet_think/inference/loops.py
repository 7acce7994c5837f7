"""Detection of loops: texts that would repeat their end until the length limit."""

from collections.abc import Sequence

CHECK_EVERY = 32
"""Tokens between two checks of a response. They do not depend on the rest of the batch, so the same
response always ends at the same token."""


def ends_in_loop(
    tokens: Sequence[int], *, longest_period: int, repeats: int, least_tokens: int
) -> bool:
    """Return whether a sequence ends in repetitions of one block.

    The block may begin anywhere: once a loop is found, it is also found after every further token
    of it. Tokens are compared, so a numbered list, or a table whose rows differ in a word, is not a
    loop.

    Parameters
    ----------
    tokens
        In the order in which they were generated.
    longest_period
        Maximum length of the block in tokens.
    repeats, least_tokens
        Minimum number of occurrences of the block at the end, including the first, and of tokens in
        all of them together: a short block must occur more often, so that a line of equal
        characters is not a loop.
    """
    reach = max(repeats * longest_period, least_tokens + longest_period)
    tail = list(tokens[-reach:])
    # Latest first: a block can begin only after a token that equals the last one.
    earlier = tail[-2 : -longest_period - 2 : -1]
    return any(
        token == tail[-1] and _repeats(tail, period, max(repeats, -(-least_tokens // period)))
        for period, token in enumerate(earlier, start=1)
    )


def _repeats(tail: list[int], period: int, times: int) -> bool:
    """Return whether the last `period` tokens occur at the end `times` times in a row."""
    length = period * times
    # With fewer tokens the two slices differ in length.
    return tail[-length:-period] == tail[period - length :]
