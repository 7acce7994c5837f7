import numpy as np
import pytest
import torch
from hard_texts import fixed_pairs, long_text
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from tiny_encoders import MINILM, POSITIONS, TEXTS, save_roberta

from imagenet_think.metrics.sbert import SentenceBert


@pytest.fixture(scope="module")
def ours():
    return SentenceBert(MINILM, max_tokens=256, batch_size=4, device="cpu")


@pytest.fixture(scope="module")
def theirs():
    return SentenceTransformer(MINILM, device="cpu")


@pytest.fixture(scope="module")
def every():
    return SentenceBert(MINILM, max_tokens=16, batch_size=4, windows="all", device="cpu")


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


@pytest.mark.slow
def test_hard_texts_equal_sentence_transformers(ours, theirs):
    candidates, references = fixed_pairs()
    candidates, references = [*candidates, long_text(1)], [*references, long_text(2, tokens=1000)]
    texts = list(dict.fromkeys([*candidates, *references]))
    vectors = dict(zip(texts, theirs.encode(texts, batch_size=2), strict=True))
    a, b = ([vectors[text] for text in side] for side in (candidates, references))
    expected = theirs.similarity_pairwise(np.stack(a), np.stack(b)).numpy()
    assert np.abs(ours(candidates, references)["sbert"] - expected).max() < 1e-5


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


def test_texts_that_are_equal_inside_the_window_score_1(ours):
    long = "the archer draws the bow " * 80
    scores = ours([long], [long + "and stock prices fell"])
    assert scores["sbert"][0] == pytest.approx(1, abs=1e-6)


def test_empty_text(ours, theirs):
    expected = theirs.similarity_pairwise(theirs.encode([""]), theirs.encode(["a bow"]))
    assert ours([""], ["a bow"])["sbert"][0] == pytest.approx(float(expected[0]), abs=1e-5)


def test_all_windows_against_the_library(every, theirs):
    """Words of one token, so that a window is a text of 14 words."""
    known = ["red", "bow", "man", "sea", "tree", "house", "cat", "a", "the", "on"]
    words = np.random.default_rng(3).choice(known, 90)
    texts = [" ".join(words[:40]), " ".join(words[40:]), "a red bow"]
    weighted = []
    for text in texts:
        parts = text.split()
        windows = [" ".join(parts[k : k + 14]) for k in range(0, len(parts), 14)]
        tokens = np.array([len(window.split()) for window in windows])
        weighted.append(tokens @ theirs.encode(windows) / tokens.sum())
    vectors = np.stack(weighted)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    scores = every(texts, [*texts[1:], texts[0]])
    expected = (vectors * np.roll(vectors, -1, axis=0)).sum(axis=1)
    assert np.abs(scores["sbert"] - expected).max() < 1e-5
    assert scores["seen_candidate"].tolist() == [1, 1, 1]


def test_all_windows_of_200_000_tokens(every):
    long = "bow " * 200_000
    assert every([long], [long])["sbert"][0] == pytest.approx(1, abs=1e-6)
    # The beginning does not represent a text that changes its subject.
    turned = "the archer draws the bow " * 6 + "stock prices fell sharply on Monday " * 100
    first = SentenceBert(MINILM, max_tokens=16, batch_size=4, device="cpu")
    beginning, whole = (score([turned], ["stock prices"])["sbert"][0] for score in (first, every))
    assert whole > beginning + 0.2


def test_positions_of_roberta_do_not_include_the_paddings(tmp_path):
    encoder = Transformer(save_roberta(tmp_path / "encoder"), max_seq_length=POSITIONS)
    theirs = SentenceTransformer(modules=[encoder, Pooling(16)], device="cpu")
    theirs.save(str(tmp_path / "sentences"))
    ours = SentenceBert(
        str(tmp_path / "sentences"), max_tokens=POSITIONS, batch_size=4, device="cpu"
    )
    texts = ["the archer " * 60, "a bow"]
    expected = theirs.similarity(*theirs.encode(texts)[:, None]).item()
    assert ours(texts[:1], texts[1:])["sbert"][0] == pytest.approx(expected, abs=1e-5)
    with pytest.raises(ValueError, match=rf"takes {POSITIONS} tokens"):
        SentenceBert(str(tmp_path / "sentences"), max_tokens=POSITIONS + 1, batch_size=4)


def test_a_model_with_a_prompt_is_an_error(tmp_path):
    prompted = SentenceTransformer(
        MINILM, prompts={"query": "query: "}, default_prompt_name="query", device="cpu"
    )
    prompted.save(str(tmp_path))
    with pytest.raises(ValueError, match=r"sbert\.repository: .* adds a prompt or a template"):
        SentenceBert(str(tmp_path), max_tokens=16, batch_size=4, device="cpu")


def test_the_embedding_is_that_of_the_library(ours, theirs):
    """Bit for bit where the batches are the same."""
    with torch.inference_mode():
        windowed = ours.tokenizer(TEXTS[0], return_tensors="pt")
        expected = ours.model(dict(windowed))["sentence_embedding"]
    assert torch.equal(expected, theirs.encode(TEXTS[:1], convert_to_tensor=True))
