"""Qwen2.5-VL and its fine-tunes: R1-Onevision, OpenVLThinker, VisionThink and VL-Rethinker.

Tried on miniature checkpoints of the real class; the published weights were not run here.
"""

from pathlib import Path

import torch
from PIL import Image
from transformers import (
    AutoTokenizer,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessorPil,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

from imagenet_think.inference.families import checkpoints

END_TOKENS = ("<|im_end|>", "<|endoftext|>")

# R1-Onevision's preprocessor_config.json names a class that never was released.
_IMAGE_PROCESSORS = ("Qwen2VLImageProcessor", "Qwen2_5_VLImageProcessor")


class Processor(Qwen2_5_VLProcessor):
    """The processor without its video part (which needs torchvision)."""

    # The signature tells transformers which parts a processor has.
    def __init__(self, image_processor=None, tokenizer=None, chat_template=None, **kwargs):
        super().__init__(image_processor, tokenizer, None, chat_template=chat_template, **kwargs)

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
    """Return the image-and-text processor of a checkpoint.

    Parameters
    ----------
    path
        Folder or hub id.
    image_settings
        `min_pixels` and `max_pixels` (of one image) override the checkpoint's.
    revision
        Commit of a hub repository.
    """
    folder = checkpoints.local_folder(path, revision)
    settings = checkpoints.known_settings(
        "qwen2_5_vl", image_settings or {}, ("min_pixels", "max_pixels")
    )
    return Processor(
        checkpoints.image_processor(
            Qwen2VLImageProcessorPil, folder, _IMAGE_PROCESSORS, **settings
        ),
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
) -> Qwen2_5_VLForConditionalGeneration:
    """Return the model of a checkpoint, on `device` and in evaluation mode.

    Raises
    ------
    ValueError
        If the config is not what was published (the class's defaults are those of the 72B model),
        or a weight is missing or left over.
    """
    folder = checkpoints.local_folder(path, revision, weights=True)
    published = checkpoints.read_json(folder, "config.json")
    config = Qwen2_5_VLConfig.from_pretrained(folder)
    expected = published.get("text_config", published).get("hidden_size")
    if config.text_config.hidden_size != expected:
        raise ValueError(
            f"{folder}: text width {config.text_config.hidden_size}, config.json says {expected}"
        )
    return checkpoints.load_weights(
        Qwen2_5_VLForConditionalGeneration,
        folder,
        config=config,
        dtype=dtype,
        attention=attention,
        device=device,
    )
