"""Generation with transformers and in-flight batching: a row that ends makes place for the next.

Rows of very different lengths share a batch (Yu et al. 2022, Orca). Which rows stand beside each
other depends on the requests' order and lengths alone, never on timing, and in float32 on the CPU
a row's text is the one it would have alone.
"""

import logging
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import transformers

from imagenet_think.inference import checkpoints, families
from imagenet_think.inference.chat import PromptError
from imagenet_think.inference.engines import EngineError, Request, Response, versions
from imagenet_think.inference.engines.hardware import choose_hardware, device_name
from imagenet_think.inference.engines.kv_cache import PAGE
from imagenet_think.inference.engines.model_runner import Decoder
from imagenet_think.inference.engines.prefetch import EncodedAhead
from imagenet_think.inference.loops import CHECK_EVERY, ends_in_loop
from imagenet_think.inference.token_sampler import RowSampler

logger = logging.getLogger("imagenet_think")

PACKAGES = ("torch", "transformers", "tokenizers", "pillow", "flash-attn")

# What a processor gives token by token, and the value that stands for padding; all else is pixels
# and their grids, of which every image of the batch has its own rows.
_PADDED = {"input_ids": None, "attention_mask": 0, "mm_token_type_ids": 0}

_REFILL = 32
"""A batch takes new rows in when one in so many of its places is free: not one by one."""

_PREFILL_TOKENS = 16384
"""Tokens of prompts taken in at once, padding included; a longer prompt is taken in alone."""


def check(inference: Mapping[str, Any]) -> None:
    """Check that this machine has the device, dtype and attention of the settings."""
    choose_hardware(inference)


def load(
    model: dict,
    *,
    loop: dict | None,
    checkpoint: tuple[str, str | None],
    processor: tuple[str, str | None],
    inference: Mapping[str, Any],
    threads: int,
) -> "TransformersEngine":
    """Load a model, as `imagenet_think.inference.engines.EngineModule` describes.

    Of `inference` it reads `device`, `dtype`, `attention`, `batch_size`, `cached_tokens` and
    `workers`.
    """
    hardware = choose_hardware(inference)
    torch.set_num_threads(threads)
    transformers.utils.logging.disable_progress_bar()
    family = families.get(model["family"])
    path, revision = processor
    encoder = family.load_processor(path, model.get("image"), revision=revision)
    path, revision = checkpoint
    loaded = family.load_model(
        path,
        dtype=hardware.torch_dtype,
        attention=hardware.attention,
        device=hardware.device,
        revision=revision,
    )
    return TransformersEngine(
        loaded,
        encoder,
        decoding=model["decoding"],
        loop=loop,
        stop_ids=checkpoints.stop_ids(family, encoder, checkpoints.local_folder(*checkpoint)),
        batch_size=inference["batch_size"],
        cached_tokens=inference.get("cached_tokens"),
        workers=inference.get("workers", 2),
    )


@dataclass(eq=False)
class Row:
    """A request that is being answered, and the tokens generated so far.

    `number` counts admissions: of two rows the one with the greater number is the younger. `limit`
    bounds the tokens.
    """

    request: Request
    number: int
    limit: int
    prompt_tokens: int
    image_tokens: int
    tokens: list[int] = field(default_factory=list)


