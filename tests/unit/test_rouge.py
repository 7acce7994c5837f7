import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from imagenet_think.rouge import rouge

WORDS = st.sampled_from(
    ["The", "the", "archer's", "bows", "running", "runs", "**Bow**", "###", "-", "•", "naïve"]
) | st.sampled_from(["ΑΒΓ", "弓", "İstanbul", "K7", "x_1", "1,247", "\u200b"])
TEXTS = st.one_of(
    st.text(max_size=60),
    st.lists(WORDS, max_size=30).map(" ".join),
    st.lists(WORDS, max_size=30).map("\n- ".join),
)


@pytest.mark.parametrize("stemmer", [False, True])
@settings(max_examples=150, deadline=None)
@given(pairs=st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=6))
def test_bit_identical_to_rouge_score(stemmer, pairs):
    scorer = RougeScorer(["rouge1", "rougeL"], use_stemmer=stemmer)
    ours = rouge(*zip(*pairs, strict=True), stemmer=stemmer)
    for row, (candidate, reference) in enumerate(pairs):
        theirs = scorer.score(target=reference, prediction=candidate)
        for name in ("rouge1", "rougeL"):
            assert ours[name][row] == theirs[name].fmeasure, (name, candidate, reference)


@settings(max_examples=50, deadline=None)
@given(a=TEXTS, b=TEXTS)
def test_symmetric_and_one_for_itself(a, b):
    scores = rouge([a, b, a + " bow"], [b, a, a + " bow"])
    for name in ("rouge1", "rougeL"):
        assert scores[name][0] == scores[name][1]
        assert scores[name][2] == 1.0


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


def test_threads_change_nothing():
    generator = np.random.default_rng(1)
    texts = [" ".join(generator.choice(["a", "b", "c", "d"], 200)) for _ in range(12)]
    one, two = (rouge(texts[:6], texts[6:], workers=workers) for workers in (1, 2))
    assert {k: v.tobytes() for k, v in one.items()} == {k: v.tobytes() for k, v in two.items()}


def test_no_pairs():
    assert rouge([], [])["rougeL"].shape == (0,)


def test_a_text_of_200_000_tokens():
    long = " ".join(str(number % 997) for number in range(200_000))
    scores = rouge([long], [long[: len(long) // 2]])
    assert 0.6 < scores["rougeL"][0] == scores["rouge1"][0] < 0.7
