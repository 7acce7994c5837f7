"""Where and how a model runs: device, dtype and attention, chosen before any model is loaded."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from transformers.utils import is_flash_attn_2_available


@dataclass(frozen=True)
class Hardware:
    """Where and how a model runs; `attention` is transformers' name of it."""

    device: str
    dtype: torch.dtype
    attention: str


def choose_hardware(inference: Mapping[str, Any]) -> Hardware:
    """Replace `auto` in the inference settings by what is available.

    On CUDA, that is bfloat16 and, if flash-attn is installed and the dtype allows it,
    flash_attention_2; elsewhere, float32 and sdpa.

    A setting that is not `auto` and not available raises a ValueError, which says what is missing.
    """
    device, dtype, attention = (inference[key] for key in ("device", "dtype", "attention"))
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    cuda = device == "cuda"
    if cuda and not torch.cuda.is_available():
        raise ValueError(f"inference.device is {device}, but torch sees no CUDA device")
    if dtype == "auto":
        dtype = "bfloat16" if cuda else "float32"
    missing = _missing_for_flash(cuda, dtype)
    if attention == "auto":
        attention = "sdpa" if missing else "flash_attention_2"
    elif attention == "flash_attention_2" and missing:
        raise ValueError(
            f"inference.attention is flash_attention_2, but {missing}: "
            "set it to auto or sdpa, or provide what it needs"
        )
    return Hardware(device, getattr(torch, dtype), attention)


def _missing_for_flash(cuda: bool, dtype: str) -> str | None:
    """Return why FlashAttention-2 cannot be used, if so."""
    if not cuda:
        return "the device is not a CUDA device"
    if dtype == "float32":
        return "the dtype is float32, not bfloat16 or float16"
    if not is_flash_attn_2_available():
        return "the package flash-attn is not installed"
    return None


def device_name(device: str) -> str:
    """Return the GPU's name, or `cpu`."""
    return torch.cuda.get_device_name(device) if torch.device(device).type == "cuda" else device
