"""Grey levels of an image, and 3×3 filters over them."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

Grey = NDArray[np.float64]


def luma(image: Image.Image) -> Grey:
    """Return an image's luma (ITU-R BT.601, 0 to 255), shape (height, width)."""
    return np.asarray(image.convert("L"), dtype=np.float64)


def filtered(grey: Grey, kernel: Grey) -> Grey:
    """Correlate with a 3×3 kernel where it lies wholly inside: shape (height - 2, width - 2)."""
    return ndimage.correlate(grey, kernel, mode="nearest")[1:-1, 1:-1]
