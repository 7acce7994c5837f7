"""Miniature checkpoints of the real architecture classes: sizes, configs, tokenizers, templates.

`build` writes an untrained checkpoint in the layout of the hub (Kimi's in its own, which
transformers has no class for), so that training starts from, and ends in, what the pipeline loads
for the real models. Token names, chat templates and settings that are no question of size are those
of the real checkpoints; ids are not.
"""

import copy
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from imagenet_think.miniature import kimi_layout
from imagenet_think.miniature.drawings import NAMES, scene_of
from imagenet_think.miniature.reply_templates import VOICES, first_look

HEAD = 32  # the smallest head that vLLM's CPU attention takes
PIXELS = 112  # side of what a model sees: 8 x 8 patches, 16 tokens
MOST_PIXELS = 13000  # a little more, lest rounding down costs a square image a row of tokens
CONTEXT = 4096


@dataclass(frozen=True)
class Recipe:
    """Size of a model and how long it learns.

    Attributes
    ----------
    hidden, layers
        Width and number of layers of the language model.
    vision_hidden, vision_layers
        The same of the vision tower.
    drawings
        How many different drawings it ever sees.
    vision_steps, language_steps
        Optimizer steps with the tower alone, and with everything.
    batch
        Drawings a step.
    """

    hidden: int
    layers: int
    vision_hidden: int
    vision_layers: int
    drawings: int
    vision_steps: int
    language_steps: int
    batch: int = 32


# The two teachers learn longest, from most drawings. The five others are worse by what they get
# less of, never by noise, so that the tables have something to rank: InternVL is smaller and learns
# a little shorter; R1-Onevision and OpenVLThinker learn half as long, the latter from fewer
# drawings; VisionThink has a shallower tower and half the resolution in its first round;
# VL-Rethinker is the smallest and learns the shortest.
RECIPES = {
    "glm-4.1v": Recipe(128, 3, 128, 3, 8000, 2000, 600),
    "kimi-vl": Recipe(128, 3, 128, 3, 8000, 1600, 1100),
    "internvl3.5": Recipe(128, 2, 96, 3, 8000, 1800, 700),
    "r1-onevision": Recipe(128, 2, 96, 3, 4000, 850, 450),
    "openvlthinker": Recipe(128, 2, 96, 3, 3000, 650, 450),
    "visionthink": Recipe(128, 2, 96, 2, 4000, 1200, 600, 24),
    "vl-rethinker": Recipe(96, 2, 96, 2, 3000, 600, 400),
}


def _contents(image: str) -> str:
    """Return the part of a chat template that writes a message; `image` stands for an image."""
    return (
        "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
        "{% for content in message['content'] %}{% if content['type'] == 'image' %}"
        + image
        + "{% elif content['type'] == 'text' %}{{ content['text'] }}{% endif %}"
        "{% endfor %}{% endif %}"
    )


_CHATML_TURN = "<|im_start|>{{ message['role'] }}\n"
_CHATML_END = (
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_QWEN_TEMPLATE = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}"
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
    + _CHATML_TURN
    + _contents("<|vision_start|><|image_pad|><|vision_end|>")
    + _CHATML_END
)
_INTERNVL_TEMPLATE = (
    "{% for message in messages %}" + _CHATML_TURN + _contents("<IMG_CONTEXT>\n") + _CHATML_END
)
_GLM_TEMPLATE = (
    "[gMASK]<sop>{% for message in messages %}<|{{ message['role'] }}|>\n"
    + _contents("<|begin_of_image|><|image|><|end_of_image|>")
    + "{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
_KIMI_TEMPLATE = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}"
    "<|im_system|>system<|im_middle|>You are a helpful assistant<|im_end|>{% endif %}"
    "<|im_{{ message['role'] }}|>{{ message['role'] }}<|im_middle|>"
    + _contents("<|media_start|>image<|media_content|><|media_pad|><|media_end|>")
    + "<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_assistant|>assistant<|im_middle|>{% endif %}"
)

