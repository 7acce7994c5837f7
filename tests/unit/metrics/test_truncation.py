import itertools

import numpy as np
import pytest
from hard_texts import FIXED
from hard_texts import TEXTS as HARD
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tiny_encoders import MINILM, save_roberta
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoTokenizer, BertModel, PreTrainedTokenizerFast

from imagenet_think.metrics.bertscore import load_tokenizer
from imagenet_think.metrics.subwords import Subwords
from imagenet_think.metrics.truncation import batches, check_max_tokens, cut, padded, special_tokens

TEXTS = HARD | st.lists(
    st.sampled_from(["archer's", "弓道", "🏹", "[SEP]", "</s>", "<pad>", "[CLS]"]), max_size=40
).map(" ".join)


def tokenizer_without_start_token():
    """A tokenizer of words that adds a token only at the end of a text, like T5's."""
    words = Tokenizer(models.WordLevel({"a": 0, "b": 1, "<unk>": 2, "</s>": 3}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 3)])
    return PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", eos_token="</s>")


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory):
    roberta = save_roberta(tmp_path_factory.mktemp("roberta"))
    return (
        AutoTokenizer.from_pretrained(MINILM),
        load_tokenizer(roberta),
        tokenizer_without_start_token(),
    )


def test_special_tokens(tokenizers):
    found = [[ids.tolist() for ids in special_tokens(tokenizer)] for tokenizer in tokenizers]
    assert [tuple(sides) for sides in found] == [
        ([101], [102]),
        ([0], [2]),
        ([], [3]),
    ]


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(TEXTS, max_size=5), max_tokens=st.integers(3, 20))
@example(texts=["", " \n", FIXED["one long word"]], max_tokens=3)
def test_the_first_window_is_the_tokenizers_truncation(tokenizers, texts, max_tokens):
    for tokenizer in tokenizers:
        first = cut(Subwords(tokenizer), texts, max_tokens, "first")
        assert [[first.inputs[row].tolist() for row in rows] for rows in first.rows] == [
            [tokenizer(text, truncation=True, max_length=max_tokens)["input_ids"]] for text in texts
        ]
        special = len(tokenizer("")["input_ids"])
        whole = [len(tokenizer(text)["input_ids"]) - special for text in texts]
        room = max_tokens - special
        assert first.seen.tolist() == [min(room, n) / n if n else 1.0 for n in whole]


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(TEXTS, max_size=5), max_tokens=st.integers(3, 20))
def test_all_windows_are_the_whole_text(tokenizers, texts, max_tokens):
    for tokenizer in tokenizers:
        before, after = (ids.tolist() for ids in special_tokens(tokenizer))
        subwords = Subwords(tokenizer)
        every = cut(subwords, texts, max_tokens, "all")
        first = cut(subwords, texts, max_tokens, "first")
        for k, text in enumerate(texts):
            windows = [every.inputs[row].tolist() for row in every.rows[k]]
            assert windows[0] == first.inputs[first.rows[k][0]].tolist()
            assert all(len(window) == max_tokens for window in windows[:-1])
            bodies = [window[len(before) : len(window) - len(after)] for window in windows]
            assert [len(body) for body in bodies] == every.tokens[every.rows[k]].tolist()
            whole = [*before, *itertools.chain(*bodies), *after]
            assert whole == tokenizer(text)["input_ids"]
            assert len(windows) == 1 or bodies[-1]
        assert every.seen.tolist() == [1.0] * len(texts)


def test_equal_windows_are_one_input(tokenizers):
    texts = ["bow " * 10, "bow " * 10 + "red", "bow " * 5, "red"]
    first = cut(Subwords(tokenizers[0]), texts, 7, "first")
    assert first.rows == [[0], [0], [0], [1]]
    every = cut(Subwords(tokenizers[0]), texts, 7, "all")
    assert every.rows == [[0, 0], [0, 0, 1], [0], [1]]
    assert every.tokens.tolist() == [5, 1]


def test_a_text_of_200_000_tokens(tokenizers):
    text = "bow " * 200_000
    first, every = (
        cut(Subwords(tokenizers[0]), [text], 512, windows) for windows in ("first", "all")
    )
    assert first.seen.tolist() == [510 / 200_000]
    assert len(every.rows[0]) == 393  # of 510 tokens
    assert len(every.inputs) == 2
    assert every.tokens[every.rows[0]].sum() == 200_000


def test_no_texts(tokenizers):
    assert cut(Subwords(tokenizers[0]), [], 16, "all").rows == []


def test_a_window_of_special_tokens_only_is_an_error(tokenizers):
    with pytest.raises(ValueError, match="max_tokens is 2, all of which"):
        cut(Subwords(tokenizers[0]), ["a bow"], 2, "first")


def test_a_window_larger_than_the_models_is_an_error(tokenizers):
    bert = BertModel.from_pretrained(MINILM)
    message = r"sbert\.max_tokens is 513, but /bert takes 512 tokens"
    with pytest.raises(ValueError, match=message):
        check_max_tokens("sbert", 513, "/bert", bert)
    check_max_tokens("sbert", 512, "/bert", bert, tokenizers[1])  # which names no window
    shorter = tokenizer_without_start_token()
    shorter.model_max_length = 100
    with pytest.raises(ValueError, match="takes 100 tokens"):
        check_max_tokens("bertscore", 512, "/bert", bert, shorter)


@given(lengths=st.lists(st.integers(0, 9)), size=st.integers(1, 4))
def test_batches_hold_every_input_once_the_longest_first(lengths, size):
    groups = list(batches([np.zeros(length) for length in lengths], size))
    rows = [row for group in groups for row in group]
    assert sorted(rows) == list(range(len(lengths)))
    assert [lengths[row] for row in rows] == sorted(lengths, reverse=True)
    assert all(len(group) == size for group in groups[:-1])


def test_padding_is_masked():
    ids, mask = padded([np.array([5, 6, 7]), np.array([8])], 1)
    assert ids.tolist() == [[5, 6, 7], [8, 1, 1]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]
