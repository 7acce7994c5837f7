"""The text of generated tokens."""

from collections.abc import Sequence
from typing import Any

from imagenet_think.parsing.marks import SPECIAL_TOKEN


def decode(tokenizer: Any, tokens: Sequence[int]) -> str:
    """Return the text of tokens, with the special tokens that cannot be confused with text.

    Special tokens that look like text ("[PAD]", "<ref>") are left out here, where their ids tell
    them from the same characters written as text; no reader of the text could.
    """
    special = {
        token_id
        for token_id, token in tokenizer.added_tokens_decoder.items()
        if token.special and not SPECIAL_TOKEN.fullmatch(token.content)
    }
    return tokenizer.decode(
        [token for token in tokens if token not in special],
        skip_special_tokens=False,
        clean_up_tokenization_spaces=False,
    )
