import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer

from imagenet_think.sets import sets

PATTERN = "[a-z0-9]+"
TEXTS = st.one_of(
    st.text(max_size=40),
    st.lists(st.sampled_from(["Red", "red", "bow", "**bow**", "弓", "7"]), max_size=12).map(
        " ".join
    ),
)


def test_by_hand():
    scores = sets(["A red bow, a RED bow"], ["the red bow (wooden)"], token_pattern=PATTERN)
    # {a, red, bow} and {the, red, bow, wooden}
    assert scores["jaccard"][0] == 2 / 5
    assert scores["overlap"][0] == 2 / 3


@settings(max_examples=100, deadline=None)
@given(a=TEXTS, b=TEXTS)
def test_symmetric_bounded_and_one_for_itself(a, b):
    scores = sets([a, b, a + " bow"], [b, a, a + " bow"], token_pattern=PATTERN)
    for values in scores.values():
        assert values[0] == values[1]
        assert 0 <= values[0] <= 1
        assert values[2] == 1
    assert scores["jaccard"][0] <= scores["overlap"][0]


@settings(max_examples=100, deadline=None)
@given(a=TEXTS, b=TEXTS)
def test_as_the_definitions_say(a, b):
    analyze = CountVectorizer(token_pattern=PATTERN).build_analyzer()
    x, y = set(analyze(a)), set(analyze(b))
    scores = sets([a], [b], token_pattern=PATTERN)
    assert scores["jaccard"][0] == (len(x & y) / len(x | y) if x | y else 0)
    assert scores["overlap"][0] == (len(x & y) / min(len(x), len(y)) if x and y else 0)


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
