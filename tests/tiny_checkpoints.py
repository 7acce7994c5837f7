"""Random miniature checkpoints of the four real model classes, laid out as the published ones.

They are a few hundred kilobytes each and say nothing sensible, but every code path that the
published ones take through transformers is taken: processors, key renames, generation.
"""

import json
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from imagenet_think.miniature import kimi_layout

WIDTH, LAYERS = 64, 2
TEXT = {
    "hidden_size": WIDTH,
    "intermediate_size": 128,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
    # Random weights of the usual size give nearly the same token everywhere; larger ones give
    # varied text.
    "initializer_range": 0.1,
}
CORPUS = [
    "Please look at the image, think step by step and describe it. "
    "<think> a red fish </think> <answer> fish </answer>"
]

# What every template says of a turn: a string, or parts of which an image becomes IMAGE.
CONTENT = (
    "{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}IMAGE{% else %}{{ c['text'] }}{% endif %}{% endfor %}{% endif %}"
)
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n" + CONTENT + "<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
GLM_TEMPLATE = (
    "[gMASK]<sop>{% for m in messages %}<|{{ m['role'] }}|>\n" + CONTENT + "{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
KIMI_TEMPLATE = (
    "{% for m in messages %}<|im_{{ m['role'] }}|>{{ m['role'] }}<|im_middle|>"
    + CONTENT
    + "<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_assistant|>assistant<|im_middle|>{% endif %}"
)
KIMI_SPECIAL = (
    "[BOS]",
    "[EOS]",
    "<|im_end|>",
    "<|im_user|>",
    "<|im_assistant|>",
    "<|im_system|>",
    "<|im_middle|>",
    "<|media_start|>",
    "<|media_content|>",
    "<|media_pad|>",
    "<|media_end|>",
    "[PAD]",
)
CLIP = {
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}


def tokenizer(special: tuple[str, ...], end: str, padding: str, **options):
    """A byte-level tokenizer whose special tokens follow its vocabulary, as in the real ones."""
    tokens = Tokenizer(models.BPE())
    tokens.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokens.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=320, show_progress=False, initial_alphabet=alphabet)
    tokens.train_from_iterator(CORPUS * 8, trainer)
    tokens.add_special_tokens(list(special))
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokens, eos_token=end, pad_token=padding, **options
    )


def write_json(path: Path, value: dict) -> None:
    path.write_text(json.dumps(value, indent=1))


def write_checkpoint(
    out: Path, model, tokens, preprocessing: dict, template: str, ends: list[str], padding: str
):
    """Write a model of a native class; `save_pretrained` gives the published weight names."""
    out.mkdir(parents=True)
    model.generation_config = transformers.GenerationConfig(
        eos_token_id=tokens.convert_tokens_to_ids(ends),
        pad_token_id=tokens.convert_tokens_to_ids(padding),
        # A published sampling setting that must not leak into a run's decoding.
        do_sample=True,
        temperature=0.2,
        top_k=3,
    )
    model.save_pretrained(out)
    tokens.save_pretrained(out)
    write_json(out / "preprocessor_config.json", preprocessing)
    (out / "chat_template.jinja").write_text(template)


def build_qwen2_5_vl(out: Path) -> None:
    special = (
        "<|endoftext|>",
        "<|im_start|>",
        "<|im_end|>",
        "<|vision_start|>",
        "<|vision_end|>",
        "<|image_pad|>",
        "<|video_pad|>",
    )
    tokens = tokenizer(special, "<|im_end|>", "<|endoftext|>")
    ids = tokens.convert_tokens_to_ids
    config = transformers.Qwen2_5_VLConfig(
        # Heads of 16 have 8 frequencies, the sum of the sections.
        text_config={
            **TEXT,
            "vocab_size": len(tokens),
            "bos_token_id": ids("<|endoftext|>"),
            "eos_token_id": ids("<|im_end|>"),
            "pad_token_id": ids("<|endoftext|>"),
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1e6,
                "mrope_section": [2, 3, 3],
            },
        },
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "out_hidden_size": WIDTH,
            "patch_size": 14,
            "window_size": 56,
            "fullatt_block_indexes": [1],
            "initializer_range": 0.1,
        },
        image_token_id=ids("<|image_pad|>"),
        video_token_id=ids("<|video_pad|>"),
        vision_start_token_id=ids("<|vision_start|>"),
        vision_end_token_id=ids("<|vision_end|>"),
        tie_word_embeddings=False,
    )
    preprocessing = {
        "image_processor_type": "Qwen2VLImageProcessor",
        "patch_size": 14,
        "merge_size": 2,
        "temporal_patch_size": 2,
        "min_pixels": 56 * 56,
        "max_pixels": 112 * 112,
        **CLIP,
    }
    template = CHATML.replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>")
    model = transformers.Qwen2_5_VLForConditionalGeneration(config)
    write_checkpoint(out, model, tokens, preprocessing, template, ["<|im_end|>"], "<|endoftext|>")


