"""Stand-ins for flash-attn's kernels on the CPU, so that the paths around them run.

transformers' flash path removes padding, joins the rows and passes where each begins. That is the
real code here; only the kernels are replaced, by plain attention, one row at a time.
"""

import math
from contextlib import contextmanager
from itertools import pairwise

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


class Kernels:
    """The kernels, with a count of their calls."""

    def __init__(self):
        self.varlen_calls = self.dense_calls = 0

    def varlen(self, q, k, v, cu_seqlens_q, cu_seqlens_k, *, softmax_scale, causal, **_):
        """flash_attn_varlen_func."""
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
        self.dense_calls += 1
        scale = softmax_scale or q.shape[-1] ** -0.5
        return torch.stack([plain(*row, scale, causal) for row in zip(q, k, v, strict=True)])


@contextmanager
def emulated_flash(model, monkeypatch):
    """Let a model on the CPU take transformers' flash path; yield the `Kernels`."""
    kernels = Kernels()
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
