"""Choice of the next token of each row: greedy, or sampled with the row's own random numbers.

What a row samples depends only on its seed and on its number of tokens, not on the other rows of
the batch, their number or their order. Scores are warped by transformers' own classes, in its
order.
"""

from collections.abc import Sequence

import torch
from transformers import (
    LogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from imagenet_think.inference import seeding

_CHUNK = 64
"""Rows whose noise is in memory at a time: with 160,000 tokens each, 80 MB per copy."""


class TokenSampler:
    """Picks the next token of every row.

    Parameters
    ----------
    decoding
        `temperature` (0 or absent: greedy), `top_k`, `top_p` and `repetition_penalty`; absent
        settings have no effect.
    rows, vocabulary
        Maximum number of rows, and number of tokens in the vocabulary.
    device
        Device of the scores.
    """

    def __init__(self, decoding: dict, rows: int, vocabulary: int, device: str | torch.device):
        self.device = device
        self.penalty = decoding.get("repetition_penalty") or 1.0
        self.seen: torch.Tensor | None = None  # what is penalised, by row and token
        if self.penalty != 1.0:
            self.seen = torch.zeros(rows, vocabulary, dtype=torch.bool, device=device)
        self.greedy = not seeding.at_random(decoding)
        self.warpers: list[LogitsProcessor] = []
        if not self.greedy:
            self.warpers.append(TemperatureLogitsWarper(decoding["temperature"]))
            if decoding.get("top_k"):
                self.warpers.append(TopKLogitsWarper(decoding["top_k"]))
            if decoding.get("top_p", 1.0) < 1.0:
                self.warpers.append(TopPLogitsWarper(decoding["top_p"]))

    def admit(self, row: int, prompt: torch.Tensor) -> None:
        """Start a row with the ids of its prompt (tokens,).

        As in transformers, the repetition penalty includes the prompt's tokens.
        """
        if self.seen is not None:
            self.seen[row] = False
            self.seen[row, prompt.to(self.device)] = True

    def reorder(self, order: list[int]) -> None:
        """Move row `order[i]` to row i, for each i."""
        moved = [row for row, source in enumerate(order) if row != source]
        if self.seen is not None and moved:
            self.seen[moved] = self.seen[[order[row] for row in moved]]

    def __call__(
        self, scores: torch.Tensor, first: int, draws: Sequence[tuple[int, int]]
    ) -> torch.Tensor:
        """Return the next token (rows,) of the rows from `first` on.

        `scores` are (rows, vocabulary), `draws` the seed and number of tokens so far of each row.
        """
        numbers = [] if self.greedy else [seeding.bits(seed, step) for seed, step in draws]
        # A blocking copy would wait for all pending work of the device.
        bits = torch.tensor(numbers, dtype=torch.long).to(self.device, non_blocking=True)
        seen = None if self.seen is None else self.seen[first : first + len(scores)]
        chosen = torch.cat(
            [
                self._choose(scores[part], None if seen is None else seen[part], bits[part])
                for part in (slice(i, i + _CHUNK) for i in range(0, len(scores), _CHUNK))
            ]
        )
        if seen is not None:
            seen.scatter_(1, chosen[:, None], True)
        return chosen

    def _choose(
        self, scores: torch.Tensor, seen: torch.Tensor | None, bits: torch.Tensor
    ) -> torch.Tensor:
        scores = scores.float()
        if seen is not None:
            penalised = torch.where(scores < 0, scores * self.penalty, scores / self.penalty)
            scores = torch.where(seen, penalised, scores)
        if self.greedy:
            return scores.argmax(-1)
        for warper in self.warpers:
            scores = warper(None, scores)
        # With Gumbel noise this samples from the softmax (Gumbel-max; Maddison et al. 2014, arXiv
        # 1411.0030). Rounding errors, which depend on the batch, change a token only if two are
        # nearly tied, which is much rarer than at the bounds of a cumulative sum.
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
