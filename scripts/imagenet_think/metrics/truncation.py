"""Windows of an embedding model: the first tokens of a text, or all of them window by window."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from imagenet_think.metrics.subwords import Subwords

FIRST, ALL = "first", "all"


@dataclass(frozen=True)
class Windowed:
    """Texts cut into windows.

    Attributes
    ----------
    inputs
        Token ids of each distinct window, special tokens included; int64 of shape (tokens,).
    tokens
        Number of tokens of each of `inputs`, without special tokens; shape (inputs,).
    rows
        For each text, the places of its windows in `inputs`, in order; at least one.
    seen
        For each text, the share of its tokens inside its windows, 1 for a text without tokens;
        shape (n,), in (0, 1].
    """

    inputs: list[np.ndarray]
    tokens: np.ndarray
    rows: list[list[int]]
    seen: np.ndarray


def cut(subwords: Subwords, texts: Sequence[str], max_tokens: int, windows: str) -> Windowed:
    """Tokenize texts once and cut them into windows of `max_tokens`, special tokens included.

    Special tokens are added to every window, so that the first one is equal to the tokenizer's own
    truncation; an empty text is a window of special tokens. Equal windows are one input: long texts
    that begin with the same tokens share their first windows (mostly a full output and its
    thinking). `windows` is `first` for only the first window of a text, or `all`, without overlap.

    Raises
    ------
    ValueError
        If a window has no room besides the special tokens.
    """
    before, after = special_tokens(subwords.tokenizer)
    size = max_tokens - len(before) - len(after)
    if size < 1:
        raise ValueError(
            f"max_tokens is {max_tokens}, all of which {type(subwords.tokenizer).__name__} needs "
            "for its special tokens: increase it"
        )
    ids, starts = subwords(texts)
    lengths = np.diff(starts)
    distinct: dict[bytes, int] = {}
    rows = []
    for start, length in zip(starts.tolist(), lengths.tolist(), strict=False):
        end = start + (min(length, size) if windows == FIRST else length)
        pieces = [ids[k : min(k + size, end)] for k in range(start, max(end, start + 1), size)]
        rows.append([distinct.setdefault(piece.tobytes(), len(distinct)) for piece in pieces])
    inputs = [np.frombuffer(piece, dtype=np.int64) for piece in distinct]
    room = np.minimum(lengths, size) if windows == FIRST else lengths
    return Windowed(
        inputs=[np.concatenate([before, piece, after]) for piece in inputs],
        tokens=np.array([len(piece) for piece in inputs], dtype=np.int64),
        rows=rows,
        seen=np.divide(room, lengths, out=np.ones(len(lengths)), where=lengths > 0),
    )


def special_tokens(tokenizer: PreTrainedTokenizerBase) -> tuple[np.ndarray, np.ndarray]:
    """Return the ids of the special tokens before and after a text, int64."""
    probe = tokenizer("a", return_special_tokens_mask=True)
    ids = np.array(probe["input_ids"], dtype=np.int64)
    text = np.flatnonzero(np.array(probe["special_tokens_mask"]) == 0)
    return ids[: text[0]], ids[text[-1] + 1 :]


def check_max_tokens(
    metric: str,
    max_tokens: int,
    path: str,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase | None = None,
) -> None:
    """Raise a ValueError if a model, or the tokenizer given, has no room for `max_tokens` tokens.

    `metric` (a section of the config) and `path` are for the message. Many tokenizers name no
    limit, which reads as 1e30.
    """
    limits = [positions(model)]
    if tokenizer is not None:
        limits.append(tokenizer.model_max_length)
    room = min((limit for limit in limits if limit is not None), default=None)
    if room is not None and max_tokens > room:
        raise ValueError(
            f"{metric}.max_tokens is {max_tokens}, but {path} takes {room} tokens: set it to that "
            "or less"
        )


def positions(model: PreTrainedModel) -> int | None:
    """Return the number of tokens that an encoder has positions for; None if it is unknown.

    RoBERTa numbers positions from the padding's index on, and its config counts that many more.
    """
    table = getattr(getattr(model, "embeddings", None), "position_embeddings", None)
    if isinstance(table, torch.nn.Embedding):
        return table.num_embeddings - (0 if table.padding_idx is None else table.padding_idx + 1)
    named = getattr(model.config, "max_position_embeddings", None)
    return named if named is not None and named > 0 else None


def batches(inputs: Sequence[np.ndarray], size: int) -> Iterator[list[int]]:
    """Yield the places of inputs, longest first, `size` at a time, to minimise padding."""
    order = sorted(range(len(inputs)), key=lambda row: len(inputs[row]), reverse=True)
    for start in range(0, len(order), size):
        yield order[start : start + size]


def padded(inputs: Sequence[np.ndarray], padding: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return token ids and attention mask of inputs; both int64 of shape (inputs, longest)."""
    lengths = np.array([len(ids) for ids in inputs])
    mask = np.arange(lengths.max()) < lengths[:, None]
    ids = np.full(mask.shape, padding, dtype=np.int64)
    ids[mask] = np.concatenate(inputs)
    return torch.from_numpy(ids), torch.from_numpy(mask.astype(np.int64))
