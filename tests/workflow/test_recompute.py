"""Every number of the tables, recomputed from their definitions and the annotations.

The reference libraries compute. Nothing of `imagenet_think` is imported, and no config is read.
"""

import importlib
import json
import random
import re
import unicodedata
from collections import defaultdict
from functools import cache
from hashlib import blake2b
from itertools import chain, combinations, permutations, product
from statistics import fmean, median, stdev

import numpy as np
import polars as pl
import pytest
import yaml
from bert_score import BERTScorer
from rouge_score.rouge_scorer import RougeScorer
from sentence_transformers import SentenceTransformer
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, CountVectorizer, TfidfVectorizer
from sklearn.metrics.pairwise import cosine_similarity
from transformers import AutoTokenizer

pytestmark = pytest.mark.slow

CLOSE = 1e-5
AGGREGATES = {"avg": fmean, "max": max}


@pytest.fixture(scope="module")
def defined(miniature):
    """The definitions of every table by its name."""
    files = (miniature / "tables").glob("*.definitions.json")
    return {path.name.split(".")[0]: json.loads(path.read_text()) for path in files}


@pytest.fixture(scope="module")
def table(miniature):
    """A function from a table's name to the rows of its csv."""

    def rows(name):
        frame = pl.read_csv(miniature / "tables" / f"{name}.csv", infer_schema_length=None)
        return list(frame.iter_rows(named=True))

    return rows


@pytest.fixture(scope="module")
def texts(miniature, defined):
    """Text by (image, model, part), where the definitions say that it is scored."""
    rules = defined["table7"]["texts"]
    for other in defined.values():
        assert other.get("texts", {}).items() <= rules.items()
    found = {}
    for row in pl.read_parquet(miniature / "annotations" / "*" / "*.parquet").iter_rows(named=True):
        for part, rule in rules.items():
            text = row[rule["column"]]
            if text and all(row[key] == own for key, own in rule.items() if key != "column"):
                found[row["image_id"], row["model"], part] = text
    return found


@pytest.fixture(scope="module")
def sample(miniature, defined):
    """What is known of each image, by its id."""
    rows = pl.read_parquet(miniature / defined["table2"]["file"]).iter_rows(named=True)
    return {row["image_id"]: row for row in rows}


def keys(models):
    return [model["key"] for model in models]


def folder_of(section):
    """Return the folder of an encoder or tokenizer: the miniature's are installed packages."""
    package = section["repository"].removeprefix("package:")
    return str(importlib.import_module(package).get_model_path())


def tokenization(section):
    return {name: section[name] for name in ("token_pattern", "stop_words")}


# Scores -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def score(defined, texts):
    """A function from a part, responses and references to the columns of all metrics."""
    about = defined["table7"]
    bertscore, sbert, rouge, sets, vectors = (
        about["metrics"][name] for name in ("bertscore", "sbert", "rouge", "sets", "vectors")
    )
    assert bertscore["windows"] == sbert["windows"] == "first"
    scorer = BERTScorer(
        model_type=folder_of(bertscore),
        num_layers=bertscore["layer"],
        idf=bertscore["idf"],
        rescale_with_baseline=bertscore["rescaled"],
        batch_size=64,
    )
    scorer._tokenizer.model_max_length = bertscore["max_tokens"]
    encoder = SentenceTransformer(folder_of(sbert))
    encoder.max_seq_length = sbert["max_tokens"]
    overlaps = RougeScorer(list(rouge["measures"]), use_stemmer=rouge["stemmer"])
    tokens = CountVectorizer(**tokenization(sets)).build_analyzer()
    words = tokenization(vectors)
    references = keys(about["references"])

    @cache
    def fitted(of, documents):
        corpus = [
            text for (_, who, part), text in texts.items() if who in references and part == of
        ]
        assert len(corpus) == documents
        return TfidfVectorizer(**words).fit(corpus)

    def cosine(vectorizer, pair):
        return cosine_similarity(*vectorizer.transform(pair)).item()

    def columns(part, first, second):
        pairs = list(zip(first, second, strict=True))
        row = {text: place for place, text in enumerate(sorted({*first, *second}))}
        embeddings = encoder.encode(list(row), normalize_embeddings=True)
        found = [(set(tokens(a)), set(tokens(b))) for a, b in pairs]
        rouges = [overlaps.score(b, a) for a, b in pairs]
        corpus = fitted(**vectors["corpora"][part])
        matched = [each.numpy() for each in scorer.score(list(first), list(second))]
        return dict(zip(("precision", "recall", "f1"), matched, strict=True)) | {
            "sbert": [float(embeddings[row[a]] @ embeddings[row[b]]) for a, b in pairs],
            "rouge1": [each["rouge1"].fmeasure for each in rouges],
            "rougeL": [each["rougeL"].fmeasure for each in rouges],
            "jaccard": [len(a & b) / len(a | b) for a, b in found],
            "overlap": [len(a & b) / min(len(a), len(b)) for a, b in found],
            "tfidf": [cosine(corpus, pair) for pair in pairs],
            "tfidf_pair": [cosine(TfidfVectorizer(**words).fit(pair), pair) for pair in pairs],
            "cosine": [cosine(CountVectorizer(**words).fit(pair), pair) for pair in pairs],
        }

    return columns


