"""Choosing the next token of each row: greedy, or sampled with the row's own random numbers.

The draw of a row depends only on its seed and on its number of tokens, not on the other rows of the
batch, their number or their order. Scores are warped by transformers' own classes, in its order.
"""

import torch
from transformers import (
    LogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from imagenet_think.inference import seeding

_AT_ONCE = 64
"""Rows whose noise is in memory at a time: with 160,000 tokens each, 80 MB per copy."""

DECODING_KEYS = ("max_new_tokens", "temperature", "top_k", "top_p", "repetition_penalty")


class RowSampler:
    """Picks the next token of every row.

    Parameters
    ----------
    decoding
        `temperature` (0 or absent: greedy), `top_k`, `top_p` and `repetition_penalty`; absent
        settings have no effect.
    rows
        Greatest number of rows; they are numbered from 0.
    vocabulary
        Number of tokens in the vocabulary.
    device
        Device of the scores.

    Raises
    ------
    ValueError
        If `decoding` holds an unknown key.
    """

    def __init__(self, decoding: dict, rows: int, vocabulary: int, device: str | torch.device):
        unknown = sorted(set(decoding) - set(DECODING_KEYS))
        if unknown:
            raise ValueError(
                f"unknown decoding settings {unknown}; known are {list(DECODING_KEYS)}"
            )
        self.seeds, self.drawn = [0] * rows, [0] * rows
        self.penalty = decoding.get("repetition_penalty") or 1.0
        self.seen = (
            None
            if self.penalty == 1.0
            else torch.zeros(rows, vocabulary, dtype=torch.bool, device=device)
        )
        temperature = decoding.get("temperature") or 0.0
        self.warpers: list[LogitsProcessor] = []
        self.greedy = not seeding.at_random(decoding)
        if not self.greedy:
            self.warpers.append(TemperatureLogitsWarper(temperature))
            if decoding.get("top_k"):
                self.warpers.append(TopKLogitsWarper(decoding["top_k"]))
            if decoding.get("top_p") is not None and decoding["top_p"] < 1.0:
                self.warpers.append(TopPLogitsWarper(decoding["top_p"]))

    def admit(self, row: int, seed: int, prompt: torch.Tensor) -> None:
        """Start a row with its seed and the ids of its prompt (tokens,).

        As in transformers, the repetition penalty includes the prompt's tokens.
        """
        self.seeds[row], self.drawn[row] = seed, 0
        if self.seen is not None:
            self.seen[row] = False
            self.seen[row, prompt.to(self.seen.device)] = True

    def move(self, source: int, target: int) -> None:
        """Move a row to another's place."""
        for values in (self.seeds, self.drawn):
            values[target] = values[source]
        if self.seen is not None:
            self.seen[target] = self.seen[source]

    def __call__(self, scores: torch.Tensor, rows: list[int]) -> torch.Tensor:
        """Return the next token (rows,) of the given rows from their scores (rows, vocabulary)."""
        sampled = [] if self.greedy else rows
        numbers = [seeding.bits(self.seeds[row], self.drawn[row]) for row in sampled]
        # Without `non_blocking`, the copy would wait for all pending work of the device.
        bits = torch.tensor(numbers, dtype=torch.long).to(scores.device, non_blocking=True)
        chosen = torch.cat(
            [
                self._chosen(scores[part], rows[part], bits[part])
                for part in (slice(i, i + _AT_ONCE) for i in range(0, len(rows), _AT_ONCE))
            ]
        )
        for row in rows:
            self.drawn[row] += 1
        return chosen

    def _chosen(self, scores: torch.Tensor, rows: list[int], bits: torch.Tensor) -> torch.Tensor:
        scores = scores.float()
        if self.seen is not None:
            # A slice if possible: a list would be copied to the device, and wait for it.
            first, last = rows[0], rows[-1] + 1
            places = slice(first, last) if rows == list(range(first, last)) else rows
            seen = self.seen[places]
            penalised = torch.where(scores < 0, scores * self.penalty, scores / self.penalty)
            scores = torch.where(seen, penalised, scores)
        if self.greedy:
            chosen = scores.argmax(-1)
        else:
            for warper in self.warpers:
                scores = warper(None, scores)
            chosen = _drawn(scores, bits)
        if self.seen is not None:
            self.seen[places] = seen.scatter_(1, chosen[:, None], True)
        return chosen


def _drawn(scores: torch.Tensor, bits: torch.Tensor) -> torch.Tensor:
    """Return one token per row: the one with the largest sum of score and noise.

    With Gumbel noise this samples from the softmax (Gumbel-max; Maddison et al. 2014, arXiv
    1411.0030). Rounding that differs with the batch changes a draw only if two tokens are nearly
    tied, which is much rarer than at the bounds of a cumulative sum.
    """
    return (scores + _gumbel(bits, scores.shape[-1])).argmax(-1)


def _gumbel(bits: torch.Tensor, count: int) -> torch.Tensor:
    """Return Gumbel noise (rows, count) in float64 that depends only on each row's 64 bits.

    The bits are incremented and mixed as in SplitMix64 (Steele et al. 2014), equal on all devices.
    """
    steps = torch.arange(1, count + 1, device=bits.device)
    mixed = bits[:, None] + steps * -0x61C8864680B583EB  # 2 ** 64 divided by the golden ratio
    mixed = (mixed ^ _shifted(mixed, 30)) * -0x40A7B892E31B1A47
    mixed = (mixed ^ _shifted(mixed, 27)) * -0x6B2FB644ECCEEE15
    mixed ^= _shifted(mixed, 31)
    uniform = (_shifted(mixed, 11).double() + 0.5) / 2**53  # in (0, 1)
    return -torch.log(-torch.log(uniform))


def _shifted(values: torch.Tensor, by: int) -> torch.Tensor:
    """Return 64-bit integers shifted to the right, filled with zeros."""
    return (values >> by) & ((1 << (64 - by)) - 1)
