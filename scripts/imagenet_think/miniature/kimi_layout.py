"""The published layout of Kimi-VL checkpoints: names and shapes of tensors, and the way back to it.

transformers loads such a checkpoint into `Kimi_K25ForConditionalGeneration` under other names.
"""

import math

import torch

# --------------------------------------------------------------------------------------


def shapes_of(text: dict, vision: dict) -> dict[str, tuple[int, ...]]:
    """Return names and shapes of the tensors of a Kimi-VL checkpoint.

    As published in moonshotai/Kimi-VL-A3B-Thinking-2506; `text` and `vision` are the two parts of
    its config.
    """
    hidden, heads, latent = text["hidden_size"], text["num_attention_heads"], text["kv_lora_rank"]
    rope, nope, value = text["qk_rope_head_dim"], text["qk_nope_head_dim"], text["v_head_dim"]
    wide, merged = vision["hidden_size"], 4 * vision["hidden_size"]
    shapes: dict[str, tuple[int, ...]] = {
        "vision_tower.patch_embed.proj.weight": (wide, 3, 14, 14),
        "vision_tower.patch_embed.proj.bias": (wide,),
        "vision_tower.patch_embed.pos_emb.weight": (
            vision["init_pos_emb_height"],
            vision["init_pos_emb_width"],
            wide,
        ),
    }

    def linear(name: str, out: int, into: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (out, into), (out,)

    def norm(name: str) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (wide,), (wide,)

    for number in range(vision["num_hidden_layers"]):
        block = f"vision_tower.encoder.blocks.{number}"
        norm(f"{block}.norm0")
        norm(f"{block}.norm1")
        linear(f"{block}.wqkv", 3 * wide, wide)
        linear(f"{block}.wo", wide, wide)
        linear(f"{block}.mlp.fc0", vision["intermediate_size"], wide)
        linear(f"{block}.mlp.fc1", wide, vision["intermediate_size"])
    norm("vision_tower.encoder.final_layernorm")
    norm("multi_modal_projector.pre_norm")
    linear("multi_modal_projector.linear_1", merged, merged)
    linear("multi_modal_projector.linear_2", hidden, merged)

    shapes["language_model.model.embed_tokens.weight"] = (text["vocab_size"], hidden)
    shapes["language_model.lm_head.weight"] = (text["vocab_size"], hidden)
    shapes["language_model.model.norm.weight"] = (hidden,)

    def gated(name: str, width: int) -> None:
        shapes[f"{name}.gate_proj.weight"] = shapes[f"{name}.up_proj.weight"] = (width, hidden)
        shapes[f"{name}.down_proj.weight"] = (hidden, width)

    for number in range(text["num_hidden_layers"]):
        layer = f"language_model.model.layers.{number}"
        shapes[f"{layer}.input_layernorm.weight"] = (hidden,)
        shapes[f"{layer}.post_attention_layernorm.weight"] = (hidden,)
        shapes[f"{layer}.self_attn.q_proj.weight"] = (heads * (nope + rope), hidden)
        shapes[f"{layer}.self_attn.kv_a_proj_with_mqa.weight"] = (latent + rope, hidden)
        shapes[f"{layer}.self_attn.kv_a_layernorm.weight"] = (latent,)
        shapes[f"{layer}.self_attn.kv_b_proj.weight"] = (heads * (nope + value), latent)
        shapes[f"{layer}.self_attn.o_proj.weight"] = (hidden, heads * value)
        if number < text["first_k_dense_replace"]:
            gated(f"{layer}.mlp", text["intermediate_size"])
            continue
        for expert in range(text["n_routed_experts"]):
            gated(f"{layer}.mlp.experts.{expert}", text["moe_intermediate_size"])
        gated(
            f"{layer}.mlp.shared_experts", text["n_shared_experts"] * text["moe_intermediate_size"]
        )
        shapes[f"{layer}.mlp.gate.weight"] = (text["n_routed_experts"], hidden)
        shapes[f"{layer}.mlp.gate.e_score_correction_bias"] = (text["n_routed_experts"],)
    return shapes


def initial(text: dict, vision: dict) -> dict[str, torch.Tensor]:
    """Return initial weights: norms one, biases zero, embeddings small, matrices by fan-in."""
    state = {}
    for name, shape in shapes_of(text, vision).items():
        if name.endswith("bias"):
            state[name] = torch.zeros(shape)
        elif "norm" in name:
            state[name] = torch.ones(shape)
        elif "emb" in name and "proj" not in name:
            state[name] = torch.randn(shape) * 0.02
        else:
            state[name] = torch.randn(shape) * math.prod(shape[1:]) ** -0.5
    return state


_NAMES = (
    ("model.vision_tower.layers.", "vision_tower.encoder.blocks."),
    ("model.vision_tower.final_layernorm", "vision_tower.encoder.final_layernorm"),
    (
        "model.vision_tower.patch_embed.pos_emb.position_embeddings",
        "vision_tower.patch_embed.pos_emb.weight",
    ),
    ("model.vision_tower.", "vision_tower."),
    ("model.mm_projector.in_proj", "multi_modal_projector.linear_1"),
    ("model.mm_projector.out_proj", "multi_modal_projector.linear_2"),
    ("model.mm_projector.", "multi_modal_projector."),
    ("model.language_model.", "language_model.model."),
    ("lm_head.", "language_model.lm_head."),
)
_BLOCK_NAMES = (
    (".norm1.", ".norm0."),
    (".norm2.", ".norm1."),
    (".mlp.fc1.", ".mlp.fc0."),
    (".mlp.fc2.", ".mlp.fc1."),
    (".attn.proj.", ".wo."),
)


def published_from(state: dict[str, torch.Tensor], config) -> dict[str, torch.Tensor]:
    """Return weights of the native class under published names, the inverse of loading them.

    `save_pretrained` can't be used: it garbles `q_proj` where `q_lora_rank` is null.
    """
    heads = config.vision_config.num_attention_heads
    published = {}
    for native, tensor in state.items():
        name = _replaced(native, _NAMES)
        if name.startswith("vision_tower.encoder.blocks."):
            name = _replaced(name, _BLOCK_NAMES)
        if ".attn.q_proj." in name:
            fused = [
                _interleaved(tensor, heads),
                _interleaved(state[native.replace("q_proj", "k_proj")], heads),
                state[native.replace("q_proj", "v_proj")],
            ]
            published[name.replace("attn.q_proj", "wqkv")] = torch.cat(fused)
        elif ".attn.k_proj." in name or ".attn.v_proj." in name:
            continue
        elif name.endswith("experts.gate_up_proj"):
            for expert, both in enumerate(tensor):
                gate, up = both.chunk(2)
                base = name.replace("gate_up_proj", str(expert))
                published[f"{base}.gate_proj.weight"] = gate
                published[f"{base}.up_proj.weight"] = up
        elif name.endswith("experts.down_proj"):
            for expert, down in enumerate(tensor):
                published[f"{name.replace('down_proj', str(expert))}.down_proj.weight"] = down
        else:
            published[name] = tensor
    return published


def _replaced(name: str, pairs: tuple[tuple[str, str], ...]) -> str:
    """Return the name with the first pair that occurs in it applied."""
    for old, new in pairs:
        if old in name:
            return name.replace(old, new)
    return name


def _interleaved(tensor: torch.Tensor, heads: int) -> torch.Tensor:
    """Put a projection's rows from split halves into the pairs that the published code rotates."""
    halves = tensor.reshape(heads, 2, tensor.shape[0] // heads // 2, *tensor.shape[1:])
    return halves.transpose(1, 2).reshape(tensor.shape)
