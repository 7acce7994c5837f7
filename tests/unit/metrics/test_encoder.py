"""What BERTScore and Sentence-BERT have in common."""

import numpy as np
import pytest
from hard_texts import PAIRS
from hypothesis import given, settings
from tiny_encoders import MINILM, TEXTS

from imagenet_think.metrics.bertscore import BertScore
from imagenet_think.metrics.sbert import SentenceBert


def build(metric, windows="first", max_tokens=256):
    layer = {"layer": 6} if metric is BertScore else {}
    return metric(
        MINILM, **layer, windows=windows, max_tokens=max_tokens, batch_size=4, device="cpu"
    )


@pytest.fixture(scope="module", params=[BertScore, SentenceBert])
def metric(request):
    return request.param


@pytest.fixture(scope="module")
def first(metric):
    return build(metric)


@pytest.fixture(scope="module")
def every(metric):
    return build(metric, "all", max_tokens=16)


def all_pairs(texts):
    return [a for a in texts for _ in texts], [b for _ in texts for b in texts]


def test_a_score_depends_on_its_own_texts_only(first, every):
    """Bit for bit, so that known and new scores together equal those of one call."""
    candidates, references = all_pairs(TEXTS)
    for score in (first, every):
        together = score(candidates, references)
        for rows in (slice(0, 1), slice(3, 5), slice(10, 27)):
            for name, values in score(candidates[rows], references[rows]).items():
                assert values.tobytes() == together[name][rows].tobytes()


def test_within_one_window_all_is_first(metric):
    pairs = all_pairs([text for text in TEXTS if len(text) < 1000])
    a, b = (build(metric, windows)(*pairs) for windows in ("first", "all"))
    assert {name: a[name].tobytes() for name in a} == {name: b[name].tobytes() for name in b}


def test_no_pairs(first):
    assert {values.shape for values in first([], []).values()} == {(0,)}


def test_the_share_of_tokens_seen(first):
    long = "bow " * 1000
    scores = first(["bow " * 100, long], [long, ""])
    assert scores["seen_candidate"].tolist() == [1.0, 254 / 1000]
    assert scores["seen_reference"].tolist() == [254 / 1000, 1.0]


def test_each_distinct_input_is_embedded_once(first, every, monkeypatch):
    long = "bow " * 600
    # Windows of 14 tokens: all whole ones of both long texts are equal, their ends are not.
    for score, distinct in ((first, 2), (every, 4)):
        embedded, forward = [], score._forward
        monkeypatch.setattr(
            score,
            "_forward",
            lambda *inputs, e=embedded, f=forward: e.append(len(inputs[0])) or f(*inputs),
        )
        score([long, long + "and more", "a bow", "a bow"], ["a bow", "a bow", long, "a bow"])
        assert sum(embedded) == distinct


def test_a_window_larger_than_the_models_is_an_error(metric):
    with pytest.raises(ValueError, match=rf"{metric.section}\.max_tokens is 1024"):
        build(metric, max_tokens=1024)


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(pairs=PAIRS)
def test_properties(first, every, pairs):
    candidates, references = ([*texts] for texts in zip(*pairs, strict=True))
    for score in (first, every):
        forth, back = score(candidates, references), score(references, candidates)
        same = score(candidates, candidates)
        # BERTScore of a text without a token is 0.
        ones = 1
        if isinstance(score, BertScore):
            texts = [text.strip() for text in candidates]
            ids = score.tokenizer(texts, add_special_tokens=False)["input_ids"]
            ones = np.array([bool(own) for own in ids])
        mirrored = {"precision": "recall", "recall": "precision", "f1": "f1", "sbert": "sbert"}
        for name in forth.keys() & mirrored.keys():
            assert np.abs(forth[name] - back[mirrored[name]]).max() < 1e-5
            assert np.abs(same[name] - ones).max() < 1e-5
            assert np.abs(forth[name]).max() <= 1 + 1e-5
        for name in ("seen_candidate", "seen_reference"):
            assert ((forth[name] > 0) & (forth[name] <= 1)).all()
