"""Precision of an encoder: float32, or faster and less exact on a GPU."""

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
    """Raise a ValueError if a device cannot compute in a precision; `metric` is for the message."""
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
    """Compute in a precision inside the context, regardless of PyTorch's settings outside.

    float32
        Matrix products in full single precision: TF32 is off.
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
    metric: Embedder, candidates: Sequence[str], references: Sequence[str]
) -> dict[str, float]:
    """Score pairs in the metric's precision and in float32.

    Returns
    -------
    dict
        The greatest absolute difference of each of the metric's columns; 0 for float32, which is
        not computed twice, and where there is no pair.
    """
    scores = metric(candidates, references)
    exact = copy.copy(metric)  # the same model
    exact.precision = FLOAT32
    reference = scores if metric.precision == FLOAT32 else exact(candidates, references)
    return {
        column: float(np.abs(scores[column] - reference[column]).max(initial=0.0))
        for column in scores
    }


def reporting(metric: Embedder, pairs: int = 64) -> ScoreFunction:
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
                    f"{error:.1e} ({column})"
                    for column, error in errors.items()
                    if not column.startswith("seen_")
                ),
            )
        return metric(candidates, references)

    return score
