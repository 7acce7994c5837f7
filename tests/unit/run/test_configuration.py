"""The config is checked before anything runs, and every message says what to do."""

import json
import os
import re
import subprocess
import sys
from contextlib import suppress
from copy import deepcopy
from functools import partial, reduce
from itertools import product
from operator import getitem
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from users_files import SUFFIXES, write_table

from imagenet_think.core import model_sources, paths, user_tables
from imagenet_think.core.digest_cache import DigestCache
from imagenet_think.core.settings import ANY, schema_keys
from imagenet_think.inference import engines
from imagenet_think.run import configuration

ROOT = Path(__file__).parents[3]


def load(name):
    return yaml.safe_load((ROOT / "config" / name).read_text(encoding="utf-8"))


@pytest.fixture(autouse=True)
def at_root(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.fixture
def miniature():
    return load("miniature.yaml")


@pytest.mark.parametrize("name", ["config.yaml", "miniature.yaml"])
def test_both_configs_are_accepted(name):
    checked = configuration.check(load(name), name)
    assert checked["models"]["glm-4.1v"]["template"] == "{image}{prompt}"
    assert checked["inference"]["canary"] == {"broken_formats": "warn"}


def test_the_paper_run_has_the_papers_numbers():
    config = configuration.check(load("config.yaml"))
    images = config["images"]
    assert (images["total"], images["class_count"]) == (250_000, 10_450)
    assert (images["min_per_class"], images["max_per_class"]) == (22, 31)
    assert images["criteria"]["min_side"] == 224
    assert len(config["teachers"]) == 2
    assert len(config["benchmarked"]) == 5
    paper = (ROOT / "resources" / "imagenet21k_p_winter21.tsv").read_text().splitlines()
    assert len(paper) - 1 == images["class_count"]


def test_the_paper_run_decodes_as_the_authors_evaluate():
    models = configuration.check(load("config.yaml"))["models"]
    greedy = {"temperature": 0.0, "top_p": 1.0, "top_k": 0, "repetition_penalty": 1.0}
    for key in ("vl-rethinker", "visionthink"):
        assert models[key]["decoding"] == {"max_new_tokens": 8192} | greedy
    # The rest is the checkpoint's: no value is typed that its authors did not name.
    assert models["r1-onevision"]["decoding"] == {"max_new_tokens": 4096, "from_checkpoint": True}
    assert models["visionthink"]["second_round"]["scaling"] == "evaluation"
    assert models["visionthink"]["image"] == {}


def test_the_paper_run_needs_pin_and_the_miniature_does_not():
    config = configuration.check(load("config.yaml"))
    unpinned = {f"models.{key}" for key in config["models"]}
    unpinned |= {"models.openvlthinker.processor", "benchmark.bertscore"}
    assert unpinned <= set(configuration.unpinned(config))
    entries = configuration.repository_entries(configuration.check(load("miniature.yaml")))
    assert not [key for key, entry in entries if model_sources.is_hub(entry["repository"])]


def test_the_readme_is_up_to_date():
    page = (ROOT / "config" / "README.md").read_text(encoding="utf-8")
    assert page == configuration.as_markdown(), "run `make config-docs`"


def test_every_key_is_described():
    keys = dict(schema_keys(configuration.schema()))
    assert not [key for key, node in keys.items() if not node.get("description")]


def test_the_names_of_plugins_come_from_their_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(configuration, "SCHEMA", tmp_path / "schema.yaml")
    configuration.SCHEMA.write_text(
        "{$defs: {}, properties: {family: {description: Family., plugin: inference.families}}}"
    )
    node = configuration.schema.__wrapped__()["properties"]["family"]
    assert {"glm4v", "kimi_vl"} <= set(node["enum"])
    assert "`glm4v`: GLM-4.1V" in configuration._described(node)


RAW = {"path": "resources/stand_in.parquet", "text": "text"}
PARTS = {"path": RAW["path"], "think": "think_1", "answer": "answer_1"}


@pytest.fixture(autouse=True)
def stand_in(monkeypatch):
    """Pretend that one file exists, with the columns that are needed."""
    find, check = paths.table_files, user_tables.check
    monkeypatch.setattr(
        paths, "table_files", lambda path: [path] if path == RAW["path"] else find(path)
    )
    monkeypatch.setattr(
        user_tables, "check", lambda path, columns: path == RAW["path"] or check(path, columns)
    )


def refused(config, origin="my.yaml"):
    """Return the problems of a config; check the message that lists them."""
    with pytest.raises(configuration.ConfigError) as caught:
        configuration.check(config, origin)
    problems = caught.value.problems
    assert str(caught.value).splitlines() == (
        [f"{origin}: {problems[0]}"]
        if len(problems) == 1
        else [f"{origin}: {len(problems)} problems", *(f"  - {each}" for each in problems)]
    )
    return problems


def imported(config, responses, model="vl-rethinker", **others):
    """Turn a model into an imported one."""
    entry = config["models"][model]
    kept = {key: entry[key] for key in ("name", "output") if key in entry}
    config["models"][model] = kept | {"responses": responses} | others


def listing(config):
    """Turn a config into one of a listing with only imported models; return its images."""
    for model in config["models"]:
        imported(config, RAW, model)
    source = {"kind": "listing", "path": RAW["path"]}
    config["images"] = {"classes": config["images"]["classes"], "source": source}
    return config["images"]


def test_an_imported_model_keeps_only_its_import_keys(miniature):
    imported(miniature, RAW)
    imported(miniature, PARTS, "kimi-vl")
    del miniature["models"]["kimi-vl"]["output"]
    checked = configuration.check(miniature)
    assert checked["models"]["vl-rethinker"] == {
        "name": miniature["models"]["vl-rethinker"]["name"],
        "responses": RAW | {"image": "image"},
        "output": "boxed",
    }
    assert set(checked["models"]["kimi-vl"]) == {"name", "responses"}
    entries = dict(configuration.repository_entries(checked))
    assert {"models.glm-4.1v", "models.internvl3.5"} <= entries.keys()
    assert not {"models.vl-rethinker", "models.kimi-vl"} & entries.keys()


def test_the_population_of_intervals_fits_the_source(miniature):
    def population():
        return configuration.check(miniature)["benchmark"]["intervals"]["population"]

    assert population() == "fixed"
    miniature["images"] |= {"class_count": 11, "total": 132}
    assert population() == "drawn"
    miniature["benchmark"]["intervals"]["population"] = "fixed"
    assert population() == "fixed"
    del miniature["benchmark"]["intervals"]["population"]
    listing(miniature)
    assert population() == "fixed"


def test_a_key_of_earlier_versions_is_ignored(miniature):
    expected = configuration.check(miniature)
    miniature["benchmark"]["intervals"]["draws"] = 10_000
    assert configuration.check(miniature) == expected
    miniature["benchmark"] = []
    assert refused(miniature)


def test_a_listing_may_leave_out_the_number_of_images(miniature):
    listing(miniature)
    configuration.check(miniature)
    miniature["images"]["total"] = 5
    assert configuration.check(miniature)["images"]["total"] == 5


def published(config):
    """Replace the teachers, which keep their keys, by published references."""
    config["references"] = {"published": RAW["path"]}
    return config


def test_published_references_replace_the_teachers_responses(miniature):
    teachers = miniature["teachers"]
    checked = configuration.check(published(miniature))
    for place, key in enumerate(teachers, start=1):
        assert checked["models"][key] == {
            "name": miniature["models"][key]["name"],
            "responses": {
                "path": RAW["path"],
                "image": "image",
                "think": f"think_{place}",
                "answer": f"answer_{place}",
            },
        }
    assert checked["models"]["vl-rethinker"]["family"] == "qwen2_5_vl"
    assert "references" in miniature
    assert configuration.check(checked) == checked


def with_pictures(config):
    """Turn a config into one of a listing with pictures; return its images."""
    images = config["images"]
    source = {"kind": "listing", "path": RAW["path"], "pictures": True}
    kept = ("classes", "criteria", "preparation")
    config["images"] = {key: images[key] for key in kept} | {"source": source}
    return config["images"]


def test_models_can_be_prompted_with_a_listing_that_has_pictures(miniature):
    source = with_pictures(miniature)["source"]
    assert "repository" in configuration.check(miniature)["models"]["glm-4.1v"]
    source["pictures"] = False
    assert "cannot be prompted" in "\n".join(refused(miniature))


def set_to(path, value):
    """Return a function that sets a key of a config, at a path with slashes."""
    *above, last = path.split("/")
    return lambda config: reduce(getitem, above, config).__setitem__(last, value)


def without(path):
    """Return a function that removes a key of a config, at a path with slashes."""
    *above, last = path.split("/")
    return lambda config: reduce(getitem, above, config).pop(last)


WRONG = [
    (set_to("images/balance", 2), "images.balance is 2; allowed is number, at least 0, at most 1"),
    (
        set_to("models/kimi-vl/family", "llava"),
        'models.kimi-vl.family is "llava"; allowed is one of glm4v, internvl, kimi_vl, qwen2_5_vl',
    ),
    (set_to("run", "r" * 101), "at most 100 characters, matching ^[A-Za-z0-9]"),
    (set_to("models/kimi-vl/revision", "main"), 'models.kimi-vl.revision is "main"; allowed is'),
    (set_to("prompt", "überall"), 'prompt is "überall"; allowed is one of section_3_2, figure_2'),
    (set_to("teachers", ["glm-4.1v", "gpt"]), 'teachers has "gpt"; allowed is one of glm-4.1v,'),
    (set_to("benchmark/missing", "mean"), 'benchmark.missing is "mean"; allowed is one of leave_'),
    (set_to("benchmark/sbert/windows", "last"), 'windows is "last"; allowed is one of first, all'),
    (set_to("benchmark/sbert/precision", "half"), 'precision is "half"; allowed is one of float32'),
    (without("figures/samples"), "key 'samples' is missing in figures"),
    (set_to("images/total", 1000), "images.total is 1000; allowed is 120 to 168"),
    (
        set_to("images/min_per_class", 99),
        "images.min_per_class (99) is greater than images.max_per_class (14)",
    ),
    (lambda c: c["benchmarked"].append("kimi-vl"), 'benchmarked has "kimi-vl", a teacher'),
    (
        set_to("benchmark/ablation_model", "glm-4.1v"),
        'benchmark.ablation_model is "glm-4.1v"; allowed is one of',
    ),
    (
        set_to("models/kimi-vl/revision", "0" * 40),
        "models.kimi-vl.revision is only for the hub: resources/miniatures/kimi-vl",
    ),
    (
        without("images/source/drawings_per_class"),
        "images.source of kind drawings needs drawings_per_class",
    ),
    (
        set_to("images/source", {"kind": "outer_archive", "path": "data"}),
        "images.source of kind outer_archive needs archive",
    ),
    (
        set_to("images/source/labels", "labels.txt"),
        "images.source.labels is only for kind hub_parquet, listing and webdataset",
    ),
    (
        without("models/kimi-vl/repository"),
        "(A model with existing responses has `responses` instead.)",
    ),
    (
        set_to("models/vl-rethinker/responses", RAW),
        "models.vl-rethinker has `responses`, which are imported, and repository, family, ",
    ),
    *(
        (partial(imported, responses=columns), f"responses has {given}; needed is text, or think")
        for columns, given in (
            ({"path": "."}, "neither"),
            ({"path": ".", "think": "think"}, "think"),
            (RAW | {"think": "think", "answer": "answer"}, "answer, text, think"),
        )
    ),
    (
        lambda c: c["models"]["vl-rethinker"].pop("output") and imported(c, RAW),
        "models.vl-rethinker lacks output, which says how responses.text is parsed",
    ),
    *(
        (
            partial(imported, responses=columns),
            "models.vl-rethinker.output is only for responses.text",
        )
        for columns in (PARTS, {"path": ".", "answer": "answer"})
    ),
    (
        set_to("images/source", {"kind": "listing", "path": RAW["path"]}),
        "cannot be prompted: they need `responses`, or, if the files hold the images' bytes, "
        "images.source needs `pictures: true`",
    ),
    (lambda c: with_pictures(c).pop("preparation"), "key 'preparation' is missing in images: How"),
    (
        lambda c: published(c) and imported(c, RAW, "kimi-vl"),
        "references.published gives the teachers' responses, and so does models.kimi-vl.responses",
    ),
]


@pytest.mark.parametrize(("change", "message"), WRONG)
def test_an_invalid_config_gives_one_clear_message(miniature, change, message):
    change(miniature)
    assert [problem for problem in refused(miniature) if message in problem]


@pytest.mark.parametrize(
    ("url", "message"),
    [("https://me:secret@host/v1", "user name"), ("h/v1?k=secret", "query"), ("", "no address")],
)
def test_the_address_of_a_server_is_checked_and_its_secrets_are_not_shown(miniature, url, message):
    miniature["engines"] = {"server": {"url": url}}
    (problem,) = refused(miniature)
    assert problem.startswith("engines.server.url ")
    assert message in problem
    assert "secret" not in problem


@settings(deadline=None, max_examples=40)
@given(st.text(min_size=1).filter(lambda text: text not in configuration.schema()["properties"]))
def test_an_unknown_key_is_refused(key):
    config = load("miniature.yaml")
    config[key] = 1
    with pytest.raises(configuration.ConfigError, match="unknown key"):
        configuration.check(config)


def test_everything_missing_is_in_one_message():
    config = load("config.yaml")
    config["images"]["source"]["path"] = "nowhere"
    config["images"]["criteria"]["denied_classes_file"] = "denied.txt"
    config["review"] = {"decisions": "decisions.json"}
    problems = refused(config)
    starts = (
        'images.criteria.denied_classes_file: "denied.txt": no such file',
        'review.decisions: "decisions.json": no json file is there',
        "no revision for models.glm-4.1v, models.kimi-vl,",
        "images.source.path: no images: nowhere/ does not exist.",
    )
    assert len(problems) == len(starts)
    for problem, start in zip(problems, starts, strict=True):
        assert problem.startswith(start)


def leaves():
    """Yield every value of the schema with its place, `<name>` for any name, items as 0."""
    for key, node in schema_keys(configuration.schema()):
        place = tuple(key.split("."))
        if "items" in node:
            yield (*place, 0), node["items"]
        elif node.get("type") != "object":
            yield place, node


def kinds(node):
    kinds = node.get("type", [])
    return kinds if isinstance(kinds, list) else [kinds]


LEAVES = dict(leaves())
PATHS = {place: node["x-path"] for place, node in LEAVES.items() if "x-path" in node}
PLANNED = {
    ("images", "source", "path"),
    ("images", "source", "archive"),
    ("engines", "vllm", "command"),
}
"""Files that are checked when a job needs them."""


def put(config, place, value):
    """Set a leaf of the schema in a config; return its dotted key."""
    *above, last = place
    keys = []
    for key in above:
        if key == ANY:
            key = "kimi-vl" if keys == ["models"] else next(iter(config))
        keys.append(key)
        config = config.setdefault(key, {})
    if last == ANY:
        last = next(iter(config))
    if isinstance(config, list):
        config[:] = [value]
    else:
        config[last] = value
    return ".".join(map(str, [*keys, last]))


def test_every_key_that_names_a_file_has_a_check():
    named = {
        place
        for place, node in LEAVES.items()
        if "string" in kinds(node)
        and "enum" not in node
        and place[-1] != "revision"
        and (
            str(place[-1]).endswith(("path", "file"))
            or any(word in node["description"].lower() for word in ("file", "folder", "archive"))
        )
    }
    no_paths = {
        ("run",),  # names a folder of results
        ("images", "source", "image"),  # a column
        ("images", "source", "label"),
        ("models", ANY, "responses", "image"),
    }
    assert named - no_paths <= PATHS.keys()
    assert {place for place in PATHS if place[-1] in ("scorer", "decisions", "rejoin", "command")}


@pytest.mark.parametrize("place", sorted(PATHS.keys() - PLANNED), ids=".".join)
@pytest.mark.parametrize("missing", ["nowhere/no.thing", "n" * 300, "no\nwhere", "*/[", "~"])
def test_a_missing_file_is_named_with_its_key(miniature, place, missing):
    kind = PATHS[place]
    if kind == "function":
        missing += ".py:judge"
    elif kind == "repository":
        missing = f"./{missing}/"  # no hub id
    if "responses" in place:
        imported(miniature, {"text": "text"}, "kimi-vl")
    key = put(miniature, place, missing)
    problems = refused(miniature)
    assert [each for each in problems if key in each and json.dumps(missing)[:60] in each]


ENGINES = ("transformers", "vllm", "server")
SERVER = {"server": {"url": "http://localhost:8000/v1"}}


@pytest.mark.parametrize("own", ENGINES)
@pytest.mark.parametrize("general", ENGINES)
def test_the_engine_of_a_model_comes_before_that_of_all(miniature, general, own):
    miniature["inference"] |= {"engine": general, "device": "auto"}
    miniature["models"]["kimi-vl"]["engine"] = own
    miniature["engines"] = SERVER
    checked = configuration.check(miniature)
    chosen = {
        key: engines.chosen(model, checked["inference"]) for key, model in checked["models"].items()
    }
    assert chosen.pop("kimi-vl") == own
    assert set(chosen.values()) == {general}


@pytest.mark.parametrize("key", ["device", "dtype", "attention"])
@pytest.mark.parametrize("engine", ENGINES)
def test_a_setting_that_no_engine_reads_is_refused(miniature, key, engine):
    value = {"device": "cpu", "dtype": "float32", "attention": "sdpa"}[key]
    unset = dict.fromkeys(("device", "dtype", "attention"), "auto")
    miniature["inference"] |= unset | {"engine": engine, key: value}
    miniature["engines"] = SERVER
    if engine == "transformers" or (engine == "vllm" and key != "attention"):
        configuration.check(miniature)
        return
    (problem,) = refused(miniature)
    assert problem.startswith(
        f"inference.{key} is {value}, but every model has an engine ({engine})"
    )
    miniature["models"]["kimi-vl"]["engine"] = "transformers"  # which reads it
    configuration.check(miniature)


def test_a_server_that_a_model_needs_is_named(miniature):
    miniature["models"]["kimi-vl"]["engine"] = "server"
    (problem,) = refused(miniature)
    assert problem == "engines.server.url is missing, where kimi-vl would be served"


def test_the_paper_run_is_by_vllm_except_for_kimi_or_by_transformers_alone():
    config = load("config.yaml")
    checked = configuration.check(config)
    models = checked["models"]
    asked = [*checked["teachers"], *checked["benchmarked"]]
    by = {key: engines.chosen(models[key], checked["inference"]) for key in asked}
    assert by.pop("kimi-vl") == "transformers"
    assert set(by.values()) == {"vllm"}
    config["inference"]["engine"] = "transformers"
    checked = configuration.check(config)
    by = {engines.chosen(checked["models"][key], checked["inference"]) for key in asked}
    assert by == {"transformers"}


def test_a_missing_listing_is_named_with_its_key(miniature):
    listing(miniature)["source"]["path"] = "nowhere"
    (problem,) = refused(miniature)
    assert problem == 'images.source.path: "nowhere": no parquet, jsonl or csv file is there'


@pytest.mark.parametrize("path", ["a{wnid}", "a}", "<results>/a"])
def test_a_folder_that_is_written_to_is_no_pattern(miniature, path):
    miniature["images"]["source"]["path"] = path
    (problem,) = refused(miniature)
    assert problem.startswith(f'images.source.path: "{path}": the pipeline cannot write to a path')


BAD_TABLES = {
    "": "columns missing: wnid, lemmas, domain, hypernym",
    "wnid,lemmas,domain,hypernym\nn1,a,b,c\n": "separated by tabs",
    "wnid\tlemmas\tdomain\thypernym\n": "the table has no class",
    "lemmas\twnid\tdomain\thypernym\na\tn1\tb\tc\na\t\tb\tc\n": "line 3 names no class",
    "wnid\tlemmas\tdomain\thypernym\nn1\ta\tb\tc\nn1\ta\tb\tc\n": "listed more than once: n1",
    "wnid\tlemmas\tdomain\thypernym\nn1\té\tb\tc\n": "line 2 is not UTF-8",
}


@pytest.mark.parametrize("table", BAD_TABLES)
def test_an_invalid_table_of_classes_is_refused(miniature, tmp_path, table):
    file = tmp_path / "classes.tsv"
    file.write_text(table, encoding="latin-1")
    miniature["images"]["classes"] = str(file)
    (problem,) = refused(miniature)
    assert problem.startswith(f'images.classes: "{file}": ')
    assert BAD_TABLES[table] in problem


SCORERS = {
    "def judge(image): return None": None,
    "from somewhere import judge": None,
    "from somewhere import *": None,
    "if True:\n    judge = print": None,
    "def judges(image): return None": "defines no judge",
    "def other():\n    judge = 1": "defines no judge",
    "def judge(image) return None": "line 1: ",
}


@pytest.mark.parametrize("code", SCORERS)
def test_a_scorer_is_found_without_running_it(miniature, tmp_path, code):
    file = tmp_path / "scorer.py"
    file.write_text(f"{code}\nraise SystemExit\n")
    miniature["images"]["criteria"]["scorer"] = f"{file}:judge"
    if SCORERS[code] is None:
        configuration.check(miniature)
        return
    (problem,) = refused(miniature)
    assert problem.startswith("images.criteria.scorer: ")
    assert SCORERS[code] in problem


@pytest.mark.parametrize(
    "name", ["os.path", "antigravity", "this", "json", "yaml", "nowhere", "../x", "", "a b", "é"]
)
def test_no_module_is_imported_for_its_name(miniature, name):
    before = set(sys.modules)
    miniature["statistics"]["tokenizer"] = {"repository": f"package:{name}"}
    start = f'statistics.tokenizer.repository: "package:{name}": no Python package'
    assert [problem for problem in refused(miniature) if problem.startswith(start)]
    assert not {"antigravity", "this"} & (set(sys.modules) - before)


NUMBERS = [p for p, node in LEAVES.items() if {"integer", "number"} & set(kinds(node))]


@pytest.mark.parametrize("place", NUMBERS, ids=lambda place: ".".join(map(str, place)))
def test_a_number_is_finite_and_an_integer_if_required(miniature, place):
    wrong = {".nan": float("nan"), ".inf": float("inf"), "-.inf": float("-inf"), "true": True}
    wrong |= {'"1"': "1", str(2**63): 2**63}
    if "number" not in kinds(LEAVES[place]):
        wrong |= {"2.0": 2.0, "143.0": 143.0}
    for shown, value in wrong.items():
        config = deepcopy(miniature)
        key = put(config, place, value)
        problems = refused(config)
        assert [each for each in problems if each.startswith(f"{key} is {shown}")]


TEXTS = [p for p, node in LEAVES.items() if "pattern" in node]


@pytest.mark.parametrize("place", TEXTS, ids=lambda place: ".".join(map(str, place)))
def test_a_pattern_ends_where_the_text_does(miniature, place):
    """Python's `$` also matches before a line break at the end."""
    pattern = LEAVES[place]["pattern"]
    assert "$" not in pattern[:-1]
    if not pattern.endswith("$"):
        return
    right = {
        ("run",): "run",
        ("images", "source", "classes", 0): "n00005787",
        ("images", "criteria", "scorer"): "module:judge",
        ("dataset", "repository"): "owner/name",
        ("dataset", "version"): "1.0.0",
        ("dataset", "published"): "2026-01-31",
    }.get(place, "0" * 40)
    assert re.search(pattern, right)
    key = put(miniature, place, right + "\n")
    problems = refused(miniature)
    assert f"{key} is {json.dumps(right + chr(10))}; allowed is" in "\n".join(problems)


@pytest.mark.parametrize(
    ("section", "key"), [*product(["prompts", "models"], ["a\n", "É"]), ("models", "k" * 101)]
)
def test_a_key_ends_where_its_pattern_does(miniature, section, key):
    miniature[section][key] = next(iter(miniature[section].values()))
    assert f"cannot be a key of {section}" in "\n".join(refused(miniature))


@pytest.mark.parametrize("metric", ["sets", "vectors"])
@pytest.mark.parametrize("pattern", ["[a-z0-9+", "(?P<a", "a{99999999999}", "(a)(b)", "*"])
def test_a_pattern_that_does_not_compile_is_refused(miniature, metric, pattern):
    miniature["benchmark"][metric]["token_pattern"] = pattern
    (problem,) = refused(miniature)
    start = f'benchmark.{metric}.token_pattern is "{pattern}"; allowed is string, '
    assert problem.startswith(start)
    assert "a Python regular expression (" in problem


def test_a_date_exists_in_the_calendar(miniature):
    miniature["dataset"] = {"published": "2026-02-28"}
    configuration.check(miniature)
    miniature["dataset"] = {"published": "2026-02-30"}
    (problem,) = refused(miniature)
    assert "a date (day is out of range" in problem


def test_a_part_that_contains_itself_is_named(miniature):
    miniature["prompts"]["again"] = miniature["prompts"]
    (problem,) = refused(miniature)
    assert problem.startswith("prompts.again is a section that contains itself; allowed is string")


class Accepted(Exception):  # noqa: N818
    """The config is valid."""


TEXT = st.text(st.characters(exclude_categories=[]))  # with surrogates
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=4,
)
PLACES = sorted({p[:n] for p in LEAVES for n in range(1, len(p) + 1)}, key=str)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.sampled_from(PLACES), VALUES), min_size=1, max_size=3))
def test_any_value_anywhere_is_accepted_or_gives_a_message(replaced):
    config = load("miniature.yaml")
    for place, value in replaced:
        with suppress(AttributeError, TypeError, StopIteration):  # a value put before is in the way
            put(config, place, value)
    before = repr(config)
    with pytest.raises((configuration.ConfigError, Accepted)) as caught:
        raise Accepted(configuration.check(config))
    assert all(problem.isprintable() for problem in getattr(caught.value, "problems", ()))
    assert repr(config) == before


