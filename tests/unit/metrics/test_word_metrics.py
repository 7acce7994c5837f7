"""The word metrics against the reference libraries, on texts that are hard to tokenize."""

from collections import Counter
from itertools import pairwise, product

import hard_texts
import numpy as np
import pytest
from hypothesis import example, given, settings
from rouge_score.rouge_scorer import RougeScorer
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.metrics.pairwise import cosine_similarity

from imagenet_think.metrics import rouge as rouge_module
from imagenet_think.metrics.rouge import rouge
from imagenet_think.metrics.tfidf import DocumentFrequencies, vectors
from imagenet_think.metrics.token_overlap import sets
from imagenet_think.metrics.tokenization import IRREGULAR, RUNS, analyzer, tokenize

LETTERS, WORDS = RUNS
CUSTOM = r"[^\W\d_]+(?:['’-]\w+)*"
STOP_WORDS = [None, "english", ["the", "лук", "bow"]]
TOKENS = [
    {"token_pattern": pattern, "stop_words": words}
    for pattern, words in product([*RUNS, CUSTOM], STOP_WORDS)
]
each_tokenization = pytest.mark.parametrize("tokens", TOKENS, ids=str)


def count(corpus, token_pattern=WORDS, stop_words=None):
    frequencies = DocumentFrequencies()
    frequencies.add(corpus, token_pattern=token_pattern, stop_words=stop_words)
    return frequencies


def scores(pairs):
    """Return all word metrics of some pairs, `tfidf` fitted on their texts."""
    frequencies = count([text for pair in pairs for text in pair])
    candidates, references = zip(*pairs, strict=True)
    found = rouge(candidates, references) | sets(candidates, references, token_pattern=LETTERS)
    return found | vectors(candidates, references, frequencies, token_pattern=WORDS)


# Tokens ------------------------------------------------------------------------------------------


def cut(texts, tokens):
    cut = tokenize(texts, **tokens)
    words = np.array(cut.terms.to_pylist(), dtype=object)[cut.ids].tolist()
    return [words[start:end] for start, end in pairwise(cut.starts.tolist())]


@each_tokenization
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


# Equal to the libraries --------------------------------------------------------------------------


@pytest.mark.parametrize("stemmer", [False, True])
@settings(max_examples=100, deadline=None)
@given(pairs=hard_texts.PAIRS)
@example(pairs=list(zip(*hard_texts.fixed_pairs(), strict=True)))
def test_rouge_is_bit_identical_to_rouge_score(stemmer, pairs):
    scorer = RougeScorer(["rouge1", "rougeL"], use_stemmer=stemmer)
    ours = rouge(*zip(*pairs, strict=True), stemmer=stemmer)
    theirs = [scorer.score(target=reference, prediction=text) for text, reference in pairs]
    for name, values in ours.items():
        assert values.tolist() == [found[name].fmeasure for found in theirs], name


@each_tokenization
def test_sets_are_exact(tokens):
    candidates, references = hard_texts.fixed_pairs()
    ours = sets(candidates, references, **tokens)
    analyze = analyzer(**tokens)
    for row, (c, r) in enumerate(zip(candidates, references, strict=True)):
        a, b = set(analyze(c)), set(analyze(r))
        assert ours["jaccard"][row] == len(a & b) / max(len(a | b), 1)
        assert ours["overlap"][row] == len(a & b) / max(min(len(a), len(b)), 1)
    assert np.all(ours["jaccard"] <= ours["overlap"])


@each_tokenization
def test_vectors_are_those_of_scikit_learn(tokens):
    candidates, references = hard_texts.fixed_pairs()
    texts = list(hard_texts.FIXED.values())
    for corpus in (texts[::2], ["?"]):
        ours = vectors(candidates, references, count(corpus, **tokens), **tokens)
        assert np.all(ours["tfidf_pair"] <= ours["cosine"] + 1e-12)
        for row, (a, b) in enumerate(zip(candidates, references, strict=True)):
            expected = {
                "tfidf": cosine(TfidfVectorizer(**tokens), a, b, corpus),
                "tfidf_pair": cosine(TfidfVectorizer(**tokens), a, b, [a, b]),
                "cosine": cosine(CountVectorizer(**tokens), a, b, [a, b]),
            }
            for name, value in expected.items():
                assert ours[name][row] == pytest.approx(value, abs=1e-12), (name, a, b)


def cosine(vectorizer, a, b, corpus):
    """Return scikit-learn's cosine; 0 for a corpus without a term, which it refuses to fit."""
    if not any(map(vectorizer.build_analyzer(), corpus)):
        with pytest.raises(ValueError, match="empty vocabulary"):
            vectorizer.fit(corpus)
        return 0.0
    vectorizer.fit(corpus)
    return cosine_similarity(vectorizer.transform([a]), vectorizer.transform([b]))[0, 0]


@each_tokenization
def test_document_frequencies_are_those_of_scikit_learn(tokens):
    corpus = list(hard_texts.FIXED.values()) * 3
    vectorizer = CountVectorizer(binary=True, **tokens)
    held = np.asarray(vectorizer.fit_transform(corpus).sum(axis=0)).ravel().tolist()
    terms = vectorizer.get_feature_names_out().tolist()
    ours = count(corpus, **tokens)
    assert ours.documents == len(corpus)
    assert dict(ours.terms) == dict(zip(terms, held, strict=True))


def test_documents_counted_in_two_steps():
    counted = count(["bow", "red bow", "red red bow", "tree"])
    counted.add(["", "red tree"], token_pattern=WORDS)
    assert counted == DocumentFrequencies(6, Counter(bow=3, red=3, tree=2))


# Properties --------------------------------------------------------------------------------------


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
def test_texts_without_a_common_token_score_0(pair):
    found = scores([pair, ("", "bow"), ("", ""), ("弓", "弓")])
    assert [name for name, values in found.items() if values.any()] == []


def test_no_pairs():
    found = [
        rouge([], []),
        sets([], [], token_pattern=LETTERS),
        vectors([], [], count(["bow"]), token_pattern=WORDS),
    ]
    assert all(values.shape == (0,) for columns in found for values in columns.values())


def test_as_many_candidates_as_references_are_needed():
    with pytest.raises(ValueError, match="2 candidates, but 1 references"):
        sets(["bow", "red bow"], ["bow"], token_pattern=LETTERS)


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


# By hand -----------------------------------------------------------------------------------------


def test_rouge_of_more_words_than_characters(monkeypatch):
    # 60,000 words are more than there are characters below the surrogates.
    words = [f"w{k}" for k in range(60_000)]
    half = len(words) // 2
    pairs = [(" ".join(words), " ".join(words[half:] + words[:half])), ("w1 w9 w5", "w9 w1 w5 w1")]
    found = rouge(*zip(*pairs, strict=True))
    assert found["rouge1"].tolist() == [1, 6 / 7]
    assert found["rougeL"] == pytest.approx([0.5, 4 / 7])
    monkeypatch.setattr(rouge_module, "CHARACTERS", 3)
    again = rouge(*zip(*pairs, strict=True))
    assert {k: v.tolist() for k, v in again.items()} == {k: v.tolist() for k, v in found.items()}
