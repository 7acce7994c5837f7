"""What the metrics share that embed texts with a pretrained encoder."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from imagenet_think.core.logs import logger
from imagenet_think.core.model_sources import pretrained
from imagenet_think.core.numbers import as_text
from imagenet_think.metrics.precision import FLOAT32, arithmetic, check_precision
from imagenet_think.metrics.score_function import ScoreFunction, distinct_texts
from imagenet_think.metrics.truncation import FIRST, Windowed, batches, cut, padded


class Encoder(ABC):
    """A metric that embeds texts, each distinct window once.

    Parameters
    ----------
    path
        Folder or hub id of the encoder.
    max_tokens
        Tokens of a window, special tokens included.
    batch_size
        Windows embedded at once on a GPU; on a CPU always one. Sums over a batch depend on its
        shape, in the seventh decimal. Computed one by one, a score depends only on its own two
        texts, and not on which other scores are computed or known; that costs little on a CPU.
    revision
        Commit on the hub, or None.
    windows
        `first`: only the beginning of a text is read, as the libraries do. `all`: each window of a
        text is embedded by itself.
    precision
        Of the encoder; see `imagenet_think.metrics.precision.arithmetic`.
    device
        "cpu", "cuda", or None for a GPU if there is one.

    Raises
    ------
    ValueError
        If the encoder takes fewer than `max_tokens` tokens or cannot be used, or the device does
        not compute in `precision`.
    """

    section: ClassVar[str]
    """Section of the config, for messages."""

    def __init__(
        self,
        path: str,
        *,
        max_tokens: int,
        batch_size: int,
        revision: str | None = None,
        windows: str = FIRST,
        precision: str = FLOAT32,
        device: str | None = None,
    ) -> None:
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        check_precision(self.section, precision, self.device)
        self.max_tokens = max_tokens
        self.batch_size = 1 if torch.device(self.device).type == "cpu" else batch_size
        self.windows = windows
        self.precision = precision
        self.tokenizer = self._load(path, revision)

    @classmethod
    def load(cls, *, repository: str, revision: str | None, **settings: Any) -> ScoreFunction:
        """Return the function that scores pairs, see `reporting`; `settings` are the class's."""
        # Sums of several threads depend on their number; jobs run in parallel instead.
        torch.set_num_threads(1)
        path, commit = pretrained(repository, revision)
        return reporting(cls(path, revision=commit, **settings))

    @torch.inference_mode()
    def __call__(
        self, candidates: Sequence[str], references: Sequence[str]
    ) -> dict[str, np.ndarray]:
        """Score pairs of texts.

        All texts' embeddings are in memory at once, and freed when the call ends: pass the pairs
        of a few dozen images at a time.

        Returns
        -------
        dict
            The columns of `_compare`; `seen_candidate` and `seen_reference`, the share of each
            text's tokens inside its windows; float64 of shape (n,).
        """
        texts, first, second = distinct_texts(candidates, references)
        windowed = self._cut(texts)
        return {
            **self._compare(windowed, first, second),
            "seen_candidate": windowed.seen[first],
            "seen_reference": windowed.seen[second],
        }

    def _cut(self, texts: Sequence[str]) -> Windowed:
        return cut(self.tokenizer, texts, self.max_tokens, self.windows)

    def _outputs(
        self, inputs: Sequence[Sequence[int]]
    ) -> Iterator[tuple[list[int], torch.Tensor, torch.Tensor, torch.Tensor]]:
        """Yield, batch by batch, places of inputs, their ids and mask, and the encoder's output."""
        with arithmetic(self.precision, self.device):
            for rows in batches(inputs, self.batch_size):
                ids, mask = padded([inputs[row] for row in rows], self.tokenizer.pad_token_id)
                yield rows, ids, mask, self._forward(ids.to(self.device), mask.to(self.device))

    @abstractmethod
    def _load(self, path: str, revision: str | None) -> PreTrainedTokenizerBase:
        """Load the encoder, check it, and return its tokenizer."""

    @abstractmethod
    def _forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return the encoder's output for token ids and mask of shape (inputs, longest)."""

    @abstractmethod
    def _compare(
        self, windowed: Windowed, first: np.ndarray, second: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Score pairs of texts, given the places of candidates and references among them."""


def greatest_error(
    metric: Encoder, candidates: Sequence[str], references: Sequence[str]
) -> dict[str, float]:
    """Return each column's greatest absolute difference from float32; 0 where there is no pair."""
    exact = copy.copy(metric)  # the same model
    exact.precision = FLOAT32
    scores, reference = (score(candidates, references) for score in (metric, exact))
    return {
        column: float(np.abs(scores[column] - reference[column]).max(initial=0.0))
        for column in scores
    }


def reporting(metric: Encoder, pairs: int = 64) -> ScoreFunction:
    """Return a function that scores as the metric does, and logs the error of its precision.

    The error is measured on the first pairs of the first call, and not at all in float32.
    """
    if metric.precision == FLOAT32:
        return metric
    logged = False

    def score(candidates: Sequence[str], references: Sequence[str]) -> dict[str, np.ndarray]:
        nonlocal logged
        if candidates and not logged:
            logged = True
            errors = greatest_error(metric, candidates[:pairs], references[:pairs])
            logger.info(
                "%s in %s: on %d pairs scores differ from float32 by at most %s",
                *(type(metric).__name__, metric.precision, min(pairs, len(candidates))),
                ", ".join(
                    f"{as_text(error, '.1e')} ({column})"
                    for column, error in errors.items()
                    if not column.startswith("seen_")
                ),
            )
        return metric(candidates, references)

    return score
