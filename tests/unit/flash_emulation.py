"""Stand-ins for flash-attn's kernels on the CPU, so that the paths around them run.

transformers' flash path removes padding, joins the rows and passes where each begins. That is the
real code here; only the kernels are replaced, by plain attention, one row at a time. They have the
arguments of flash-attn 2.8.3 and refuse what it refuses.
"""

import math
import sys
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from itertools import pairwise
from types import ModuleType

import torch
import transformers.modeling_flash_attention_utils as flash


def plain(query, key, value, scale, causal):
    """Attention of one row: (tokens, heads, size) each, key heads shared by groups."""
    share = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(share, 1), value.repeat_interleave(share, 1)
    scores = torch.einsum("qhd,khd->hqk", query, key) * scale
    if causal:
        seen = torch.ones(scores.shape[1:], dtype=torch.bool).tril(key.shape[0] - query.shape[0])
        scores = scores.masked_fill(~seen, -math.inf)
    return torch.einsum("hqk,khd->qhd", scores.softmax(-1), value)


def flash_attn_with_kvcache(
    q,
    k_cache,
    v_cache,
    k=None,
    v=None,
    rotary_cos=None,
    rotary_sin=None,
    cache_seqlens: int | torch.Tensor | None = None,
    cache_batch_idx: torch.Tensor | None = None,
    cache_leftpad: torch.Tensor | None = None,
    block_table: torch.Tensor | None = None,
    softmax_scale=None,
    causal=False,
    window_size=(-1, -1),
    softcap=0.0,
    rotary_interleaved=True,
    alibi_slopes=None,
    num_splits=0,
    return_softmax_lse=False,
):
    """Attention of each row, (rows, queries, heads, size), to as much of the cache as it holds."""
    assert k is v is rotary_cos is rotary_sin is cache_batch_idx is cache_leftpad is None
    assert block_table is alibi_slopes is None
    assert (window_size, softcap, num_splits, return_softmax_lse) == ((-1, -1), 0.0, 0, False)
    rows, _, heads, size = q.shape
    assert k_cache.shape == v_cache.shape == (rows, k_cache.shape[1], k_cache.shape[2], size)
    assert heads % k_cache.shape[2] == 0
    assert size <= 256
    assert size % 8 == 0
    assert q.dtype == k_cache.dtype == v_cache.dtype
    assert q.stride(-1) == k_cache.stride(-1) == v_cache.stride(-1) == 1
    assert cache_seqlens.dtype == torch.int32
    assert cache_seqlens.shape == (rows,)
    assert cache_seqlens.is_contiguous()
    scale = softmax_scale or size**-0.5
    counts = cache_seqlens.tolist()
    assert max(counts) <= k_cache.shape[1]
    return torch.stack(
        [
            plain(q[i], k_cache[i, :count], v_cache[i, :count], scale, causal)
            for i, count in enumerate(counts)
        ]
    )


class Kernels:
    """The kernels, with a count of their calls."""

    def __init__(self):
        self.varlen_calls = self.dense_calls = self.cache_calls = 0

    def with_cache(self, *arguments, **options):
        """flash_attn_with_kvcache."""
        self.cache_calls += 1
        return flash_attn_with_kvcache(*arguments, **options)

    def varlen(self, q, k, v, cu_seqlens_q, cu_seqlens_k, *, softmax_scale, causal, **_):
        """flash_attn_varlen_func."""
        assert q.shape[-1] == k.shape[-1] == v.shape[-1]
        self.varlen_calls += 1
        scale = softmax_scale or q.shape[-1] ** -0.5
        queries, keys = pairwise(cu_seqlens_q.tolist()), pairwise(cu_seqlens_k.tolist())
        rows = [
            plain(q[a:b], k[c:d], v[c:d], scale, causal)
            for (a, b), (c, d) in zip(queries, keys, strict=True)
        ]
        return torch.cat(rows)

    def dense(self, q, k, v, softmax_scale=None, causal=False, **_):
        """flash_attn_func."""
        assert q.shape[-1] == k.shape[-1] == v.shape[-1]
        self.dense_calls += 1
        scale = softmax_scale or q.shape[-1] ** -0.5
        return torch.stack([plain(*row, scale, causal) for row in zip(q, k, v, strict=True)])


@contextmanager
def emulated_flash(model, monkeypatch):
    """Let a model on the CPU take transformers' flash path; yield the `Kernels`."""
    kernels = Kernels()
    package = ModuleType("flash_attn")
    package.__spec__ = ModuleSpec("flash_attn", None)
    package.flash_attn_with_kvcache = kernels.with_cache
    monkeypatch.setitem(sys.modules, "flash_attn", package)
    monkeypatch.setattr(flash, "_loaded_implementation", "flash_attention_2")
    monkeypatch.setattr(flash, "_flash_fn", kernels.dense)
    monkeypatch.setattr(flash, "_flash_varlen_fn", kernels.varlen)
    monkeypatch.setattr(flash, "_flash_with_kvcache_fn", None)
    monkeypatch.setattr(flash, "_pad_fn", flash._pad_input)
    monkeypatch.setattr(flash, "_unpad_fn", flash._unpad_input)
    process = flash._lazy_define_process_function(kernels.varlen)
    monkeypatch.setattr(flash, "_process_flash_kwargs_fn", process)
    configs = (model.config, model.config.text_config, model.config.vision_config)
    before = [config._attn_implementation_internal for config in configs]
    for config in configs:
        config._attn_implementation_internal = "flash_attention_2"
    try:
        yield kernels
    finally:
        for config, name in zip(configs, before, strict=True):
            config._attn_implementation_internal = name
