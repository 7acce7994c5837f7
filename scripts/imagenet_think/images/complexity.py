"""Visual complexity: spatial information, its strata within a class, and the order of drawing."""

from collections.abc import Sequence
from itertools import zip_longest

import numpy as np

from imagenet_think.images.luma import Grey


def spatial_information(grey: Grey) -> float:
    """Return the spatial perceptual information (SI) of ITU-T Recommendation P.910, for one frame.

    The standard deviation over all pixels of the magnitude of the Sobel gradient of the luma, 0 for
    a blank image; border pixels, where the filter does not fit, are left out. Rounded to 6
    decimals.
    """
    # Sobel's kernel is a difference along one axis, smoothed by [1, 2, 1] along the other.
    smooth = grey[:, :-2] + 2 * grey[:, 1:-1] + grey[:, 2:]
    vertical = (smooth[2:] - smooth[:-2]).astype(np.float64)
    smooth = grey[:-2] + 2 * grey[1:-1] + grey[2:]
    horizontal = (smooth[:, 2:] - smooth[:, :-2]).astype(np.float64)
    magnitude = np.square(vertical, out=vertical)
    magnitude += np.square(horizontal, out=horizontal)
    np.sqrt(magnitude, out=magnitude)
    return round(float(magnitude.std()), 6)


def strata(complexities: Sequence[float], count: int, probe: int) -> list[int]:
    """Return the stratum, 1 (least complex) to `count`, of each image of a class, in hash order.

    The first `probe` images determine the bounds: their quantiles at 1/count, 2/count, … So an
    image keeps its stratum however many follow.
    """
    if not complexities:
        return []
    bounds = np.quantile(complexities[:probe], np.arange(1, count) / count)
    return [int(stratum) + 1 for stratum in np.searchsorted(bounds, complexities, side="left")]


def draw_order(members: Sequence[int], count: int, first: int) -> list[int]:
    """Return the order in which the images of a class are drawn: one from each stratum in turn.

    Within a stratum the hash order is kept. The first n are the choice of n images, so a larger n
    keeps every earlier choice.

    Parameters
    ----------
    members
        Stratum (1 to `count`) of each image, in hash order; what is returned are positions in it.
    count
        Number of strata.
    first
        The stratum that begins is `first % count`, counted from 0. Varied by class, so that over
        many classes no stratum is favoured.
    """
    queues: list[list[int]] = [[] for _ in range(count)]
    for position, stratum in enumerate(members):
        queues[stratum - 1].append(position)
    begin = first % count
    turns = zip_longest(*queues[begin:], *queues[:begin])
    return [position for turn in turns for position in turn if position is not None]
