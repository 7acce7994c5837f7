"""In which precision an encoder computes: float32, or faster and less exact on a GPU."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import numpy as np
import torch

from imagenet_think.core.logs import logger
from imagenet_think.metrics.score_function import ScoreFunction

FLOAT32, TF32, FLOAT16 = "float32", "tf32", "float16"
PRECISIONS = (FLOAT32, TF32, FLOAT16)


class Embedder(Protocol):
    """A metric that embeds texts."""

    precision: str

    def __call__(
        self, candidates: Sequence[str], references: Sequence[str], /
    ) -> dict[str, np.ndarray]: ...


def check_precision(metric: str, precision: str, device: str) -> None:
    """Raise a ValueError if `device` cannot compute in `precision`; `metric` is for the message."""
    if precision not in PRECISIONS:
        raise ValueError(
            f"{metric}.precision is {precision!r}: choose one of {', '.join(PRECISIONS)}"
        )
    if precision != FLOAT32 and torch.device(device).type != "cuda":
        raise ValueError(
            f"{metric}.precision is {precision}, which needs a GPU (CUDA), but the device is "
            f"{device}: set {metric}.precision to {FLOAT32}, or run the job where there is a GPU"
        )


@contextmanager
def arithmetic(precision: str, device: str) -> Iterator[None]:
    """Compute in `precision` inside the context, whatever was set outside.

    float32
        Products of matrices in full single precision: TF32 is off.
    tf32
        Factors of matrix products are rounded to 10 bits of mantissa.
    float16
        Matrix products in half precision; weights, sums over tokens, softmax and layer norms stay
        in single precision (autocast), so that the same model computes in all three.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if precision == TF32 else "highest")
    half = torch.autocast(
        torch.device(device).type, dtype=torch.float16, enabled=precision == FLOAT16
    )
    try:
        with half:
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def greatest_error(
    metric: Embedder, candidates: Sequence[str], references: Sequence[str], pairs: int = 64
) -> dict[str, float]:
    """Score the first pairs in the metric's precision and in float32.

    Parameters
    ----------
    metric
        A `BertScore` or a `SentenceBert`.
    candidates, references
        The pairs' texts.
    pairs
        How many pairs to take from the beginning.

    Returns
    -------
    dict
        The greatest absolute difference of each of the metric's columns; 0 for float32, which is
        not computed twice, and where there is no pair.
    """
    texts = candidates[:pairs], references[:pairs]
    scores = metric(*texts)
    exact = copy.copy(metric)  # the same model
    exact.precision = FLOAT32
    reference = scores if metric.precision == FLOAT32 else exact(*texts)
    return {
        column: float(np.abs(scores[column] - reference[column]).max(initial=0.0))
        for column in scores
    }


def reporting(metric: Embedder, pairs: int = 64) -> ScoreFunction:
    """Return the metric, which logs the error of its precision at its first call.

    In float32 nothing is logged.

    Parameters
    ----------
    metric, pairs
        See `greatest_error`.
    """
    told = metric.precision == FLOAT32

    def score(candidates: Sequence[str], references: Sequence[str]) -> dict[str, np.ndarray]:
        nonlocal told
        if not told and candidates:
            told = True
            errors = greatest_error(metric, candidates, references, pairs)
            logger.info(
                "%s in %s: on %d pairs scores differ from float32 by at most %s",
                *(type(metric).__name__, metric.precision, min(pairs, len(candidates))),
                ", ".join(
                    f"{error:.1e} ({column})"
                    for column, error in errors.items()
                    if not column.startswith("seen_")
                ),
            )
        return metric(candidates, references)

    return score
