"""Generation with transformers and in-flight batching: a finished response frees its row.

Rows of very different lengths share a batch (Yu et al. 2022, Orca). Which rows share one depends
only on the order and lengths of the requests, never on timing, and in float32 on the CPU a row's
text is the one it would have alone.
"""

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Unpack

import torch
import transformers
from torch.nn.utils.rnn import pad_sequence

from imagenet_think.inference import checkpoints, families
from imagenet_think.inference.chat import PromptError
from imagenet_think.inference.engines import EngineError, Request, Response, Setup, versions
from imagenet_think.inference.engines.hardware import choose_hardware, device_name
from imagenet_think.inference.engines.kv_cache import BLOCK
from imagenet_think.inference.engines.model_runner import ModelRunner
from imagenet_think.inference.engines.prefetch import Prefetcher
from imagenet_think.inference.loops import CHECK_EVERY, ends_in_loop
from imagenet_think.inference.token_sampler import TokenSampler
from imagenet_think.inference.token_text import decode

logger = logging.getLogger("imagenet_think")

PACKAGES = ("torch", "transformers", "tokenizers", "pillow", "flash-attn")

# What a processor returns per token. All else is pixels and their grids, in which every image has
# rows of its own.
_PER_TOKEN = ("input_ids", "attention_mask", "mm_token_type_ids")

_REFILL = 32
"""A batch is refilled when one in so many of its rows is free, not row by row."""

_PREFILL_TOKENS = 16384
"""Most tokens of prompts in a prefill, padding included; a longer prompt is prefilled alone."""


STATISTICS = (
    "steps",
    "row_steps",  # rows, summed over steps
    "places",  # the bound on rows, summed over steps
    "step_cache_tokens",  # cached tokens, summed over steps
    "prefill_tokens",
    "prefill_seconds",
    "decode_tokens",
    "decode_seconds",
    "put_back",  # rows to be generated again
)


def check(inference: Mapping[str, Any]) -> None:
    """Check that this machine has the device, dtype and attention of the settings."""
    choose_hardware(inference)


def load(model: dict, **setup: Unpack[Setup]) -> "TransformersEngine":
    """Load a model, as `imagenet_think.inference.engines.EngineModule` describes."""
    torch.set_num_threads(setup["threads"])
    transformers.utils.logging.disable_progress_bar()
    inference, (path, revision) = setup["inference"], setup["checkpoint"]
    load_model = families.get(model["family"]).load_model
    processor, stop_ids = checkpoints.load_processor(model, setup["processor"], (path, revision))
    return TransformersEngine(
        load_model(path, revision=revision, **asdict(choose_hardware(inference))),
        processor,
        decoding=model["decoding"],
        loop=setup["loop"],
        stop_ids=stop_ids,
        batch_size=inference["batch_size"],
        cached_tokens=inference.get("cached_tokens"),
        workers=inference.get("workers", 2),
    )


@dataclass(eq=False)
class Row:
    """A request and the tokens generated so far.

    `limit` bounds the tokens, `number` counts admissions, and `inputs` are kept until the prefill.
    """

    request: Request
    inputs: dict
    prompt_tokens: int
    image_tokens: int
    limit: int
    number: int = 0
    tokens: list[int] = field(default_factory=list)


