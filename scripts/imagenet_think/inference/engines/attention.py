"""Attention of one new token a row over a store of earlier ones, as transformers calls it.

Importing this module registers it with transformers under the names of the stores' `attention`.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from imagenet_think.inference.engines.kv_cache import PAGE, PageStore, RowStore, Store

varlen_attn: Callable[..., Any] | None
try:
    from torch.nn.attention import varlen

    varlen_attn = varlen.varlen_attn
except ImportError:  # torch before 2.10
    varlen_attn = None


def attend_rows(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor,
    *,
    scaling: float,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attend over a `RowStore`.

    Parameters
    ----------
    module
        The attention layer. One that keeps something else than keys and values (latents) has an
        `attend` of its own.
    query
        (rows, heads, 1, size).
    key, value
        (rows, key heads, tokens, size), as the store returns them.
    attention_mask
        (rows, 1, 1, tokens), True where a row reads.
    scaling
        Factor of the products.

    Returns
    -------
    tuple
        (rows, 1, heads, size), and None for the weights.
    """
    if hasattr(module, "attend"):
        return module.attend(query, key, value, attention_mask, scaling), None
    rows, heads = query.shape[:2]
    # The query heads that share a key head stand as further queries: keys are read once, and are
    # not repeated in memory.
    grouped = query.reshape(rows, key.shape[1], -1, query.shape[3])
    out = scaled_dot_product_attention(grouped, key, value, attn_mask=attention_mask, scale=scaling)
    return out.reshape(rows, 1, heads, -1), None


def attend_pages(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor,
    *,
    scaling: float,
    store: PageStore,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attend over a `PageStore`: (rows, heads, 1, size) to (rows, 1, heads, size).

    The kernel is PyTorch's own FlashAttention-2 for sequences of different lengths.
    """
    assert varlen_attn is not None  # `lacks_pages` says so
    out = varlen_attn(
        query[:, :, 0],
        key,
        value,
        max_q=1,
        scale=scaling,
        enable_gqa=query.shape[1] != key.shape[2],
        **store.paging(),
    )
    return out[:, None], None


AttentionInterface.register(RowStore.attention, attend_rows)
AttentionInterface.register(PageStore.attention, attend_pages)


@torch.inference_mode()
def lacks_pages(heads: int, key: torch.Tensor, value: torch.Tensor) -> str | None:
    """Return why keys and values like these cannot lie in pages here, or None where they can.

    Parameters
    ----------
    heads
        Query heads.
    key, value
        Of any layer and prompt, (rows, key heads, tokens, size).
    """
    if not key.is_cuda:
        return "the device is not a CUDA device"
    if key.dtype not in (torch.bfloat16, torch.float16):
        return f"the dtype is {key.dtype}"
    if key.shape[3] != value.shape[3] or key.shape[3] > 256:
        return f"keys and values have sizes {key.shape[3]} and {value.shape[3]}"
    if varlen_attn is None:
        return "this torch has no varlen_attn"
    # The kernel's demands differ from version to version and GPU to GPU: so it is tried.
    lengths = torch.tensor([3, PAGE + 1], device=key.device)
    keys, values = (
        part.new_empty(2, part.shape[1], 1, part.shape[3]).normal_() for part in (key, value)
    )
    query = key.new_empty(2, heads, 1, key.shape[3]).normal_()
    outputs = []
    ways: list[tuple[Store, Callable[..., tuple[torch.Tensor, None]]]] = [
        (RowStore([(keys, values)], 2, 4 * PAGE), attend_rows),
        (PageStore([(keys, values)], 2, 4 * PAGE), attend_pages),
    ]
    for store, attend in ways:
        store.reserve([4, PAGE + 2])
        for row, length in enumerate(lengths.tolist()):
            generator = torch.Generator(key.device).manual_seed(row)
            tokens = torch.arange(length, device=key.device)
            parts = [
                torch.randn(length, *part.shape[1::2], generator=generator, device=key.device)
                for part in (keys, values)
            ]
            rows = torch.full_like(tokens, row)
            store.write(0, rows, tokens, parts[0].to(key.dtype), parts[1].to(key.dtype))
        store.begin(lengths, PAGE + 2)
        found = store.update(keys, values, 0)
        try:
            outputs.append(attend(None, query, *found, store.mask, scaling=0.1, store=store)[0])
        except (RuntimeError, TypeError, ValueError) as error:
            return f"varlen_attn failed: {error}"
    if not torch.allclose(outputs[0], outputs[1], atol=0.02, rtol=0.02):
        return "varlen_attn gives other results than sdpa"
    return None
