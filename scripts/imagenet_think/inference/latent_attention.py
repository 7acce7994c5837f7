"""Multi-head latent attention that decodes on its latents (DeepSeek-V2, arXiv 2405.04434, 2.1.2).

For each token, the cache holds one latent and one rotary key for all heads. At every step,
transformers expands the latents of all earlier tokens to keys and values. Here a decoding step
multiplies the query by the projection instead (absorbs it), and reads each latent as it is.
"""

import torch
from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3Attention

from imagenet_think.inference.engines.kv_cache import ATTENTION


class LatentAttention(DeepseekV3Attention):
    """transformers' layer, with `attend` for a decoding step (see `engines.kv_cache.attend`)."""

    def expand_kv(self, latents, rotary):
        """Return keys and values; during decoding, latents and rotary keys as they are."""
        if self.config._attn_implementation == ATTENTION:
            return latents, rotary
        return super().expand_kv(latents, rotary)

    def attend(
        self,
        query: torch.Tensor,
        latents: torch.Tensor,
        rotary: torch.Tensor,
        mask: torch.Tensor,
        scaling: float,
    ) -> torch.Tensor:
        """Attend over cached latents; return (rows, 1, heads, value size).

        Parameters
        ----------
        query
            (rows, heads, 1, size), the rotary part last.
        latents, rotary
            (rows, 1, tokens, size) each.
        mask
            (rows, 1, 1, tokens), added to the scores: 0 where a row reads, otherwise -inf.
        scaling
            Factor of the products.
        """
        latents, rotary = latents[:, 0], rotary[:, 0]
        query, turned = query[:, :, 0].split([self.qk_nope_head_dim, self.qk_rope_head_dim], dim=-1)
        projections = self.kv_b_proj.weight.view(self.num_heads, -1, self.kv_lora_rank)
        to_keys, to_values = projections.split([self.qk_nope_head_dim, self.v_head_dim], dim=1)
        absorbed = (query.transpose(0, 1) @ to_keys).transpose(0, 1)  # (rows, heads, latent)
        # Sum and factor in one kernel and unrounded: most of what is written here are scores.
        scores = torch.baddbmm(
            turned @ rotary.transpose(1, 2),
            absorbed,
            latents.transpose(1, 2),
            beta=scaling,
            alpha=scaling,
        ).add_(mask[:, 0])
        weights = scores.softmax(-1)  # torch sums in float32 even where these are bfloat16
        read = (weights @ latents).transpose(0, 1)  # (heads, rows, latent)
        return (read @ to_values.transpose(1, 2)).transpose(0, 1)[:, None]


def absorb(model):
    """Let every latent attention layer of a model decode on its latents; return the model."""
    for module in model.modules():
        if type(module) is DeepseekV3Attention:
            module.__class__ = LatentAttention
    return model
