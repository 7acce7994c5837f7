"""Grey levels of an image."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Grey = NDArray[np.int16] | NDArray[np.float64]
"""Luma, shape (height, width). In 16 bits the 3×3 filters of `criteria` and `complexity`, which
reach ±4,080, are exact, and many times as fast as in 64."""


def luma(image: Image.Image) -> Grey:
    """Return an image's luma (ITU-R BT.601, 0 to 255), shape (height, width)."""
    return np.asarray(image.convert("L")).astype(np.int16)