@pytest.fixture(scope="module")
def score_rows(defined, texts, score):
    """A function from a part and pairs of image and model to the scores against both references.

    It leaves out pairs of which a text is missing.
    """
    references = keys(defined["parts"]["references"])

    def found(part, pairs):
        rows = [
            (image, model)
            for image, model in pairs
            if all((image, key, part) in texts for key in (model, *references))
        ]
        compared = list(product(rows, references))
        columns = score(
            part,
            [texts[*row, part] for row, _ in compared],
            [texts[image, reference, part] for (image, _), reference in compared],
        )
        both = {name: np.reshape(values, (-1, 2)).tolist() for name, values in columns.items()}
        return {
            row: {name: values[place] for name, values in both.items()}
            for place, row in enumerate(rows)
        }

    return found


@pytest.fixture(scope="module")
def scored(defined, texts, score_rows):
    """(model, part) to image to scores: all full outputs, and every part of Table 7's model."""
    images = sorted({image for image, _, _ in texts})
    found = defaultdict(dict)
    for part in defined["parts"]["texts"]:
        models = keys(defined["ranks" if part == "full" else "table7"]["models"])
        for (image, model), row in score_rows(part, product(images, models)).items():
            found[model, part][image] = row
    return found


def measures(about):
    """Yield every printed measure of a table and its column of scores."""
    for metric in about["metrics"].values():
        for name, own in metric["measures"].items():
            yield name, own["score"]


@pytest.fixture(scope="module")
def means(scored):
    """A function that averages over a model's images, or some of them (equations 1 to 3).

    It returns the means by measure and aggregate, and the number of images.
    """

    @cache
    def of(model, part, columns, images=None):
        rows = scored[model, part].items()
        chosen = [row for image, row in rows if images is None or image in images]
        return {
            (measure, aggregate): fmean(combine(row[column]) for row in chosen)
            for (measure, column), (aggregate, combine) in product(columns, AGGREGATES.items())
        }, len(chosen)

    def found(about, model, part, images=None):
        assert about["missing"] == "leave_out"
        return of(model, part, tuple(measures(about)), images)

    return found


FILES = {
    "rouge": (["rouge1", "rougeL"], 0),
    "sets": (["jaccard", "overlap"], 0),
    "vectors": (["tfidf", "tfidf_pair", "cosine"], 1e-12),
    "bertscore": (["precision", "recall", "f1"], CLOSE),
    "sbert": (["sbert"], CLOSE),
}
"""The columns of the scores files and their absolute tolerances."""


DRAWN = 30
"""Rows of other models' thinking and answers that are recomputed, drawn in each run of the test."""


