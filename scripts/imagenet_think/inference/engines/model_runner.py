"""Forward passes of a model: prompts (prefill), and one token per row after another (decoding).

Prompts go through the model's own forward pass. A decoding step calls only its language model, with
our KV cache instead of transformers' own.
"""

import inspect
import logging
import os
from collections.abc import Iterable
from typing import Any

import torch
from transformers import DynamicCache, PreTrainedModel

from imagenet_think.inference.engines.kv_cache import (
    ATTENTION,
    SEGMENTS,
    KVCache,
    arrange,
    flash_kernel,
)

logger = logging.getLogger("imagenet_think")

_MEMORY_SHARE = 0.8
"""Share of the free memory for the KV cache; the rest is for prompts and scores."""


class ModelRunner:
    """Runs one model on rows, and holds what it has cached of them.

    Rows are numbered from 0 without gaps. All methods are called in torch's inference mode.

    Parameters
    ----------
    model
        From a family's loader.
    rows, cached_tokens
        Maximum numbers of rows and of cached tokens; None for what fits into memory.

    Attributes
    ----------
    cache
        None before the first prompt.
    lengths
        Cached tokens of each row.
    record
        How a decoding step attends, and once there is a cache, its maximum number of `tokens` and
        their size in bytes.
    """

    def __init__(self, model: PreTrainedModel, rows: int, cached_tokens: int | None) -> None:
        self.model: Any = model  # whose parts depend on its class
        self.rows = rows
        self.cached_tokens = cached_tokens
        self.cache: KVCache | None = None
        self.lengths: list[int] = []
        self._offsets: list[int] = []  # between a row's length and its next position
        self._text = model.config.get_text_config()
        self._three_positions = hasattr(model.model, "rope_deltas")
        latent = any(hasattr(module, "attend") for module in model.modules())
        self._kernel = None if latent else flash_kernel(self._text._attn_implementation)
        segments = f"{'latents' if latent else 'sdpa'} in {SEGMENTS} segments"
        self.record: dict[str, Any] = {
            "attention": "flash_attn_with_kvcache" if self._kernel else segments
        }

    def fits(self, lengths: list[int]) -> bool:
        """Return whether rows of these lengths, in tokens, fit into the cache together."""
        return self.cache is None or self.cache.fits(lengths)

    def prefill(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Add left-padded prompts as the last rows; return their scores (prompts, vocabulary)."""
        mask = inputs["attention_mask"]
        if self._three_positions:
            self.model.model.rope_deltas = None
        else:
            inputs = inputs | {"position_ids": (mask.cumsum(-1) - 1).clamp(min=0)}
        held: Any = DynamicCache(config=self._text)
        scores = self.model(
            **inputs, **_as_cache(self.model, held), use_cache=True, logits_to_keep=1
        ).logits[:, -1]
        prompts = [(layer.keys, layer.values) for layer in held.layers]
        cache = self.cache or self._new_cache(prompts)
        counts = mask.sum(-1).tolist()
        cache.reserve(self.lengths + counts)
        cache.insert(prompts, len(self.lengths), counts)
        self.cache, self.lengths = cache, self.lengths + counts
        if self._three_positions:
            self._offsets += self.model.model.rope_deltas.view(-1).tolist()
        else:
            self._offsets += [0] * len(counts)
        return scores

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """Add a token (rows,) to each row; return the next scores (rows, vocabulary).

        A step that fails can be repeated.
        """
        assert self.cache is not None
        lengths = [length + 1 for length in self.lengths]
        self.cache.reserve(lengths)
        self.cache.begin(self.lengths)
        positions = torch.tensor(self.lengths) + torch.tensor(self._offsets)
        positions = positions.to(tokens.device, non_blocking=True)[:, None]
        prefill_attention = self._text._attn_implementation
        self._text._attn_implementation = ATTENTION
        language_model = self.model.model.language_model
        try:
            hidden = language_model(
                input_ids=tokens[:, None],
                position_ids=positions.expand(3, -1, -1) if self._three_positions else positions,
                attention_mask=positions[:, :, None, None],  # four dimensions: make no mask
                **_as_cache(language_model, self.cache),
                use_cache=True,
                kv_cache=self.cache,
            ).last_hidden_state
        finally:
            self._text._attn_implementation = prefill_attention
        scores = self.model.lm_head(hidden[:, -1])
        self.lengths = lengths
        return scores

    def keep(self, rows: Iterable[int]) -> list[int]:
        """Drop all other rows; return the former number of each remaining row, in the new order."""
        order = arrange(self.lengths, rows)
        lengths = [self.lengths[row] for row in order]
        if self.cache is not None:
            self.cache.reorder(order, lengths)
        self.lengths, self._offsets = lengths, [self._offsets[row] for row in order]
        return order

    def reset(self) -> None:
        """Free all memory: the next prompt begins with a new cache."""
        self.cache, self.lengths, self._offsets = None, [], []
        if self.model.device.type == "cuda":
            torch.cuda.empty_cache()

    def _new_cache(self, prompts: list[tuple[torch.Tensor, torch.Tensor]]) -> KVCache:
        parts = [part for layer in prompts for part in layer]
        size = sum(part.shape[1] * part.shape[3] * part.element_size() for part in parts)
        budget = self.cached_tokens or _free_memory(self.model.device) // size
        logger.info("KV cache: at most %d tokens of %d bytes", budget, size)
        self.record |= {"tokens": budget, "bytes_per_token": size}
        return KVCache(prompts, self.rows, budget, self._kernel)


def _as_cache(module: torch.nn.Module, cache: Any) -> dict[str, Any]:
    """Return a cache under its name among the module's arguments, which is not always the same."""
    renamed = "cache" in inspect.signature(module.forward).parameters  # transformers 5.24
    return {"cache" if renamed else "past_key_values": cache}


def _free_memory(device: torch.device) -> int:
    """Return the bytes that the KV cache may take."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        free, _ = torch.cuda.mem_get_info(device)
    else:
        # Other processes use it too, and what is allocated but not used costs nothing.
        free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4
    return int(free * _MEMORY_SHARE)