_OPENAI_MEAN, _OPENAI_STD = (
    [0.48145466, 0.4578275, 0.40821073],
    [0.26862954, 0.26130258, 0.27577711],
)
_IMAGENET_MEAN, _IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def build(
    model: str,
    settings: dict,
    prompts: list[str],
    folder: Path,
    seed: int,
    recipe: Recipe | None = None,
) -> None:
    """Write an untrained miniature of `model` to `folder`.

    Parameters
    ----------
    model
        Key of the model, one of `RECIPES`.
    settings
        The model's entry in the config: its family, system prompt and templates.
    prompts
        The texts the model may be asked with; its tokenizer learns them.
    folder
        An existing, empty folder.
    seed
        Of the initial weights.
    recipe
        Its size; the model's own unless given.
    """
    torch.manual_seed(seed)
    _BUILDERS[settings["family"]](
        recipe or RECIPES[model], _corpus(model, settings, prompts), folder
    )


def save(model: torch.nn.Module, folder: Path) -> None:
    """Write a model's weights in bfloat16 into its checkpoint folder, under the published names."""
    half = copy.deepcopy(model).to("cpu", torch.bfloat16)
    if json.loads((folder / "config.json").read_text())["model_type"] != "kimi_vl":
        for part in (half.config, half.config.text_config, half.config.vision_config):
            part.dtype = torch.bfloat16
        half.save_pretrained(folder)
        return
    state = kimi_layout.published_from(half.state_dict(), model.config)
    state = {name: tensor.contiguous().clone() for name, tensor in sorted(state.items())}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


# --- tokenizers ----------------------------------------------------------------------------------
# ------------------


def _corpus(model: str, settings: dict, prompts: list[str]) -> list[str]:
    """Return replies to drawings, and all that prompts hold as often as every twentieth reply."""
    scenes = [scene_of(0, wnid, number) for wnid in NAMES for number in range(100)]
    replies = [VOICES[model].reply(scene) for scene in scenes]
    fixed = [
        settings.get("system"),
        settings.get("template"),
        *prompts,
        "You are a helpful assistant",
    ]
    if "second_round" in settings:
        replies += [first_look(scene) for scene in scenes]
        fixed.append(settings["second_round"]["template"])
    pieces = [
        piece
        for text in fixed
        if text
        for piece in text.replace("{image}", "{prompt}").split("{prompt}")
    ]
    return replies + [piece for piece in pieces if piece] * (len(scenes) // 20)


def _tokenizer(
    corpus: list[str], special: list[str], plain: list[str], eos: str, pad: str, **named: object
) -> transformers.PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer; `plain` tokens are single tokens that decoding never hides.

    Pieces may span words (up to 24 bytes), and only what every twentieth text holds becomes one:
    phrases do, a colour with an object does not. So texts take a third of the tokens and what must
    be looked up in the image stays apart.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    between_marks = re.compile("|".join(map(re.escape, plain)) or "(?!)")
    pieces = [piece for text in corpus for piece in between_marks.split(text) if piece]
    tokenizer.train_from_iterator(
        pieces,
        trainers.BpeTrainer(
            vocab_size=4096,
            min_frequency=60,
            max_token_length=24,
            show_progress=False,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        ),
    )
    tokenizer.add_special_tokens(special)  # after the vocabulary, as in the real ones
    tokenizer.add_tokens(plain)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=eos,
        pad_token=pad,
        padding_side="left",
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
        **named,
    )


# --- families ------------------------------------------------------------------------------------
# ------------------


def _text(recipe: Recipe, vocabulary: int, pad: int) -> dict:
    return {
        "vocab_size": vocabulary,
        "hidden_size": recipe.hidden,
        "intermediate_size": 3 * recipe.hidden,
        "num_hidden_layers": recipe.layers,
        "num_attention_heads": recipe.hidden // HEAD,
        "num_key_value_heads": max(1, recipe.hidden // HEAD // 2),
        "max_position_embeddings": CONTEXT,
        "pad_token_id": pad,
        "tie_word_embeddings": False,
    }


def _initialize(model: torch.nn.Module) -> None:
    """Spread every matrix by its fan-in: the classes' own 0.02 suits wide models only."""
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1 and "embed_tokens" not in name and "pos" not in name:
            torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)


