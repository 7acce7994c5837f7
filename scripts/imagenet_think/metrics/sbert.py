"""Cosine of sentence embeddings (Sentence-BERT), each distinct input embedded once."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.util import pairwise_cos_sim

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


def load(*, repository: str, revision: str | None, **settings: Any) -> ScoreFunction:
    """Return the function that scores pairs; `settings` are those of `SentenceBert`."""
    # Sums of several threads depend on their number; jobs run in parallel instead.
    torch.set_num_threads(1)
    path, commit = pretrained(repository, revision)
    return reporting(SentenceBert(path, revision=commit, **settings))


class SentenceBert:
    """Cosine similarity of sentence embeddings (Reimers and Gurevych, 2019).

    Equal to sentence-transformers' `encode` and `similarity_pairwise`.

    Parameters
    ----------
    path
        What `SentenceTransformer` takes.
    revision
        Commit on the hub, or None.
    max_tokens
        Tokens of a window, special tokens included.
    batch_size
        Inputs embedded at once on a GPU; on a CPU it is always one.
    windows
        `first`: the rest of a text is not seen, as in the library. `all`: a text's embedding is
        the mean of its windows' embeddings, weighted by their tokens.
    precision
        Of the encoder; see `imagenet_think.metrics.precision.arithmetic`.
    device
        "cpu", "cuda", or None for a GPU if there is one.

    Raises
    ------
    ValueError
        If the encoder's window is smaller than `max_tokens`, it wants more than a text's tokens,
        or the device does not compute in `precision`.
    """

    def __init__(
        self,
        path: str,
        *,
        max_tokens: int,
        batch_size: int,
        revision: str | None = None,
        windows: str = FIRST,
        precision: str = FLOAT32,
        device: str | None = None,
    ) -> None:
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        check_precision("sbert", precision, self.device)
        self.model = SentenceTransformer(path, revision=revision, device=self.device).float().eval()
        check_max_tokens("sbert", max_tokens, path, self.model[0].auto_model)
        _check_inputs(self.model, path)
        self.tokenizer = self.model.tokenizer
        self.max_tokens = max_tokens
        self.batch_size = batch_size_on(self.device, batch_size)
        self.windows = windows
        self.precision = precision

    @torch.inference_mode()
    def __call__(
        self, candidates: Sequence[str], references: Sequence[str]
    ) -> dict[str, np.ndarray]:
        """Score pairs of texts.

        Returns
        -------
        dict
            `sbert`, the cosine: not clipped, between -1 and 1; `seen_candidate` and
            `seen_reference`, the share of each text's tokens inside its windows; float64 of
            shape (n,).
        """
        texts = list(dict.fromkeys([*candidates, *references]))
        place = {text: row for row, text in enumerate(texts)}
        windowed = cut(self.tokenizer, texts, self.max_tokens, self.windows)
        first = np.array([place[text] for text in candidates], dtype=np.int64)
        second = np.array([place[text] for text in references], dtype=np.int64)
        cosines = torch.zeros(0)
        if texts:
            embeddings = text_means(self.embed(windowed), windowed)
            a, b = (torch.from_numpy(rows).to(self.device) for rows in (first, second))
            cosines = pairwise_cos_sim(embeddings[a], embeddings[b])
        return {
            "sbert": cosines.double().cpu().numpy(),
            "seen_candidate": windowed.seen[first],
            "seen_reference": windowed.seen[second],
        }

    @torch.inference_mode()
    def embed(self, windowed: Windowed) -> torch.Tensor:
        """Return the embedding of every distinct input, in fp32; shape (inputs, dimensions)."""
        inputs = windowed.inputs
        grouped = list(batches(inputs, self.batch_size))
        parts = []
        with arithmetic(self.precision, self.device):
            for rows in grouped:
                ids, mask = padded([inputs[row] for row in rows], self.tokenizer.pad_token_id)
                features = {
                    "input_ids": ids.to(self.device),
                    "attention_mask": mask.to(self.device),
                }
                parts.append(self.model(features)["sentence_embedding"].float())
        order = np.argsort([row for rows in grouped for row in rows])
        return torch.cat(parts)[torch.from_numpy(order).to(self.device)]


def text_means(embeddings: torch.Tensor, windowed: Windowed) -> torch.Tensor:
    """Return the mean of each text's windows' embeddings, weighted by their tokens.

    A text of one window has that window's embedding, bit for bit.

    Parameters
    ----------
    embeddings
        Of every distinct window; shape (inputs, dimensions).
    windowed
        Which windows a text has.

    Returns
    -------
    torch.Tensor
        Shape (texts, dimensions), on the device of `embeddings`.
    """
    means = embeddings[[rows[0] for rows in windowed.rows]]
    for text, rows in enumerate(windowed.rows):
        if len(rows) > 1:
            tokens = torch.from_numpy(windowed.tokens[rows]).to(embeddings)
            means[text] = (tokens[:, None] * embeddings[rows]).sum(0) / tokens.sum()
    return means


def _check_inputs(model: SentenceTransformer, path: str) -> None:
    """Raise a ValueError if the library gives the model more than a text's tokens."""
    probe = "A bow"
    prompt = model.prompts.get(model.default_prompt_name)
    theirs = model.preprocess([probe], prompt=prompt)["input_ids"][0].tolist()
    if theirs != model.tokenizer(probe)["input_ids"]:
        raise ValueError(
            f"sbert.repository: {path} puts a prompt or a template around each text, which is not "
            "scored here: choose a model that embeds texts as they are"
        )
