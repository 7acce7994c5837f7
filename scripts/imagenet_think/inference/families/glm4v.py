"""GLM-4.1V-Thinking.

Tried on miniature checkpoints of the real class; the published weights were not run here.
"""

from pathlib import Path

import torch
from transformers import (
    AutoTokenizer,
    Glm4vConfig,
    Glm4vForConditionalGeneration,
    Glm4vImageProcessorPil,
    Glm4vProcessor,
)

from imagenet_think.inference.families import checkpoints

END_TOKENS = ("<|endoftext|>", "<|user|>", "<|observation|>")

# transformers' class has biases in its attention whatever the config says. vLLM builds them where
# the config says so alone, and drops the checkpoint's without a word: fluent texts, but others.
VLLM_OVERRIDES = {"text_config": {"attention_bias": True}}

# Keys of the root of config.json that do not describe the text part.
_ROOT_KEYS = {
    "architectures",
    "model_type",
    "transformers_version",
    "vision_config",
    "text_config",
    "tie_word_embeddings",
    "image_token_id",
    "video_token_id",
    "image_start_token_id",
    "image_end_token_id",
    "video_start_token_id",
    "video_end_token_id",
}


class Processor(Glm4vProcessor):
    """The processor without its video part (which needs torchvision)."""

    # The signature tells transformers which parts a processor has.
    def __init__(self, image_processor=None, tokenizer=None, chat_template=None, **kwargs):
        super().__init__(image_processor, tokenizer, None, chat_template=chat_template, **kwargs)


def load_processor(
    path: str | Path, image_settings: dict | None = None, *, revision: str | None = None
) -> Processor:
    """Return the image-and-text processor of a checkpoint.

    Parameters
    ----------
    path
        Folder or hub id.
    image_settings
        `min_pixels` and `max_pixels` (of one image) override the checkpoint's. The checkpoint's own
        limits count an image as a video of two frames; these do not.
    revision
        Commit of a hub repository.
    """
    folder = checkpoints.local_folder(path, revision)
    settings = checkpoints.known_settings(
        "glm4v", image_settings or {}, ("min_pixels", "max_pixels")
    )
    types = ("Glm4vImageProcessor",)
    preprocessing = checkpoints.image_processor(Glm4vImageProcessorPil, folder, types)
    if settings:
        frames, size = preprocessing.temporal_patch_size, dict(preprocessing.size)
        for key, edge in (("min_pixels", "shortest_edge"), ("max_pixels", "longest_edge")):
            if key in settings:
                size[edge] = frames * settings[key]
        preprocessing = checkpoints.image_processor(
            Glm4vImageProcessorPil, folder, types, size=size
        )
    return Processor(
        preprocessing,
        AutoTokenizer.from_pretrained(folder, padding_side="left"),
        chat_template=checkpoints.chat_template(folder),
    )


def load_model(
    path: str | Path,
    *,
    dtype: torch.dtype,
    attention: str,
    device: str,
    revision: str | None = None,
) -> Glm4vForConditionalGeneration:
    """Return the model of a checkpoint, on `device` and in evaluation mode.

    Raises
    ------
    ValueError
        If the rotary embedding is not the published one, or a weight is missing or left over.
    """
    folder = checkpoints.local_folder(path, revision, weights=True)
    return checkpoints.load_weights(
        Glm4vForConditionalGeneration,
        folder,
        config=read_config(folder),
        dtype=dtype,
        attention=attention,
        device=device,
    )


def read_config(folder: Path) -> Glm4vConfig:
    """Return the config, with the text part nested where the file still has it flat.

    The first published config (July 2025) keeps the text part's keys at its root. transformers 5
    ignores them there and would build the class's default text model, without its rotary sections.

    Raises
    ------
    ValueError
        If the rotary embedding does not turn half of each head in three sections.
    """
    published = checkpoints.read_json(folder, "config.json")
    if "text_config" not in published:
        text = {key: value for key, value in published.items() if key not in _ROOT_KEYS}
        root = {key: value for key, value in published.items() if key in _ROOT_KEYS}
        config = Glm4vConfig.from_dict({**root, "text_config": text})
    else:
        config = Glm4vConfig.from_dict(published)
    text = config.text_config
    rope = text.rope_parameters
    share, sections = rope.get("partial_rotary_factor"), rope.get("mrope_section")
    head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    if share != 0.5 or not sections or 2 * sum(sections) != int(head * share):
        raise ValueError(
            f"{folder}: rotary embedding with partial_rotary_factor {share} and mrope_section "
            f"{sections} for heads of {head}; GLM-4.1V turns half of each head in three sections"
        )
    return config
