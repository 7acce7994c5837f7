"""The miniature of Kimi-VL in the repository layout that vLLM expects: with code of its own.

The published code is not part of this project. These files have its interface as vLLM uses it
(`vllm/model_executor/models/kimi_vl.py`): names of the classes and files, arguments, attributes,
and outputs `pixel_values` and `image_grid_hws`.
"""

import json
import shutil
from pathlib import Path

CONFIGURATION = """
from transformers import DeepseekV3Config, PreTrainedConfig


class MoonViTConfig(PreTrainedConfig):
    model_type = "moonvit"


class KimiVLConfig(PreTrainedConfig):
    model_type = "kimi_vl"

    def __init__(self, vision_config=None, text_config=None, **kwargs):
        self.vision_config = MoonViTConfig(**(vision_config or {}))
        self.text_config = DeepseekV3Config(**(text_config or {}))
        super().__init__(**kwargs)
"""

IMAGES = """
import math

import numpy as np
import torch
from PIL import Image
from transformers import BatchFeature
from transformers.image_processing_utils import BaseImageProcessor


class KimiVLImageProcessor(BaseImageProcessor):
    model_input_names = ["pixel_values", "image_grid_hws"]

    def __init__(self, patch_size=14, in_token_limit=4096, merge_kernel_size=(2, 2), **kwargs):
        super().__init__(**kwargs)
        self.patch_size, self.in_token_limit = patch_size, in_token_limit
        self.merge_kernel_size = list(merge_kernel_size)

    def patches(self, image):
        if not isinstance(image, Image.Image):
            image = Image.fromarray(np.asarray(image))
        image, side = image.convert("RGB"), self.patch_size
        count = (image.width // side) * (image.height // side)
        if count > self.in_token_limit:
            scale = math.sqrt(self.in_token_limit / count)
            size = int(image.width * scale), int(image.height * scale)
            image = image.resize(size, Image.Resampling.BICUBIC)
        down, right = (side * n for n in self.merge_kernel_size)
        pixels = np.asarray(image).transpose(2, 0, 1)
        space = (0, 0), (0, -image.height % down), (0, -image.width % right)
        pixels = np.pad(pixels, space).astype(np.float32) * (1 / 255)
        pixels = ((pixels - 0.5) / 0.5).astype(np.float32)
        rows, columns = pixels.shape[1] // side, pixels.shape[2] // side
        cells = pixels.reshape(3, rows, side, columns, side).transpose(1, 3, 0, 2, 4)
        return cells.reshape(-1, 3, side, side), (rows, columns)

    def preprocess(self, images, return_tensors=None, **kwargs):
        images = images if isinstance(images, (list, tuple)) else [images]
        found = [self.patches(image) for image in images]
        pixels = torch.from_numpy(np.concatenate([patches for patches, _ in found]))
        grids = torch.tensor([grid for _, grid in found])
        data = {"pixel_values": pixels, "image_grid_hws": grids}
        return BatchFeature(data, tensor_type=return_tensors)

    def __call__(self, images, **kwargs):
        return self.preprocess(images, **kwargs)
"""

PROCESSING = """
from transformers import BatchFeature
from transformers.processing_utils import ProcessingKwargs, ProcessorMixin


class KimiVLProcessorKwargs(ProcessingKwargs, total=False):
    _defaults = {"text_kwargs": {"padding": False}, "images_kwargs": {}}


class KimiVLProcessor(ProcessorMixin):
    attributes = ["image_processor", "tokenizer"]
    image_processor_class = "AutoImageProcessor"
    tokenizer_class = "AutoTokenizer"

    def __init__(self, image_processor=None, tokenizer=None, chat_template=None, **kwargs):
        self.image_token = "<|media_pad|>"
        super().__init__(image_processor, tokenizer, chat_template=chat_template)

    def __call__(self, images=None, text=None, **kwargs):
        given = self._merge_kwargs(
            KimiVLProcessorKwargs, tokenizer_init_kwargs=self.tokenizer.init_kwargs, **kwargs
        )
        texts, shown = [text] if isinstance(text, str) else list(text), {}
        if images is not None:
            shown = self.image_processor(images, **given["images_kwargs"])
            counts = iter((shown["image_grid_hws"].prod(-1) // 4).tolist())
            for i, each in enumerate(texts):
                first, *rest = each.split(self.image_token)
                texts[i] = first + "".join(self.image_token * next(counts) + x for x in rest)
        return BatchFeature(data={**self.tokenizer(texts, **given["text_kwargs"]), **shown})
"""

FILES = {
    "configuration_kimi_vl.py": CONFIGURATION,
    "image_processing_kimi_vl.py": IMAGES,
    "processing_kimi_vl.py": PROCESSING,
}


def write(miniature: Path, folder: Path) -> Path:
    """Copy the miniature to a folder and add the code and settings that name it."""
    shutil.copytree(miniature, folder)
    for name, text in FILES.items():
        (folder / name).write_text(text.lstrip(), encoding="utf-8")
    path = folder / "preprocessor_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    settings["auto_map"] = {
        "AutoProcessor": "processing_kimi_vl.KimiVLProcessor",
        "AutoImageProcessor": "image_processing_kimi_vl.KimiVLImageProcessor",
    }
    path.write_text(json.dumps(settings), encoding="utf-8")
    return folder
