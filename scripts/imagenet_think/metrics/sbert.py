"""Cosine of sentence embeddings (Sentence-BERT; Reimers and Gurevych, 2019)."""

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.util import pairwise_cos_sim
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from imagenet_think.metrics.encoder import Encoder
from imagenet_think.metrics.truncation import Windowed, check_max_tokens


class SentenceBert(Encoder):
    """Cosine similarity of sentence embeddings, see `Encoder`.

    Equal to `encode` and `similarity_pairwise` of sentence-transformers. With all windows, a text's
    embedding is the mean of its windows' embeddings, weighted by their tokens. Its column `sbert`
    is not clipped: it is between -1 and 1.
    """

    section = "sbert"

    def _load(self, path: str, revision: str | None) -> PreTrainedTokenizerBase:
        self.model = SentenceTransformer(path, revision=revision, device=self.device).float().eval()
        encoder = self.model[0].auto_model
        assert isinstance(encoder, PreTrainedModel)
        check_max_tokens(self.section, self.max_tokens, path, encoder)
        _check_inputs(self.model, path)
        return self.model.tokenizer

    def _forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.model({"input_ids": ids, "attention_mask": mask})["sentence_embedding"]

    def _compare(
        self, windowed: Windowed, first: np.ndarray, second: np.ndarray
    ) -> dict[str, np.ndarray]:
        cosines = torch.zeros(0)
        if windowed.rows:
            embeddings = text_means(self.embed(windowed), windowed)
            a, b = (torch.from_numpy(rows).to(self.device) for rows in (first, second))
            cosines = pairwise_cos_sim(embeddings[a], embeddings[b])
        return {"sbert": cosines.double().cpu().numpy()}

    def embed(self, windowed: Windowed) -> torch.Tensor:
        """Return the embedding of every distinct window, in fp32; shape (inputs, dimensions)."""
        outputs = [(rows, output.float()) for rows, _, _, output in self._outputs(windowed.inputs)]
        order = np.argsort([row for rows, _ in outputs for row in rows])
        embeddings = torch.cat([embedding for _, embedding in outputs])
        return embeddings[torch.from_numpy(order).to(self.device)]


load = SentenceBert.load


def text_means(embeddings: torch.Tensor, windowed: Windowed) -> torch.Tensor:
    """Return the mean of each text's windows' embeddings, weighted by their tokens.

    A text of one window has that window's embedding, bit for bit. From shape (inputs, dimensions)
    to (texts, dimensions).
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
    prompt = model.prompts.get(model.default_prompt_name or "")
    theirs = model.preprocess([probe], prompt=prompt)["input_ids"][0].tolist()
    if theirs != model.tokenizer(probe)["input_ids"]:
        raise ValueError(
            f"sbert.repository: {path} adds a prompt or a template to each text, which is not "
            "supported: choose a model that embeds texts as they are"
        )
