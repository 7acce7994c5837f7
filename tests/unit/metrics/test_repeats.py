"""Texts put together from their pieces have the tokens of the whole texts."""

from itertools import pairwise

import numpy as np
import pytest
from hard_texts import TEXTS
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tiny_encoders import MINILM, save_roberta
from transformers import AddedToken, AutoTokenizer

from imagenet_think.metrics import repeats, subwords
from imagenet_think.metrics.bertscore import load_tokenizer
from imagenet_think.metrics.subwords import Subwords, by_words


def joined(found):
    return [
        "".join(found.distinct[k] for k in found.places[a:b]) for a, b in pairwise(found.starts)
    ]


@given(texts=st.lists(TEXTS | st.text(" ab\n\u3000é\ud800", max_size=20), max_size=5))
def test_words_together_are_the_texts(texts):
    found = repeats.pieces(texts, repeats.words)
    assert joined(found) == texts
    assert len(set(found.distinct)) == len(found.distinct)


def test_words_begin_at_single_spaces_between_visible_ascii():
    found = repeats.pieces(["a  b c\n d é f", " a b "], repeats.words)
    assert found.distinct == ["a  b", " c\n d é f", " a", " b "]


def test_a_full_output_is_its_thinking_and_its_answer():
    found = repeats.parts(["a\nb\nc", "c", "a\nb", "\n", "a\nb\nc"])
    assert found.distinct == ["a\nb", "c", "\n"]
    assert found.places.tolist() == [0, 1, 1, 0, 2, 0, 1]
    assert found.starts.tolist() == [0, 2, 3, 4, 5, 7]


def test_expand():
    found = repeats.parts(["ab\nc", "c", "ab"])
    ids, starts = found.expand(np.array([7, 8, 9]), np.array([0, 2, 3]))
    assert (ids.tolist(), starts.tolist()) == ([7, 8, 9, 9, 7, 8], [0, 3, 4, 6])


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory):
    roberta = load_tokenizer(save_roberta(tmp_path_factory.mktemp("roberta")))
    return AutoTokenizer.from_pretrained(MINILM), roberta


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(TEXTS | st.text(" aB'.\n\t\u3000é弓", max_size=20), max_size=5))
@example(texts=["a <mask> b", "a [SEP] [MASK]b", " x  y ", "don't  stop", "a\n\n b"])
def test_tokens_of_words_are_those_of_the_text(tokenizers, texts):
    for tokenizer in tokenizers:
        assert by_words(tokenizer)
        ids, starts = Subwords(tokenizer)(texts)
        expected = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
        assert [ids[a:b].tolist() for a, b in pairwise(starts)] == expected


def test_words_are_remembered_within_bounds(tokenizers, monkeypatch):
    score = Subwords(tokenizers[0])
    encoded = []
    monkeypatch.setattr(score, "_encoded", lambda new: encoded.append(new) or [[1]] * len(new))
    score(["a bow"])
    score(["a bow a red bow"])
    assert encoded == [["a", " bow"], [" a", " red"]]
    monkeypatch.setattr(subwords, "REMEMBERED", 3)
    score(["a bow"])
    assert encoded[2:] == [["a", " bow"]]


def test_added_tokens_that_reach_across_a_space(tokenizers):
    tokenizer = AutoTokenizer.from_pretrained(MINILM)
    tokenizer.add_tokens([AddedToken("red bow", normalized=False)])
    assert not by_words(tokenizer)
    ids, _ = Subwords(tokenizer)(["a red bow"])
    assert ids.tolist() == tokenizer("a red bow", add_special_tokens=False)["input_ids"]
