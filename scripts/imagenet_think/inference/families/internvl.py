"""InternVL3.5 in the layout of its `-HF` repositories (the plain ones contain remote code).

Tried on miniature checkpoints of the real class; the published weights were not run here.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import (
    AutoTokenizer,
    GotOcr2ImageProcessorPil,
    InternVLConfig,
    InternVLForConditionalGeneration,
    InternVLProcessor,
)

from imagenet_think.inference import checkpoints

if TYPE_CHECKING:
    from imagenet_think.inference.small_models import Size

END_TOKENS = ("<|im_end|>",)
_TILES = ("crop_to_patches", "min_patches", "max_patches")


class Processor(checkpoints.WithoutVideo, InternVLProcessor):
    """The processor without its video part; `images_kwargs` are the settings of every call."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return the model inputs of images and text."""
        # Not all versions of transformers take defaults from the object.
        kwargs["images_kwargs"] = {**self.images_kwargs, **kwargs.get("images_kwargs", {})}
        return super().__call__(*args, **kwargs)


def load_processor(
    path: str | Path, image_settings: dict | None = None, *, revision: str | None = None
) -> Processor:
    """Return the processor of a checkpoint.

    Image settings are `crop_to_patches` (cut an image into tiles), `min_patches` and `max_patches`
    (number of tiles). `crop_to_patches` is always passed on: the default of the processor's class,
    true, would override a false in the checkpoint.
    """
    folder = checkpoints.local_folder(path, revision)
    settings = checkpoints.known_settings("internvl", image_settings, _TILES)
    preprocessing = checkpoints.image_processor(
        GotOcr2ImageProcessorPil, folder, ("GotOcr2ImageProcessor",), **settings
    )
    layout = checkpoints.read_json(folder, "processor_config.json")
    length = layout.get("image_seq_length")
    processor = Processor(
        preprocessing,
        AutoTokenizer.from_pretrained(folder, padding_side="left"),
        chat_template=checkpoints.chat_template(folder),
        **({} if length is None else {"image_seq_length": length}),
    )
    # As vLLM takes them too.
    options: Any = {name: getattr(preprocessing, name) for name in _TILES}
    processor.images_kwargs = options
    return processor


def read_config(folder: Path) -> InternVLConfig:
    """Return the config, with an output layer that is not tied to the embedding.

    It is a separate weight in the published files, but the default of the class is to tie them.
    """
    config = InternVLConfig.from_pretrained(folder)
    config.tie_word_embeddings = False
    return config


load_model = partial(checkpoints.load_weights, InternVLForConditionalGeneration, read_config)

SPECIAL_TOKENS = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<img>", "</img>", "<IMG_CONTEXT>", "<video>",
)  # fmt: skip
PLAIN_TOKENS = ("<think>", "</think>")
TOKENIZER = {
    "eos_token": "<|im_end|>",
    "pad_token": "<|endoftext|>",
    # The processor reads these as attributes of the tokenizer.
    "extra_special_tokens": {
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    },
}
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\nCONTENT<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
IMAGE = "<IMG_CONTEXT>\n"


def small_files(
    size: "Size", vocabulary: int, token: Callable[[str], int]
) -> dict[str, dict[str, Any]]:
    """Return the JSON files of a small checkpoint by name."""
    layout = {"processor_class": "InternVLProcessor", "image_seq_length": (size.side // 28) ** 2}
    text = size.text(vocabulary, token("<|endoftext|>")) | {
        "model_type": "qwen3",
        "head_dim": size.head,
        "eos_token_id": token("<|im_end|>"),
        "rope_theta": 1e6,
    }
    vision = size.vision("num_hidden_layers", "num_attention_heads") | {
        "image_size": [size.side, size.side],
        "patch_size": [14, 14],
        "attention_bias": True,
        "norm_type": "layer_norm",
    }
    config = {
        "model_type": "internvl",
        "text_config": text,
        "vision_config": vision,
        "image_token_id": token("<IMG_CONTEXT>"),
        "image_seq_length": layout["image_seq_length"],
        "downsample_ratio": 0.5,
        "tie_word_embeddings": False,
    }
    image = {
        "image_processor_type": "GotOcr2ImageProcessor",
        "processor_class": "InternVLProcessor",
        "size": {"height": size.side, "width": size.side},
        "crop_to_patches": False,
        "min_patches": 1,
        "max_patches": 12,
        "do_resize": True,
        "do_rescale": True,
        "do_normalize": True,
        "do_convert_rgb": True,
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
    }
    return {
        "config.json": config,
        "preprocessor_config.json": image,
        "processor_config.json": layout,
    }
