from collections import Counter

import numpy as np
import pytest
from hard_texts import TEXTS
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.metrics.pairwise import cosine_similarity

import imagenet_think.metrics.tfidf
from imagenet_think.metrics.tfidf import DocumentFrequencies, vectors

PATTERN = r"(?u)\b\w\w+\b"
STOP_WORDS = pytest.mark.parametrize("stop_words", [None, "english"])


def count(corpus, stop_words=None):
    frequencies = DocumentFrequencies()
    frequencies.add(corpus, token_pattern=PATTERN, stop_words=stop_words)
    return frequencies


def cosine(vectorizer, a, b, corpus):
    """The cosine by scikit-learn, which refuses to fit a corpus without a term; then 0."""
    if not any(map(vectorizer.build_analyzer(), corpus)):
        with pytest.raises(ValueError, match="empty vocabulary"):
            vectorizer.fit(corpus)
        return 0.0
    vectorizer.fit(corpus)
    return cosine_similarity(vectorizer.transform([a]), vectorizer.transform([b]))[0, 0]


@STOP_WORDS
@settings(max_examples=80, deadline=None)
@given(corpus=st.lists(TEXTS, min_size=1, max_size=6), a=TEXTS, b=TEXTS)
def test_equal_to_scikit_learn(stop_words, corpus, a, b):
    tokens = {"token_pattern": PATTERN, "stop_words": stop_words}
    ours = vectors([a], [b], count(corpus, stop_words), **tokens)
    theirs = {
        "tfidf": cosine(TfidfVectorizer(**tokens), a, b, corpus),
        "tfidf_pair": cosine(TfidfVectorizer(**tokens), a, b, [a, b]),
        "cosine": cosine(CountVectorizer(**tokens), a, b, [a, b]),
    }
    for name, value in theirs.items():
        assert ours[name][0] == pytest.approx(value, abs=1e-12), name


@settings(max_examples=60, deadline=None)
@given(a=TEXTS, b=TEXTS)
def test_fitted_on_the_pair_is_never_above_the_raw_cosine(a, b):
    scores = vectors([a], [b], count([a, b]), token_pattern=PATTERN)
    assert scores["tfidf_pair"][0] <= scores["cosine"][0] + 1e-12


def test_disjoint_and_empty_texts_score_zero():
    scores = vectors(
        ["red bow", "", "a"], ["green tree", "bow", "bow"], count(["bow"]), token_pattern=PATTERN
    )
    for values in scores.values():
        assert values.tolist() == [0, 0, 0]


def test_by_hand():
    # Counts (bow, red) = (2, 1) and (1, 0).
    scores = vectors(["bow red bow"], ["bow"], count(["bow", "red bow"]), token_pattern=PATTERN)
    assert scores["cosine"][0] == pytest.approx(2 / np.sqrt(5))
    lone = np.log(3 / 2) + 1
    assert scores["tfidf_pair"][0] == pytest.approx(2 / np.sqrt(4 + lone**2))
    # In the corpus bow is in 2 of 2 documents and red in 1 of 2: the same weights.
    assert scores["tfidf"][0] == pytest.approx(scores["tfidf_pair"][0])


def test_many_pairs_equal_one_by_one():
    generator = np.random.default_rng(3)
    words = [f"w{number}" for number in range(40)]
    texts = [" ".join(generator.choice(words, 30)) for _ in range(20)]
    frequencies = count(texts[::2])
    together = vectors(texts[:10], texts[10:], frequencies, token_pattern=PATTERN)
    for row in range(10):
        alone = vectors([texts[row]], [texts[10 + row]], frequencies, token_pattern=PATTERN)
        for name, values in alone.items():
            assert values[0] == pytest.approx(together[name][row], abs=1e-15)


def test_documents_in_several_goes_count_as_in_one(monkeypatch):
    texts = ["bow", "red bow", "red red bow", "tree", "", "red tree"]
    together = count(texts)
    monkeypatch.setattr(imagenet_think.metrics.tfidf, "AT_ONCE", 4)
    assert count(iter(texts)) == together
    assert together == DocumentFrequencies(6, Counter(bow=3, red=3, tree=2))


def test_no_pairs():
    assert vectors([], [], count(["bow"]), token_pattern=PATTERN)["tfidf"].shape == (0,)
