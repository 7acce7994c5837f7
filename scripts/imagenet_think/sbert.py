"""Cosine of sentence embeddings (Sentence-BERT), each distinct input embedded once."""

from collections.abc import Sequence

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.util import pairwise_cos_sim

from imagenet_think.windows import window


class SentenceBert:
    """Cosine similarity of sentence embeddings (Reimers and Gurevych, 2019), in fp32.

    Parameters
    ----------
    path
        What `SentenceTransformer` takes.
    revision
        Commit on the hub, or None.
    max_tokens
        Tokens that are embedded, special tokens included; the rest of a text is not seen.
    batch_size
        Inputs embedded at once.
    device
        "cpu", "cuda", or None for a GPU if there is one.

    Raises
    ------
    ValueError
        If the tokenizer's window is smaller than `max_tokens`.
    """

    def __init__(
        self,
        path: str,
        *,
        max_tokens: int,
        batch_size: int,
        revision: str | None = None,
        device: str | None = None,
    ) -> None:
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.model = SentenceTransformer(path, revision=revision, device=device).float()
        positions = self.model[0].auto_model.config.max_position_embeddings
        if max_tokens > positions:
            raise ValueError(
                f"sbert.max_tokens is {max_tokens}, but {path} takes {positions} tokens"
            )
        self.model.max_seq_length = max_tokens
        self.batch_size = batch_size

    def __call__(
        self, candidates: Sequence[str], references: Sequence[str]
    ) -> dict[str, np.ndarray]:
        """Score pairs of texts.

        Returns
        -------
        dict
            `sbert`, the cosine: not clipped, between -1 and 1; `seen_candidate` and
            `seen_reference`, the share of each text's tokens inside the window; float64 of
            shape (n,).
        """
        texts = list(dict.fromkeys([*candidates, *references]))
        place = {text: row for row, text in enumerate(texts)}
        inputs = window(self.model.tokenizer, texts, self.model.max_seq_length)
        # One text for each distinct input; the library cuts it to the same window.
        _, chosen = np.unique(inputs.rows, return_index=True)
        embeddings = self.model.encode(
            [texts[row] for row in chosen],
            batch_size=self.batch_size,
            show_progress_bar=False,
            convert_to_tensor=True,
        )
        first = np.array([place[text] for text in candidates], dtype=np.int64)
        second = np.array([place[text] for text in references], dtype=np.int64)
        cosines = (
            pairwise_cos_sim(embeddings[inputs.rows[first]], embeddings[inputs.rows[second]])
            if len(first)
            else torch.zeros(0)
        )
        return {
            "sbert": cosines.double().cpu().numpy(),
            "seen_candidate": inputs.seen[first],
            "seen_reference": inputs.seen[second],
        }
