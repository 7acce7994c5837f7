"""What the metrics share that embed texts with a pretrained encoder."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from imagenet_think.core.model_sources import pretrained
from imagenet_think.metrics.precision import FLOAT32, arithmetic, check_precision
from imagenet_think.metrics.score_function import distinct_texts
from imagenet_think.metrics.subwords import Subwords
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
        self.subwords = Subwords(self.tokenizer)

    @classmethod
    def load(cls, *, repository: str, revision: str | None, **settings: Any) -> Self:
        """Return the function that scores pairs; `settings` are the class's."""
        # Sums of several threads depend on their number; jobs run in parallel instead.
        torch.set_num_threads(1)
        path, commit = pretrained(repository, revision)
        return cls(path, revision=commit, **settings)

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
        # Texts with the same windows, such as a long output and its thinking, are compared once.
        same: dict[tuple[int, ...], int] = {}
        alike = [same.setdefault(tuple(rows), len(same)) for rows in windowed.rows]
        a, b = (np.array(alike, dtype=np.int64)[texts] for texts in (first, second))
        _, once, pair = np.unique(a * len(same) + b, return_index=True, return_inverse=True)
        read = replace(windowed, rows=[list(rows) for rows in same])
        scores = self._compare(read, a[once], b[once])
        return {
            **{name: values[pair] for name, values in scores.items()},
            "seen_candidate": windowed.seen[first],
            "seen_reference": windowed.seen[second],
        }

    def _cut(self, texts: Sequence[str]) -> Windowed:
        return cut(self.subwords, texts, self.max_tokens, self.windows)

    def _outputs(
        self, inputs: Sequence[np.ndarray]
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
        """Score pairs of texts, given the places of candidates and references in `windowed.rows`.

        Only `inputs`, `tokens` and `rows` of `windowed` are of these texts.
        """


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
