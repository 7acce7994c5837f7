"""Images of noise, for tests that need different images of no particular content."""

import numpy as np
from PIL import Image

from imagenet_think.inference.chat import png_file


def noise(seed: int, width: int = 70, height: int = 90) -> Image.Image:
    """Return an RGB image that depends on the seed."""
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


def noise_file(seed: int, width: int = 70, height: int = 90) -> bytes:
    """Return such an image as a PNG file."""
    return png_file(noise(seed, width, height))