def _write(
    folder: Path, model: torch.nn.Module, tokenizer, image: dict, template: str, stop: list[str]
) -> None:
    """Config, generation config, weights, tokenizer, image settings and template."""
    _initialize(model)
    model.generation_config = transformers.GenerationConfig(**_generation(tokenizer, stop))
    model.save_pretrained(folder)
    _write_tokenizer(folder, tokenizer, image, template)


def _write_tokenizer(folder: Path, tokenizer, image: dict, template: str) -> None:
    tokenizer.save_pretrained(folder)
    _write_json(folder / "preprocessor_config.json", image)
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")


def _write_json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _generation(tokenizer, stop: list[str]) -> dict:
    return {
        "eos_token_id": [tokenizer.convert_tokens_to_ids(token) for token in stop],
        "pad_token_id": tokenizer.pad_token_id,
    }


def _build_qwen2_5_vl(recipe: Recipe, corpus: list[str], folder: Path) -> None:
    special = [
        "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>",
        "<|box_start|>", "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>",
        "<|vision_end|>",
        "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>",
    ]  # fmt: skip
    plain = ["<tool_call>", "</tool_call>"]
    tokenizer = _tokenizer(corpus, special, plain, "<|im_end|>", "<|endoftext|>")
    token = tokenizer.convert_tokens_to_ids
    config = transformers.Qwen2_5_VLConfig(
        text_config=_text(recipe, len(tokenizer), token("<|endoftext|>"))
        | {
            "bos_token_id": token("<|endoftext|>"),
            "eos_token_id": token("<|im_end|>"),
            "rms_norm_eps": 1e-6,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1e6,
                "mrope_section": [4, 6, 6],
            },
        },
        vision_config={
            "depth": recipe.vision_layers,
            "hidden_size": recipe.vision_hidden,
            "intermediate_size": 2 * recipe.vision_hidden,
            "num_heads": recipe.vision_hidden // HEAD,
            "out_hidden_size": recipe.hidden,
            "patch_size": 14,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "window_size": 112,
            "fullatt_block_indexes": list(range(recipe.vision_layers)),
        },
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
        tie_word_embeddings=False,
    )
    image = {
        "image_processor_type": "Qwen2VLImageProcessor",
        "processor_class": "Qwen2_5_VLProcessor",
        "patch_size": 14,
        "merge_size": 2,
        "temporal_patch_size": 2,
        "min_pixels": PIXELS**2,
        "max_pixels": MOST_PIXELS,
        "image_mean": _OPENAI_MEAN,
        "image_std": _OPENAI_STD,
    }
    model = transformers.Qwen2_5_VLForConditionalGeneration(config)
    _write(folder, model, tokenizer, image, _QWEN_TEMPLATE, ["<|im_end|>", "<|endoftext|>"])


