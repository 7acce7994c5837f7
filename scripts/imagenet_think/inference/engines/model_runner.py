"""A model between its processor and its sampler: prompts in, and one token a row after another.

Prompts go through the model's own forward pass. A decoding step calls only its language model, with
a store in the place of transformers' cache, and on a CUDA device as a captured graph: then a step
costs one launch, and not thousands.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from transformers import DynamicCache, PreTrainedModel

from imagenet_think.inference.engines.attention import lacks_pages
from imagenet_think.inference.engines.kv_cache import Layers, PageStore, RowStore, Store

logger = logging.getLogger("imagenet_think")

_MEMORY_SHARE = 0.8
"""Of the memory that is free once the model is loaded; the rest is for prompts and scores."""


class Decoder:
    """Holds the rows of one model: their keys and values, lengths and positions.

    Row numbers are the caller's: rows 0 to n - 1 take part in a step. In what follows a length is a
    number of cached tokens. All is called in torch's inference mode.

    Parameters
    ----------
    model
        From a family's loader.
    rows
        Rows at most.
    cached_tokens
        Tokens held at most, or None for what the memory allows.

    Attributes
    ----------
    store
        `RowStore` or `PageStore`; None before the first prompt.
    lengths
        Of each row.
    """

    def __init__(self, model: PreTrainedModel, rows: int, cached_tokens: int | None) -> None:
        self.model: Any = model  # whose parts depend on its class
        self.rows = rows
        self.cached_tokens = cached_tokens
        self.store: Store | None = None
        self.lengths: list[int] = []
        self.graphs: dict[tuple[int, int], tuple[torch.cuda.CUDAGraph, torch.Tensor]] = {}
        self.captures = model.device.type == "cuda"
        self._side: torch.cuda.Stream | None = None
        self._text = model.config.get_text_config()
        self._three_positions = hasattr(model.model, "rope_deltas")
        # Up to so many rows choose fewer experts than there are.
        experts = getattr(self._text, "n_routed_experts", None) or 0
        self._few_rows = experts // (getattr(self._text, "num_experts_per_tok", None) or 1)
        # Where a captured graph reads and writes.
        self._tokens, self._lengths, self._deltas = (
            torch.zeros(rows, dtype=torch.long, device=model.device) for _ in range(3)
        )

    @property
    def _filled(self) -> Store:
        """The store, once there is a prompt."""
        assert self.store is not None
        return self.store

    def fits(self, lengths: list[int]) -> bool:
        """Tell whether rows of these lengths, in tokens, fit into the store together."""
        return self.store is None or self.store.fits(lengths)

    def prefill(self, inputs: dict[str, torch.Tensor], rows: list[int]) -> torch.Tensor:
        """Take in prompts as the given rows; return the scores (rows, vocabulary) that follow.

        Parameters
        ----------
        inputs
            Left-padded prompts, as the model takes them.
        rows
            Their numbers; together with the rows there are, they count from 0 without a gap.
        """
        mask = inputs["attention_mask"]
        if self._three_positions:
            self.model.model.rope_deltas = None
        else:
            inputs["position_ids"] = (mask.cumsum(-1) - 1).clamp(min=0)
        cache = DynamicCache(config=self._text)
        scores = self.model(
            **inputs, past_key_values=cache, use_cache=True, logits_to_keep=1
        ).logits[:, -1]
        held: list[Any] = list(cache.layers)
        layers = [(layer.keys, layer.values) for layer in held]
        if self.store is None:
            self.store = self._new_store(layers)
        counts = mask.sum(-1)
        lengths = self.lengths + [0] * (max(rows) + 1 - len(self.lengths))
        for row, length in zip(rows, counts.tolist(), strict=True):
            lengths[row] = length
        # Row and place of each token that is no padding.
        prompt, column = mask.nonzero(as_tuple=True)
        numbers = torch.tensor(rows, device=mask.device)
        places = column - (mask.shape[1] - counts)[prompt]
        try:
            self._reserve(lengths)
            for i, layer in enumerate(layers):
                keys, values = (part.transpose(1, 2)[prompt, column] for part in layer)
                self.store.write(i, numbers[prompt], places, keys, values)
        except torch.OutOfMemoryError:
            for row in rows:
                self.store.release(row)
            raise
        self.lengths = lengths
        self._lengths[numbers] = counts
        if self._three_positions:
            self._deltas[numbers] = self.model.model.rope_deltas.view(-1)
        return scores

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """Take in one token of each row (rows,); return the scores (rows, vocabulary) that follow.

        A step that fails can be repeated.
        """
        count = len(self.lengths)
        self._reserve([length + 1 for length in self.lengths])
        self._tokens[:count] = tokens
        reach = self._filled.reach(max(self.lengths) + 1)
        hidden = self._captured(count, reach) if self.captures else self._forward(count, reach)
        # Not in the graph: each would keep scores of its own.
        scores = self.model.lm_head(hidden[:count])
        self._lengths[:count] += 1
        self.lengths = [length + 1 for length in self.lengths]
        return scores

    def move(self, source: int, target: int) -> None:
        """Put a row in the place of one that has been released; its own place is then free."""
        self._filled.move(source, target, self.lengths[source])
        for tensor in (self._lengths, self._deltas):
            tensor[target] = tensor[source]
        self.lengths[target] = self.lengths[source]

    def release(self, row: int) -> None:
        """Give back what a row holds. Its number must be filled or cut off before the next step."""
        self._filled.release(row)
        self.lengths[row] = 0

    def cut(self, count: int) -> None:
        """Forget the rows from number `count` on; they have been released."""
        del self.lengths[count:]

    def forget(self) -> None:
        """Give all memory back: the next prompt begins with a new store."""
        self.store, self.lengths, self.graphs = None, [], {}
        if self.model.device.type == "cuda":
            torch.cuda.empty_cache()

    def _reserve(self, lengths: list[int]) -> None:
        # They read where the memory was, also where it ran out and a part of it has moved.
        graphs, self.graphs = self.graphs, {}
        if not self._filled.reserve(lengths):
            self.graphs = graphs

    def _forward(self, count: int, reach: int) -> torch.Tensor:
        """Return the hidden states of the first rows, from what lies on the device."""
        store = self._filled
        lengths = self._lengths[:count]
        store.begin(lengths, reach if self.captures else max(self.lengths) + 1)
        positions = (lengths + self._deltas[:count])[:, None]
        if self._three_positions:
            positions = positions.expand(3, -1, -1)
        with self._attention(store.attention), self._experts(count):
            hidden = self.model.model.language_model(
                input_ids=self._tokens[:count, None],
                position_ids=positions,
                attention_mask=store.mask,
                past_key_values=store,
                use_cache=True,
                store=store,
            ).last_hidden_state
        return hidden[:, -1]

    @contextmanager
    def _attention(self, name: str) -> Iterator[None]:
        before = self._text._attn_implementation
        self._text._attn_implementation = name
        try:
            yield
        finally:
            self._text._attn_implementation = before

    def _experts(self, rows: int) -> AbstractContextManager[None]:
        """Return the context in which a mixture of experts reads its weights but once.

        transformers' own context for decoding gathers the experts that each row has chosen. That
        suits few rows; many are grouped by expert, as outside of it.
        """
        return self.model._optimize_model_for_decode() if rows <= self._few_rows else nullcontext()

    def _captured(self, count: int, reach: int) -> torch.Tensor:
        """Return the hidden states of a replayed graph, captured the first time it is wanted.

        A graph serves any number of rows up to its own. Rows beyond those there are read and write
        free memory only.
        """
        rows = 1 << (count - 1).bit_length() if count < 16 else -(-count // 16) * 16
        rows = min(rows, self._filled.room)
        found = self.graphs.get((rows, reach))
        if found is None:
            self._lengths[count:rows] = 0
            try:
                found = self.graphs[rows, reach] = self._capture(rows, reach)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:
                logger.warning("decoding without CUDA graphs: %s", error)
                self.captures = False
                return self._forward(count, reach)
        graph, hidden = found
        self._lengths[count:rows] = 0
        graph.replay()
        return hidden

    def _capture(self, rows: int, reach: int) -> tuple[torch.cuda.CUDAGraph, torch.Tensor]:
        # One stream for all: cuBLAS keeps a workspace for each that it sees.
        self._side = self._side or torch.cuda.Stream()
        before = torch.cuda.current_stream()
        self._side.wait_stream(before)
        pool = next(iter(self.graphs.values()))[0].pool() if self.graphs else None
        graph = torch.cuda.CUDAGraph()
        # A capture that fails may leave its stream set: the outer `stream` undoes that.
        with torch.cuda.stream(self._side):
            try:
                for _ in range(2):
                    self._forward(rows, reach)
            finally:
                before.wait_stream(self._side)
            # Of this thread alone: other threads may do on the device what they like.
            with torch.cuda.graph(
                graph, pool=pool, stream=self._side, capture_error_mode="thread_local"
            ):
                hidden = self._forward(rows, reach)
        return graph, hidden

    def _new_store(self, layers: Layers) -> Store:
        budget = self.cached_tokens or _free_memory(self.model.device) // token_bytes(layers)
        lacking = lacks_pages(self._text.num_attention_heads, *layers[0])
        kind: type[Store] = RowStore if lacking else PageStore
        logger.info(
            "cache: %s, at most %d tokens of %d bytes%s",
            kind.name,
            budget,
            token_bytes(layers),
            f" (no pages: {lacking})" if lacking else "",
        )
        return kind(layers, self.rows, budget)


def token_bytes(layers: Layers) -> int:
    """Return the bytes that one token takes in keys and values of all layers."""
    parts = (part for layer in layers for part in layer)
    return sum(part.shape[1] * part.shape[3] * part.element_size() for part in parts)


def _free_memory(device: torch.device) -> int:
    """Return the bytes that a store may take."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        free, _ = torch.cuda.mem_get_info(device)
    else:
        # Other processes live there too, and what is not used is not taken.
        free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4
    return int(free * _MEMORY_SHARE)
