"""BERTScore with bert-score's definitions and matching, each distinct input embedded once."""

from collections.abc import Sequence

import numpy as np
import torch
from bert_score.utils import greedy_cos_idf
from torch.nn.utils.rnn import pad_sequence
from transformers import (
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    GPT2Tokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    RobertaTokenizer,
)

from imagenet_think.windows import window


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
    """Load the first `layer` layers of an encoder in fp32.

    Raises
    ------
    ValueError
        If the encoder has fewer layers.
    """
    available = AutoConfig.from_pretrained(path, revision=revision).num_hidden_layers
    if not 1 <= layer <= available:
        raise ValueError(f"bertscore.layer is {layer}, but {path} has layers 1 to {available}")
    # The layers above are not built; their weights are reported as unexpected when loading.
    return AutoModel.from_pretrained(
        path, revision=revision, num_hidden_layers=layer, dtype=torch.float32
    ).eval()


class BertScore:
    """BERTScore (Zhang et al., 2019) without idf weights and without rescaling, in fp32.

    Parameters
    ----------
    path
        What `from_pretrained` takes.
    revision
        Commit on the hub, or None.
    layer
        Whose output the embeddings are.
    max_tokens
        Tokens that are embedded, special tokens included; the rest of a text is not seen.
    batch_size
        Inputs embedded, and pairs matched, at once.
    device
        "cpu", "cuda", or None for a GPU if there is one.

    Raises
    ------
    ValueError
        If the model's window is smaller than `max_tokens`, or it has fewer layers.
    """

    def __init__(
        self,
        path: str,
        *,
        layer: int,
        max_tokens: int,
        batch_size: int,
        revision: str | None = None,
        device: str | None = None,
    ) -> None:
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.tokenizer = load_tokenizer(path, revision)
        if max_tokens > self.tokenizer.model_max_length:
            raise ValueError(
                f"bertscore.max_tokens is {max_tokens}, but {path} takes "
                f"{self.tokenizer.model_max_length} tokens"
            )
        self.model = load_model(path, layer, revision).to(self.device)
        self.max_tokens = max_tokens
        self.batch_size = batch_size

    @torch.inference_mode()
    def __call__(
        self, candidates: Sequence[str], references: Sequence[str]
    ) -> dict[str, np.ndarray]:
        """Score pairs of texts.

        Embeddings of all texts are held at once: give some dozen images' pairs at a time.

        Returns
        -------
        dict
            `precision`, `recall` and `f1`, cosines: not clipped, at most 1 and not bounded by 0;
            `seen_candidate` and `seen_reference`, the share of each text's tokens inside the
            window; float64 of shape (n,). A text without a token scores 0.
        """
        texts = list(dict.fromkeys([*candidates, *references]))
        place = {text: row for row, text in enumerate(texts)}
        inputs = window(self.tokenizer, [text.strip() for text in texts], self.max_tokens)
        embeddings = self._embed(inputs.ids)
        first = np.array([place[text] for text in candidates], dtype=np.int64)
        second = np.array([place[text] for text in references], dtype=np.int64)
        special = len(self.tokenizer("").input_ids)
        empty = np.array([len(ids) <= special for ids in inputs.ids], dtype=bool)
        a, b = inputs.rows[first], inputs.rows[second]
        scores = np.zeros((len(a), 3))
        scored = np.flatnonzero(~(empty[a] | empty[b])) if len(a) else np.zeros(0, dtype=np.int64)
        for start in range(0, len(scored), self.batch_size):
            batch = scored[start : start + self.batch_size]
            scores[batch] = self._match(
                [embeddings[row] for row in a[batch]], [embeddings[row] for row in b[batch]]
            )
        return {
            "precision": scores[:, 0],
            "recall": scores[:, 1],
            "f1": scores[:, 2],
            "seen_candidate": inputs.seen[first],
            "seen_reference": inputs.seen[second],
        }

    def _embed(self, inputs: Sequence[Sequence[int]]) -> list[torch.Tensor]:
        """Return the embeddings of each input's tokens, of shape (tokens, dimensions)."""
        order = sorted(range(len(inputs)), key=lambda row: len(inputs[row]), reverse=True)
        embeddings: list[torch.Tensor] = [torch.empty(0)] * len(inputs)
        for start in range(0, len(order), self.batch_size):
            rows = order[start : start + self.batch_size]
            tokens = [torch.tensor(inputs[row]) for row in rows]
            padded = pad_sequence(
                tokens, batch_first=True, padding_value=self.tokenizer.pad_token_id
            ).to(self.device)
            mask = _mask(tokens).to(self.device)
            output = self.model(padded, attention_mask=mask.long())[0]
            for row, embedding in zip(rows, output, strict=True):
                embeddings[row] = embedding[: len(inputs[row])]
        return embeddings

    def _match(
        self, candidates: Sequence[torch.Tensor], references: Sequence[torch.Tensor]
    ) -> np.ndarray:
        """Return precision, recall and F1 of each pair by bert-score's greedy matching."""
        precision, recall, f1 = greedy_cos_idf(*_padded(references), *_padded(candidates))
        return torch.stack((precision, recall, f1), dim=-1).double().cpu().numpy()


def _mask(sequences: Sequence[torch.Tensor]) -> torch.Tensor:
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    return torch.arange(int(lengths.max())) < lengths.unsqueeze(1)


def _padded(embeddings: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return padded embeddings, their mask and token weights.

    The special tokens at both ends weigh nothing, but other tokens may be matched to them.
    """
    # bert-score's padding; its value is masked, and only must not be 0, whose norm divides.
    padded = pad_sequence(list(embeddings), batch_first=True, padding_value=2.0)
    weights = [torch.ones(len(embedding)) for embedding in embeddings]
    for weight in weights:
        weight[0] = weight[-1] = 0
    device = padded.device
    return padded, _mask(embeddings).to(device), pad_sequence(weights, batch_first=True).to(device)