def build_internvl(out: Path) -> None:
    special = (
        "<|endoftext|>",
        "<|im_start|>",
        "<|im_end|>",
        "<img>",
        "</img>",
        "<IMG_CONTEXT>",
        "<video>",
    )
    tokens = tokenizer(
        special,
        "<|im_end|>",
        "<|endoftext|>",
        extra_special_tokens={
            "start_image_token": "<img>",
            "end_image_token": "</img>",
            "context_image_token": "<IMG_CONTEXT>",
            "video_token": "<video>",
        },
    )
    ids, side = tokens.convert_tokens_to_ids, 56
    config = transformers.InternVLConfig(
        text_config={
            "model_type": "qwen3",
            **TEXT,
            "head_dim": 16,
            "vocab_size": len(tokens),
            "eos_token_id": ids("<|im_end|>"),
            "pad_token_id": ids("<|endoftext|>"),
            "tie_word_embeddings": False,
        },
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": [side, side],
            "patch_size": [14, 14],
            "attention_bias": True,
            "norm_type": "layer_norm",
        },
        image_token_id=ids("<IMG_CONTEXT>"),
        image_seq_length=4,
        downsample_ratio=0.5,
        tie_word_embeddings=False,
    )
    preprocessing = {
        "image_processor_type": "GotOcr2ImageProcessorFast",
        "size": {"height": side, "width": side},
        "crop_to_patches": False,
        "min_patches": 1,
        "max_patches": 4,
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
    }
    model = transformers.InternVLForConditionalGeneration(config)
    template = CHATML.replace("IMAGE", "<IMG_CONTEXT>\n")
    write_checkpoint(out, model, tokens, preprocessing, template, ["<|im_end|>"], "<|endoftext|>")
    write_json(
        out / "processor_config.json",
        {"processor_class": "InternVLProcessor", "image_seq_length": 4},
    )


def build_glm4v(out: Path) -> None:
    special = (
        "<|endoftext|>",
        "[gMASK]",
        "<sop>",
        "<|system|>",
        "<|user|>",
        "<|assistant|>",
        "<|observation|>",
        "<|begin_of_image|>",
        "<|end_of_image|>",
        "<|begin_of_video|>",
        "<|end_of_video|>",
        "<|image|>",
        "<|video|>",
    )
    tokens = tokenizer(special, "<|endoftext|>", "<|endoftext|>")
    ids = tokens.convert_tokens_to_ids
    config = transformers.Glm4vConfig(
        # Half of a head of 16 turns: 4 frequencies, the sum of the sections.
        text_config={
            **TEXT,
            "vocab_size": len(tokens),
            "pad_token_id": ids("<|endoftext|>"),
            "eos_token_id": [ids("<|endoftext|>")],
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1e4,
                "partial_rotary_factor": 0.5,
                "mrope_section": [1, 1, 2],
            },
        },
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "out_hidden_size": WIDTH,
            "image_size": 112,
            "patch_size": 14,
            "initializer_range": 0.1,
        },
        image_token_id=ids("<|image|>"),
        video_token_id=ids("<|video|>"),
        image_start_token_id=ids("<|begin_of_image|>"),
        image_end_token_id=ids("<|end_of_image|>"),
        video_start_token_id=ids("<|begin_of_video|>"),
        video_end_token_id=ids("<|end_of_video|>"),
        tie_word_embeddings=False,
    )
    preprocessing = {
        "image_processor_type": "Glm4vImageProcessor",
        "patch_size": 14,
        "merge_size": 2,
        "temporal_patch_size": 2,
        "size": {"shortest_edge": 2 * 56 * 56, "longest_edge": 2 * 112 * 112},
        **CLIP,
    }
    model = transformers.Glm4vForConditionalGeneration(config)
    template = GLM_TEMPLATE.replace("IMAGE", "<|begin_of_image|><|image|><|end_of_image|>")
    write_checkpoint(
        out, model, tokens, preprocessing, template, ["<|endoftext|>", "<|user|>"], "<|endoftext|>"
    )


