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
            self.seen[row, prompt] = True

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
        scores = scores.float()
        seen = None if self.seen is None else self.seen[first : first + len(scores)]
        if seen is not None:
            penalised = torch.where(scores < 0, scores * self.penalty, scores / self.penalty)
            scores = torch.where(seen, penalised, scores)
        if not self.greedy:
            for warper in self.warpers:
                scores = warper(None, scores)
            # With Gumbel noise, the greatest sum samples from the softmax (Gumbel-max; Maddison et
            # al. 2014, arXiv 1411.0030). Rounding errors, which depend on the batch, change a token
            # only if two are nearly tied: much rarer than at the bounds of a cumulative sum.
            bits = torch.tensor([seeding.bits(seed, step) for seed, step in draws])
            # A blocking copy would wait for all pending work of the device.
            noise = _gumbel(bits.to(scores.device, non_blocking=True), scores.shape[-1])
            scores = scores + noise
        chosen = scores.argmax(-1)
        if seen is not None:
            seen.scatter_(1, chosen[:, None], True)
        return chosen


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