def test_rows_of_the_scores_files(miniature, scored, score_rows):
    recomputed = {
        (image, *of): row for of, images in scored.items() for image, row in images.items()
    }
    for metric, (columns, tolerance) in FILES.items():
        frame = pl.read_parquet(miniature / "scores" / metric / "[0-9]*.parquet")
        rows = {
            (row["image_id"], row["model"], row["part"]): row
            for row in frame.filter(pl.col("missing").is_null()).iter_rows(named=True)
        }
        if metric == next(iter(FILES)):
            others = random.sample(sorted(rows.keys() - recomputed.keys()), DRAWN)
            for image, model, part in others:
                (row,) = score_rows(part, [(image, model)]).values()
                recomputed[image, model, part] = row
        for name in columns:
            found = [[rows[key][f"{name}_1"], rows[key][f"{name}_2"]] for key in recomputed]
            expected = [row[name] for row in recomputed.values()]
            np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance, err_msg=name)


def test_tables_of_scores(defined, table, means):
    """Tables 3 to 6, and those of further metrics."""
    tables = {name: about for name, about in defined.items() if "title" in about}
    assert {f"table{number}" for number in range(3, 7)} <= tables.keys()
    for name, about in tables.items():
        rows = table(name)
        assert [(row["key"], row["model"]) for row in rows] == [
            (model["key"], model["name"]) for model in about["models"]
        ]
        for row in rows:
            expected, images = means(about, row["key"], "full")
            assert row["images"] == images
            for (measure, aggregate), value in expected.items():
                column = f"{measure}_{aggregate}"
                assert row[column] == pytest.approx(value, abs=CLOSE), (row["key"], column)
                assert row[f"{column}_low"] <= row[column] <= row[f"{column}_high"]


def test_table_7(defined, table, means):
    about, rows = defined["table7"], table("table7")
    (model,) = keys(about["models"])
    assert {(row["metric"], row["part"]) for row in rows} == set(
        product(dict(measures(about)), about["texts"])
    )
    for row in rows:
        expected, images = means(about, model, row["part"])
        assert row["images"] == images
        for aggregate in AGGREGATES:
            value = expected[row["metric"], aggregate]
            assert row[aggregate] == pytest.approx(value, abs=CLOSE), row


@pytest.fixture(scope="module")
def lengths(defined, texts):
    """The number of tokens of each text."""
    tokenizers = [about["tokenizer"] for about in defined.values() if "tokenizer" in about]
    tokenizers += [defined[name]["groups"]["length"]["tokenizer"] for name in ("parts", "groups")]
    assert tokenizers == tokenizers[:1] * 4
    tokenizer = AutoTokenizer.from_pretrained(folder_of(tokenizers[0]))
    found = tokenizer(list(texts.values()), add_special_tokens=False, truncation=False)
    return dict(zip(texts, map(len, found["input_ids"]), strict=True))


def quarter(group, model, lengths, of):
    """Return the images of a quarter, whose name has the lengths of its shortest and longest."""
    ends = [int(end.replace(",", "")) for end in re.findall(r"[\d,]+", group.split("(")[1])]
    found = {image: n for (image, who, part), n in lengths.items() if (who, part) == (model, of)}
    return frozenset(image for image, n in found.items() if ends[0] <= n <= ends[-1])


def test_parts(defined, table, scored, means, lengths):
    about, rows = defined["parts"], table("parts")
    assert {row["key"] for row in rows} == set(keys(about["models"]))
    assert {row["metric"] for row in rows} == set(dict(measures(about)))
    of = about["groups"]["length"]["tokens_of"]
    for row in rows:
        chosen = None
        if row["length"] != "all":
            chosen = quarter(row["length"], row["key"], lengths, of)
        for part in (part for part in about["texts"] if (row["key"], part) in scored):
            expected, images = means(about, row["key"], part, chosen)
            assert row[f"{part}_images"] == images, row
            for aggregate in AGGREGATES:
                value = expected[row["metric"], aggregate]
                assert row[f"{part}_{aggregate}"] == pytest.approx(value, abs=CLOSE), row