class TransformersEngine:
    """Generates responses with one model, many at a time.

    Where the KV cache is full, the youngest rows are put back; where the device runs out of memory
    nevertheless, the bound on rows is halved too. A row that was put back gets the same text later.

    Parameters
    ----------
    model, processor
        From a family's loaders.
    decoding
        As for `inference.token_sampler.TokenSampler`. The checkpoint's own generation settings are
        ignored.
    loop, stop_ids
        What counts as a loop (`inference.loops.ends_in_loop`; None: nothing does), and the tokens
        that end a response.
    batch_size, cached_tokens
        Maximum numbers of rows and of cached tokens; None for as many tokens as fit into memory.
    workers
        Threads that encode requests ahead.

    Attributes
    ----------
    record, statistics
        As of every engine (`imagenet_think.inference.engines.Engine`), and `STATISTICS` up to now.
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
        self.bound = self.prompts = batch_size  # maximum numbers of rows, and of a prefill's rows
        self.former_bound: int | None = None  # before a single prompt lowered it
        self.workers = workers
        text = model.config.get_text_config()
        self.context = text.max_position_embeddings
        self.runner = ModelRunner(model, batch_size, cached_tokens)
        self.sampler = TokenSampler(decoding, batch_size, text.vocab_size, model.device)
        self.rows: list[Row] = []
        self.admitted = 0
        self.statistics: dict[str, float] = dict.fromkeys(STATISTICS, 0)
        self.record: dict[str, Any] = {
            "engine": "transformers",
            "device": device_name(str(model.device)),
            "dtype": str(model.dtype).removeprefix("torch."),
            "float32_precision": torch.get_float32_matmul_precision(),
            "attention": text._attn_implementation,
            "kv_cache": self.runner.record,
            "sampler": self.sampler.record,
            "batch_size": batch_size,
            "out_of_memory": [],
            "versions": versions(*PACKAGES),
            "statistics": self.statistics,
        }
        self._record_computation()

    @torch.inference_mode()
    def generate(self, requests: Iterable[Request]) -> Iterator[Response]:
        """Yield a response for each request, with an error if it cannot be encoded."""
        depth = max(2 * self.workers, self.bound // 4)
        self.requests = Prefetcher(requests, self.processor, self.workers, depth)
        try:
            while True:
                yield from self._admit()
                if not self.rows:
                    return
                yield from self._step()
        finally:
            self.requests.close()
            self._keep([])

    def close(self) -> None:
        """Free the model and its memory."""
        self.runner.reset()
        del self.runner, self.sampler, self.model

    def _admit(self) -> Iterator[Response]:
        """Fill free rows, in the order of the requests."""
        free = self.bound - len(self.rows)
        if self.rows and free < max(1, self.bound // _REFILL):
            return
        while room := self.bound - len(self.rows):
            # The size of the cache follows from the first prompt, which is prefilled alone.
            most = min(room, self.prompts) if self.runner.cache else 1
            batch: list[Row] = []
            while len(batch) < most and (found := self._next()):
                if isinstance(found, Response):
                    yield found
                elif self._fits([*batch, found]):
                    batch.append(found)
                else:
                    self.requests.put_back(found.request, found.inputs)
                    break
            if not batch:
                return
            yield from self._prefill(batch)

    def _next(self) -> Row | Response | None:
        """Return the next row, or a response if the request has no inputs."""
        taken = self.requests.take()
        if taken is None:
            return None
        request, inputs = taken
        if isinstance(inputs, PromptError):
            return Response(request.key, None, "error", error=str(inputs))
        ids = inputs["input_ids"][0]
        limit = min(request.max_new_tokens, self.context - len(ids))
        if limit < 1:
            error = f"the prompt has {len(ids)} tokens, and the model's context {self.context}"
            return Response(request.key, None, "error", error=error)
        image_tokens = int((ids == self.processor.image_token_id).sum())
        return Row(request, inputs, len(ids), image_tokens, limit)

    def _fits(self, batch: list[Row]) -> bool:
        """Return whether new rows fit, with room for all rows to grow.

        Raises
        ------
        EngineError
            If one would not fit alone.
        """
        new = [row.prompt_tokens for row in batch]
        lengths = self.runner.lengths + new
        if len(lengths) > 1:
            padded = max(new) * len(new)
            grown = [length + BLOCK for length in lengths]
            return self.runner.fits(grown) and (len(new) == 1 or padded <= _PREFILL_TOKENS)
        if not self.runner.fits([new[0] + 1]):
            raise EngineError(
                f"a prompt of {new[0]} tokens does not fit into the cache: raise "
                "inference.cached_tokens, or make room on the device"
            )
        return True

    def _prefill(self, batch: list[Row]) -> Iterator[Response]:
        """Admit rows, with their first token."""
        start, before = time.perf_counter(), len(self.rows)
        padding = self.model.generation_config.pad_token_id
        try:
            # Moved first: on the device it costs nothing to join the pixels.
            inputs = collate([_moved(row.inputs, self.model) for row in batch], padding)
            scores = self.runner.prefill(inputs)
            for i, row in enumerate(batch):
                self.sampler.admit(before + i, inputs["input_ids"][i, -row.prompt_tokens :])
            tokens = self._sample(scores, batch, before)
        except torch.OutOfMemoryError as error:
            self.runner.keep(range(before))
            yield from self._reduce_prefill(batch, error)
            return
        for row in batch:
            row.inputs, row.number = {}, self.admitted
            self.admitted += 1
        self.rows += batch
        self.former_bound = None
        self.statistics["prefill_tokens"] += sum(row.prompt_tokens for row in batch)
        responses = self._extend(batch, tokens)
        self.statistics["prefill_seconds"] += time.perf_counter() - start
        yield from responses

    def _reduce_prefill(
        self, batch: list[Row], error: torch.OutOfMemoryError
    ) -> Iterator[Response]:
        """Arrange for another attempt at a prefill for which memory ran out.

        First with fewer prompts, then with fewer other rows, then with neither. A prompt that does
        not fit alone gets an error, and the bound on rows is as before.
        """
        if len(batch) == 1 and not self.rows and self.runner.cache is None:
            if self.former_bound:
                self.bound, self.former_bound = self.former_bound, None
            self._record_out_of_memory("prefill", 1, error)
            if not self.admitted:
                raise EngineError(
                    f"out of memory before the first row, with {batch[0].prompt_tokens} tokens: "
                    f"see that the device is free ({error})"
                ) from error
            yield _out_of_memory(batch[0], error)
            return
        for row in reversed(batch):
            self.requests.put_back(row.request, row.inputs)
        if len(batch) > 1:
            self.prompts = max(1, len(batch) // 2)
        elif self.rows:
            self.former_bound = self.former_bound or self.bound
            self._halve()
        else:
            self.runner.reset()
        self._record_out_of_memory("prefill", len(batch), error)

    def _step(self) -> Iterator[Response]:
        """Generate the next token of each row."""
        start = time.perf_counter()
        while not self.runner.fits([length + 1 for length in self.runner.lengths]):
            if len(self.rows) == 1:
                row = self.rows[0]
                raise EngineError(
                    f"{row.request.key}: the cache does not hold its prompt and "
                    f"{len(row.tokens)} tokens: raise inference.cached_tokens, or lower the "
                    "model's max_new_tokens"
                )
            self._put_back(1)
        count, lengths = len(self.rows), self.runner.lengths
        latest = torch.tensor([row.tokens[-1] for row in self.rows], device=self.model.device)
        try:
            tokens = self._sample(self.runner.step(latest), self.rows, 0)
        except torch.OutOfMemoryError as error:
            self.runner.lengths = lengths  # the step is repeated
            if count > 1:
                self._halve()
            self._record_out_of_memory("step", count, error)
            if count == 1:
                yield _out_of_memory(self.rows[0], error)
                self._keep([])
            return
        responses = self._extend(self.rows, tokens)
        self.statistics["steps"] += 1
        self.statistics["row_steps"] += count
        self.statistics["places"] += self.bound
        self.statistics["step_cache_tokens"] += sum(lengths) + count
        self.statistics["decode_tokens"] += count
        self.statistics["decode_seconds"] += time.perf_counter() - start
        yield from responses

    def _sample(self, scores: torch.Tensor, rows: list[Row], first: int) -> list[int]:
        draws = [(row.request.seed, len(row.tokens)) for row in rows]
        return self.sampler(scores, first, draws).tolist()

    def _extend(self, rows: list[Row], tokens: list[int]) -> list[Response]:
        """Add a token to each of some rows; return the responses that end with it."""
        responses = {}
        for row, token in zip(rows, tokens, strict=True):
            row.tokens.append(token)
            reason = self._finish_reason(row)
            if reason is not None:
                responses[row] = self._response(row, reason)
        if responses or rows is not self.rows:
            self._keep([i for i, row in enumerate(self.rows) if row not in responses])
        return list(responses.values())

    def _finish_reason(self, row: Row) -> str | None:
        """Return why a row ends with its last token, or None if it goes on."""
        if row.tokens[-1] in self.stop_ids:
            return "stop"
        last = len(row.tokens) == row.limit
        due = last or len(row.tokens) % CHECK_EVERY == 0
        if self.loop and due and ends_in_loop(row.tokens, **self.loop):
            return "loop"
        return "length" if last else None

    def _response(self, row: Row, reason: str) -> Response:
        return Response(
            key=row.request.key,
            text=decode(self.processor.tokenizer, row.tokens),
            finish_reason=reason,
            prompt_tokens=row.prompt_tokens,
            image_tokens=row.image_tokens,
            completion_tokens=len(row.tokens),
        )

    def _keep(self, places: Iterable[int]) -> None:
        """Drop all other rows and put these in the order in which the cache reads them."""
        order = self.runner.keep(places)
        self.sampler.reorder(order)
        self.rows = [self.rows[place] for place in order]

    def _put_back(self, count: int) -> None:
        """Put the youngest rows back before all other requests."""
        oldest_first = sorted(range(len(self.rows)), key=lambda place: self.rows[place].number)
        kept = len(self.rows) - count
        for place in reversed(oldest_first[kept:]):
            self.requests.put_back(self.rows[place].request)
        self.statistics["put_back"] += count
        self._keep(oldest_first[:kept])

    def _halve(self) -> None:
        """Halve the bound on rows after memory ran out."""
        self.bound = max(1, self.bound // 2)
        self._put_back(max(0, len(self.rows) - self.bound))
        if self.model.device.type == "cuda":
            torch.cuda.empty_cache()

    def _record_out_of_memory(self, during: str, rows: int, error: torch.OutOfMemoryError) -> None:
        event = {"during": during, "rows": rows, "bound": self.bound, "prompts": self.prompts}
        self.record["out_of_memory"].append(event | {"error": str(error)[:300]})
        self._record_computation()
        logger.warning(
            "out of memory in a %s of %d rows; from now on %d rows and %d prompts at most: %s",
            *event.values(),
            error,
        )

    def _record_computation(self) -> None:
        """Record for the rows what can change a text; in float32 on the CPU, nothing does."""
        if (self.model.device.type, self.model.dtype) != ("cpu", torch.float32):
            attention, dtype = self.record["attention"], self.record["dtype"]
            self.record["computation"] = (
                f"{attention}, decoding with {self.runner.record['attention']}, {dtype}, "
                f"at most {self.bound} rows, {self.prompts} prompts at a time"
            )


def _out_of_memory(row: Row, error: torch.OutOfMemoryError) -> Response:
    tokens = row.prompt_tokens + len(row.tokens)
    message = f"out of memory, alone, at {tokens} tokens: {error}"
    return Response(row.request.key, None, "error", error=message)


def _moved(inputs: dict, model: transformers.PreTrainedModel) -> dict:
    """Return the inputs on the model's device, the pixels in its dtype."""
    inputs = {key: value.to(model.device, non_blocking=True) for key, value in inputs.items()}
    return inputs | {"pixel_values": inputs["pixel_values"].to(model.dtype)}


def collate(rows: list[dict], padding: int) -> dict[str, torch.Tensor]:
    """Join encoded conversations to one batch, left-padded with this token.

    Of each, `inference.chat.encode` returns tensors of shape (1, tokens), which become (rows,
    longest), and others whose first dimension counts images or patches, which are concatenated.
    """
    batch = {}
    for key in rows[0]:
        tensors = [row[key] for row in rows]
        if key in _PER_TOKEN:
            fill = padding if key == "input_ids" else 0
            batch[key] = pad_sequence([t[0] for t in tensors], True, fill, padding_side="left")
        else:
            batch[key] = torch.cat(tensors)
    return batch
