"""Choosing the next token of each row: greedy, or drawn with numbers that belong to the row alone.

The draw of a row depends on its seed and on how many tokens it has, and on nothing else: not on the
rows beside it, their number or their order. The warping of scores is transformers' own, in its
order.
"""

import torch
from transformers import (
    LogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from imagenet_think.draws import uniform

DECODING_KEYS = ("max_new_tokens", "temperature", "top_k", "top_p", "repetition_penalty")


class RowSampler(LogitsProcessor):
    """Picks the next token of every row of a batch and leaves `generate` no other choice.

    Parameters
    ----------
    decoding
        `temperature` (0 or absent: greedy), `top_k`, `top_p` and `repetition_penalty`; what is
        absent does nothing.
    seeds
        One a row.
    prompt_ids, attention_mask
        (rows, tokens), left-padded. As in transformers the repetition penalty counts the prompt's
        tokens, but never the padding: that would make a row's text depend on how long the others'
        prompts are.

    Raises
    ------
    ValueError
        If `decoding` holds an unknown key.
    """

    def __init__(
        self,
        decoding: dict,
        seeds: list[int],
        prompt_ids: torch.Tensor,
        attention_mask: torch.Tensor,
    ):
        unknown = sorted(set(decoding) - set(DECODING_KEYS))
        if unknown:
            raise ValueError(
                f"unknown decoding settings {unknown}; known are {list(DECODING_KEYS)}"
            )
        self.seeds = seeds
        self.step = 0
        self.penalty = decoding.get("repetition_penalty") or 1.0
        self.prompt = (prompt_ids, attention_mask)
        self.seen: torch.Tensor | None = None
        temperature = decoding.get("temperature") or 0.0
        self.warpers: list[LogitsProcessor] = []
        self.greedy = temperature == 0.0
        if not self.greedy:
            self.warpers.append(TemperatureLogitsWarper(temperature))
            if decoding.get("top_k"):
                self.warpers.append(TopKLogitsWarper(decoding["top_k"]))
            if decoding.get("top_p") is not None and decoding["top_p"] < 1.0:
                self.warpers.append(TopPLogitsWarper(decoding["top_p"]))

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return scores (rows, vocabulary) whose largest is each row's choice."""
        scores = self._penalised(input_ids, scores)
        if self.greedy:
            return scores
        for warper in self.warpers:
            scores = warper(input_ids, scores)
        chosen = self._drawn(scores)
        self.step += 1
        return torch.full_like(scores, -torch.inf).scatter_(1, chosen[:, None], 0.0)

    def _penalised(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        if self.penalty == 1.0:
            return scores
        if self.seen is None:
            ids, mask = self.prompt
            counts = torch.zeros(scores.shape, dtype=torch.int32, device=scores.device)
            self.seen = counts.scatter_add_(1, ids, mask.to(torch.int32)) > 0
        else:
            self.seen.scatter_(1, input_ids[:, -1:], True)
        penalised = torch.where(scores < 0, scores * self.penalty, scores / self.penalty)
        return torch.where(self.seen, penalised, scores)

    def _drawn(self, scores: torch.Tensor) -> torch.Tensor:
        """Return a token a row: the first where the sum of probabilities exceeds its number."""
        sums = torch.softmax(scores.double(), dim=-1).cumsum(dim=-1)
        numbers = torch.tensor(
            [uniform(seed, self.step) for seed in self.seeds], dtype=sums.dtype, device=sums.device
        )
        # Times the last sum, which rounding may leave below 1: so no token of probability 0 is ever
        # chosen.
        numbers = numbers * sums[:, -1]
        return torch.searchsorted(sums, numbers[:, None], right=True)[:, 0]