class TransformersEngine:
    """Answers requests with one model, many at a time.

    Two bounds hold: rows, and tokens in the cache. Where the cache is full the youngest rows are
    put back; where the device's memory runs out all the same, the bound on rows is halved too. A
    row that was put back says the same when its turn comes again, for its draws are its own.

    Parameters
    ----------
    model, processor
        From a family's loaders.
    decoding
        What `inference.token_sampler.RowSampler` takes. Nothing is added from the checkpoint's own
        generation settings.
    loop
        What counts as a loop (`inference.loops.ends_in_loop`), or None: nothing does.
    stop_ids
        Tokens that end a row.
    batch_size
        Rows at most.
    cached_tokens
        Tokens of prompts and responses held at most; None for what the memory allows.
    workers
        Threads that encode requests ahead.

    Attributes
    ----------
    record
        As of every engine (`imagenet_think.inference.engines.Engine`).
    statistics
        steps, row_steps (rows summed over steps), places (rows there might have been, summed over
        steps), step_cache_tokens (tokens read from the cache, summed over steps), prefill_tokens,
        prefill_seconds, decode_tokens, decode_seconds, put_back (rows to be generated again).
    """

    def __init__(
        self,
        model: transformers.PreTrainedModel,
        processor: Any,
        *,
        decoding: dict,
        loop: dict | None,
        stop_ids: list[int],
        batch_size: int,
        cached_tokens: int | None = None,
        workers: int = 2,
    ):
        self.model, self.processor = model, processor
        self.loop, self.stop_ids = loop, frozenset(stop_ids)
        self.bound = self.together = batch_size  # rows in all, and taken in at once
        self.squeezed: int | None = None  # the bound before one prompt alone lowered it
        self.workers = workers
        text = model.config.get_text_config()
        self.context = text.max_position_embeddings
        self.padding = model.generation_config.pad_token_id
        self.decoder = Decoder(model, batch_size, cached_tokens)
        self.sampler = RowSampler(decoding, batch_size, text.vocab_size, model.device)
        self.rows: list[Row | None] = []  # None is a gap: its row has ended
        # Requests put back, with their inputs where those are there still.
        self.back: deque[tuple[Request, dict | None]] = deque()
        self.admitted = 0
        self.statistics = {
            "steps": 0,
            "row_steps": 0,
            "places": 0,
            "step_cache_tokens": 0,
            "prefill_tokens": 0,
            "prefill_seconds": 0.0,
            "decode_tokens": 0,
            "decode_seconds": 0.0,
            "put_back": 0,
        }
        self.record: dict[str, Any] = {
            "engine": "transformers",
            "device": device_name(str(model.device)),
            "dtype": str(model.dtype).removeprefix("torch."),
            "attention": text._attn_implementation,
            "batch_size": batch_size,
            "bounds": [],
            "versions": versions(*PACKAGES),
            "statistics": self.statistics,
        }

    @torch.inference_mode()
    def generate(self, requests: Iterable[Request]) -> Iterator[Response]:
        """Yield a response for each request, one with an error where it cannot be encoded."""
        ahead = EncodedAhead(
            requests, self.processor, self.workers, max(2 * self.workers, self.bound // 4)
        )
        try:
            while True:
                yield from self._admit(ahead)
                if not self.rows:
                    return
                yield from self._step()
        finally:
            ahead.close()
            self.back.clear()
            for i, row in enumerate(self.rows):
                if row is not None:
                    self._release(i)
            self._close_gaps()

    def close(self) -> None:
        """Let go of the model and its memory."""
        self.decoder.forget()
        del self.decoder, self.sampler, self.model

    def _admit(self, ahead: EncodedAhead) -> Iterator[Response]:
        """Fill free places with new rows, in the order of the requests."""
        running = self._running()
        if running and self.bound - running < max(1, self.bound // _REFILL):
            self._close_gaps()
            return
        # The store's size follows from the first prompt: that one comes alone.
        while room := self.bound - self._running():
            batch: list[tuple[Row, dict]] = []
            while len(batch) < (min(room, self.together) if self.decoder.store else 1):
                found = self._next(ahead)
                if found is None:
                    break
                if isinstance(found, Response):
                    yield found
                    continue
                if not self._fits([*batch, found]):
                    self.back.appendleft((found[0].request, found[1]))
                    break
                batch.append(found)
            if not batch:
                break
            yield from self._prefill(batch)
        self._close_gaps()

    def _next(self, ahead: EncodedAhead) -> tuple[Row, dict] | Response | None:
        """Return the next row with its inputs, or a response if it cannot be asked."""
        taken = self.back.popleft() if self.back else ahead.take()
        if taken is None:
            return None
        request, inputs = taken
        if inputs is None:
            inputs = ahead.encode(request)
        if isinstance(inputs, PromptError):
            return Response(request.key, None, "error", error=str(inputs))
        ids = inputs["input_ids"][0]
        limit = min(request.max_new_tokens, self.context - len(ids))
        if limit < 1:
            error = f"the prompt has {len(ids)} tokens, and the model's context {self.context}"
            return Response(request.key, None, "error", error=error)
        image_tokens = int((ids == self.processor.image_token_id).sum())
        return Row(request, self.admitted, limit, len(ids), image_tokens), inputs

    def _fits(self, batch: list[tuple[Row, dict]]) -> bool:
        """Tell whether new rows fit beside those there are, with room for all to grow.

        Raises
        ------
        EngineError
            If one would not fit alone.
        """
        lengths = [length for length in self.decoder.lengths if length]
        new = [row.prompt_tokens for row, _ in batch]
        padded = max(new) * len(new)
        if len(lengths) + len(new) > 1:
            grown = [length + PAGE for length in lengths + new]
            return self.decoder.fits(grown) and (len(new) == 1 or padded <= _PREFILL_TOKENS)
        if not self.decoder.fits([new[0] + 1]):
            raise EngineError(
                f"a prompt of {new[0]} tokens does not fit into the cache: raise "
                "inference.cached_tokens, or make room on the device"
            )
        return True

    def _prefill(self, batch: list[tuple[Row, dict]]) -> Iterator[Response]:
        """Take rows in, with their first token."""
        start = time.perf_counter()
        gaps = [i for i, row in enumerate(self.rows) if row is None]
        places = [*gaps, *range(len(self.rows), len(self.rows) + len(batch))][: len(batch)]
        try:
            # Placed first: on the device it costs nothing to join the pixels.
            inputs = collate([_placed(inputs, self.model) for _, inputs in batch], self.padding)
            scores = self.decoder.prefill(inputs, places)
            self.rows += [None] * (max(places) + 1 - len(self.rows))
            for place, (row, encoded) in zip(places, batch, strict=True):
                row.number, self.admitted = self.admitted, self.admitted + 1
                self.rows[place] = row
                self.sampler.admit(place, row.request.seed, encoded["input_ids"][0])
            responses = self._extend(places, scores)
        except torch.OutOfMemoryError as error:
            for place in places:
                if place < len(self.rows) and self.rows[place] is not None:
                    self._release(place)
            yield from self._refuse(batch, error)
            return
        self.squeezed = None
        self.statistics["prefill_tokens"] += sum(row.prompt_tokens for row, _ in batch)
        self.statistics["prefill_seconds"] += time.perf_counter() - start
        yield from responses

    def _refuse(
        self, batch: list[tuple[Row, dict]], error: torch.OutOfMemoryError
    ) -> Iterator[Response]:
        """See to it that rows for which the memory ran out are taken in otherwise, or not at all.

        Fewer at once are tried first, then beside fewer others, then one alone. A row that does not
        fit alone is at fault itself, and those after it get their places back.
        """
        (first, _), *others = batch
        if not others and not self._running() and self.decoder.store is None:
            if not self.admitted:
                raise EngineError(
                    f"out of memory before the first row, with {first.prompt_tokens} tokens: see "
                    f"that the device is free ({error})"
                ) from error
            if self.squeezed:
                self.bound, self.squeezed = self.squeezed, None
                self.record["bounds"].append(self.bound)
            yield _out_of_memory(first, error)
            return
        self.back.extendleft((row.request, inputs) for row, inputs in reversed(batch))
        if others:
            self.together = max(1, len(batch) // 2)
            logger.warning(
                "out of memory, %d prompts at once from now on: %s", self.together, error
            )
        elif self._running():
            self.squeezed = self.squeezed or self.bound
            self._halve(error)
        else:
            self.decoder.forget()

    def _step(self) -> Iterator[Response]:
        """Give each row its next token."""
        start = time.perf_counter()
        while not self.decoder.fits([length + 1 for length in self.decoder.lengths]):
            if len(self.rows) == 1:
                raise EngineError(
                    f"{self._row(0).request.key}: the cache does not hold its prompt and "
                    f"{len(self._row(0).tokens)} tokens: raise inference.cached_tokens, or lower "
                    "the model's max_new_tokens"
                )
            self._put_back(1)
        count, lengths = len(self.rows), self.decoder.lengths
        tokens = torch.tensor(
            [self._row(place).tokens[-1] for place in range(count)], device=self.model.device
        )
        try:
            scores = self.decoder.step(tokens)
            responses = self._extend(list(range(count)), scores)
        except torch.OutOfMemoryError as error:
            if count == 1:
                yield _out_of_memory(self._row(0), error)
                self._release(0)
                return
            if self.decoder.lengths != lengths:  # the step was made, and its scores are lost
                self._put_back(count)
            self._halve(error)
            return
        self.statistics["steps"] += 1
        self.statistics["row_steps"] += count
        self.statistics["places"] += self.bound
        self.statistics["step_cache_tokens"] += sum(lengths) + count
        self.statistics["decode_tokens"] += count
        self.statistics["decode_seconds"] += time.perf_counter() - start
        yield from responses

    def _extend(self, places: list[int], scores: torch.Tensor) -> list[Response]:
        """Choose the next token of rows; return the responses of those that it ends."""
        responses = []
        for place, token in zip(places, self.sampler(scores, places).tolist(), strict=True):
            row = self._row(place)
            row.tokens.append(token)
            reason = self._reason(row)
            if reason is not None:
                responses.append(self._response(row, reason))
                self._release(place)
        return responses

    def _reason(self, row: Row) -> str | None:
        """Return why a row ends with its last token, or None if it goes on."""
        if row.tokens[-1] in self.stop_ids:
            return "stop"
        last = len(row.tokens) == row.limit
        due = last or len(row.tokens) % CHECK_EVERY == 0
        if self.loop and due and ends_in_loop(row.tokens, **self.loop):
            return "loop"
        return "length" if last else None

    def _response(self, row: Row, reason: str) -> Response:
        text = self.processor.tokenizer.decode(
            row.tokens, skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        return Response(
            key=row.request.key,
            text=text,
            finish_reason=reason,
            prompt_tokens=row.prompt_tokens,
            image_tokens=row.image_tokens,
            completion_tokens=len(row.tokens),
        )

    def _running(self) -> int:
        return sum(row is not None for row in self.rows)

    def _row(self, place: int) -> Row:
        """Return the row in a place that is no gap."""
        row = self.rows[place]
        assert row is not None
        return row

    def _release(self, place: int) -> None:
        self.rows[place] = None
        self.decoder.release(place)

    def _close_gaps(self) -> None:
        """Move the last rows into the gaps: a step reads rows without a gap."""
        for gap, row in enumerate(list(self.rows)):
            while self.rows and self.rows[-1] is None:
                self.rows.pop()
            if row is None and gap < len(self.rows):
                self.rows[gap] = self.rows.pop()
                self.decoder.move(len(self.rows), gap)
                self.sampler.move(len(self.rows), gap)
        self.decoder.cut(len(self.rows))

    def _put_back(self, count: int) -> None:
        """Put the youngest rows back before all others that wait."""
        rows = [(row.number, place) for place, row in enumerate(self.rows) if row is not None]
        for _, place in sorted(rows, reverse=True)[:count]:
            self.back.appendleft((self._row(place).request, None))
            self._release(place)
            self.statistics["put_back"] += 1
        self._close_gaps()

    def _halve(self, error: torch.OutOfMemoryError) -> None:
        """Halve the bound on rows after the memory ran out."""
        self.bound = max(1, self.bound // 2)
        self.record["bounds"].append(self.bound)
        logger.warning("out of memory, at most %d rows from now on: %s", self.bound, error)
        self._put_back(max(0, self._running() - self.bound))
        if self.model.device.type == "cuda":
            torch.cuda.empty_cache()


def _out_of_memory(row: Row, error: torch.OutOfMemoryError) -> Response:
    tokens = row.prompt_tokens + len(row.tokens)
    message = f"out of memory, alone, at {tokens} tokens: {error}"
    return Response(row.request.key, None, "error", error=message)


def _placed(inputs: dict, model: transformers.PreTrainedModel) -> dict:
    """Return the inputs on the model's device, the pixels in its dtype."""
    inputs = {key: value.to(model.device, non_blocking=True) for key, value in inputs.items()}
    return inputs | {"pixel_values": inputs["pixel_values"].to(model.dtype)}


def collate(rows: list[dict], padding: int) -> dict[str, torch.Tensor]:
    """Join encoded conversations to one batch, padded at the left.

    Parameters
    ----------
    rows
        Each as from `inference.chat.encode`: token-wise tensors of shape (1, tokens), others with
        a first dimension that counts images or patches.
    padding
        The padding token.

    Returns
    -------
    dict of str to torch.Tensor
        Token-wise tensors of shape (rows, longest), all others concatenated.
    """
    longest = max(row["input_ids"].shape[1] for row in rows)
    batch = {}
    for key in rows[0]:
        tensors = [row[key] for row in rows]
        if key in _PADDED:
            fill = padding if _PADDED[key] is None else _PADDED[key]
            tensors = [
                torch.nn.functional.pad(t, (longest - t.shape[1], 0), value=fill) for t in tensors
            ]
        batch[key] = torch.cat(tensors)
    return batch
