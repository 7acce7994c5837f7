"""BERTScore with bert-score's definitions, each distinct input embedded once."""

from collections.abc import Sequence
from dataclasses import dataclass
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

from imagenet_think.core.model_sources import pretrained
from imagenet_think.metrics.precision import FLOAT32, arithmetic, check_precision, reporting
from imagenet_think.metrics.score_function import ScoreFunction
from imagenet_think.metrics.truncation import (
    FIRST,
    Windowed,
    batch_size_on,
    batches,
    check_max_tokens,
    cut,
    padded,
)

# Tokens of a text that are compared at once with so many of another: what bounds the memory that
# the similarities of two very long texts take.
TILE = 1024


def load_tokenizer(path: str, revision: str | None = None) -> PreTrainedTokenizerBase:
    """Load a tokenizer that treats a text's first word as bert-score means to.

    For RoBERTa and GPT-2 bert-score asks for a space before the first word when it encodes, a
    request that transformers 5 ignores without a word; here the tokenizer is built with it.
    """
    tokenizer = AutoTokenizer.from_pretrained(path, revision=revision)
    if isinstance(tokenizer, (RobertaTokenizer, GPT2Tokenizer)):
        tokenizer = AutoTokenizer.from_pretrained(path, revision=revision, add_prefix_space=True)
    return tokenizer


def load_model(path: str, layer: int, revision: str | None = None) -> PreTrainedModel:
    """Load the first `layer` layers of an encoder, with weights in fp32.

    Raises
    ------
    ValueError
        If the encoder has fewer layers, or the checkpoint is not an encoder alone.
    """
    config = AutoConfig.from_pretrained(path, revision=revision)
    if config.is_encoder_decoder:
        raise ValueError(
            f"bertscore.repository: {path} has an encoder and a decoder: choose an encoder alone"
        )
    available = config.num_hidden_layers
    if not 1 <= layer <= available:
        raise ValueError(f"bertscore.layer is {layer}, but {path} has layers 1 to {available}")
    # The layers above are not built; their weights are reported as unexpected when loading.
    return AutoModel.from_pretrained(
        path, revision=revision, num_hidden_layers=layer, dtype=torch.float32
    ).eval()


def load(*, repository: str, revision: str | None, **settings: Any) -> ScoreFunction:
    """Return the function that scores pairs; `settings` are those of `BertScore`."""
    # Sums of several threads depend on their number; jobs run in parallel instead.
    torch.set_num_threads(1)
    path, commit = pretrained(repository, revision)
    return reporting(BertScore(path, revision=commit, **settings))


class BertScore:
    """BERTScore (Zhang et al., 2019) without idf weights and without rescaling.

    Equal to bert-score 0.3.13 called pair by pair. Where the library is given several pairs at
    once it pads the shorter texts, and padding has a similarity of 0: a token whose cosines are all
    negative then counts 0, unless the other text is the longest of its side of the batch. Here a
    pair's score is its own, and no similarity is cut off at 0. The two ways differ for texts of a
    word or two (by up to 0.001 with MiniLM); in a longer text every token resembles some token.

    Parameters
    ----------
    path
        What `from_pretrained` takes.
    revision
        Commit on the hub, or None.
    layer
        Whose output the embeddings are.
    max_tokens
        Tokens of a window, special tokens included.
    batch_size
        Inputs embedded, and pairs matched, at once on a GPU; on a CPU it is always one.
    windows
        `first`: the rest of a text is not seen, as bert-score does. `all`: each window of a text
        is embedded by itself, and the tokens of all windows are matched.
    precision
        Of the encoder; see `imagenet_think.metrics.precision.arithmetic`. Tokens are matched in
        float32.
    device
        "cpu", "cuda", or None for a GPU if there is one.

    Raises
    ------
    ValueError
        If the model's window is smaller than `max_tokens`, it has fewer layers or is not an
        encoder alone, or the device does not compute in `precision`.
    """

    def __init__(
        self,
        path: str,
        *,
        layer: int,
        max_tokens: int,
        batch_size: int,
        revision: str | None = None,
        windows: str = FIRST,
        precision: str = FLOAT32,
        device: str | None = None,
    ) -> None:
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        check_precision("bertscore", precision, self.device)
        self.tokenizer = load_tokenizer(path, revision)
        self.model = load_model(path, layer, revision).to(self.device)
        check_max_tokens("bertscore", max_tokens, path, self.model, self.tokenizer)
        self.max_tokens = max_tokens
        self.batch_size = batch_size_on(self.device, batch_size)
        self.windows = windows
        self.precision = precision

    @torch.inference_mode()
    def __call__(
        self, candidates: Sequence[str], references: Sequence[str]
    ) -> dict[str, np.ndarray]:
        """Score pairs of texts.

        Embeddings of all texts are held at once, 4 bytes a token and dimension, and none beyond
        the call: give some dozen images' pairs at a time.

        Returns
        -------
        dict
            `precision`, `recall` and `f1`, from cosines: not clipped, at most 1 and not bounded by
            0; `seen_candidate` and `seen_reference`, the share of each text's tokens inside its
            windows; float64 of shape (n,). A text without a token scores 0.
        """
        texts = list(dict.fromkeys([*candidates, *references]))
        place = {text: row for row, text in enumerate(texts)}
        windowed = cut(
            self.tokenizer, [text.strip() for text in texts], self.max_tokens, self.windows
        )
        embedded = self.embed(windowed)
        first = np.array([place[text] for text in candidates], dtype=np.int64)
        second = np.array([place[text] for text in references], dtype=np.int64)
        with arithmetic(FLOAT32, self.device):
            precision, recall = match(embedded, first, second, self.batch_size)
        total = precision + recall
        return {
            "precision": precision,
            "recall": recall,
            "f1": np.divide(
                2 * precision * recall, total, out=np.zeros_like(total), where=total != 0
            ),
            "seen_candidate": windowed.seen[first],
            "seen_reference": windowed.seen[second],
        }

    @torch.inference_mode()
    def embed(self, windowed: Windowed) -> "Embedded":
        """Embed every distinct input once."""
        inputs = windowed.inputs
        grouped = list(batches(inputs, self.batch_size))
        rows = sum(len(group) * len(inputs[group[0]]) for group in grouped)
        embeddings = torch.empty(rows, self.model.config.hidden_size, device=self.device)
        weights = np.zeros(rows, dtype=np.float32)
        # By id, as in bert-score: also inside a text a special token weighs nothing.
        named = {self.tokenizer.cls_token_id, self.tokenizer.sep_token_id} - {None}
        weightless = torch.tensor(sorted(named), dtype=torch.int64)
        places: dict[int, np.ndarray] = {}
        end = 0
        with arithmetic(self.precision, self.device):
            for group in grouped:
                ids, mask = padded([inputs[row] for row in group], self.tokenizer.pad_token_id)
                output = self.model(ids.to(self.device), attention_mask=mask.to(self.device))[0]
                # The batch as it is, padding included, which no text refers to.
                start, end = end, end + ids.numel()
                embeddings[start:end] = normalize(output.float(), dim=-1).flatten(0, 1)
                weights[start:end] = (mask.bool() & ~torch.isin(ids, weightless)).flatten().numpy()
                for place, row in enumerate(group):
                    places[row] = start + place * ids.shape[1] + np.arange(len(inputs[row]))
        texts = [np.concatenate([places[row] for row in text]) for text in windowed.rows]
        return Embedded(embeddings, weights, texts)


