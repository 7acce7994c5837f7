"""Windows of an embedding model: the first tokens of a text, or all of them window by window."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel, PreTrainedTokenizerBase

FIRST, ALL = "first", "all"


@dataclass(frozen=True)
class Windowed:
    """Texts cut into windows.

    Attributes
    ----------
    inputs
        Token ids of each distinct window, special tokens included.
    tokens
        Number of tokens of each of `inputs`, without special tokens; shape (inputs,).
    rows
        For each text, the places of its windows in `inputs`, in order; at least one.
    seen
        For each text, the share of its tokens inside its windows, 1 for a text without tokens;
        shape (n,), in (0, 1].
    """

    inputs: list[list[int]]
    tokens: np.ndarray
    rows: list[list[int]]
    seen: np.ndarray


def cut(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_tokens: int, windows: str
) -> Windowed:
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
    before, after = special_tokens(tokenizer)
    size = max_tokens - len(before) - len(after)
    if size < 1:
        raise ValueError(
            f"max_tokens is {max_tokens}, all of which {type(tokenizer).__name__} needs for its "
            "special tokens: increase it"
        )
    distinct: dict[tuple[int, ...], int] = {}
    rows, seen = [], []
    for ids in _token_ids(tokenizer, texts):
        end = size if windows == FIRST else max(len(ids), 1)
        pieces = [tuple(ids[start : start + size]) for start in range(0, end, size)]
        rows.append([distinct.setdefault(piece, len(distinct)) for piece in pieces])
        seen.append(min(end, len(ids)) / len(ids) if ids else 1.0)
    return Windowed(
        inputs=[[*before, *piece, *after] for piece in distinct],
        tokens=np.array([len(piece) for piece in distinct], dtype=np.int64),
        rows=rows,
        seen=np.array(seen, dtype=np.float64),
    )


def special_tokens(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """Return the ids of the special tokens before and after a text."""
    probe = tokenizer("a", return_special_tokens_mask=True)
    ids, mask = list(probe["input_ids"]), list(probe["special_tokens_mask"])
    return ids[: mask.index(0)], ids[len(mask) - mask[::-1].index(0) :]


def _token_ids(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    """Return all token ids of each text, without special tokens around it."""
    if not texts:
        return []
    return tokenizer(
        list(texts),
        add_special_tokens=False,
        truncation=False,
        return_attention_mask=False,
        return_token_type_ids=False,
        verbose=False,  # no warning of texts that are longer than the model's window
    )["input_ids"]


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


def batches(inputs: Sequence[Sequence[int]], size: int) -> Iterator[list[int]]:
    """Yield the places of inputs, longest first, `size` at a time, to minimise padding."""
    order = sorted(range(len(inputs)), key=lambda row: len(inputs[row]), reverse=True)
    for start in range(0, len(order), size):
        yield order[start : start + size]


def padded(inputs: Sequence[Sequence[int]], padding: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return token ids and attention mask of inputs; both int64 of shape (inputs, longest)."""
    rows = [torch.tensor(ids) for ids in inputs]
    mask = [torch.ones_like(row) for row in rows]
    return pad_sequence(rows, True, padding), pad_sequence(mask, True)
