"""Texts as sequences of pieces, so that what many of them repeat is tokenized once.

A full output consists of its thinking and its answer, and most words of a text occur in others.
"""

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import numpy as np
import pyarrow as pa


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


def parts(texts: Sequence[str]) -> Pieces:
    """Split texts that are two others joined by a line feed, as a full output is.

    The line feed is in no piece. Other texts are a piece as they are.
    """
    known, lengths = set(texts), set(map(len, texts))
    sequences = [_split(text, known, lengths) for text in texts]
    places: dict[str, int] = {}
    every = (places.setdefault(piece, len(places)) for pieces in sequences for piece in pieces)
    return Pieces(
        places=np.fromiter(every, dtype=np.int32),
        starts=np.cumsum([0, *map(len, sequences)]),
        distinct=list(places),
    )


def _split(text: str, known: AbstractSet[str], lengths: AbstractSet[int]) -> tuple[str, ...]:
    """Return the two known texts that one consists of, or itself; `lengths` are the known ones'."""
    place = text.find("\n")
    while place >= 0:
        # Few line feeds are as far from the start as another text is long.
        if place in lengths and text[:place] in known and text[place + 1 :] in known:
            return text[:place], text[place + 1 :]
        place = text.find("\n", place + 1)
    return (text,)


Cuts = Callable[[np.ndarray], np.ndarray]
"""Takes the bytes of texts in UTF-8, uint8 of shape (bytes,); returns where pieces begin."""


def pieces(texts: Sequence[str], cuts: Cuts) -> Pieces:
    """Cut texts into adjacent pieces. A lone surrogate is kept as it is."""
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


def words(data: np.ndarray) -> np.ndarray:
    """Begin a piece at each space between two visible ASCII characters."""
    visible = (data > ord(" ")) & (data < 0x7F)
    between = (data[1:-1] == ord(" ")) & visible[:-2] & visible[2:]
    return np.flatnonzero(between) + 1