def test_groups(defined, table, scored, means, lengths, sample):
    about, rows = defined["groups"], table("groups")
    assert {row["grouping"] for row in rows} == set(about["groups"])
    printed = dict(measures(about))
    for row in rows:
        by = about["groups"][row["grouping"]]
        if (row["key"], row["part"]) not in scored:
            continue
        chosen = (
            quarter(row["group"], row["key"], lengths, by["tokens_of"])
            if "tokens_of" in by
            else frozenset(i for i, own in sample.items() if str(own[by["column"]]) == row["group"])
        )
        expected, images = means(about, row["key"], row["part"], chosen)
        assert row["images"] == images, row
        if row["metric"] in printed:  # the csv also has the variants that are not printed
            value = expected[row["metric"], row["aggregate"]]
            assert row["value"] == pytest.approx(value, abs=CLOSE), row


def test_ranks(defined, table, scored):
    about = defined["ranks"]
    models = keys(about["models"])
    rows = {
        tuple(row[name] for name in ("metric", "aggregate", "key", "other_key")): row
        for row in table("ranks")
    }
    for (measure, column), (name, combine) in product(measures(about), AGGREGATES.items()):
        gaps = defaultdict(dict)
        for one, other in permutations(models, 2):
            first, second = scored[one, "full"], scored[other, "full"]
            common = first.keys() & second.keys()
            gaps[one][other] = fmean(
                combine(first[image][column]) - combine(second[image][column]) for image in common
            )
            row = rows[measure, name, one, other]
            assert row["difference"] == pytest.approx(gaps[one][other], abs=CLOSE), row
            assert row["images"] == len(common)
        for one, other in permutations(models, 2):
            better = sum(gap < 0 for gap in gaps[one].values())
            assert rows[measure, name, one, other]["rank"] == 1 + better
        pairs = [
            list(pair)
            for pair in combinations(models, 2)
            if rows[measure, name, *pair]["all_low"] <= 0 <= rows[measure, name, *pair]["all_high"]
        ]
        if name == "avg":
            assert about["not_apart"][measure] == pairs


# Agreement ----------------------------------------------------------------------------------------


def order(seed, *parts):
    """Return the place of a name in the random order that definitions describe."""
    data = b"".join(b"%d:%b" % (len(part.encode()), part.encode()) for part in parts)
    return blake2b(data, key=str(seed).encode(), digest_size=16).digest()


def partners(rule, sample):
    """Return image to the images that its texts are compared with, of its class and of another."""
    found = {}
    for shard in {row["shard"] for row in sample.values()}:
        classes = defaultdict(list)
        for image, row in sample.items():
            if row["shard"] == shard:
                classes[row["wnid"]].append(image)
        pairs = []
        for wnid in sorted(classes, key=lambda wnid: order(rule["seed"], wnid)):
            names = {image: image.removeprefix(f"{wnid}/") for image in classes[wnid]}
            images = sorted(names, key=lambda image: order(rule["seed"], wnid, names[image]))
            pairs += [list(zip(images[::2], images[1::2], strict=False))] if images[1:] else []
        for own, others in zip(pairs, pairs[1:] + pairs[:1], strict=True):
            for place, (first, second) in enumerate(own if len(pairs) > 1 else ()):
                found[first] = {
                    "same_class": second,
                    "other_class": others[place % len(others)][1],
                }
    return found


def test_agreement(defined, table, texts, score, sample):
    about = defined["agreement"]
    teachers = keys(about["references"])
    chosen = partners(about["partners"], sample)
    found = {}
    for part in random.sample(list(about["texts"]), 1):  # another one in each run of the test
        compared = [("teacher_2", teachers[0], image, image) for image in sample]
        for model, (image, of) in product(teachers, chosen.items()):
            compared += [(against, model, image, other) for against, other in of.items()]
        pairs = {}
        for against, model, image, other in compared:
            second = teachers[1] if against == "teacher_2" else model
            both = (image, model, part), (other, second, part)
            if all(key in texts for key in both):
                pairs[against, model, image] = [texts[key] for key in both]
        columns = score(part, *zip(*pairs.values(), strict=True))
        for place, (against, model, image) in enumerate(pairs):
            row = {name: float(values[place]) for name, values in columns.items()}
            found.setdefault((part, model, against, None), {})[image] = row
        between = found[part, teachers[0], "teacher_2", None]
        for model in teachers:
            same = found[part, model, "same_class", None]
            found[part, model, "teacher_2", "same_class"] = {
                image: {name: between[image][name] - own for name, own in same[image].items()}
                for image in between.keys() & same.keys()
            }
    columns = dict(measures(about))
    by_domain = defined["agreement_domains"]["groups"]["domain"]["column"]
    for row in chain(table("agreement"), table("agreement_domains")):
        if row["metric"] in columns and row["part"] == part:
            of = found[part, row["model"], row["against"], row["minus"]]
            values = [
                scores[columns[row["metric"]]]
                for image, scores in of.items()
                if sample[image][by_domain] == row.get("group", sample[image][by_domain])
            ]
            assert row["images"] == len(values), row
            expected = fmean(values) if values else None
            assert row["value"] == pytest.approx(expected, abs=CLOSE), row


