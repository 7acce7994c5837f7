"""Every word metric against the libraries on texts that are hard to cut into words."""

from collections import Counter
from itertools import pairwise, product

import hard_texts
import numpy as np
import pytest
from hypothesis import given, settings
from rouge_score.rouge_scorer import RougeScorer
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.metrics.pairwise import paired_cosine_distances

from imagenet_think.metrics.rouge import rouge
from imagenet_think.metrics.tfidf import DocumentFrequencies, vectors
from imagenet_think.metrics.token_overlap import sets
from imagenet_think.metrics.tokenization import IRREGULAR, RUNS, analyzer, tokenize

CUSTOM = r"[^\W\d_]+(?:['’-]\w+)*"
PATTERNS = [*RUNS, CUSTOM]
STOP_WORDS = [None, "english", ["the", "лук", "bow"]]
TOKENS = [{"token_pattern": p, "stop_words": words} for p, words in product(PATTERNS, STOP_WORDS)]
each_way_of_cutting = pytest.mark.parametrize("tokens", TOKENS, ids=str)


def count(corpus, tokens):
    frequencies = DocumentFrequencies()
    frequencies.add(corpus, **tokens)
    return frequencies


def cut(texts, tokens):
    cut = tokenize(texts, **tokens)
    words = np.array(cut.terms.to_pylist(), dtype=object)[cut.ids].tolist()
    return [words[start:end] for start, end in pairwise(cut.starts.tolist())]


@each_way_of_cutting
def test_tokens_are_those_of_scikit_learn(tokens):
    texts = list(hard_texts.FIXED.values())
    assert cut(texts, tokens) == list(map(analyzer(**tokens), texts))


@pytest.mark.slow
@pytest.mark.parametrize("pattern", RUNS)
def test_every_character_is_cut_as_scikit_learn_does(pattern):
    characters = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    texts = [" ".join(f"{c} {c}{c} a{c}b" for c in characters if c not in IRREGULAR)]
    forms = ["{0}", "{0}{0}", "a{0}b", "A{0}", "{0}B", "{0}.", "A.{0}", "a{0} b{0}"]
    texts += [form.format(c) for c in IRREGULAR for form in forms]
    tokens = {"token_pattern": pattern, "stop_words": None}
    assert cut(texts, tokens) == list(map(analyzer(**tokens), texts))


@pytest.mark.parametrize("pattern", RUNS)
def test_half_a_surrogate_pair_is_no_letter(pattern):
    tokens = {"token_pattern": pattern, "stop_words": None}
    assert cut(["bow\ud800arrow"], tokens) == [["bow", "arrow"]]


@pytest.mark.parametrize("stemmer", [False, True])
def test_rouge_is_bit_identical(stemmer):
    scorer = RougeScorer(["rouge1", "rougeL"], use_stemmer=stemmer)
    candidates, references = hard_texts.fixed_pairs()
    ours = rouge(candidates, references, stemmer=stemmer)
    theirs = [scorer.score(r, c) for c, r in zip(candidates, references, strict=True)]
    for name, values in ours.items():
        assert values.tolist() == [scores[name].fmeasure for scores in theirs]


@each_way_of_cutting
def test_sets_are_exact(tokens):
    candidates, references = hard_texts.fixed_pairs()
    ours = sets(candidates, references, **tokens)
    analyze = analyzer(**tokens)
    for row, (c, r) in enumerate(zip(candidates, references, strict=True)):
        a, b = set(analyze(c)), set(analyze(r))
        assert ours["jaccard"][row] == len(a & b) / max(len(a | b), 1)
        assert ours["overlap"][row] == len(a & b) / max(min(len(a), len(b)), 1)


@each_way_of_cutting
def test_vectors_are_those_of_scikit_learn(tokens):
    candidates, references = hard_texts.fixed_pairs()
    corpus = list(hard_texts.FIXED.values())[::2]
    ours = vectors(candidates, references, count(corpus, tokens), **tokens)
    weighted = TfidfVectorizer(**tokens).fit(corpus)
    for row, pair in enumerate(zip(candidates, references, strict=True)):
        expected = {"tfidf": cosine(weighted, pair), "tfidf_pair": 0.0, "cosine": 0.0}
        # scikit-learn refuses to fit documents without a term.
        if any(map(weighted.build_analyzer(), pair)):
            expected["tfidf_pair"] = cosine(TfidfVectorizer(**tokens).fit(pair), pair)
            expected["cosine"] = cosine(CountVectorizer(**tokens).fit(pair), pair)
        for name, value in expected.items():
            assert ours[name][row] == pytest.approx(value, abs=1e-12), (name, pair)


def cosine(vectorizer, pair):
    """The cosine by scikit-learn; 0 where a text has no term."""
    a, b = vectorizer.transform(pair)
    return 1 - paired_cosine_distances(a, b)[0] if a.nnz and b.nnz else 0.0


@each_way_of_cutting
def test_document_frequencies_are_those_of_scikit_learn(tokens):
    corpus = list(hard_texts.FIXED.values()) * 3
    vectorizer = CountVectorizer(binary=True, **tokens)
    held = np.asarray(vectorizer.fit_transform(corpus).sum(axis=0)).ravel().tolist()
    terms = vectorizer.get_feature_names_out().tolist()
    ours = count(corpus, tokens)
    assert ours.documents == len(corpus)
    assert dict(ours.terms) == dict(zip(terms, held, strict=True))


def scores(pairs):
    """All word metrics of some pairs."""
    plain, words = ({"token_pattern": pattern} for pattern in RUNS)
    frequencies = count([text for pair in pairs for text in pair], words)
    candidates, references = zip(*pairs, strict=True)
    found = rouge(candidates, references) | sets(candidates, references, **plain)
    return found | vectors(candidates, references, frequencies, **words)


@settings(max_examples=60, deadline=None)
@given(pairs=hard_texts.PAIRS)
def test_symmetric_and_between_0_and_1(pairs):
    there, back = scores(pairs), scores([pair[::-1] for pair in pairs])
    for name, values in there.items():
        assert np.all(values >= 0), name
        assert np.all(values <= 1 + 1e-12), name
        assert values == pytest.approx(back[name], abs=1e-12), name


@settings(max_examples=60, deadline=None)
@given(text=hard_texts.TEXTS)
def test_a_text_and_itself_score_1(text):
    # With a word that has a token of any pattern, since a text without one scores 0.
    for name, values in scores([(f"{text} bow", f"{text} bow")]).items():
        assert values[0] == pytest.approx(1, abs=1e-12), name


@settings(max_examples=60, deadline=None)
@given(pair=hard_texts.DISJOINT)
def test_texts_without_a_common_word_score_0(pair):
    assert {name: values[0] for name, values in scores([pair]).items() if values[0]} == {}


@pytest.mark.slow
def test_two_texts_of_200_000_tokens():
    pair = hard_texts.long_text(1), hard_texts.long_text(2)
    found = scores([pair, (pair[0], pair[0]), (pair[0], "w1 w2")])
    one, other = (Counter(text.split()) for text in pair)
    assert found["rouge1"][0] == pytest.approx((one & other).total() / 200_000)
    assert found["jaccard"][0] == len(one.keys() & other.keys()) / len(one.keys() | other.keys())
    for name, values in found.items():
        assert 0 < values[0] < 1, name
        assert values[1] == pytest.approx(1, abs=1e-12), name
    assert found["rouge1"][2] == found["rougeL"][2] == pytest.approx(2 * 2 / 200_002)
    assert found["overlap"][2] == 1