def _build_glm4v(recipe: Recipe, corpus: list[str], folder: Path) -> None:
    special = [
        "<|endoftext|>", "[MASK]", "[gMASK]", "[sMASK]", "<sop>", "<eop>", "<|system|>", "<|user|>",
        "<|assistant|>", "<|observation|>", "<|begin_of_image|>", "<|end_of_image|>",
        "<|begin_of_video|>", "<|end_of_video|>", "<|image|>", "<|video|>",
    ]  # fmt: skip
    plain = ["<think>", "</think>", "<answer>", "</answer>", "<|begin_of_box|>", "<|end_of_box|>"]
    tokenizer = _tokenizer(corpus, special, plain, "<|endoftext|>", "<|endoftext|>")
    token = tokenizer.convert_tokens_to_ids
    config = transformers.Glm4vConfig(
        text_config=_text(recipe, len(tokenizer), token("<|endoftext|>"))
        | {
            "eos_token_id": [
                token(name) for name in ("<|endoftext|>", "<|user|>", "<|observation|>")
            ],
            "rms_norm_eps": 1e-5,
            # Half of a head turns: 8 frequencies.
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "partial_rotary_factor": 0.5,
                "mrope_section": [2, 3, 3],
            },
        },
        vision_config={
            "depth": recipe.vision_layers,
            "hidden_size": recipe.vision_hidden,
            "intermediate_size": 2 * recipe.vision_hidden,
            "num_heads": recipe.vision_hidden // HEAD,
            "out_hidden_size": recipe.hidden,
            "image_size": PIXELS,
            "patch_size": 14,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
        },
        image_token_id=token("<|image|>"),
        video_token_id=token("<|video|>"),
        image_start_token_id=token("<|begin_of_image|>"),
        image_end_token_id=token("<|end_of_image|>"),
        video_start_token_id=token("<|begin_of_video|>"),
        video_end_token_id=token("<|end_of_video|>"),
        tie_word_embeddings=False,
    )
    image = {
        "image_processor_type": "Glm4vImageProcessor",
        "processor_class": "Glm4vProcessor",
        "patch_size": 14,
        "merge_size": 2,
        "temporal_patch_size": 2,
        "size": {"shortest_edge": 2 * PIXELS**2, "longest_edge": 2 * MOST_PIXELS},
        "image_mean": _OPENAI_MEAN,
        "image_std": _OPENAI_STD,
    }
    model = transformers.Glm4vForConditionalGeneration(config)
    stop = ["<|endoftext|>", "<|user|>", "<|observation|>"]
    _write(folder, model, tokenizer, image, _GLM_TEMPLATE, stop)


