"""Precision of an encoder: float32, or faster and less exact on a GPU."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

FLOAT32, TF32, FLOAT16 = "float32", "tf32", "float16"
PRECISIONS = (FLOAT32, TF32, FLOAT16)


def check_precision(metric: str, precision: str, device: str) -> None:
    """Raise a ValueError if a device cannot compute in a precision; `metric` is for the message."""
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
