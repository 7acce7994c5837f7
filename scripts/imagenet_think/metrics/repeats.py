"""Texts as sequences of pieces, so that what many of them repeat is tokenized once.

A full output repeats its thinking and its answer, line by line; and most words of a text occur in
others too. The pieces of a text are adjacent and together are the text.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

Cuts = Callable[[np.ndarray], np.ndarray]
"""Takes the bytes of texts in UTF-8, uint8 of shape (bytes,); returns where pieces begin."""


@dataclass(frozen=True)
class Pieces:
    """Texts as sequences of pieces.

    Attributes
    ----------
    distinct
        The distinct pieces, in the order in which they first occur.
    places
        The place of each piece in `distinct`, text after text, int32 of shape (pieces,).
    starts
        Where in `places` each text starts, and where the last one ends; shape (texts + 1,).
    """

    distinct: list[str]
    places: np.ndarray
    starts: np.ndarray

    def expand(self, ids: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the token ids of the texts, given those of the distinct pieces.

        `ids` has the tokens of one piece after the other, of which piece k's are from `starts[k]`
        to `starts[k + 1]`. The texts' are returned in the same form.
        """
        lengths = np.diff(starts)[self.places]
        ends = np.concatenate([[0], np.cumsum(lengths)])
        offsets = starts[self.places] - ends[:-1]
        return ids[np.arange(ends[-1]) + np.repeat(offsets, lengths)], ends[self.starts]


def pieces(texts: Sequence[str], cuts: Cuts) -> Pieces:
    """Cut texts into pieces. A lone surrogate is kept as it is."""
    encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
    ends = np.cumsum([0, *map(len, encoded)])
    data = b"".join(encoded)
    begins = np.concatenate([ends, cuts(np.frombuffer(data, dtype=np.uint8))])
    begins.sort(kind="stable")  # two sorted runs
    begins = begins[np.diff(begins, prepend=-1) > 0]
    buffers = [None, pa.py_buffer(begins), pa.py_buffer(data)]
    every = pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(begins) - 1, buffers)
    numbered = every.dictionary_encode()
    distinct = numbered.dictionary.to_pylist()
    return Pieces(
        distinct=[piece.decode("utf-8", "surrogatepass") for piece in distinct],
        places=numbered.indices.to_numpy(),
        starts=np.searchsorted(begins, ends),
    )


def nothing(data: np.ndarray) -> np.ndarray:
    """Leave texts whole."""
    return np.empty(0, dtype=np.int64)


def lines(data: np.ndarray) -> np.ndarray:
    """Begin a piece at each line feed, and one after it."""
    feeds = np.flatnonzero(data == ord("\n"))
    return np.stack([feeds, feeds + 1], axis=1).ravel()


def words(data: np.ndarray) -> np.ndarray:
    """Begin a piece at each space between two visible ASCII characters."""
    visible = (data > ord(" ")) & (data < 0x7F)
    between = (data[1:-1] == ord(" ")) & visible[:-2] & visible[2:]
    return np.flatnonzero(between) + 1