@dataclass(frozen=True)
class Embedded:
    """Tokens of texts as vectors.

    Attributes
    ----------
    embeddings
        Unit vectors, in fp32 on the encoder's device; shape (tokens, dimensions).
    weights
        Of each token in its text's mean, 0 or 1: special tokens weigh nothing, but other tokens
        may be matched to them; shape (tokens,).
    texts
        Which tokens each text consists of.
    """

    embeddings: torch.Tensor
    weights: np.ndarray
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
        reference's; float64 of shape (n,). Both are 0 where one of the texts has no token that
        weighs.
    """
    lengths = np.array([len(text) for text in embedded.texts], dtype=np.int64)
    longest = np.maximum(lengths[first], lengths[second])
    order = np.argsort(-longest, kind="stable")
    # A very long text is matched alone: it would pad all others of its batch.
    alone = int((longest > tile).sum())
    batched = range(alone, len(order), batch_size)
    groups = [*order[:alone, None], *(order[k : k + batch_size] for k in batched)]
    means = [_match(embedded, first[pairs], second[pairs], tile) for pairs in groups]
    scores = np.zeros((2, len(first)))
    if means:
        scores[:, order] = torch.cat(means, dim=1).double().cpu().numpy()
    return scores[0], scores[1]


def _match(embedded: Embedded, first: np.ndarray, second: np.ndarray, tile: int) -> torch.Tensor:
    """Return precision and recall of some pairs, on the device; shape (2, pairs)."""
    embeddings = embedded.embeddings
    sides = [_gathered(embedded, texts) for texts in (first, second)]
    a, b = (torch.from_numpy(tokens).to(embeddings.device) for tokens, _ in sides)
    best_a, best_b = (
        torch.full(tokens.shape, -torch.inf, device=embeddings.device) for tokens in (a, b)
    )
    for i in range(0, a.shape[1], tile):
        rows = embeddings[a[:, i : i + tile]]
        for j in range(0, b.shape[1], tile):
            similarities = torch.bmm(rows, embeddings[b[:, j : j + tile]].mT)
            for best, greatest in (
                (best_a[:, i : i + tile], similarities.amax(2)),
                (best_b[:, j : j + tile], similarities.amax(1)),
            ):
                torch.maximum(best, greatest, out=best)
    weights = [torch.from_numpy(weight).to(embeddings.device) for _, weight in sides]
    means = torch.stack(
        [
            (best * weight).sum(1) / weight.sum(1).clamp(min=1)
            for best, weight in zip((best_a, best_b), weights, strict=True)
        ]
    )
    weigh = torch.stack([weight.any(1) for weight in weights]).all(0)
    return torch.where(weigh, means, 0.0)


def _gathered(embedded: Embedded, texts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the tokens of texts and their weights; both of shape (texts, longest).

    The last token stands in for padding: a copy of a token changes no greatest similarity.
    """
    rows = [embedded.texts[text] for text in texts]
    lengths = np.array([len(row) for row in rows])
    column = np.arange(lengths.max())
    starts = np.cumsum(lengths) - lengths
    padded_columns = np.minimum(column, lengths[:, None] - 1)
    tokens = np.concatenate(rows)[starts[:, None] + padded_columns]
    return tokens, embedded.weights[tokens] * (column < lengths[:, None])
