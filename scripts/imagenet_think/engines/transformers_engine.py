"""Generation with transformers: left-padded batches on one device."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from PIL import Image
from transformers import LogitsProcessorList
from transformers.utils import is_flash_attn_2_available

from imagenet_think.chat import encode, first_conversation
from imagenet_think.engines import Request, Response
from imagenet_think.loops import is_loop
from imagenet_think.sampling import RowSampler

# What a processor gives token by token, and the value that stands for padding; all else is pixels
# and their grids, of which every image of the batch has its own rows.
_PADDED = {"input_ids": None, "attention_mask": 0, "mm_token_type_ids": 0}


@dataclass(frozen=True)
class Hardware:
    """Where and how a model runs: torch's device and dtype, transformers' attention, by name."""

    device: str
    dtype: str
    attention: str

    @property
    def torch_dtype(self) -> torch.dtype:
        """The dtype itself."""
        return getattr(torch, self.dtype)


def choose_hardware(inference: dict) -> Hardware:
    """Turn the `auto` of the inference settings into what is there, before any model is loaded.

    Parameters
    ----------
    inference
        `device` (auto: CUDA if there is one), `dtype` (auto: bfloat16 on CUDA, float32 elsewhere)
        and `attention` (auto: flash_attention_2 on CUDA where flash-attn is installed and the dtype
        allows it, sdpa elsewhere).

    Raises
    ------
    ValueError
        If a setting that is not `auto` cannot be had.
    """
    device = inference["device"]
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    cuda = torch.device(device).type == "cuda"
    if cuda and not torch.cuda.is_available():
        raise ValueError(f"inference.device is {device}, but torch sees no CUDA device")
    dtype = inference["dtype"]
    if dtype == "auto":
        dtype = "bfloat16" if cuda else "float32"
    if dtype not in ("float32", "bfloat16", "float16"):
        raise ValueError(
            f"inference.dtype is {dtype!r}; known are auto, float32, bfloat16, float16"
        )
    lacking = _flash_lacks(cuda, dtype)
    attention = inference["attention"]
    if attention == "auto":
        attention = "sdpa" if lacking else "flash_attention_2"
    elif attention == "flash_attention_2" and lacking:
        raise ValueError(
            f"inference.attention is flash_attention_2, but {lacking}: "
            "set it to auto or sdpa, or provide what it needs"
        )
    elif attention not in ("flash_attention_2", "sdpa", "eager"):
        raise ValueError(
            f"inference.attention is {attention!r}; known are auto, flash_attention_2, sdpa, eager"
        )
    return Hardware(device, dtype, attention)


def _flash_lacks(cuda: bool, dtype: str) -> str | None:
    """Return what FlashAttention-2 would need and is not there."""
    if not cuda:
        return "the device is not a CUDA device"
    if dtype == "float32":
        return "the dtype is float32, not bfloat16 or float16"
    if not is_flash_attn_2_available():
        return "the package flash-attn is not installed"
    return None


@torch.inference_mode()
def check_sight(model, processor) -> None:
    """Check that a model sees its images: that two of them give different next-token scores.

    Images have been dropped without an error on the way into a model, and its text was fluent.

    Raises
    ------
    ValueError
        If a gray and a shaded image give the same scores.
    """
    gray = Image.new("RGB", (224, 224), (128, 128, 128))
    shaded = Image.linear_gradient("L").resize((224, 224)).convert("RGB")
    scores = []
    for image in (gray, shaded):
        inputs = encode(processor, first_conversation(image, "Describe the image.", {}))
        scores.append(model(**_placed(inputs, model), logits_to_keep=1).logits)
    if torch.equal(*scores):
        raise ValueError(
            f"{type(model).__name__} answers a gray and a shaded image alike: it is blind"
        )


def _placed(inputs: dict, model) -> dict:
    """Return the inputs on the model's device, the pixels in its dtype."""
    inputs = {key: value.to(model.device) for key, value in inputs.items()}
    return inputs | {"pixel_values": inputs["pixel_values"].to(model.dtype)}


def device_name(device: str) -> str:
    """Return what the device is, in words: the GPU's name, or `cpu`."""
    return torch.cuda.get_device_name(device) if torch.device(device).type == "cuda" else device


class TransformersEngine:
    """Generates batch by batch: a batch is done when its last row is.

    In float32 on the CPU the greedy text of a row is the one it would have alone.

    Parameters
    ----------
    model, processor
        From a family's loaders.
    decoding
        `max_new_tokens`, and what `imagenet_think.sampling.RowSampler` takes. Nothing is added from
        the checkpoint's own generation settings.
    stop_ids
        Tokens that end a row.
    batch_size
        Rows generated at once.
    """

    def __init__(self, model, processor, *, decoding: dict, stop_ids: list[int], batch_size: int):
        self.model = model
        self.processor = processor
        self.decoding = decoding
        self.stop_ids = stop_ids
        self.batch_size = batch_size

    def generate(self, requests: Iterable[Request]) -> Iterator[Response]:
        """Yield a response for each request, one with an error where it cannot be encoded."""
        requests = iter(requests)
        while batch := list(islice(requests, self.batch_size)):
            encoded = []
            for request in batch:
                try:
                    encoded.append((request, encode(self.processor, request.messages)))
                except ValueError as error:
                    yield Response(request.key, None, "error", error=str(error))
            if encoded:
                yield from self._generate_batch(encoded)

    @torch.inference_mode()
    def _generate_batch(self, encoded: list[tuple[Request, dict]]) -> list[Response]:
        padding = self.model.generation_config.pad_token_id
        inputs = _placed(collate([row for _, row in encoded], padding), self.model)
        sampler = RowSampler(
            self.decoding,
            [request.seed for request, _ in encoded],
            inputs["input_ids"],
            inputs["attention_mask"],
        )
        sequences = self.model.generate(
            **inputs,
            logits_processor=LogitsProcessorList([sampler]),
            max_new_tokens=self.decoding["max_new_tokens"],
            do_sample=False,
            eos_token_id=self.stop_ids,
            pad_token_id=padding,
        )
        generated = sequences[:, inputs["input_ids"].shape[1] :].tolist()
        return [
            self._response(request, row["input_ids"], tokens)
            for (request, row), tokens in zip(encoded, generated, strict=True)
        ]

    def _response(self, request: Request, prompt: torch.Tensor, tokens: list[int]) -> Response:
        """Return the response of a row: its tokens up to the first end token."""
        end = next((i for i, token in enumerate(tokens) if token in self.stop_ids), None)
        if end is not None:
            tokens, reason = tokens[: end + 1], "stop"
        else:
            reason = "loop" if is_loop(tokens) else "length"
        text = self.processor.tokenizer.decode(
            tokens, skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        return Response(
            key=request.key,
            text=text,
            finish_reason=reason,
            prompt_tokens=prompt.shape[1],
            image_tokens=int((prompt == self.processor.image_token_id).sum()),
            completion_tokens=len(tokens),
        )


def collate(rows: list[dict], padding: int) -> dict[str, torch.Tensor]:
    """Join encoded conversations to one batch, padded at the left.

    Parameters
    ----------
    rows
        Each as from `imagenet_think.chat.encode`: token-wise tensors of shape (1, tokens), others
        with a first dimension that counts images or patches.
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
