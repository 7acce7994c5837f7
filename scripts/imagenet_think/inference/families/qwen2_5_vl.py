"""Qwen2.5-VL and its fine-tunes: R1-Onevision, OpenVLThinker, VisionThink and VL-Rethinker.

Tried on miniature checkpoints of the real class; the published weights were not run here.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image
from transformers import (
    AutoTokenizer,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessorPil,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

from imagenet_think.inference import checkpoints

if TYPE_CHECKING:
    from imagenet_think.inference.small_models import Size

END_TOKENS = ("<|im_end|>", "<|endoftext|>")

# R1-Onevision's preprocessor_config.json names a class that was never released.
_IMAGE_PROCESSORS = ("Qwen2VLImageProcessor", "Qwen2_5_VLImageProcessor")


class Processor(checkpoints.WithoutVideo, Qwen2_5_VLProcessor):
    """The processor without its video part."""

    def fit(self, image: Image.Image, scale: float) -> Image.Image:
        """Resize an image as the model would see it with image and pixel bounds scaled.

        Width and height are scaled by `scale` and the two bounds by its square, so that half an
        image has half the width and height that the whole one is shown with, also where the whole
        one is enlarged to reach the least number of pixels. The result is a whole number of merged
        patches: it needs no further resizing.
        """
        preprocessing = self.image_processor
        height, width = smart_resize(
            max(1, round(image.height * scale)),
            max(1, round(image.width * scale)),
            factor=preprocessing.patch_size * preprocessing.merge_size,
            min_pixels=int(preprocessing.size["shortest_edge"] * scale**2),
            max_pixels=int(preprocessing.size["longest_edge"] * scale**2),
        )
        return image.resize((width, height), Image.Resampling(int(preprocessing.resample)))


def load_processor(
    path: str | Path, image_settings: dict | None = None, *, revision: str | None = None
) -> Processor:
    """Return the processor of a checkpoint.

    Image settings are `min_pixels` and `max_pixels` of one image.
    """
    folder = checkpoints.local_folder(path, revision)
    settings = checkpoints.known_settings(
        "qwen2_5_vl", image_settings, ("min_pixels", "max_pixels")
    )
    return Processor(
        checkpoints.image_processor(
            Qwen2VLImageProcessorPil, folder, _IMAGE_PROCESSORS, **settings
        ),
        AutoTokenizer.from_pretrained(folder, padding_side="left"),
        chat_template=checkpoints.chat_template(folder),
    )


def read_config(folder: Path) -> Qwen2_5_VLConfig:
    """Return the config; the class's defaults, those of the 72B model, are a `ValueError`."""
    published = checkpoints.read_json(folder, "config.json")
    config = Qwen2_5_VLConfig.from_pretrained(folder)
    expected = published.get("text_config", published).get("hidden_size")
    text: Any = config.text_config
    if text.hidden_size != expected:
        raise ValueError(f"{folder}: text width {text.hidden_size}, config.json says {expected}")
    return config


load_model = partial(checkpoints.load_weights, Qwen2_5_VLForConditionalGeneration, read_config)

SPECIAL_TOKENS = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>",
    "<|box_start|>", "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>",
    "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>",
)  # fmt: skip
PLAIN_TOKENS = ("<tool_call>", "</tool_call>")
TOKENIZER = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
CHAT_TEMPLATE = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}"
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
    "<|im_start|>{{ message['role'] }}\nCONTENT<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"


def small_files(
    size: "Size", vocabulary: int, token: Callable[[str], int]
) -> dict[str, dict[str, Any]]:
    """Return the JSON files of a small checkpoint by name."""
    text = size.text(vocabulary, token("<|endoftext|>")) | {
        "bos_token_id": token("<|endoftext|>"),
        "eos_token_id": token("<|im_end|>"),
        "rms_norm_eps": 1e-6,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 1e6,
            "mrope_section": size.rotary_sections(1.0),
        },
    }
    vision = size.vision() | {
        "out_hidden_size": size.hidden,
        "patch_size": 14,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "window_size": 112,
        "fullatt_block_indexes": list(range(size.vision_layers)),
    }
    config = {
        "model_type": "qwen2_5_vl",
        "text_config": text,
        "vision_config": vision,
        "image_token_id": token("<|image_pad|>"),
        "video_token_id": token("<|video_pad|>"),
        "vision_start_token_id": token("<|vision_start|>"),
        "vision_end_token_id": token("<|vision_end|>"),
        "tie_word_embeddings": False,
    }
    image = {
        "image_processor_type": "Qwen2VLImageProcessor",
        "processor_class": "Qwen2_5_VLProcessor",
        "patch_size": 14,
        "merge_size": 2,
        "temporal_patch_size": 2,
        "min_pixels": size.least_pixels,
        "max_pixels": size.most_pixels,
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
    }
    return {"config.json": config, "preprocessor_config.json": image}
