"""The KV cache of the running responses, and the attention that reads it.

transformers' own caches grow by concatenation, which copies every row at every step. This one is
allocated ahead and written in place. During a decoding step it replaces theirs: the model's
attention layers call `KVCache.update`, and then `attend`.

Each row has the same capacity, but attention does not read all of it. With flash-attn, its kernel
reads of each row what the row holds. Without it, rows are ordered by length and split into
segments, and each segment is read only as far as its own longest row.
"""

import importlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

ATTENTION = "in_flight"
"""The name under which `attend` is registered with transformers."""

SEGMENTS = 4
"""Most segments of a step. With log-normal lengths, one segment reads 6.8 times the tokens that the
cache holds, four read 1.6 times as many."""

BLOCK = 256
"""The capacity of rows is a multiple of so many tokens."""

Layer = tuple[torch.Tensor, torch.Tensor]


class KVCache:
    """Keys and values of all layers.

    The capacity of the rows grows when one outgrows it, and shrinks when more rows are needed than
    there is memory for.

    Parameters
    ----------
    prompts
        Keys and values of each layer of some prompt, (rows, heads, tokens, size): the cache has the
        same heads, sizes, dtype and device.
    rows, budget
        Maximum numbers of rows, and of tokens: rows times their capacity.
    kernel
        flash-attn's `flash_attn_with_kvcache`; None to attend in segments.
    """

    def __init__(
        self,
        prompts: Sequence[Layer],
        rows: int,
        budget: int,
        kernel: Callable[..., torch.Tensor] | None = None,
    ):
        self.rows, self.budget, self.kernel = rows, budget, kernel
        self.layers = [(_resized(keys, 0, 0), _resized(values, 0, 0)) for keys, values in prompts]
        self.segments: list[tuple[slice, torch.Tensor]] = []

    def fits(self, lengths: list[int]) -> bool:
        """Return whether rows of these lengths, in tokens, fit together."""
        size = _capacity(max(lengths, default=0)) * len(lengths)
        return len(lengths) <= self.rows and size <= self.budget

    def reserve(self, lengths: list[int]) -> None:
        """Make room for rows of these lengths, which must fit."""
        needed = _capacity(max(lengths))
        # All layers are checked, for memory may have run out when some had been resized.
        shapes = [keys.shape for keys, _ in self.layers]
        if all(len(lengths) <= shape[0] and needed <= shape[2] for shape in shapes):
            return
        rows = min(self.rows, self.budget // needed)
        for i, (keys, values) in enumerate(self.layers):
            self.layers[i] = _resized(keys, rows, needed), _resized(values, rows, needed)

    def insert(self, prompts: Sequence[Layer], first: int, lengths: list[int]) -> None:
        """Write the keys and values of left-padded prompts to the rows from `first` on."""
        for layer, prompt in zip(self.layers, prompts, strict=True):
            for part, new in zip(layer, prompt, strict=True):
                for i, length in enumerate(lengths):
                    part[first + i, :, :length] = new[i, :, -length:]

    def reorder(self, order: list[int], lengths: list[int]) -> None:
        """Move row `order[i]` to row i, where it has the length `lengths[i]`, for each i."""
        moved = [row for row, source in enumerate(order) if row != source]
        if moved:
            sources = [order[row] for row in moved]
            length = max(lengths[row] for row in moved)
            for part in (part for layer in self.layers for part in layer):
                part[moved, :, :length] = part[sources, :, :length]

    def begin(self, lengths: list[int]) -> None:
        """Prepare a step in which rows with these lengths get a token each."""
        device = self.layers[0][0].device
        # A blocking copy would wait for all pending work of the device.
        self._ends = torch.tensor(lengths).to(device, non_blocking=True)
        self._numbers = torch.arange(len(lengths), device=device)
        if self.kernel:
            self.counts = (self._ends + 1).int()
            return
        # What is added to scores: attention would make it of a mask of booleans in each layer.
        beyond = torch.arange(max(lengths) + 1, device=device) > self._ends[:, None]
        mask = beyond.new_zeros(beyond.shape, dtype=self.layers[0][0].dtype)
        mask = mask.masked_fill_(beyond, -torch.inf)[:, None, None]
        self.segments = [
            (rows, mask[rows, ..., : max(lengths[rows]) + 1]) for rows in _segments(len(lengths))
        ]

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> Layer:
        """Write a token per row, (rows, heads, 1, size); return all that the layer holds.

        What else layers pass differs between versions of transformers, and is not needed.
        """
        layer = self.layers[layer_idx]
        for part, new in zip(layer, (keys, values), strict=True):
            part[self._numbers, :, self._ends] = new[:, :, 0]
        return layer


def arrange(lengths: list[int], rows: Iterable[int]) -> list[int]:
    """Return an order of rows in which no segment has a longer row than the one before it.

    `lengths` are those of all rows. As few rows as possible change their place.
    """
    longest_first = sorted(rows, key=lambda row: (-lengths[row], row))
    order = []
    for segment in _segments(len(longest_first)):
        places = range(len(longest_first))[segment]
        members = set(longest_first[segment])
        moved = sorted(members.difference(places))
        order += [place if place in members else moved.pop() for place in places]
    return order


def flash_kernel(attention: str) -> Callable[..., torch.Tensor] | None:
    """Return flash-attn's kernel for decoding if that is how prompts are attended to."""
    if attention != "flash_attention_2":
        return None
    return importlib.import_module("flash_attn").flash_attn_with_kvcache


def attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor,
    *,
    scaling: float,
    kv_cache: KVCache,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attend from each row's new token, `query` (rows, heads, 1, size), to the row's cached tokens.

    The arguments are those of transformers' attention functions, and the model passes `kv_cache` on
    to its layers. A layer that caches something other than keys and values has an `attend` of its
    own. Returns (rows, 1, heads, size), and None for the weights.
    """
    if kv_cache.kernel:
        parts = (part[: len(query)].transpose(1, 2) for part in (query, key, value))
        counts = kv_cache.counts
        return kv_cache.kernel(*parts, cache_seqlens=counts, softmax_scale=scaling), None
    found = []
    for rows, mask in kv_cache.segments:
        read = slice(mask.shape[-1])
        queries, keys, values = query[rows], key[rows, :, read], value[rows, :, read]
        if hasattr(module, "attend"):
            found.append(module.attend(queries, keys, values, mask, scaling))
            continue
        # Query heads that share a key head are treated as further queries: no key is repeated.
        grouped = queries.reshape(len(queries), keys.shape[1], -1, queries.shape[3])
        out = scaled_dot_product_attention(grouped, keys, values, attn_mask=mask, scale=scaling)
        found.append(out.reshape(len(queries), 1, query.shape[1], -1))
    return torch.cat(found), None


AttentionInterface.register(ATTENTION, attend)


def _segments(rows: int) -> list[slice]:
    size = max(1, -(-rows // SEGMENTS))
    return [slice(first, min(rows, first + size)) for first in range(0, rows, size)]


def _capacity(length: int) -> int:
    """Return a multiple of `BLOCK` that holds a length, from 1,024 on at most a quarter more."""
    step = max(BLOCK, 1 << (length - 1).bit_length() >> 3)
    return -(-length // step) * step


def _resized(part: torch.Tensor, rows: int, capacity: int) -> torch.Tensor:
    new = part.new_zeros(rows, part.shape[1], capacity, part.shape[3])
    rows, tokens = min(rows, part.shape[0]), min(capacity, part.shape[2])
    new[:rows, :, :tokens] = part[:rows, :, :tokens]
    return new
