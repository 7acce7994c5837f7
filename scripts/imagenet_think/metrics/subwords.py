"""Token ids of an encoder's tokenizer, for many texts at once."""

from collections.abc import Sequence
from itertools import chain

import numpy as np
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer, ByteLevel
from transformers import PreTrainedTokenizerBase

from imagenet_think.metrics import repeats

REMEMBERED = 2**21
"""Characters of words whose tokens are remembered from call to call: about 100 MB."""


class Subwords:
    """Tokenizes texts word by word, each distinct word once, where that gives the same tokens.

    Parameters
    ----------
    tokenizer
        The encoder's. Where a text's tokens are not those of its words, see `by_words`, whole texts
        are tokenized.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        self._cuts = repeats.words if by_words(tokenizer) else repeats.nothing
        self._known: dict[str, list[int]] = {}
        self._characters = 0

    def __call__(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return all token ids of texts, without special tokens around them.

        Returns
        -------
        tuple
            The ids, text after text, int64; and where each text's start, and where the last one's
            end, of shape (texts + 1,).
        """
        found = repeats.pieces(texts, self._cuts)
        if self._characters > REMEMBERED:
            self._known, self._characters = {}, 0
        new = [piece for piece in found.distinct if piece not in self._known]
        self._known.update(zip(new, self._encoded(new), strict=True))
        self._characters += sum(map(len, new))
        lists = [self._known[piece] for piece in found.distinct]
        starts = np.cumsum([0, *map(len, lists)])
        ids = np.fromiter(chain.from_iterable(lists), dtype=np.int64, count=starts[-1])
        return found.expand(ids, starts)

    def _encoded(self, texts: list[str]) -> list[list[int]]:
        """Return the token ids of each text."""
        if not texts:
            return []
        if self._cuts is repeats.words:
            # A tokenizer's file may turn truncation and padding on.
            backend = self.tokenizer.backend_tokenizer
            backend.no_truncation()
            backend.no_padding()
            encodings = backend.encode_batch_fast(texts, add_special_tokens=False)
            return [encoding.ids for encoding in encodings]
        return self.tokenizer(
            texts,
            add_special_tokens=False,
            truncation=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,  # no warning of texts that are longer than the model's window
        )["input_ids"]


def by_words(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Return whether a text's tokens are those of its words, cut as in `repeats.words`.

    So it is where a tokenizer itself first cuts texts at such spaces: as BERT's, which drops them,
    and as GPT-2's and RoBERTa's, whose words begin with them. Tokens that were added to the
    vocabulary must not reach across a space.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return False
    cut, normalizer = backend.pre_tokenizer, backend.normalizer
    cuts = isinstance(cut, BertPreTokenizer) or (isinstance(cut, ByteLevel) and cut.use_regex)
    added = tokenizer.added_tokens_decoder.values()
    return (
        cuts
        and (normalizer is None or isinstance(normalizer, BertNormalizer))
        and not any(token.rstrip or " " in token.content for token in added)
    )
