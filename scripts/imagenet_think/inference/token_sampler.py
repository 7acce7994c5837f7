"""Choice of the next token of each row: greedy, or sampled with the row's own random numbers.

What a row samples depends only on its seed and on its number of tokens, not on the other rows of
the batch, their number or their order. Scores are warped by transformers' own classes, in its
order.
"""

import logging
from collections.abc import Sequence
from typing import Any

import torch
from transformers import (
    LogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from imagenet_think.inference import seeding

logger = logging.getLogger("imagenet_think")


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
        Device of the scores. On CUDA, the passes over the vocabulary are compiled to a few kernels.

    Attributes
    ----------
    record
        `kernels`: `torch.compile` or `eager`, and `fallback`: why compilation failed, if so.
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
        self.steps = _steps(vocabulary).to(device)
        self._choose, self.record = _choose, {"kernels": "eager"}
        if torch.device(device).type == "cuda":
            self.compile()

    def compile(self, **options: Any) -> None:
        """Compile the choice at its first use, with options of `torch.compile`."""
        self._choose = torch.compile(_choose, **options)
        self.record = {"kernels": "torch.compile"}

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
        seen = None if self.seen is None else self.seen[first : first + len(scores)]
        bits = None
        if not self.greedy:
            bits = torch.tensor([seeding.bits(seed, step) for seed, step in draws])
            # A blocking copy would wait for all pending work of the device.
            bits = bits.to(scores.device, non_blocking=True)
        arguments = scores, seen, self.penalty, bits, self.steps, self.warpers
        try:
            chosen = self._choose(*arguments)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            if self._choose is _choose:
                raise
            # No compiler, for instance: the same is computed without one.
            self._choose = _choose
            self.record |= {
                "kernels": "eager",
                "fallback": f"{type(error).__name__}: {error}"[:300],
            }
            logger.warning("the sampler is not compiled: %s", self.record["fallback"])
            chosen = _choose(*arguments)
        if seen is not None:
            seen.scatter_(1, chosen[:, None], True)
        return chosen


def _choose(
    scores: torch.Tensor,
    seen: torch.Tensor | None,
    penalty: float,
    bits: torch.Tensor | None,
    steps: torch.Tensor,
    warpers: list[LogitsProcessor],
) -> torch.Tensor:
    """Return the next token of each row; `bits` (rows,) determine its draw, None chooses greedily.

    `steps` are those of the whole vocabulary.

    With Gumbel noise, the greatest sum samples from the softmax (Gumbel-max; Maddison et al. 2014,
    arXiv 1411.0030). Rounding errors, which depend on the batch, change a token only if two are
    nearly tied: much rarer than at the bounds of a cumulative sum.
    """
    scores = scores.float()
    if seen is not None:
        penalised = torch.where(scores < 0, scores * penalty, scores / penalty)
        scores = torch.where(seen, penalised, scores)
    if bits is None:
        return scores.argmax(-1)
    for warper in warpers:
        scores = warper(None, scores)
    if scores.is_cpu and len(warpers) > 1:
        # Noise is the most costly part, and top_k and top_p leave few tokens to draw from.
        rows, tokens = (scores != -torch.inf).nonzero(as_tuple=True)
        sums = torch.full_like(scores, -torch.inf, dtype=torch.float64)
        sums[rows, tokens] = scores[rows, tokens] + _gumbel(bits[rows], steps[tokens])
        return sums.argmax(-1)
    return (scores + _gumbel(bits[:, None], steps)).argmax(-1)


def _steps(count: int) -> torch.Tensor:
    """Return multiples of 2 ** 64 divided by the golden ratio: SplitMix64's increments.

    They are not made where they are added: torch.compile takes a range times a number for an index,
    which must not overflow, and then computes other bits.
    """
    return torch.arange(1, count + 1) * -0x61C8864680B583EB


def _gumbel(bits: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
    """Return Gumbel noise in float64 that depends only on 64 bits, of a row, and on a token's step.

    The bits are incremented and mixed as in SplitMix64 (Steele et al. 2014), equal on all devices.
    """
    mixed = bits + steps
    mixed ^= _shifted(mixed, 30)
    mixed *= -0x40A7B892E31B1A47
    mixed ^= _shifted(mixed, 27)
    mixed *= -0x6B2FB644ECCEEE15
    mixed ^= _shifted(mixed, 31)
    # In place: where memory is allocated for every pass, that takes most of the time.
    uniform = _shifted(mixed, 11).double().add_(0.5).div_(2**53)  # in (0, 1)
    return uniform.log_().neg_().log_().neg_()


def _shifted(values: torch.Tensor, by: int) -> torch.Tensor:
    """Return 64-bit integers shifted to the right, filled with zeros."""
    return (values >> by).bitwise_and_((1 << (64 - by)) - 1)