# Counts -------------------------------------------------------------------------------------------


def samples(about, texts):
    """Return the images that have thinking and answer of every teacher."""
    teachers = [one["key"] if isinstance(one, dict) else one for one in about["references"]]
    wanted = list(product(teachers, ["think", "answer"]))
    found = {image for image, _, _ in texts if all((image, *key) in texts for key in wanted)}
    assert len(found) == about["samples"]["complete"]
    return found, wanted


def test_table_1(miniature, defined, table, texts, lengths):
    found, wanted = samples(defined["table1"], texts)
    totals = [sum(lengths[image, *key] for key in wanted) for image in found]
    rows = {row["dataset"]: row for row in table("table1")}
    row = rows["ImageNet-Think"]
    assert row["images"] == len(totals)
    assert (row["min"], row["max"], row["total"]) == (min(totals), max(totals), sum(totals))
    assert row["mean"] == pytest.approx(fmean(totals))
    paper = yaml.safe_load((miniature.parents[1] / defined["table1"]["reported"]).read_text())
    for reported in paper["table1"][:-1]:
        assert rows[reported["dataset"]]["mean"] == reported["mean"]
        assert rows[reported["dataset"]]["source"] == "reported by the paper"


def per_class(about, sample):
    return np.unique([row[about["class"]] for row in sample.values()], return_counts=True)[1]


def test_table_2(defined, table, sample):
    counts = per_class(defined["table2"], sample)
    (row,) = table("table2")
    assert (row["images"], row["classes"]) == (counts.sum(), len(counts))
    assert (row["min_per_class"], row["max_per_class"]) == (counts.min(), counts.max())
    assert row["mean_per_class"] == pytest.approx(counts.mean())
    name = re.compile(defined["table2"]["imagenet_names"])
    assert row["imagenet_names"] == len([image for image in sample if name.search(image)])


def is_non_latin(text, share):
    scripts = [unicodedata.name(letter).split()[0] for letter in text if letter.isalpha()]
    other = sum(script != "LATIN" for script in scripts)
    return other > 0 and other >= share * len(scripts)


def test_language(defined, table, texts, lengths, sample):
    about = defined["language"]
    found, _ = samples(about, texts)
    names = {model["name"]: model["key"] for model in about["references"]}
    expected = {("images_per_class", None, None): per_class(about["images"], sample).tolist()}
    pattern, groups = re.compile(about["words"]["pattern"]), about["groups"]
    assert groups["number"] == 1  # fewer samples than its size
    together = set()
    for (name, key), part in product(names.items(), about["texts"]):
        own = {image: text for (image, *of), text in texts.items() if of == [key, part]}
        expected["tokens", name, part] = [lengths[image, key, part] for image in own]
        if part == "full":
            foreign = [is_non_latin(text, about["non_latin_share"]) for text in own.values()]
            expected["non_latin_percent", name, part] = [100 * each for each in foreign]
            words = [pattern.findall(text.lower()) for text in own.values()]
            known = [sum(word in ENGLISH_STOP_WORDS for word in each) for each in words]
            pairs = zip(foreign, known, words, strict=True)
            expected["english_percent", name, part] = [
                100 * (not other and count >= about["english_share"] * len(each))
                for other, count, each in pairs
            ]
        else:
            lowered = " ".join(own[image] for image in found).lower()
            for old, new in about["words"]["replaced"].items():
                lowered = lowered.replace(old, new)
            words = set(pattern.findall(lowered))
            expected["unique_words", name, part] = [len(words)]
            together |= words
    expected["unique_words", "all teachers", None] = [len(together)]
    rows = table("language")
    assert {(row["measure"], row["model"], row["part"]) for row in rows} == set(expected)
    for row in rows:
        values = expected[row["measure"], row["model"], row["part"]]
        assert (row["n"], row["mean"]) == (len(values), pytest.approx(fmean(values))), row
        if row["measure"] not in ("non_latin_percent", "english_percent"):
            assert (row["min"], row["max"]) == (min(values), max(values))
            assert row["median"] == median(values)
            assert row["sd"] == (pytest.approx(stdev(values)) if values[1:] else None)


