"""GLM-4.1V-Thinking.

Tried on miniature checkpoints of the real class; the published weights were not run here.
"""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import (
    AutoTokenizer,
    Glm4vConfig,
    Glm4vForConditionalGeneration,
    Glm4vImageProcessorPil,
    Glm4vProcessor,
)

from imagenet_think.inference import checkpoints

if TYPE_CHECKING:
    from imagenet_think.inference.small_models import Size

END_TOKENS = ("<|endoftext|>", "<|user|>", "<|observation|>")

# transformers' class has biases in its attention whatever the config says. vLLM only builds them
# if the config says so, and otherwise silently drops the checkpoint's: different, fluent texts.
VLLM_OVERRIDES = {"text_config": {"attention_bias": True}}

# Keys of the root of config.json that do not describe the text part.
_ROOT_KEYS = re.compile(
    "architectures|model_type|transformers_version|(vision|text)_config|tie_word_embeddings"
    "|(image|video)(_start|_end)?_token_id"
)


class Processor(checkpoints.WithoutVideo, Glm4vProcessor):
    """The processor without its video part."""


def load_processor(
    path: str | Path, image_settings: dict | None = None, *, revision: str | None = None
) -> Processor:
    """Return the processor of a checkpoint.

    Image settings are `min_pixels` and `max_pixels` of one image. The checkpoint's own limits count
    an image as a video of two frames; these do not.
    """
    folder = checkpoints.local_folder(path, revision)
    settings = checkpoints.known_settings("glm4v", image_settings, ("min_pixels", "max_pixels"))
    preprocessing = checkpoints.image_processor(
        Glm4vImageProcessorPil, folder, ("Glm4vImageProcessor",)
    )
    for key, edge in (("min_pixels", "shortest_edge"), ("max_pixels", "longest_edge")):
        if key in settings:
            preprocessing.size[edge] = preprocessing.temporal_patch_size * settings[key]
    return Processor(
        preprocessing,
        AutoTokenizer.from_pretrained(folder, padding_side="left"),
        chat_template=checkpoints.chat_template(folder),
    )


def read_config(folder: Path) -> Glm4vConfig:
    """Return the config, with the text part nested also where the file has it flat.

    The first published config (July 2025) has the text part's keys at its root. transformers 5
    ignores them there and would build the class's default text model, without rotary sections.
    """
    published = checkpoints.read_json(folder, "config.json")
    if "text_config" not in published:
        root = {key: value for key, value in published.items() if _ROOT_KEYS.fullmatch(key)}
        nested = {key: value for key, value in published.items() if key not in root}
        published = {**root, "text_config": nested}
    config = Glm4vConfig.from_dict(published)
    text: Any = config.text_config
    rope = text.rope_parameters
    share, sections = rope.get("partial_rotary_factor"), rope.get("mrope_section")
    head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    if share != 0.5 or not sections or 2 * sum(sections) != int(head * share):
        raise ValueError(
            f"{folder}: rotary embedding with partial_rotary_factor {share} and mrope_section "
            f"{sections} for heads of {head}; GLM-4.1V turns half of each head in three sections"
        )
    return config


load_model = partial(checkpoints.load_weights, Glm4vForConditionalGeneration, read_config)

SPECIAL_TOKENS = (
    "<|endoftext|>", "[MASK]", "[gMASK]", "[sMASK]", "<sop>", "<eop>", "<|system|>", "<|user|>",
    "<|assistant|>", "<|observation|>", "<|begin_of_image|>", "<|end_of_image|>",
    "<|begin_of_video|>", "<|end_of_video|>", "<|image|>", "<|video|>",
)  # fmt: skip
PLAIN_TOKENS = (
    "<think>", "</think>", "<answer>", "</answer>", "<|begin_of_box|>", "<|end_of_box|>",
)  # fmt: skip
TOKENIZER = {"eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
CHAT_TEMPLATE = (
    "[gMASK]<sop>{% for message in messages %}<|{{ message['role'] }}|>\nCONTENT{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
IMAGE = "<|begin_of_image|><|image|><|end_of_image|>"


def small_files(
    size: "Size", vocabulary: int, token: Callable[[str], int]
) -> dict[str, dict[str, Any]]:
    """Return the JSON files of a small checkpoint by name."""
    text = size.text(vocabulary, token("<|endoftext|>")) | {
        "eos_token_id": [token(name) for name in END_TOKENS],
        "rms_norm_eps": 1e-5,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10000.0,
            "partial_rotary_factor": 0.5,
            "mrope_section": size.rotary_sections(0.5),
        },
    }
    vision = size.vision() | {
        "out_hidden_size": size.hidden,
        "image_size": size.side,
        "patch_size": 14,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
    }
    config = {
        "model_type": "glm4v",
        "text_config": text,
        "vision_config": vision,
        "image_token_id": token("<|image|>"),
        "video_token_id": token("<|video|>"),
        "image_start_token_id": token("<|begin_of_image|>"),
        "image_end_token_id": token("<|end_of_image|>"),
        "video_start_token_id": token("<|begin_of_video|>"),
        "video_end_token_id": token("<|end_of_video|>"),
        "tie_word_embeddings": False,
    }
    image = {
        "image_processor_type": "Glm4vImageProcessor",
        "processor_class": "Glm4vProcessor",
        "patch_size": 14,
        "merge_size": 2,
        "temporal_patch_size": 2,
        "size": {"shortest_edge": 2 * size.least_pixels, "longest_edge": 2 * size.most_pixels},
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
    }
    return {"config.json": config, "preprocessor_config.json": image}