def test_a_config_is_checked_from_the_command_line(tmp_path):
    file = tmp_path / "my.yaml"
    module = "imagenet_think.run.configuration"
    command = [sys.executable, "-m", module, "config/miniature.yaml", file]
    environment = os.environ | {"PYTHONPATH": "scripts"}
    call = partial(subprocess.run, command, env=environment, capture_output=True, text=True)
    file.write_text("run: [a\nseed: 1\n")
    done = call()
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"{file}: line 2: ")
    file.write_bytes(Path("config/miniature.yaml").read_bytes())
    assert call().returncode == 0


# Tables that the config names ---------------------------------------------------------------------

COLUMNS = {"image": ["n02782093_1", None, "n02782093_2"], "said": ["a", "b", "c"], "n": [1, 2, 3]}


@pytest.fixture
def table(tmp_path, monkeypatch):
    """A function that writes a table in a format."""
    monkeypatch.setattr(user_tables, "_CACHE", DigestCache(tmp_path / ".snakemake" / "tables"))
    return lambda suffix, **others: write_table(tmp_path / f"mine{suffix}", COLUMNS | others)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("key", "change"),
    [
        (
            "models.vl-rethinker.responses.text",
            lambda config, path: imported(config, {"path": path, "text": "missing"}),
        ),
        (
            "models.vl-rethinker.responses.image",
            lambda config, path: imported(
                config, {"path": path, "text": "said", "image": "missing"}
            ),
        ),
        (
            "models.vl-rethinker.responses.answer",
            lambda config, path: (
                imported(config, {"path": path, "think": "said", "answer": "missing"}, output=None)
                or config["models"]["vl-rethinker"].pop("output")
            ),
        ),
        (
            "images.source.image",
            lambda config, path: listing(config)["source"].update(path=path, image="missing"),
        ),
        (
            "images.source.label",
            lambda config, path: listing(config)["source"].update(path=path, label="missing"),
        ),
    ],
)
def test_an_unknown_column_is_refused_with_those_that_exist(miniature, key, change, table, suffix):
    path = table(suffix)
    change(miniature, path)
    expected = f"{key}: {path} has no column 'missing'; there are image, said, n"
    assert list(refused(miniature)) == [expected]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_unknown_column_of_the_references_is_refused_once(miniature, table, suffix):
    path = table(suffix, think_1=["t"] * 3, answer_1=["a"] * 3, think_2=["t"] * 3)
    miniature["references"] = {"published": path}
    (problem,) = refused(miniature)
    assert problem == (
        f"references.published: {path} has no column 'answer_2'; there are image, said, n, "
        "think_1, answer_1, think_2"
    )


