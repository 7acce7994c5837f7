"""Where the keys and values of running rows lie: allocated once, written in place, never copied.

transformers' own caches grow by concatenation, which copies every row at every step. A store stands
in for one during decoding: a model's attention layers call its `update`, which writes the new
token's key and value of each row in place and returns all that the attention reads.

`RowStore` gives each row one stretch of memory, `PageStore` pages of 256 tokens (Kwon et al. 2023,
arXiv 2309.06180). Rows are numbered from 0; a decoding step reads the first `count` of them.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch

PAGE = 256
"""Tokens a page: what the paged kernels of FlashAttention-2 ask for."""

Layer = tuple[torch.Tensor, torch.Tensor]
Layers = Sequence[Layer]


class RowStore:
    """Keys and values with one stretch of memory a row, read together up to the longest row.

    The stretches of all rows are equally long: longer and fewer when a row outgrows them, shorter
    and more when there are more rows than stretches.

    Parameters
    ----------
    prompts
        Keys and values of each layer of some prompt, (rows, heads, tokens, size): their heads,
        sizes, dtype and device are the store's.
    rows
        Rows at most.
    budget
        Tokens at most, counted as rows times the length of a stretch.

    Attributes
    ----------
    room
        Rows for which there is memory now.
    """

    name = "rows"
    attention = "in_flight_rows"

    def __init__(self, prompts: Layers, rows: int, budget: int):
        self.rows, self.budget = rows, budget
        self.room = self.stretch = 0

        def nothing(part: torch.Tensor) -> torch.Tensor:
            return part.new_empty(0, part.shape[1], 0, part.shape[3])

        self.layers = [(nothing(keys), nothing(values)) for keys, values in prompts]
        self._numbers = torch.arange(rows, device=prompts[0][0].device)

    def fits(self, lengths: list[int]) -> bool:
        """Tell whether rows of these lengths, in tokens, fit together."""
        if not lengths:
            return True
        return len(lengths) <= self.rows and _stretch(max(lengths)) * len(lengths) <= self.budget

    def reserve(self, lengths: list[int]) -> bool:
        """Make room for rows of these lengths; tell whether the memory lies elsewhere now."""
        stretch = _stretch(max(lengths))
        if stretch <= self.stretch and len(lengths) <= self.room:
            return False
        room = min(self.rows, self.budget // stretch)
        for i, (keys, values) in enumerate(self.layers):
            self.layers[i] = _laid_out(keys, room, stretch), _laid_out(values, room, stretch)
        self.room, self.stretch = room, stretch
        return True

    def write(
        self,
        layer: int,
        rows: torch.Tensor,
        tokens: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
    ) -> None:
        """Write keys and values (tokens, heads, size) of given rows and places in them."""
        for part, new in zip(self.layers[layer], (keys, values), strict=True):
            part[rows, :, tokens] = new

    def move(self, source: int, target: int, length: int) -> None:
        """Put a row in another's place."""
        for part in (part for layer in self.layers for part in layer):
            part[target, :, :length] = part[source, :, :length]

    def release(self, row: int) -> None:
        """Forget a row: its memory is overwritten by the next one."""

    def begin(self, lengths: torch.Tensor, longest: int) -> None:
        """Set where the next step of rows with these lengths (rows,) writes and what it reads."""
        self.places = lengths
        self.count, self.longest = len(lengths), longest
        read = torch.arange(longest, device=lengths.device)
        self.mask = (read <= lengths[:, None])[:, None, None]

    def reach(self, longest: int) -> int:
        """Return how far a step reads whose longest row, with its new token, has this length.

        Steps that read equally far can share one captured graph.
        """
        return min(_stretch(longest), self.stretch)

    def update(self, keys: torch.Tensor, values: torch.Tensor, layer_idx: int, *_: Any) -> Layer:
        """Write a token a row, (rows, heads, 1, size); return all, (rows, heads, longest, size)."""
        found = self.layers[layer_idx]
        rows = self._numbers[: self.count]
        for part, new in zip(found, (keys, values), strict=True):
            part[rows, :, self.places] = new[:, :, 0]
        held, carried = (part[: self.count, :, : self.longest] for part in found)
        return held, carried


