"""The form of every metric's function."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

ScoreFunction = Callable[[Sequence[str], Sequence[str]], "dict[str, np.ndarray]"]
"""Takes n candidates and n references, returns columns of n finite numbers."""