def test_missing_columns_files_and_revisions_are_one_message(miniature, table):
    imported(miniature, {"path": table(".csv"), "text": "missing"})
    imported(miniature, {"path": "nowhere.csv", "text": "said"}, "kimi-vl")
    miniature["statistics"]["tokenizer"]["repository"] = "Qwen/Qwen2.5-VL-7B-Instruct"
    problems = refused(miniature)
    assert len(problems) == 3
    for words in (
        'models.kimi-vl.responses.path: "nowhere.csv": no parquet, jsonl or csv file is there',
        "models.vl-rethinker.responses.text: ",
        "no revision for statistics.tokenizer: run `snakemake --cores 1 pin` once",
    ):
        assert [problem for problem in problems if problem.startswith(words)], words


def test_pictures_are_only_in_parquet(miniature, table):
    source = with_pictures(miniature)["source"]
    source["path"] = table(".jsonl")
    (problem,) = refused(miniature)
    assert problem.startswith("images.source.image: ")
    assert problem.endswith("write it as parquet, or remove images.source.pictures")


@pytest.mark.parametrize(
    ("images", "blocks", "shards"),
    [(1, 1, 1), (4096, 1, 1), (4097, 2, 1), (20_000, 8, 1), (250_000, 16, 4), (10**8, 16, 16)],
)
def test_the_number_of_shards_follows_from_the_number_of_images(images, blocks, shards, miniature):
    del miniature["sharding"]
    bounds = {"class_count": 1, "min_per_class": images, "max_per_class": images}
    miniature["images"] |= {"total": images} | bounds
    checked = configuration.check(miniature)
    assert checked["sharding"] == {"blocks": blocks, "shards_per_block": shards}
    assert configuration.check(checked) == checked


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_number_of_shards_follows_from_the_rows_of_a_listing(miniature, table, suffix):
    images = [f"n02782093_{number}" for number in range(10_000)]
    path = table(suffix, image=images, said=["x"] * 10_000, n=range(10_000))
    listing(miniature)["source"]["path"] = path
    given = miniature.pop("sharding")
    assert configuration.check(miniature)["sharding"] == {"blocks": 4, "shards_per_block": 1}
    miniature["sharding"] = given
    assert configuration.check(miniature)["sharding"] == given


def test_a_listing_that_cannot_be_counted_is_refused(miniature, tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("image\nn02782093_1\nn02782093_2,x\n")
    listing(miniature)["source"]["path"] = str(path)
    configuration.check(miniature)
    del miniature["sharding"]
    (problem,) = refused(miniature)
    assert problem.startswith(f"images.source.path: {path}, line 3: not 1 fields, one for each")