class PageStore:
    """Keys and values in pages; a row has as many as it needs, anywhere.

    Parameters are as in `RowStore`; `budget` is allocated at once. Page 0 belongs to no row: a step
    may read and write it for rows that are not there.
    """

    name = "pages"
    attention = "in_flight_pages"

    def __init__(self, prompts: Layers, rows: int, budget: int):
        self.rows = self.room = rows
        pages = max(2, budget // PAGE)

        def blank(part: torch.Tensor) -> torch.Tensor:
            return part.new_zeros(pages, PAGE, part.shape[1], part.shape[3])

        self.layers = [(blank(keys), blank(values)) for keys, values in prompts]
        self._free = list(range(pages - 1, 0, -1))
        self._pages: list[list[int]] = [[] for _ in range(rows)]
        device = prompts[0][0].device
        self.table = torch.zeros(rows, pages - 1, dtype=torch.int32, device=device)
        self._starts = torch.arange(rows + 1, dtype=torch.int32, device=device)
        self.mask = torch.zeros(1, 1, 1, 1, device=device)  # says that no mask is to be made

    def fits(self, lengths: list[int]) -> bool:
        """Tell whether rows of these lengths, in tokens, fit together."""
        wanted = sum(math.ceil(length / PAGE) for length in lengths)
        return len(lengths) <= self.rows and wanted < len(self.layers[0][0])

    def reserve(self, lengths: list[int]) -> bool:
        """Make room for rows of these lengths; tell whether the memory lies elsewhere now."""
        for row, length in enumerate(lengths):
            pages = self._pages[row]
            while len(pages) * PAGE < length:
                pages.append(self._free.pop())
                self.table[row, len(pages) - 1] = pages[-1]
        return False

    def write(
        self,
        layer: int,
        rows: torch.Tensor,
        tokens: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
    ) -> None:
        """Write keys and values (tokens, heads, size) of given rows and places in them."""
        pages = self.table[rows, tokens // PAGE].long()
        for part, new in zip(self.layers[layer], (keys, values), strict=True):
            part[pages, tokens % PAGE] = new

    def move(self, source: int, target: int, length: int) -> None:
        """Put a row in another's place."""
        pages = self._pages
        pages[source], pages[target] = pages[target], pages[source]
        row = self.table[target].clone()
        self.table[target] = self.table[source]
        self.table[source] = row

    def release(self, row: int) -> None:
        """Give a row's pages back."""
        self._free += reversed(self._pages[row])
        self._pages[row] = []
        self.table[row] = 0

    def begin(self, lengths: torch.Tensor, longest: int) -> None:
        """Set where the next step of rows with these lengths (rows,) writes and what it reads."""
        self.count, self.longest = len(lengths), longest
        self.lengths = (lengths + 1).int()
        # FlashAttention-2 asks for where each row's keys begin, and with a table reads it nowhere.
        self.begins = self._starts[: self.count + 1] * longest
        self.places = (
            self.table[self._starts[: self.count].long(), lengths // PAGE].long(),
            lengths % PAGE,
        )

    def reach(self, longest: int) -> int:
        """Return how far a step reads whose longest row, with its new token, has this length."""
        # The kernel reads no more than there is: a bound alone, and few graphs are enough.
        return min(max(PAGE, 1 << (longest - 1).bit_length()), self.table.shape[1] * PAGE)

    def update(self, keys: torch.Tensor, values: torch.Tensor, layer_idx: int, *_: Any) -> Layer:
        """Write one token a row, (rows, heads, 1, size); return all pages."""
        found = self.layers[layer_idx]
        for part, new in zip(found, (keys, values), strict=True):
            part[self.places] = new[:, :, 0]
        return found

    def paging(self) -> dict:
        """Return what a paged kernel must know of the step."""
        return {
            "cu_seq_q": self._starts[: self.count + 1],
            "cu_seq_k": self.begins,
            "seqused_k": self.lengths,
            "block_table": self.table[: self.count, : math.ceil(self.longest / PAGE)],
            "max_k": self.longest,
        }


def _stretch(length: int) -> int:
    """Return a multiple of a page that holds a length: of 1,024 and up, at most a quarter more."""
    step = max(PAGE, 1 << (length - 1).bit_length() >> 3)
    return -(-length // step) * step


def _laid_out(part: torch.Tensor, rows: int, stretch: int) -> torch.Tensor:
    """Return rows in stretches of another number and length."""
    new = part.new_zeros(rows, part.shape[1], stretch, part.shape[3])
    rows, tokens = min(rows, part.shape[0]), min(stretch, part.shape[2])
    new[:rows, :, :tokens] = part[:rows, :, :tokens]
    return new


Store = RowStore | PageStore
