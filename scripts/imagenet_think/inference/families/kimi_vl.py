"""Kimi-VL-A3B-Thinking in its published layout, in transformers' own Kimi-K2.5 class.

transformers has no `kimi_vl`: the published code is remote. The architecture is that of Kimi-K2.5
with an image-only vision tower, so a translated config and three renamed projector weights load it
natively. Tried on miniature checkpoints in the published layout; the published weights were not run
here.
"""

import ast
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import (
    DeepseekV3Config,
    Kimi_K25Config,
    Kimi_K25ForConditionalGeneration,
    Kimi_K25Processor,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.convert_slow_tokenizer import TikTokenConverter
from transformers.image_processing_backends import PilBackend
from transformers.image_processing_utils import BatchFeature
from transformers.image_utils import PILImageResampling, SizeDict
from transformers.processing_utils import ImagesKwargs

from imagenet_think.inference import checkpoints, latent_attention

if TYPE_CHECKING:
    from imagenet_think.inference.small_models import Size

END_TOKENS = ("<|im_end|>", "[EOS]")

# Names of the checkpoint that transformers' conversion for Kimi-K2.5 does not know.
_RENAMED = {
    r"multi_modal_projector\.pre_norm": "model.mm_projector.pre_norm",
    r"multi_modal_projector\.linear_1": "model.mm_projector.in_proj",
    r"multi_modal_projector\.linear_2": "model.mm_projector.out_proj",
}
_VISION_KEYS = (
    *("patch_size", "init_pos_emb_height", "init_pos_emb_width", "num_attention_heads"),
    *("num_hidden_layers", "hidden_size", "intermediate_size", "merge_kernel_size"),
)
_NAMING = {"model_type", "architectures", "transformers_version"}
_LARGEST_SIDE = 512  # patches; the published code refuses more


class ImageKwargs(ImagesKwargs, total=False):
    """Settings of `ImagePreprocessing` beyond the usual ones."""

    patch_size: int
    merge_size: int
    in_token_limit: int


class ImagePreprocessing(PilBackend):
    """MoonViT's preprocessing: shrink to `in_token_limit` patches, pad to whole 2 x 2 patches.

    Follows the published image processor of Kimi-VL: an image of more patches is scaled by the
    square root of limit over patches (bicubic), padding stands at the right and bottom, before
    normalisation.
    """

    do_resize = do_rescale = do_normalize = do_convert_rgb = True
    resample, rescale_factor = PILImageResampling.BICUBIC, 1 / 255
    image_mean = image_std = (0.5, 0.5, 0.5)
    patch_size, merge_size, in_token_limit = 14, 2, 4096
    valid_kwargs = ImageKwargs
    model_input_names = ["pixel_values", "image_grid_thw"]  # noqa: RUF012 (a list in the base)

    def _validate_preprocess_kwargs(self, *args: Any, **kwargs: Any) -> None:
        # The base class needs a target size, and there is none: the limit is a number of patches.
        super()._validate_preprocess_kwargs(*args, **{**kwargs, "do_resize": False})

    def _preprocess(self, images: list[np.ndarray], *args: Any, **kwargs: Any) -> BatchFeature:
        """Return the patches (patches, 3, 14, 14) of all images, and their grids (images, 3)."""
        patch_size, in_token_limit = kwargs["patch_size"], kwargs["in_token_limit"]
        block = patch_size * kwargs["merge_size"]
        patches, grids = [], []
        for image in images:
            height, width = image.shape[-2:]
            count = (height // patch_size) * (width // patch_size)
            if count > in_token_limit:
                scale = math.sqrt(in_token_limit / count)
                size = SizeDict(height=int(height * scale), width=int(width * scale))
                image = self.resize(image, size, resample=kwargs["resample"])
                height, width = image.shape[-2:]
            image = np.pad(image, ((0, 0), (0, -height % block), (0, -width % block)))
            rows, columns = image.shape[-2] // patch_size, image.shape[-1] // patch_size
            if max(rows, columns) >= _LARGEST_SIDE:
                raise ValueError(f"image of {rows} x {columns} patches; a side must stay below 512")
            image = self.rescale(image, kwargs["rescale_factor"])
            image = self.normalize(image, kwargs["image_mean"], kwargs["image_std"])
            cells = image.reshape(3, rows, patch_size, columns, patch_size).transpose(1, 3, 0, 2, 4)
            patches.append(cells.reshape(-1, 3, patch_size, patch_size).astype(np.float32))
            grids.append([1, rows, columns])
        data = {"pixel_values": np.concatenate(patches), "image_grid_thw": np.array(grids)}
        return BatchFeature(data, tensor_type=kwargs["return_tensors"])


class Processor(checkpoints.WithoutVideo, Kimi_K25Processor):
    """The processor without its video part."""


def load_processor(
    path: str | Path, image_settings: dict | None = None, *, revision: str | None = None
) -> Processor:
    """Return the processor of a checkpoint.

    The image setting is `in_token_limit`, patches of one image before 2 x 2 of them are merged.
    """
    folder = checkpoints.local_folder(path, revision)
    settings = checkpoints.known_settings("kimi_vl", image_settings, ("in_token_limit",))
    published = checkpoints.read_json(folder, "preprocessor_config.json")
    names = ("in_token_limit", "image_mean", "image_std", "patch_size")
    return Processor(
        ImagePreprocessing(
            **{name: published[name] for name in names if name in published} | settings
        ),
        load_tokenizer(folder),
        chat_template=checkpoints.chat_template(folder),
    )


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """Return the tokenizer: of `tokenizer.json`, or of the published tiktoken vocabulary."""
    if (folder / "tokenizer.json").exists():
        return PreTrainedTokenizerFast.from_pretrained(folder, padding_side="left")
    config = checkpoints.read_json(folder, "tokenizer_config.json")
    size = checkpoints.read_json(folder, "config.json")["text_config"]["vocab_size"]
    converter = TikTokenConverter(str(folder / "tiktoken.model"), pattern=split_pattern(folder))
    ranks = converter.load_tiktoken_bpe(converter.vocab_file)
    named = {int(key): value["content"] for key, value in config["added_tokens_decoder"].items()}
    # As the published tokenizer does: every id after the vocabulary is special, named or not.
    converter.extra_special_tokens = [
        named.get(i, f"<|reserved_token_{i}|>") for i in range(len(ranks), size)
    ]
    return PreTrainedTokenizerFast(
        tokenizer_object=converter.converted(),
        bos_token=config.get("bos_token", "[BOS]"),
        eos_token=config.get("eos_token", "[EOS]"),
        pad_token=config.get("pad_token", "[PAD]"),
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def load_model(path: str | Path, **loading: Any) -> PreTrainedModel:
    """Return the model of a checkpoint, which decodes on its latents."""
    model = checkpoints.load_weights(
        Kimi_K25ForConditionalGeneration, read_config, path, key_mapping=_RENAMED, **loading
    )
    return latent_attention.absorb(model)


def read_config(folder: Path) -> Kimi_K25Config:
    """Return the published config as that of the native class.

    A scaled rotary embedding, which the published one does not have, is a `ValueError`.
    """
    published = checkpoints.read_json(folder, "config.json")
    text, vision = published["text_config"], published["vision_config"]
    if text.get("rope_scaling") is not None:
        raise ValueError(f"{folder}: rope_scaling {text['rope_scaling']} is not known for Kimi-VL")
    known = DeepseekV3Config().to_dict().keys() - _NAMING
    rope = {"rope_type": "default", "rope_theta": float(text["rope_theta"])}
    text = {key: value for key, value in text.items() if key in known} | {"rope_parameters": rope}
    vision = {key.removeprefix("init_"): vision[key] for key in _VISION_KEYS}
    return Kimi_K25Config(
        text_config={"model_type": "deepseek_v3", **text},
        vision_config=vision,
        projection_hidden_size=vision["hidden_size"],
        image_token_id=published["media_placeholder_token_id"],
        tie_word_embeddings=False,
    )


def split_pattern(folder: Path) -> str:
    """Return the pattern that splits text before byte-pair encoding: the tokenizer's `pat_str`.

    The checkpoint's tokenizer file is parsed, not run. The pattern is a string, or strings joined
    by one: `"|".join([...])`. Not one such file or value is a `ValueError`.
    """
    files = sorted(folder.glob("tokenization_*.py"))
    if len(files) != 1:
        raise ValueError(f"{folder}: {len(files)} files tokenization_*.py, where one gives pat_str")
    tree = ast.parse(files[0].read_text(encoding="utf-8"))
    assignments = [node for node in ast.walk(tree) if isinstance(node, ast.Assign)]
    values = [node.value for node in assignments if ast.unparse(node.targets[0]) == "pat_str"]
    try:
        (value,) = values
        match value:
            case ast.Call(func=ast.Attribute(value=separator, attr="join"), args=[parts]):
                return ast.literal_eval(separator).join(ast.literal_eval(parts))
        return ast.literal_eval(value)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{files[0]}: no pat_str that can be read without running it") from error


SPECIAL_TOKENS = (
    "[BOS]", "[EOS]", "<|im_end|>", "<|im_user|>", "<|im_assistant|>", "<|im_system|>",
    "<|im_middle|>", "<|media_start|>", "<|media_content|>", "<|media_pad|>", "<|media_end|>",
    "[PAD]",
)  # fmt: skip
PLAIN_TOKENS = ()
TOKENIZER = {"bos_token": "[BOS]", "eos_token": "[EOS]", "pad_token": "[PAD]"}
CHAT_TEMPLATE = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}"
    "<|im_system|>system<|im_middle|>You are a helpful assistant<|im_end|>{% endif %}"
    "<|im_{{ message['role'] }}|>{{ message['role'] }}<|im_middle|>CONTENT<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_assistant|>assistant<|im_middle|>{% endif %}"
)
IMAGE = "<|media_start|>image<|media_content|><|media_pad|><|media_end|>"


def small_files(
    size: "Size", vocabulary: int, token: Callable[[str], int]
) -> dict[str, dict[str, Any]]:
    """Return the JSON files of a small checkpoint by name."""
    text = size.text(vocabulary, token("[PAD]")) | {
        "model_type": "deepseek_v3",
        "num_key_value_heads": size.hidden // size.head,
        "moe_intermediate_size": size.hidden // 2,
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
        "kv_lora_rank": 2 * size.head,
        "qk_rope_head_dim": size.head // 2,
        "qk_nope_head_dim": size.head,
        "v_head_dim": size.head,
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
    side = math.isqrt(size.most_pixels) // 14
    vision = {
        "model_type": "moonvit",
        "patch_size": 14,
        "init_pos_emb_height": side,
        "init_pos_emb_width": side,
        **size.vision("num_hidden_layers", "num_attention_heads"),
        "merge_kernel_size": [2, 2],
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
    image = {
        "image_processor_type": "KimiVLImageProcessor",
        "patch_size": 14,
        "pad_input": True,
        "in_token_limit": side**2,
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
        "num_pooled_tokens": 1024,
    }
    return {"config.json": config, "preprocessor_config.json": image}


_PUBLISHED_NAMES = (
    ("model.vision_tower.", "vision_tower."),
    ("vision_tower.layers.", "vision_tower.encoder.blocks."),
    ("vision_tower.final_layernorm", "vision_tower.encoder.final_layernorm"),
    ("pos_emb.position_embeddings", "pos_emb.weight"),
    ("model.mm_projector.", "multi_modal_projector."),
    ("multi_modal_projector.in_proj", "multi_modal_projector.linear_1"),
    ("multi_modal_projector.out_proj", "multi_modal_projector.linear_2"),
    ("model.language_model.", "language_model.model."),
    ("lm_head.", "language_model.lm_head."),
    (".norm1.", ".norm0."),
    (".norm2.", ".norm1."),
    (".mlp.fc1.", ".mlp.fc0."),
    (".mlp.fc2.", ".mlp.fc1."),
    (".attn.proj.", ".wo."),
)


def published_weights(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """Return the weights under their published names: the inverse of loading them.

    `save_pretrained` garbles `q_proj` where `q_lora_rank` is null.
    """
    state, heads = model.state_dict(), model.config.vision_config.num_attention_heads
    published = {}
    for native, tensor in state.items():
        name = native
        for ours, theirs in _PUBLISHED_NAMES:
            name = name.replace(ours, theirs)
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


def _interleaved(tensor: torch.Tensor, heads: int) -> torch.Tensor:
    """Put a projection's rows from split halves into the pairs that the published code rotates."""
    halves = tensor.reshape(heads, 2, tensor.shape[0] // heads // 2, *tensor.shape[1:])
    return halves.transpose(1, 2).reshape(tensor.shape)
