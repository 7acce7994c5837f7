import numpy as np
import pytest
from hard_texts import PAIRS
from hypothesis import given, settings
from sklearn.feature_extraction.text import CountVectorizer

from imagenet_think.metrics.token_overlap import sets

PATTERN = "[a-z0-9]+"


def test_by_hand():
    scores = sets(["A red bow, a RED bow"], ["the red bow (wooden)"], token_pattern=PATTERN)
    # {a, red, bow} and {the, red, bow, wooden}
    assert scores["jaccard"][0] == 2 / 5
    assert scores["overlap"][0] == 2 / 3


@settings(max_examples=100, deadline=None)
@given(pairs=PAIRS)
def test_as_the_definitions_say(pairs):
    analyze = CountVectorizer(token_pattern=PATTERN).build_analyzer()
    scores = sets(*zip(*pairs, strict=True), token_pattern=PATTERN)
    for row, (a, b) in enumerate(pairs):
        x, y = set(analyze(a)), set(analyze(b))
        assert scores["jaccard"][row] == (len(x & y) / len(x | y) if x | y else 0)
        assert scores["overlap"][row] == (len(x & y) / min(len(x), len(y)) if x and y else 0)
    assert np.all(scores["jaccard"] <= scores["overlap"])


def test_disjoint_and_empty_texts_score_zero():
    scores = sets(["red bow", "", ""], ["green tree", "bow", ""], token_pattern=PATTERN)
    assert scores["jaccard"].tolist() == [0, 0, 0]
    assert scores["overlap"].tolist() == [0, 0, 0]


@pytest.mark.parametrize("stop_words", ["english", ["the", "of"]])
def test_stop_words_and_pattern_are_as_configured(stop_words):
    scores = sets(["the bow"], ["the tree"], token_pattern=PATTERN, stop_words=stop_words)
    assert scores["jaccard"][0] == 0
    with_them = sets(["the bow"], ["the tree"], token_pattern=PATTERN)
    assert with_them["jaccard"][0] == 1 / 3
    assert sets(["7 bow"], ["7 tree"], token_pattern="[a-z]+")["jaccard"][0] == 0


def test_no_pairs():
    assert sets([], [], token_pattern=PATTERN)["jaccard"].shape == (0,)


def test_lists_of_different_lengths_are_an_error():
    with pytest.raises(ValueError, match="2 candidates, but 1 references"):
        sets(["bow", "red bow"], ["bow"], token_pattern=PATTERN)