def build_kimi_vl(out: Path) -> None:
    """Kimi-VL's published layout, weight by weight: no class in transformers writes it."""
    tokens = tokenizer(KIMI_SPECIAL, "[EOS]", "[PAD]", bos_token="[BOS]")
    ids = tokens.convert_tokens_to_ids
    heads, nope, rope, value, latent, experts, vision = 4, 16, 8, 16, 32, 4, 32
    text = {
        **TEXT,
        "model_type": "deepseek_v3",
        "vocab_size": len(tokens),
        "num_key_value_heads": heads,
        "moe_intermediate_size": 32,
        "n_shared_experts": 2,
        "n_routed_experts": experts,
        "num_experts_per_tok": 2,
        "n_group": 1,
        "topk_group": 1,
        "topk_method": "noaux_tc",
        "scoring_func": "sigmoid",
        "moe_layer_freq": 1,
        "first_k_dense_replace": 1,
        "q_lora_rank": None,
        "kv_lora_rank": latent,
        "qk_rope_head_dim": rope,
        "qk_nope_head_dim": nope,
        "v_head_dim": value,
        "routed_scaling_factor": 2.446,
        "norm_topk_prob": True,
        "rope_theta": 800000.0,
        "rope_scaling": None,
        "rms_norm_eps": 1e-5,
        "hidden_act": "silu",
        "bos_token_id": ids("[BOS]"),
        "eos_token_id": ids("[EOS]"),
        "pad_token_id": ids("[PAD]"),
    }
    tower = {
        "model_type": "moonvit",
        "patch_size": 14,
        "init_pos_emb_height": 8,
        "init_pos_emb_width": 8,
        "num_attention_heads": 2,
        "num_hidden_layers": 2,
        "hidden_size": vision,
        "intermediate_size": 64,
        "merge_kernel_size": [2, 2],
    }
    random = torch.Generator().manual_seed(0)
    weights = {}
    for name, shape in kimi_layout.shapes_of(text, tower).items():
        if "norm" in name or name.endswith("correction_bias"):
            weights[name] = torch.full(shape, float(name.endswith("weight")))
        else:
            weights[name] = torch.randn(*shape, generator=random) * 0.1
    for layer in range(LAYERS):  # in the published files, and no parameters
        name = f"language_model.model.layers.{layer}.self_attn.rotary_emb.inv_freq"
        weights[name] = torch.ones(rope // 2)

    out.mkdir(parents=True)
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    write_json(
        out / "config.json",
        {
            "model_type": "kimi_vl",
            "architectures": ["KimiVLForConditionalGeneration"],
            "torch_dtype": "float32",
            "media_placeholder_token_id": ids("<|media_pad|>"),
            "text_config": text,
            "vision_config": tower,
        },
    )
    write_json(
        out / "generation_config.json", {"eos_token_id": ids("[EOS]"), "pad_token_id": ids("[PAD]")}
    )
    write_json(
        out / "preprocessor_config.json",
        {
            "image_processor_type": "KimiVLImageProcessor",
            "patch_size": 14,
            "pad_input": True,
            "in_token_limit": 64,
            "image_mean": [0.5, 0.5, 0.5],
            "image_std": [0.5, 0.5, 0.5],
        },
    )
    tokens.save_pretrained(out)
    image = "<|media_start|>image<|media_content|><|media_pad|><|media_end|>"
    (out / "chat_template.jinja").write_text(KIMI_TEMPLATE.replace("IMAGE", image))


BUILDERS = {
    "glm4v": build_glm4v,
    "internvl": build_internvl,
    "kimi_vl": build_kimi_vl,
    "qwen2_5_vl": build_qwen2_5_vl,
}


def build(family: str, out: Path) -> Path:
    """Write the family's checkpoint to `out`, the same every time."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        BUILDERS[family](out)
    return out


def edit_weights(folder: Path, change) -> None:
    """Rewrite the weights file after `change`, which gets and alters the dict of tensors."""
    path = folder / "model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path, metadata={"format": "pt"})
