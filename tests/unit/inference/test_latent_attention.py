import pytest
import torch

from imagenet_think.inference.latent_attention import DeepseekV3Attention, LatentAttention


@pytest.fixture
def layer(tiny_model):
    _, _, model = tiny_model("kimi_vl")
    layers = [module for module in model.modules() if isinstance(module, DeepseekV3Attention)]
    assert len(layers) == model.config.text_config.num_hidden_layers
    assert all(type(module) is LatentAttention for module in layers)
    return layers[0]


@torch.inference_mode()
def test_attention_over_latents_is_attention_over_their_keys_and_values(layer):
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape):
        return torch.randn(*shape, generator=generator)

    rows, tokens = 3, 9
    query = drawn(rows, layer.num_heads, 1, layer.qk_head_dim)
    latents = drawn(rows, 1, tokens, layer.kv_lora_rank)
    rotary = drawn(rows, 1, tokens, layer.qk_rope_head_dim)
    beyond = (torch.arange(tokens) > torch.tensor([2, 8, 5])[:, None])[:, None, None]
    mask = torch.zeros(beyond.shape).masked_fill(beyond, -torch.inf)
    keys, values = layer.expand_kv(latents, rotary)
    expected = torch.nn.functional.scaled_dot_product_attention(
        query, keys, values, attn_mask=mask, scale=layer.scaling
    ).transpose(1, 2)
    found = layer.attend(query, latents, rotary, mask, layer.scaling)
    assert found.shape == (rows, 1, layer.num_heads, layer.v_head_dim)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    # What is masked is not read.
    latents[0, :, 5:] = 100.0
    torch.testing.assert_close(layer.attend(query, latents, rotary, mask, layer.scaling), found)
