"""Where and how a model runs: device, dtype and attention, chosen before any model is loaded."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from transformers.utils import is_flash_attn_2_available


@dataclass(frozen=True)
class Hardware:
    """Where and how a model runs: torch's device and dtype, transformers' attention, by name."""

    device: str
    dtype: str
    attention: str

    @property
    def torch_dtype(self) -> torch.dtype:
        """The dtype itself."""
        return getattr(torch, self.dtype)


def choose_hardware(inference: Mapping[str, Any]) -> Hardware:
    """Turn the `auto` of the inference settings into what is there, before any model is loaded.

    Parameters
    ----------
    inference
        `device` (auto: CUDA if there is one), `dtype` (auto: bfloat16 on CUDA, float32 elsewhere)
        and `attention` (auto: flash_attention_2 on CUDA where flash-attn is installed and the dtype
        allows it, sdpa elsewhere).

    Raises
    ------
    ValueError
        If a setting that is not `auto` cannot be had.
    """
    device = inference["device"]
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    cuda = torch.device(device).type == "cuda"
    if cuda and not torch.cuda.is_available():
        raise ValueError(f"inference.device is {device}, but torch sees no CUDA device")
    dtype = inference["dtype"]
    if dtype == "auto":
        dtype = "bfloat16" if cuda else "float32"
    if dtype not in ("float32", "bfloat16", "float16"):
        raise ValueError(
            f"inference.dtype is {dtype!r}; known are auto, float32, bfloat16, float16"
        )
    lacking = _flash_lacks(cuda, dtype)
    attention = inference["attention"]
    if attention == "auto":
        attention = "sdpa" if lacking else "flash_attention_2"
    elif attention == "flash_attention_2" and lacking:
        raise ValueError(
            f"inference.attention is flash_attention_2, but {lacking}: "
            "set it to auto or sdpa, or provide what it needs"
        )
    elif attention not in ("flash_attention_2", "sdpa", "eager"):
        raise ValueError(
            f"inference.attention is {attention!r}; known are auto, flash_attention_2, sdpa, eager"
        )
    return Hardware(device, dtype, attention)


def _flash_lacks(cuda: bool, dtype: str) -> str | None:
    """Return what FlashAttention-2 would need and is not there."""
    if not cuda:
        return "the device is not a CUDA device"
    if dtype == "float32":
        return "the dtype is float32, not bfloat16 or float16"
    if not is_flash_attn_2_available():
        return "the package flash-attn is not installed"
    return None


def device_name(device: str) -> str:
    """Return what the device is, in words: the GPU's name, or `cpu`."""
    return torch.cuda.get_device_name(device) if torch.device(device).type == "cuda" else device
