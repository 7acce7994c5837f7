"""Detection of loops: texts that would repeat their end until the length limit.

Two kinds are found. *Exact*: one block of tokens, over and over; a few repetitions are enough.
*Near*: a block of which something changes at each repetition (a word, a number), a long block, or
a few sentences in any order. Their tokens are copies of what came shortly before, with few
exceptions, so a longer part of the end is needed to distinguish them from lists and tables. A long
table whose rows are mostly markup, a matrix of zeros or a song that counts its verses has the same
form as such a loop and is taken for one.
"""

from collections.abc import Sequence
from typing import TypedDict

CHECK_EVERY = 32
"""Tokens between two checks of a response. They do not depend on the rest of the batch, so the same
response always ends at the same token."""


class NearRepeats(TypedDict):
    """When the end of a response is a loop of near-repeats: arguments of `is_near_repeat`."""

    window: int
    phrase: float
    later_phrase: float


def ends_in_loop(
    tokens: Sequence[int],
    *,
    longest_period: int,
    repeats: int,
    least_tokens: int,
    near_repeats: NearRepeats | None = None,
) -> bool:
    """Return whether a sequence ends in repetitions of one block, or in near-repeats.

    The block may begin anywhere: once a loop is found, it is also found after every further token
    of it. Tokens are compared, so a numbered list, or a table whose rows differ in a word, is not
    an exact repetition.

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
    near_repeats
        When the end is a loop of near-repeats. None: only exact repetitions are loops.
    """
    reach = max(repeats * longest_period, least_tokens + longest_period)
    tail = list(tokens[-reach:])
    # Latest first: a block can begin only after a token that equals the last one.
    earlier = tail[-2 : -longest_period - 2 : -1]
    return any(
        token == tail[-1] and _repeats(tail, period, max(repeats, -(-least_tokens // period)))
        for period, token in enumerate(earlier, start=1)
    ) or (near_repeats is not None and is_near_repeat(tokens, **near_repeats))


def _repeats(tail: list[int], period: int, times: int) -> bool:
    """Return whether the last `period` tokens occur at the end `times` times in a row."""
    length = period * times
    # With fewer tokens the two slices differ in length.
    return tail[-length:-period] == tail[period - length :]


def is_near_repeat(
    tokens: Sequence[int], *, window: int, phrase: float, later_phrase: float
) -> bool:
    """Return whether the last tokens are copied from each other in long phrases.

    The last `window` tokens are parsed into phrases, each of which is the shortest part that has
    not occurred before within them (Lempel and Ziv, On the complexity of finite sequences, IEEE
    Transactions on Information Theory 22, 1976): a copy, and the token that ends it. They are a
    loop if a phrase has at least `phrase` tokens on average, which finds sentences of about
    `phrase` tokens or more, or at least `later_phrase` after the first quarter of the window, which
    finds blocks up to this length whatever they consist of.

    Phrases are what dictionary coders save by. Whisper recognizes loops by the compression ratio
    (Radford et al., Robust speech recognition via large-scale weak supervision, 2022); the mean
    length of a phrase is the same measure of tokens, and does not depend on the version of a
    library.
    """
    tail, first = tokens[-window:], window // 4
    if len(tail) < window:
        return False
    most, most_later = window / phrase, (window - first) / later_phrase
    # Each new token ends a phrase, so that most texts need not be parsed.
    distinct = len(set(tail))
    if distinct > most and distinct - len(set(tail[:first])) > most_later:
        return False
    numbers = {token: chr(number) for number, token in enumerate(dict.fromkeys(tail))}
    text = "".join(map(numbers.__getitem__, tail))
    phrases = later = start = 0
    for end in range(1, window + 1):
        if text.find(text[start:end], 0, end - 1) < 0:
            phrases, later, start = phrases + 1, later + (end > first), end
            if phrases > most and later > most_later:
                return False
    return True
