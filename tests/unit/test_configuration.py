"""The config is checked before anything runs, and every message says what to do."""

from copy import deepcopy
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from imagenet_think import configuration, paths, repositories

ROOT = Path(__file__).parents[2]
FILES = ["config.yaml", "miniature.yaml"]


def load(name):
    return yaml.safe_load((ROOT / "config" / name).read_text(encoding="utf-8"))


@pytest.fixture(autouse=True)
def at_root(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.fixture
def miniature():
    return load("miniature.yaml")


@pytest.mark.parametrize("name", FILES)
def test_both_configs_are_accepted(name):
    checked = configuration.check(load(name), name)
    assert checked["models"]["glm-4.1v"]["template"] == "{image}{prompt}"


def test_the_paper_run_is_the_papers():
    config = configuration.check(load("config.yaml"))
    images = config["images"]
    assert (images["total"], images["class_count"]) == (250_000, 10_450)
    assert (images["min_per_class"], images["max_per_class"]) == (22, 31)
    assert images["criteria"]["min_side"] == 224
    assert len(config["teachers"]) == 2
    assert len(config["benchmarked"]) == 5
    paper = (ROOT / "resources" / "imagenet21k_p_winter21.tsv").read_text().splitlines()
    assert len(paper) - 1 == images["class_count"]


def test_every_revision_of_the_paper_run_waits_for_pin():
    config = configuration.check(load("config.yaml"))
    waiting = configuration.unpinned(config)
    assert {f"models.{key}" for key in config["models"]} <= set(waiting)
    assert "models.openvlthinker.processor" in waiting
    assert "benchmark.bertscore" in waiting


def test_the_miniature_needs_no_hub():
    config = configuration.check(load("miniature.yaml"))
    entries = dict(configuration.repository_entries(config))
    assert not [key for key, entry in entries.items() if repositories.is_hub(entry["repository"])]


def test_the_page_is_up_to_date():
    page = (ROOT / "config" / "README.md").read_text(encoding="utf-8")
    assert page == configuration.as_markdown(), "run `make config-docs`"


def test_every_key_is_described():
    keys = dict(configuration.keys(configuration.schema()))
    assert not [key for key, node in keys.items() if not node.get("description")]


RAW = {"path": "resources/stand_in.parquet", "text": "text"}
PARTS = {"path": RAW["path"], "think": "think_1", "answer": "answer_1"}


@pytest.fixture(autouse=True)
def stand_in(monkeypatch):
    """Let one parquet file seem to be there."""
    find = paths.parquet_files
    monkeypatch.setattr(
        paths, "parquet_files", lambda path: [path] if path == RAW["path"] else find(path)
    )


def imported(config, responses, model="vl-rethinker", **others):
    """Turn a model into an imported one."""
    entry = config["models"][model]
    kept = {key: entry[key] for key in ("name", "output") if key in entry}
    config["models"][model] = kept | {"responses": responses} | others


def listing(config):
    """Turn a config into one of a listing, with imported models alone; return its images."""
    for model in config["models"]:
        imported(config, RAW, model)
    source = {"kind": "listing", "path": RAW["path"]}
    config["images"] = {"classes": config["images"]["classes"], "source": source}
    return config["images"]


def test_an_imported_model_keeps_what_says_how_it_is_imported(miniature):
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


def test_enough_resamples_lie_beyond_the_ends_of_simultaneous_intervals(miniature):
    intervals = miniature["benchmark"]["intervals"]
    for level, models, least in ((0.95, 5, 400), (0.9, 3, 60), (0.95, 2, 40), (0.5, 1, 1)):
        miniature["benchmarked"] = miniature["benchmarked"][:models]
        miniature["benchmark"]["ablation_model"] = miniature["benchmarked"][0]
        intervals |= {"level": level, "draws": least}
        configuration.check(miniature)
        if models > 1:
            intervals["draws"] = least - 1
            with pytest.raises(configuration.ConfigError, match=f"at least {least}$"):
                configuration.check(miniature)


def test_a_listing_needs_no_numbers_of_images(miniature):
    listing(miniature)
    assert configuration.check(miniature)["images"]["source"]["kind"] == "listing"
    miniature["images"]["total"] = 5
    assert configuration.check(miniature)["images"]["total"] == 5


def published(config):
    """Let published references stand for the teachers, which keep their keys."""
    config["references"] = {"published": RAW["path"]}
    return config


def test_published_references_take_the_place_of_the_teachers_responses(miniature):
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
    # What was filled in can be checked again.
    assert configuration.check(checked) == checked


def test_the_papers_run_needs_one_more_section_to_start_from_published_references():
    checked = configuration.check(published(load("config.yaml")))
    assert [key for key in checked["models"] if "responses" in checked["models"][key]] == [
        "glm-4.1v",
        "kimi-vl",
    ]
    assert not {"models.glm-4.1v", "models.kimi-vl"} & set(configuration.unpinned(checked))


def with_pictures(config):
    """Turn a config into one of a listing with pictures; return its images."""
    images = config["images"]
    source = {"kind": "listing", "path": RAW["path"], "pictures": True}
    kept = ("classes", "criteria", "preparation")
    config["images"] = {key: images[key] for key in kept} | {"source": source}
    return config["images"]


def test_a_listing_with_pictures_may_be_shown_to_models(miniature):
    source = miniature["images"]["source"]
    assert configuration.has_pictures(source)
    source = with_pictures(miniature)["source"]
    assert configuration.has_pictures(source)
    assert not configuration.has_pictures(source | {"pictures": False})
    checked = configuration.check(miniature)
    assert "repository" in checked["models"]["glm-4.1v"]


WRONG = {
    "unknown key": (
        lambda c: c["images"].__setitem__("totl", 5),
        ["'totl'", "in images", "did you mean 'total'"],
    ),
    "missing key": (lambda c: c["images"].pop("groups"), ["'groups' is missing in images", "jobs"]),
    "wrong type": (
        lambda c: c["images"].__setitem__("total", "many"),
        ["images.total", '"many"', "integer, at least 1"],
    ),
    "out of bounds": (
        lambda c: c["images"].__setitem__("balance", 2),
        ["images.balance", "2", "at most 1"],
    ),
    "not a choice": (
        lambda c: c["models"]["kimi-vl"].__setitem__("family", "llava"),
        ["models.kimi-vl.family", '"llava"', "glm4v, kimi_vl, internvl, qwen2_5_vl"],
    ),
    "bad model key": (
        lambda c: c["models"].__setitem__("My Model", c["models"].pop("kimi-vl")),
        ['"My Model" cannot be a key of models'],
    ),
    "impossible total": (
        lambda c: c["images"].__setitem__("total", 1000),
        ["images.total holds 1000", "120 to 168"],
    ),
    "bounds crossed": (
        lambda c: c["images"].__setitem__("min_per_class", 99),
        ["images.min_per_class (99)", "images.max_per_class (14)"],
    ),
    "unknown prompt": (lambda c: c.__setitem__("prompt", "p"), ['prompt holds "p"', "figure_2"]),
    "unknown teacher": (
        lambda c: c.__setitem__("teachers", ["glm-4.1v", "gpt"]),
        ['teachers holds "gpt"', "glm-4.1v, kimi-vl"],
    ),
    "teacher benchmarked": (
        lambda c: c["benchmarked"].append("kimi-vl"),
        ['benchmarked holds "kimi-vl"', "teacher"],
    ),
    "unknown ablation model": (
        lambda c: c["benchmark"].__setitem__("ablation_model", "glm-4.1v"),
        ['benchmark.ablation_model holds "glm-4.1v"'],
    ),
    "revision of a local folder": (
        lambda c: c["models"]["kimi-vl"].__setitem__("revision", "0" * 40),
        ["models.kimi-vl.revision", "resources/miniatures/kimi-vl"],
    ),
    "missing folder": (
        lambda c: c["models"]["kimi-vl"].__setitem__("repository", "resources/miniatures/kimmi"),
        ["models.kimi-vl.repository", "resources/miniatures/kimmi", "no such folder"],
    ),
    "half a drawing source": (
        lambda c: c["images"]["source"].pop("drawings_per_class"),
        ["images.source", "drawings_per_class"],
    ),
    "drawing keys elsewhere": (
        lambda c: c["images"]["source"].__setitem__("kind", "class_tars"),
        ["images.source.classes", "drawings"],
    ),
    "outer archive without its name": (
        lambda c: c["images"].__setitem__("source", {"kind": "outer_archive", "path": "data"}),
        ["images.source of kind outer_archive needs archive"],
    ),
    "labels where none are read": (
        lambda c: c["images"]["source"].__setitem__("labels", "labels.txt"),
        ["images.source.labels is only for kind webdataset, hub_parquet and listing"],
    ),
    "neither asked nor imported": (
        lambda c: c["models"]["kimi-vl"].pop("repository"),
        ["'repository' is missing in models.kimi-vl", "`responses` instead"],
    ),
    "asked and imported": (
        lambda c: c["models"]["vl-rethinker"].__setitem__("responses", RAW),
        ["models.vl-rethinker has `responses`", "repository, family, system", "decoding"],
    ),
    "closed thoughts of an imported model": (
        lambda c: imported(c, RAW, close_thought={"text": "</think>", "max_new_tokens": 9}),
        ["models.vl-rethinker has `responses`, which are imported, and close_thought, which"],
    ),
    "a revision of an imported model": (
        lambda c: imported(c, RAW, revision=None),
        ["models.vl-rethinker has `responses`, which are imported, and revision, which"],
    ),
    "imported from nowhere": (
        lambda c: imported(c, RAW | {"path": "nowhere/*.parquet"}),
        ["models.vl-rethinker.responses.path: nowhere/*.parquet: no parquet file is there"],
    ),
    "imported without a path": (
        lambda c: imported(c, {"text": "text"}),
        ["'path' is missing in models.vl-rethinker.responses", "parquet file"],
    ),
    "imported without texts": (
        lambda c: imported(c, {"path": "."}),
        ["models.vl-rethinker.responses names neither; needed is text, or think and answer"],
    ),
    "imported thinking without answer": (
        lambda c: imported(c, {"path": ".", "think": "think"}),
        ["models.vl-rethinker.responses names think; needed is text, or think and answer"],
    ),
    "imported twice": (
        lambda c: imported(c, RAW | {"think": "think", "answer": "answer"}),
        ["responses names answer, text, think; needed is text, or think and answer"],
    ),
    "raw text that nothing takes apart": (
        lambda c: c["models"]["vl-rethinker"].pop("output") and imported(c, RAW),
        ["models.vl-rethinker lacks output, which says how responses.text is taken apart"],
    ),
    "parts that something takes apart": (
        lambda c: imported(c, PARTS),
        ["models.vl-rethinker.output is only for responses.text"],
    ),
    "a listing of models that see": (
        lambda c: c["images"].__setitem__("source", {"kind": "listing", "path": RAW["path"]}),
        [
            "kind listing, without pictures",
            "models.glm-4.1v, models.kimi-vl, models.internvl3.5,",
            "cannot be prompted",
            "`responses`",
            "`pictures: true`",
        ],
    ),
    "a listing of nothing": (
        lambda c: listing(c)["source"].__setitem__("path", "nowhere.parquet"),
        ["images.source.path: nowhere.parquet: no parquet file is there"],
    ),
    "a listing with pictures and no size": (
        lambda c: with_pictures(c).pop("preparation"),
        ["'preparation' is missing in images", "How an image is stored"],
    ),
    "pictures elsewhere": (
        lambda c: c["images"]["source"].__setitem__("pictures", True),
        ["images.source.pictures is only for kind listing"],
    ),
    "published references and responses": (
        lambda c: published(c) and imported(c, RAW, "kimi-vl"),
        ["references.published gives", "and so does models.kimi-vl.responses", "take away"],
    ),
    "published references that are not there": (
        lambda c: c.__setitem__("references", {"published": "nowhere"}),
        ["references.published: nowhere: no parquet file is there"],
    ),
    "references of no kind": (
        lambda c: c.__setitem__("references", {}),
        ["'published' is missing in references", "krishnateja95/ImageNet-Think"],
    ),
    "a dataset that is not there": (
        lambda c: c["statistics"].__setitem__("datasets", {"emma": "nowhere"}),
        ["statistics.datasets.emma: nowhere: no file of it is there, such as *.parquet"],
    ),
    "a dataset that Table 1 lacks": (
        lambda c: c["statistics"].__setitem__("datasets", {"ema": "x"}),
        ["unknown key 'ema' in statistics.datasets", "did you mean 'emma'"],
    ),
    "a listing's key elsewhere": (
        lambda c: c["images"]["source"].__setitem__("label", "label"),
        ["images.source.label is only for kind listing"],
    ),
    "scorer without a function": (
        lambda c: c["images"]["criteria"].__setitem__("scorer", "scorer.py"),
        ["images.criteria.scorer", '"scorer.py"'],
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_config_is_one_clear_message(miniature, name):
    spoil, words = WRONG[name]
    spoil(miniature)
    with pytest.raises(configuration.ConfigError) as caught:
        configuration.check(miniature, "my.yaml")
    assert str(caught.value).startswith("my.yaml: ")
    assert not [problem for problem in caught.value.problems if "\n" in problem]
    for word in words:
        assert word in str(caught.value)


@settings(deadline=None)
@given(st.text(min_size=1).filter(lambda text: text not in configuration.schema()["properties"]))
def test_no_unknown_key_is_let_through(key):
    config = load("miniature.yaml")
    config[key] = 1
    with pytest.raises(configuration.ConfigError, match="unknown key"):
        configuration.check(config)


def test_checking_leaves_its_argument_alone(miniature):
    before = deepcopy(miniature)
    configuration.check(miniature)
    assert miniature == before
