"""What the measurements of generation share: models without weights, requests of drawn lengths.

Lengths of responses are drawn log-normally (sigma 1 on the log scale), as those of thoughts are
distributed, and are forced. Images are 500 x 375, as many of ImageNet's are.
"""

import io
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

os.environ |= {
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
}
sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import numpy as np
import torch
import yaml
from PIL import Image

from imagenet_think.inference import checkpoint_specs, families, small_models
from imagenet_think.inference.chat import first_conversation
from imagenet_think.inference.engines import Request
from imagenet_think.inference.engines.hardware import Hardware

ROOT = Path(__file__).parents[2]
CONFIG = yaml.safe_load((ROOT / "config" / "config.yaml").read_text(encoding="utf-8"))
PROMPT = "Please analyze this image step by step, and conclude."
SIGMA = 1.0
NO_TOKEN = 10**9  # as the end token: no response ends before its length


def drawn_lengths(count: int, mean: float, longest: int, seed: int) -> np.ndarray:
    """Return lengths (count,) of responses: log-normal, cut at `longest`, with the given mean."""
    draws = np.random.default_rng(seed).standard_normal(100_000)
    low, high = 0.0, float(np.log(longest))
    while high - low > 1e-6:  # the median that gives the mean, on the log scale
        middle = (low + high) / 2
        above = np.exp(middle + SIGMA * draws).clip(1, longest).mean() > mean
        low, high = (low, middle) if above else (middle, high)
    more = np.random.default_rng([seed, 1]).standard_normal(count)
    return np.exp(low + SIGMA * more).clip(1, longest).round().astype(int)


def drawn_picture(seed: int, size: tuple[int, int] = (500, 375)) -> bytes:
    """Return a JPEG file of this width and height: blurred patches of colour."""
    patches = np.random.default_rng(seed).integers(0, 256, (15, 20, 3), dtype=np.uint8)
    image = Image.fromarray(patches).resize(size, Image.Resampling.BICUBIC)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=90)
    return file.getvalue()


def conversations(
    count: int, size: tuple[int, int] = (500, 375), prompt: str = PROMPT
) -> list[list[dict]]:
    """Return conversations about so many pictures."""
    return [first_conversation(drawn_picture(seed, size), prompt, {}) for seed in range(count)]


def forced_requests(lengths: Sequence[int], messages: list[list[dict]]) -> list[Request]:
    """Return a request of each length, about one conversation after another."""
    return [
        Request(str(i), messages[i % len(messages)], seed=i, max_new_tokens=int(length))
        for i, length in enumerate(lengths)
    ]


def built(settings: dict, hardware: Hardware, tiny: bool) -> tuple:
    """Return a model with random weights and its processor, in published or in tiny shapes."""
    family, image = settings["family"], settings.get("image")
    device, dtype, attention = hardware.device, hardware.dtype, hardware.attention
    if not tiny:
        model = checkpoint_specs.random_model(family, device, dtype, attention=attention)
        return model, checkpoint_specs.processor(family, image)
    loaders = families.get(family)
    with tempfile.TemporaryDirectory() as folder:
        small_models.build(family, Path(folder), small_models.TINY)
        model = loaders.load_model(folder, dtype=dtype, attention=attention, device=device)
        return model, loaders.load_processor(folder, image)


def synchronize(device: str) -> None:
    """Wait for the device."""
    if device == "cuda":
        torch.cuda.synchronize()
