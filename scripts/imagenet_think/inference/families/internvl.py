"""InternVL3.5 in the layout of its `-HF` repositories (the plain ones hold remote code).

Tried on miniature checkpoints of the real class; the published weights were not run here.
"""

from pathlib import Path

import torch
from transformers import (
    AutoTokenizer,
    GotOcr2ImageProcessorPil,
    InternVLConfig,
    InternVLForConditionalGeneration,
    InternVLProcessor,
)

from imagenet_think.inference.families import checkpoints

END_TOKENS = ("<|im_end|>",)


class Processor(InternVLProcessor):
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
        `crop_to_patches` (cut an image into tiles), `min_patches` and `max_patches` (number of
        tiles) override the checkpoint's. `crop_to_patches` is passed on in any case: the processor
        class's own default, true, would win over a false in the checkpoint.
    revision
        Commit of a hub repository.
    """
    folder = checkpoints.local_folder(path, revision)
    settings = checkpoints.known_settings(
        "internvl", image_settings or {}, ("crop_to_patches", "min_patches", "max_patches")
    )
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
    processor.images_kwargs = {
        "crop_to_patches": preprocessing.crop_to_patches,
        "min_patches": preprocessing.min_patches,
        "max_patches": preprocessing.max_patches,
    }
    return processor


def load_model(
    path: str | Path,
    *,
    dtype: torch.dtype,
    attention: str,
    device: str,
    revision: str | None = None,
) -> InternVLForConditionalGeneration:
    """Return the model of a checkpoint, on `device` and in evaluation mode.

    Raises
    ------
    ValueError
        If a weight is missing or left over.
    """
    folder = checkpoints.local_folder(path, revision, weights=True)
    config = InternVLConfig.from_pretrained(folder)
    # The class's default is true, but the published output layer is a weight of its own.
    config.tie_word_embeddings = False
    return checkpoints.load_weights(
        InternVLForConditionalGeneration,
        folder,
        config=config,
        dtype=dtype,
        attention=attention,
        device=device,
    )
