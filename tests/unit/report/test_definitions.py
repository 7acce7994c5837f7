"""Definitions as data: every caption follows from its table's file, and from nothing else."""

import importlib
import json

import pytest
from synthetic_run import CONFIG, make_run
from written_tables import read_table

from imagenet_think.metrics import registry, wording
from imagenet_think.report import products


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    make_run(folder)
    return folder / "tables"


def caption(name, defined):
    """Return the caption of a table with some definitions."""
    (table,) = (table for table in products.tables() if table.name == name)
    module = importlib.import_module(table.script)
    return (module.domain_caption if name == "agreement_domains" else module.caption)(defined)


def definitions(tables, name):
    return json.loads((tables / f"{name}.definitions.json").read_text())


@pytest.mark.parametrize("name", [table.name for table in products.tables()])
def test_a_caption_is_that_of_the_file(tables, name):
    written = read_table(tables / name)[1]
    assert caption(name, definitions(tables, name)).replace("\\", "") == written


@pytest.mark.parametrize(
    ("name", "path", "value", "words"),
    [
        ("table1", "tokenizer/repository", "a/b", "tokenizer of a/b"),
        ("table1", "samples/complete", 7, "M = 7 of"),
        ("table3", "references/0/name", "Other", "texts of Other and"),
        ("table3", "metrics/bertscore/layer", 17, "layer 17"),
        ("table3", "metrics/sbert/max_tokens", 99, "first 99 tokens"),
        ("table3", "windows/0/seen", 0.123, "full 12.3% of"),
        ("table3", "images/0/images", 3, "M = 3 to"),
        ("table4", "metrics/rouge/stemmer", True, "with stemming"),
        ("table5", "metrics/sets/dropped", {}, "(no stop words are dropped)"),
        ("table6", "metrics/vectors/corpora/answer/documents", 9, "over the 9 full outputs"),
        ("table6", "missing", "zero", "it scores 0 in every metric"),
        ("table7", "models/0/output", "boxed", "formats boxed ("),
        ("agreement", "windows/0/seen", 0.123, "12.3% of a full text's"),
        ("groups", "groups/stratum", None, "Complexity is the image's stratum"),
        ("language", "groups/size", 5, "random groups of 5 samples"),
        ("language", "non_latin_share", 0.31, "at least 31% of its letters"),
        ("mentions", "names/matched", "letters", "matched as letters;"),
        ("parts", "images/0/left_out", 999, " of 1,0"),
        ("ranks", "not_apart/sbert", [], "Sentence-BERT Cosine Similarity: none"),
    ],
)
def test_a_caption_follows_its_definitions(tables, name, path, value, words):
    defined = definitions(tables, name)
    *sections, last = [int(key) if key.isdigit() else key for key in path.split("/")]
    section = defined
    for key in sections:
        section = section[key]
    section[last] = value
    assert words in caption(name, defined)


def test_every_setting_that_decides_scores_is_in_the_definitions(tables):
    defined = definitions(tables, "table7")["metrics"]
    assert list(defined) == [metric.name for metric in registry.metrics()]
    for metric in registry.metrics():
        section = CONFIG["benchmark"][metric.name]
        deciding = {key: own for key, own in section.items() if key not in metric.tuning}
        assert deciding.items() <= defined[metric.name].items()
        assert defined[metric.name]["library"] in (*metric.packages, "bert-score", "rouge-score")
        scores = {own["score"] for own in defined[metric.name]["measures"].values()}
        assert scores <= set(metric.score_columns)


@pytest.mark.parametrize(
    ("pattern", "kinds"),
    [
        (r"\w+", []),
        (r"(?u)\b\w\w+\b", ["words of one letter (a, I)", "numbers of one digit"]),
        ("[a-z0-9]+", ["letters with accents", "words in other scripts than Latin"]),
        ("[a-z]{2,}", list(wording.WORDS)),
    ],
)
def test_what_a_pattern_drops(pattern, kinds):
    assert list(wording.dropped(pattern)) == kinds
    section = {
        "token_pattern": pattern,
        "stop_words": ["a", "the"],
        "dropped": wording.dropped(pattern),
    }
    words = wording.tokens(section)
    assert words.startswith(
        f"lower-cased matches of {pattern} (the config's stop words are dropped"
    )
    assert all(kind in words for kind in kinds)
