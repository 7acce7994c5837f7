"""Number of images of each class."""

import heapq
from collections.abc import Sequence


def allocate(
    total: int, weights: Sequence[float], least: int, capacities: Sequence[int]
) -> list[int]:
    """Return each class's share of `total` images, in proportion to its weight, within bounds.

    Webster's divisor method (Sainte-Laguë) with bounds: every class starts at `least`; each further
    image goes to the class with the greatest weight / (images + 1/2), the first of several, that is
    below its capacity. The method is house-monotone: a larger total takes no image from any class.
    It is also coherent: whatever one class gets, the others share the rest as they would without
    it, so an added class takes its share and moves nothing between the others (M. L. Balinski and
    H. P. Young, Fair Representation, 1982).

    Raises
    ------
    ValueError
        If the numbers cannot be met; the message does the arithmetic.
    """
    count = len(weights)
    if any(capacity < least for capacity in capacities):
        raise ValueError(f"a class can give {min(capacities)} images, fewer than {least}")
    if total < count * least:
        raise ValueError(
            f"total: {total} images are too few: {count} classes × at least {least} "
            f"= {count * least}; raise total, or lower class_count or min_per_class"
        )
    if total > sum(capacities):
        raise ValueError(
            f"total: {total} images are too many: {count} classes can give {sum(capacities)} "
            f"(at most {max(capacities, default=0)} each); lower total, or raise max_per_class, "
            "reserve or class_count"
        )
    images = [least] * count
    turns = [
        (-weight / (least + 0.5), index)
        for index, (weight, capacity) in enumerate(zip(weights, capacities, strict=True))
        if capacity > least
    ]
    heapq.heapify(turns)
    for _ in range(total - count * least):
        _, index = turns[0]
        images[index] += 1
        if images[index] < capacities[index]:
            heapq.heapreplace(turns, (-weights[index] / (images[index] + 0.5), index))
        else:
            heapq.heappop(turns)
    return images
