"""BERTScore as bert-score defines it, with each distinct window embedded once."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, starmap
from typing import Any

import numpy as np
import torch
from torch.nn.functional import normalize
from transformers import (
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    GPT2Tokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    RobertaTokenizer,
)

from imagenet_think.metrics.encoder import Encoder
from imagenet_think.metrics.precision import FLOAT32, arithmetic
from imagenet_think.metrics.truncation import Windowed, batches, check_max_tokens

TILE = 1024
"""Tokens of a text that are compared at once with as many of another: bounds the memory that the
similarities of two very long texts take."""


def load_tokenizer(path: str, revision: str | None = None) -> PreTrainedTokenizerBase:
    """Load a tokenizer that treats a text's first word as bert-score intends.

    For RoBERTa and GPT-2, bert-score requests a space before the first word when it encodes, which
    transformers 5 silently ignores; here the tokenizer is built with it.
    """
    tokenizer = AutoTokenizer.from_pretrained(path, revision=revision)
    if isinstance(tokenizer, (RobertaTokenizer, GPT2Tokenizer)):
        tokenizer = AutoTokenizer.from_pretrained(path, revision=revision, add_prefix_space=True)
    return tokenizer


def load_model(path: str, layer: int, revision: str | None = None) -> PreTrainedModel:
    """Load the first `layer` layers of an encoder, with weights in fp32."""
    config = AutoConfig.from_pretrained(path, revision=revision)
    if config.is_encoder_decoder:
        raise ValueError(
            f"bertscore.repository: {path} has a decoder: choose a checkpoint with only an encoder"
        )
    available = config.num_hidden_layers
    if not 1 <= layer <= available:
        raise ValueError(f"bertscore.layer is {layer}, but {path} has layers 1 to {available}")
    # Higher layers are not built; loading reports their weights as unexpected.
    return AutoModel.from_pretrained(
        path, revision=revision, num_hidden_layers=layer, dtype=torch.float32
    ).eval()


class BertScore(Encoder):
    """BERTScore (Zhang et al., 2019) without idf weights and without rescaling, see `Encoder`.

    Equal to bert-score 0.3.13 called with one pair at a time. Given several pairs at once, the
    library pads the shorter texts, and padding has a similarity of 0: a token whose cosines are all
    negative then counts 0, unless the other text is the longest on its side of the batch. Here a
    score depends only on its own pair, and no similarity is clipped at 0. The difference shows in
    texts of one or two words (by up to 0.001 with MiniLM); in a longer text every token resembles
    some token.

    Its columns `precision`, `recall` and `f1` are of cosines: at most 1 and not bounded by 0. A
    text without a token scores 0. With all windows, the tokens of all windows are matched.

    Parameters
    ----------
    layer
        The layer whose output the embeddings are.
    path, settings
        See `Encoder`. Tokens are matched in float32; `batch_size` also bounds the pairs matched at
        once.
    """

    section = "bertscore"

    def __init__(self, path: str, *, layer: int, **settings: Any) -> None:
        self.layer = layer
        super().__init__(path, **settings)

    def _load(self, path: str, revision: str | None) -> PreTrainedTokenizerBase:
        tokenizer = load_tokenizer(path, revision)
        self.model = load_model(path, self.layer, revision)
        torch.nn.Module.to(self.model, self.device)
        check_max_tokens(self.section, self.max_tokens, path, self.model, tokenizer)
        return tokenizer

    def _cut(self, texts: Sequence[str]) -> Windowed:
        return super()._cut([text.strip() for text in texts])

    def _forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.model(ids, attention_mask=mask)[0]

    def _compare(
        self, windowed: Windowed, first: np.ndarray, second: np.ndarray
    ) -> dict[str, np.ndarray]:
        embedded = self.embed(windowed)
        with arithmetic(FLOAT32, self.device):
            precision, recall = match(embedded, first, second, self.batch_size)
        total = precision + recall
        f1 = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total != 0)
        return {"precision": precision, "recall": recall, "f1": f1}

    @torch.inference_mode()
    def embed(self, windowed: Windowed) -> "Embedded":
        """Embed every distinct window once."""
        inputs = windowed.inputs
        size = sum(len(g) * len(inputs[g[0]]) for g in batches(inputs, self.batch_size))
        embeddings = torch.empty(size, self.model.config.hidden_size, device=self.device)
        weights = torch.zeros(size)
        # By id, as in bert-score: a special token inside a text also has weight 0.
        special = {self.tokenizer.cls_token_id, self.tokenizer.sep_token_id} - {None}
        weightless = torch.tensor(sorted(special), dtype=torch.int64)
        places: dict[int, np.ndarray] = {}
        end = 0
        for rows, ids, mask, output in self._outputs(inputs):
            # The whole batch, including padding, which no text refers to.
            start, end = end, end + ids.numel()
            embeddings[start:end] = normalize(output.float(), dim=-1).flatten(0, 1)
            weights[start:end] = (mask.bool() & ~torch.isin(ids, weightless)).flatten()
            for place, row in enumerate(rows):
                places[row] = start + place * ids.shape[1] + np.arange(len(inputs[row]))
        texts = [np.concatenate([places[row] for row in text]) for text in windowed.rows]
        return Embedded(embeddings, weights.to(self.device), texts)


load = BertScore.load


@dataclass(frozen=True)
class Embedded:
    """Tokens of texts as vectors, in fp32 on the encoder's device.

    Attributes
    ----------
    embeddings
        Unit vectors; shape (tokens, dimensions).
    weights
        Of each token in its text's mean, 0 or 1: special tokens have weight 0, but other tokens
        may be matched to them; shape (tokens,).
    texts
        The tokens that each text consists of.
    """

    embeddings: torch.Tensor
    weights: torch.Tensor
    texts: list[np.ndarray]


def match(
    embedded: Embedded, first: np.ndarray, second: np.ndarray, batch_size: int, tile: int = TILE
) -> tuple[np.ndarray, np.ndarray]:
    """Match every token with the most similar one of the other text, as bert-score does.

    Parameters
    ----------
    embedded
        All texts' tokens.
    first, second
        Places of the candidates and of the references among the texts; shape (n,).
    batch_size
        Pairs matched at once, unless one of the texts has more than `tile` tokens.
    tile
        Tokens of each text matched at once: at most `batch_size * tile**2` similarities are held.

    Returns
    -------
    tuple
        Precision, the mean of the candidate's greatest similarities, and recall, that of the
        reference's; float64 of shape (n,). Both are 0 where all tokens of one of the texts have
        weight 0.
    """
    if not len(first):
        return np.zeros(0), np.zeros(0)
    lengths = np.array([len(text) for text in embedded.texts], dtype=np.int64)
    order = np.argsort(-np.maximum(lengths[first], lengths[second]), kind="stable")
    pairs = np.stack([first, second])[:, order]
    sizes = lengths[pairs]
    # A very long text is matched by itself: it would pad all others of its batch.
    alone = int((sizes.max(axis=0) > tile).sum())
    begins = [*range(alone), *range(alone, len(order), batch_size), len(order)]
    # The device gathers the tokens, so that it need not wait for the host batch by batch.
    device = embedded.weights.device
    tokens = torch.from_numpy(np.concatenate(embedded.texts)).to(device)
    spans = torch.from_numpy(np.stack([(np.cumsum(lengths) - lengths)[pairs], sizes])).to(device)
    means = []
    for batch in starmap(slice, pairwise(begins)):
        longest = sizes[:, batch].max(axis=1).tolist()
        one, other = (
            _gathered(embedded, tokens, spans[0, side, batch], spans[1, side, batch], size)
            for side, size in enumerate(longest)
        )
        means.append(_match(embedded.embeddings, one, other, tile))
    scores = np.empty((2, len(first)))
    scores[:, order] = torch.cat(means, dim=1).double().cpu().numpy()
    return scores[0], scores[1]


Side = tuple[torch.Tensor, torch.Tensor]
"""Tokens of texts, as places among the embeddings, and their weights; shape (texts, longest)."""


def _match(embeddings: torch.Tensor, first: Side, second: Side, tile: int) -> torch.Tensor:
    """Return precision and recall of some pairs, on the device; shape (2, pairs)."""
    (a, weight_a), (b, weight_b) = first, second
    best_a, best_b = (torch.full_like(weight, -torch.inf) for weight in (weight_a, weight_b))
    for i in range(0, a.shape[1], tile):
        rows = embeddings[a[:, i : i + tile]]
        for j in range(0, b.shape[1], tile):
            similarities = torch.bmm(rows, embeddings[b[:, j : j + tile]].mT)
            for best, greatest in (
                (best_a[:, i : i + tile], similarities.amax(2)),
                (best_b[:, j : j + tile], similarities.amax(1)),
            ):
                torch.maximum(best, greatest, out=best)
    sides = ((best_a, weight_a), (best_b, weight_b))
    means = [(best * weight).sum(1) / weight.sum(1).clamp(min=1) for best, weight in sides]
    return torch.where(weight_a.any(1) & weight_b.any(1), torch.stack(means), 0.0)


def _gathered(
    embedded: Embedded,
    tokens: torch.Tensor,
    starts: torch.Tensor,
    lengths: torch.Tensor,
    longest: int,
) -> Side:
    """Return texts' tokens, given where in `tokens` each text starts, and how many it has.

    Rows are padded with their last token: a copy of a token changes no greatest similarity.
    """
    column = torch.arange(longest, device=tokens.device)
    last = lengths[:, None] - 1
    places = tokens[starts[:, None] + torch.minimum(column, last)]
    return places, embedded.weights[places] * (column <= last)