def names_of_classes(miniature, about):
    """Return the names of each class by relation: its own, of those below, of the one above."""
    rows = pl.read_parquet(miniature / about["file"]).iter_rows(named=True)
    classes = {row["wnid"]: row for row in rows}
    further = (miniature.parents[1] / about["other_hypernyms"]).read_text().splitlines()[1:]
    lemmas = dict(line.split("\t")[:2] for line in further)
    lemmas |= {wnid: row["lemmas"] for wnid, row in classes.items()}
    below = defaultdict(set)
    for wnid, row in classes.items():
        while (row := classes.get(row["hypernym"])) and row["wnid"] != wnid:
            below[row["wnid"]].add(wnid)
    return {
        wnid: {
            "synset": split(row["lemmas"]),
            "hyponym": [name for lower in below[wnid] for name in split(lemmas[lower])],
            "hypernym": split(lemmas.get(row["hypernym"], "")),
        }
        for wnid, row in classes.items()
    }


def split(lemmas):
    return [name.strip() for name in lemmas.split(",") if name.strip()]


@cache
def finder(name):
    """Return the expression that finds a name, with the last word in its regular plural too."""
    plural = re.sub(r"([^aeiou])y$", r"\1ies", name)
    plural += "" if plural != name else "es" if re.search("(?:[sxzo]|[cs]h)$", name) else "s"
    forms = {name, plural, *([f"{name}s"] if name.endswith("o") else [])}
    words = [r"[\s-]+".join(map(re.escape, re.split(r"[\s-]+", form))) for form in forms]
    flags = 0 if name.isupper() else re.IGNORECASE
    return re.compile(rf"(?<![^\W_])(?:{'|'.join(words)})(?![^\W_])", flags)


def test_mentions(miniature, defined, table, texts, sample):
    about = defined["mentions"]
    names = names_of_classes(miniature, about["names"])
    classes = sorted({row["wnid"] for row in sample.values()})
    found = defaultdict(dict)
    for (image, model, part), text in texts.items():
        if part in about["texts"]:
            own = sample[image]["wnid"]
            others = [wnid for wnid in classes if wnid != own]
            digest = order(about["other"]["seed"], about["other"]["name"][0], image)
            other = names[others[int.from_bytes(digest, "big") % len(others)]]
            named = {
                relation: any(finder(name).search(text) for name in these)
                for relation, these in names[own].items()
            }
            by_chance = any(finder(name).search(text) for name in chain(*other.values()))
            found[model][image] = named | {"other": by_chance}
    for row in table("mentions"):
        by = about["groups"].get(row["grouping"])
        rows = [
            of
            for image, of in found[row["key"]].items()
            if not by or str(sample[image][by["column"]]) == row["group"]
        ]
        assert row["answers"] == len(rows), row
        for share, relations in about["shares"].items():
            expected = fmean(any(of[relation] for relation in relations) for of in rows)
            assert row[share] == pytest.approx(expected), (row, share)


def test_every_table_of_scores_is_recomputed(defined):
    tested = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    others = {
        name for name, about in defined.items() if "metrics" in about and "title" not in about
    }
    assert others - tested == {"table7", "agreement_domains"}
    assert {"test_table_7", "test_agreement"} <= globals().keys()
