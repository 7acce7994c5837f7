import pytest
from hard_texts import PAIRS, long_text
from hypothesis import given, settings
from rouge_score.rouge_scorer import RougeScorer

import imagenet_think.metrics.rouge
from imagenet_think.metrics.rouge import rouge


@pytest.mark.parametrize("stemmer", [False, True])
@settings(max_examples=100, deadline=None)
@given(pairs=PAIRS)
def test_bit_identical_to_rouge_score(stemmer, pairs):
    scorer = RougeScorer(["rouge1", "rougeL"], use_stemmer=stemmer)
    ours = rouge(*zip(*pairs, strict=True), stemmer=stemmer)
    for row, (candidate, reference) in enumerate(pairs):
        theirs = scorer.score(target=reference, prediction=candidate)
        for name in ("rouge1", "rougeL"):
            assert ours[name][row] == theirs[name].fmeasure, (name, candidate, reference)


def test_disjoint_and_empty_texts_score_zero():
    scores = rouge(["red bow", "", "弓", ""], ["green tree", "bow", "弓", ""])
    assert scores["rouge1"].tolist() == [0.0] * 4
    assert scores["rougeL"].tolist() == [0.0] * 4


def test_by_hand():
    # Common words: the, cat (2 of 3, 2 of 4); in order: the, cat.
    scores = rouge(["The cat sat"], ["the black cat ran"])
    assert scores["rouge1"][0] == pytest.approx(2 * (2 / 3) * (2 / 4) / (2 / 3 + 2 / 4))
    assert scores["rougeL"][0] == scores["rouge1"][0]
    reversed_order = rouge(["c b a"], ["a b c"])
    assert reversed_order["rouge1"][0] == 1.0
    assert reversed_order["rougeL"][0] == pytest.approx(1 / 3)


def test_no_pairs():
    assert rouge([], [])["rougeL"].shape == (0,)


def test_a_text_of_200_000_tokens():
    long = long_text(1)
    scores = rouge([long], [long[: len(long) // 2]])
    assert 0.6 < scores["rougeL"][0] == scores["rouge1"][0] < 0.7


def test_more_words_than_characters(monkeypatch):
    # 60,000 words are more than there are characters below the surrogates.
    words = [f"w{k}" for k in range(60_000)]
    half = len(words) // 2
    pairs = [(" ".join(words), " ".join(words[half:] + words[:half])), ("w1 w9 w5", "w9 w1 w5 w1")]
    found = rouge(*zip(*pairs, strict=True))
    assert found["rouge1"].tolist() == [1, 6 / 7]
    assert found["rougeL"] == pytest.approx([0.5, 4 / 7])
    monkeypatch.setattr(imagenet_think.metrics.rouge, "CHARACTERS", 3)
    again = rouge(*zip(*pairs, strict=True))
    assert {k: v.tolist() for k, v in again.items()} == {k: v.tolist() for k, v in found.items()}