def _build_internvl(recipe: Recipe, corpus: list[str], folder: Path) -> None:
    special = [
        "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<img>", "</img>", "<IMG_CONTEXT>",
        "<video>",
    ]  # fmt: skip
    tokenizer = _tokenizer(
        corpus,
        special,
        ["<think>", "</think>"],
        "<|im_end|>",
        "<|endoftext|>",
        # The processor reads these as attributes of the tokenizer.
        extra_special_tokens={
            "start_image_token": "<img>",
            "end_image_token": "</img>",
            "context_image_token": "<IMG_CONTEXT>",
            "video_token": "<video>",
        },
    )
    token = tokenizer.convert_tokens_to_ids
    tokens = (PIXELS // 28) ** 2
    config = transformers.InternVLConfig(
        text_config=_text(recipe, len(tokenizer), token("<|endoftext|>"))
        | {
            "model_type": "qwen3",
            "head_dim": HEAD,
            "eos_token_id": token("<|im_end|>"),
            "rope_theta": 1e6,
        },
        vision_config={
            "hidden_size": recipe.vision_hidden,
            "intermediate_size": 2 * recipe.vision_hidden,
            "num_hidden_layers": recipe.vision_layers,
            "num_attention_heads": recipe.vision_hidden // HEAD,
            "image_size": [PIXELS, PIXELS],
            "patch_size": [14, 14],
            "attention_bias": True,
            "norm_type": "layer_norm",
        },
        image_token_id=token("<IMG_CONTEXT>"),
        image_seq_length=tokens,
        downsample_ratio=0.5,
        tie_word_embeddings=False,
    )
    image = {
        "image_processor_type": "GotOcr2ImageProcessor",
        "processor_class": "InternVLProcessor",
        "size": {"height": PIXELS, "width": PIXELS},
        "crop_to_patches": False,
        "min_patches": 1,
        "max_patches": 12,
        "do_resize": True,
        "do_rescale": True,
        "do_normalize": True,
        "do_convert_rgb": True,
        "image_mean": _IMAGENET_MEAN,
        "image_std": _IMAGENET_STD,
    }
    model = transformers.InternVLForConditionalGeneration(config)
    _write(folder, model, tokenizer, image, _INTERNVL_TEMPLATE, ["<|im_end|>"])
    _write_json(
        folder / "processor_config.json",
        {"processor_class": "InternVLProcessor", "image_seq_length": tokens},
    )


def _build_kimi_vl(recipe: Recipe, corpus: list[str], folder: Path) -> None:
    special = [
        "[BOS]", "[EOS]", "<|im_end|>", "<|im_user|>", "<|im_assistant|>", "<|im_system|>",
        "<|im_middle|>",
        "<|media_start|>", "<|media_content|>", "<|media_pad|>", "<|media_end|>", "[PAD]",
    ]  # fmt: skip
    tokenizer = _tokenizer(corpus, special, [], "[EOS]", "[PAD]", bos_token="[BOS]")
    token = tokenizer.convert_tokens_to_ids
    text = _text(recipe, len(tokenizer), token("[PAD]")) | {
        "model_type": "deepseek_v3",
        "num_key_value_heads": recipe.hidden // HEAD,
        "moe_intermediate_size": recipe.hidden // 2,
        "n_shared_experts": 2,
        "n_routed_experts": 8,
        "num_experts_per_tok": 2,
        "n_group": 1,
        "topk_group": 1,
        "topk_method": "noaux_tc",
        "scoring_func": "sigmoid",
        "moe_layer_freq": 1,
        "first_k_dense_replace": 1,
        "q_lora_rank": None,
        "kv_lora_rank": 64,
        "qk_rope_head_dim": HEAD // 2,
        "qk_nope_head_dim": HEAD,
        "v_head_dim": HEAD,
        "routed_scaling_factor": 2.446,
        "norm_topk_prob": True,
        "rope_theta": 800000.0,
        "rope_scaling": None,
        "rms_norm_eps": 1e-5,
        "hidden_act": "silu",
        "attention_bias": False,
        "bos_token_id": token("[BOS]"),
        "eos_token_id": token("[EOS]"),
    }
    vision = {
        "model_type": "moonvit",
        "patch_size": 14,
        "init_pos_emb_height": PIXELS // 14,
        "init_pos_emb_width": PIXELS // 14,
        "num_attention_heads": recipe.vision_hidden // HEAD,
        "num_hidden_layers": recipe.vision_layers,
        "hidden_size": recipe.vision_hidden,
        "intermediate_size": 2 * recipe.vision_hidden,
        "merge_kernel_size": [2, 2],
    }
    image = {
        "image_processor_type": "KimiVLImageProcessor",
        "patch_size": 14,
        "pad_input": True,
        "in_token_limit": (PIXELS // 14) ** 2,
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
        "num_pooled_tokens": 1024,
    }
    config = {
        "model_type": "kimi_vl",
        "architectures": ["KimiVLForConditionalGeneration"],
        "auto_map": {
            "AutoConfig": "configuration_kimi_vl.KimiVLConfig",
            "AutoModelForCausalLM": "modeling_kimi_vl.KimiVLForConditionalGeneration",
        },
        "torch_dtype": "bfloat16",
        "ignore_index": -100,
        "pad_token_id": token("[PAD]"),
        "media_placeholder_token_id": token("<|media_pad|>"),
        "text_config": text,
        "vision_config": vision,
    }
    _write_json(folder / "config.json", config)
    _write_json(folder / "generation_config.json", _generation(tokenizer, ["<|im_end|>", "[EOS]"]))
    _write_tokenizer(folder, tokenizer, image, _KIMI_TEMPLATE)
    save_file(
        kimi_layout.initial(text, vision), folder / "model.safetensors", metadata={"format": "pt"}
    )


_BUILDERS: dict[str, Callable[[Recipe, list[str], Path], None]] = {
    "glm4v": _build_glm4v,
    "kimi_vl": _build_kimi_vl,
    "internvl": _build_internvl,
    "qwen2_5_vl": _build_qwen2_5_vl,
}
