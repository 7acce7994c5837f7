"""Images of noise, for what needs different images and no sense in them."""

import io

import numpy as np
from PIL import Image


def noise(seed: int, width: int = 70, height: int = 90) -> Image.Image:
    """Return an RGB image that depends on the seed."""
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


def noise_file(seed: int, width: int = 70, height: int = 90) -> bytes:
    """Return such an image as a PNG file."""
    data = io.BytesIO()
    noise(seed, width, height).save(data, "PNG")
    return data.getvalue()
