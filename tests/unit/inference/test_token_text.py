"""Special tokens are told from text by their ids."""

import pytest

from imagenet_think.inference import families
from imagenet_think.inference.token_text import decode
from imagenet_think.parsing.marks import SPECIAL_TOKEN


@pytest.mark.parametrize("name", families.NAMES)
def test_special_tokens_that_look_like_text_are_known_by_their_ids(tiny_model, name):
    tokenizer = tiny_model(name)[1].tokenizer

    def ids(text):
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    for token in families.get(name).SPECIAL_TOKENS:
        half = len(token) // 2
        written = ids(f"A sign: {token[:half]}") + ids(f"{token[half:]}.")
        special = tokenizer.convert_tokens_to_ids(token)
        assert special not in written
        kept = token if SPECIAL_TOKEN.fullmatch(token) else ""
        text = decode(tokenizer, [special, *written, special])
        assert text == f"{kept}A sign: {token}.{kept}"
