"""What card and Croissant file claim, in runs in which it is not true."""

import json
import re
from types import SimpleNamespace

import pytest
import yaml
from configs import ROOT, config
from dataset_shards import REPORTED, publish, write_tables

from imagenet_think.core.settings import prompt, question
from write_card import write_card
from write_croissant import write_croissant

TEMPLATE = ROOT / "scripts" / "dataset" / "write_card.md"
TEACHERS = ("glm-4.1v", "kimi-vl")


def imported(*places):
    """Return options for a dataset whose teachers at these places, 1 or 2, are imported."""
    models = {f"models/{TEACHERS[k - 1]}": {"name": f"T{k}", "responses": {}} for k in places}
    columns = {f"{name}_{k}": None for name in ("prompt_id", "decoding") for k in places}
    columns |= {f"engine_{k}": "imported" for k in places}
    return {"changes": models, "columns": columns | ({"question": None} if len(places) > 1 else {})}


DRAWN = {"changes": {"images/source/kind": "drawings"}}
OWN = {"changes": {"images/source/kind": "folder"}, "images": {"imagenet_names": 0}}
OTHERS = {"images": {"imagenet_names": 17}}
LISTED = {"changes": {"images/source/kind": "listing"}, "columns": {"source_sha256": None}}
CHINESE = {"english": (100.0, 0.0)}
MIXED = {"english": (100.0, 94.9)}
ONE_THINKS = {"thinking": (11, 0), "tokens": "0,,,,0", "columns": {"think_2": None}}
NO_THINKING = ONE_THINKS | {"thinking": (0, 0)}
SERVED = {"columns": {"engine_1": "server", "engine_2": "vllm"}}
JUDGED = {"changes": {"review/decisions": "decisions/*.json"}}
DENIED = {"changes": {"images/criteria/denied_images": ["n1_1"]}}
OTHER_TEACHERS = {"changes": {f"models/{key}/repository": "other/model" for key in TEACHERS}}
ONE_CLASS = {"images": {"images": 1, "classes": 1, "imagenet_names": 1, "min_per_class": 1}}


@pytest.fixture
def dataset(tmp_path):
    """A function that writes a dataset's card and Croissant file.

    It returns the card's front matter and text, the JSON, and the texts of both as one.
    """

    def write(full=False, changes=None, columns=None, failures=None, **tables):
        folder = tmp_path / ("dataset_full" if full else "dataset")
        files = publish(
            folder, full=full, columns=columns or {}, **({} if failures is None else failures)
        )
        paths = write_tables(tmp_path / "tables", **tables.pop("images", {}), **tables)
        language = tmp_path / "language.md"
        language.write_text("| Measure |\n| --- |\n| M |\n")
        settings = config(changes)
        card, croissant = folder / "README.md", folder / "croissant.json"
        write_card(files, paths, language, REPORTED, TEMPLATE, card, settings, full=full)
        write_croissant(files, paths[1:], REPORTED, croissant, settings, full=full)
        _, front, text = card.read_text(encoding="utf-8").split("---\n", 2)
        described = json.loads(croissant.read_text(encoding="utf-8"))
        both = re.sub(r"[\s\\]+", " ", f"{text} {json.dumps(described, ensure_ascii=False)}")
        return SimpleNamespace(
            front=yaml.safe_load(front),
            text=re.sub(r"[\s\\]+", " ", text),
            json=described,
            both=both,
        )

    return write


# What is claimed of the usual run, a run in which it is false, and what is said there instead.
CLAIMS = [
    ("ImageNet's [terms of access]", DRAWN, "No images are in this folder."),
    ("ImageNet's [terms of access]", OWN, "the user's own"),
    ("ImageNet's [terms of access]", OTHERS, "only 17 of 250,000 of them named as ImageNet's"),
    (
        "sampled from a copy of ImageNet, all named",
        OTHERS,
        "files from one archive per class, only",
    ),
    ("ImageNet was collected from the web", DRAWN, "The pipeline drew them"),
    ("ImageNet was collected from the web", OWN, "what they leave out is not known here"),
    ("ImageNet was collected from the web", OTHERS, "what they leave out is not known here"),
    ("You need your own copy of the images", DRAWN, "draws the images again"),
    ("An image was rejected if it cannot be", LISTED, "Images were not filtered"),
    ("Nothing else was checked: not whether people", DENIED, "is one of 1 denied images"),
    ("rejected if it cannot be decoded, ", LISTED, "11 images have no `source_sha256`"),
    ("recognized as English, and the style", CHINESE, "100.0% and 0.0% of the teachers' responses"),
    ("recognized as English, and the style", MIXED, "the language of the others is not determined"),
    ("Kimi-VL-A3B-Thinking-2506 is separate", ONE_THINKS, "of GLM-4.1V-9B-Thinking is separate"),
    ("is separate from the answers", NO_THINKING, "only says that a response could be parsed, not"),
    ("Thinking is not a record of a computation", NO_THINKING, ""),
    ("the thinking and the answer of both teachers, has", ONE_THINKS, ""),
    (
        "were prompted with each image and the same text",
        imported(2),
        "The responses of T2 were made",
    ),
    ("were prompted with each image and the same text", imported(1, 2), "of T1 and T2 were made"),
    ("Prompt: >", imported(1, 2), "prompt, weights, decoding and engine are not known here"),
    ("All of them are machine-written.", imported(2), ""),
    ("They are outputs of the models named above", imported(1), "under terms that are not known"),
    ("a mixture of experts, to favour", OTHER_TEACHERS, "have other weights than the paper's"),
    ("The run has no decisions of reviewers.", JUDGED, ""),
    ("10,450 classes", ONE_CLASS, "1 image of 1 class"),
    ("of 3 images, a response failed", {"failures": {"failures": {}}}, "No response failed"),
]


@pytest.mark.parametrize(("claim", "run", "instead"), CLAIMS)
def test_what_is_not_true_is_not_claimed(claim, run, instead, dataset):
    assert claim.lower() in dataset().both.lower()
    found = dataset(**run).both
    assert claim.lower() not in found.lower()
    assert instead in found


def test_weights_behind_a_server_are_not_known(dataset):
    said = "as configured: a server does not say which weights it serves"
    assert said not in dataset().text
    text = dataset(**SERVED).text
    assert text.count(said) == 1
    assert said in text.split("Teacher 1")[1].split("Teacher 2")[0]


@pytest.mark.parametrize("run", [CHINESE, MIXED, {"english": (None, 100.0)}])
def test_a_language_is_named_only_if_it_was_recognized(run, dataset):
    usual = dataset()
    assert (usual.front["language"], usual.json["inLanguage"]) == (["en"], "en")
    found = dataset(**run)
    assert "language" not in found.front
    assert "inLanguage" not in found.json
    assert "in English" not in found.both


def test_tags_and_creators(dataset):
    def tags(**run):
        found = dataset(**run)
        assert found.front["tags"] == found.json["keywords"]
        return set(found.front["tags"]), found.front.get("annotations_creators")

    usual = {"reasoning", "chain-of-thought", "vision-language", "imagenet", "synthetic"}
    generated = ["machine-generated"]
    assert tags() == (usual, generated)
    assert tags(**OTHERS) == tags(**OWN) == (usual - {"imagenet"}, generated)
    assert tags(**NO_THINKING) == (usual - {"reasoning", "chain-of-thought"}, generated)
    assert tags(**imported(2)) == (usual - {"synthetic"}, None)


@pytest.mark.parametrize(
    ("run", "license_", "texts_only"),
    [
        ({}, "other", False),
        (DRAWN, "cc-by-nc-4.0", True),
        (OWN, "unknown", True),
        (OTHERS, "unknown", True),
        (LISTED, "other", False),
        (LISTED | OTHERS, "unknown", True),
    ],
)
def test_images_have_their_owner_s_licence(run, license_, texts_only, dataset):
    found = dataset(full=True, **run)
    assert found.front["license"] == license_
    assert (len(found.json["license"]) == 1) == texts_only
    assert ("must not be redistributed" in found.text) == (license_ == "other")
    assert ("no statement about their licence" in found.text) == (license_ == "unknown")


def test_only_names_of_imagenet_s_files_make_the_paper_s_dataset(dataset):
    assert dataset().front["pretty_name"] == "ImageNet-Think-250K"
    found = dataset(**OTHERS)
    assert found.front["pretty_name"] != "ImageNet-Think-250K"
    assert "not known to be ImageNet-21k's: only 17 of 250,000 of them" in found.json["description"]


def test_a_prompt_that_was_not_used_is_no_difference(dataset):
    prompt = {"prompts/section_3_2": "What is it?"}
    assert "neither of the paper's two" in dataset(changes=prompt).both
    run = imported(1, 2)
    found = dataset(changes=prompt | run["changes"], columns=run["columns"])
    assert "neither of the paper's two" not in found.both
    assert "What is it?" not in found.both


def test_pages_and_figures_show_a_prompt_only_if_one_was_used():
    assert question(config()) == prompt(config())
    assert question(config(imported(1)["changes"])) == prompt(config())
    assert question(config(imported(1, 2)["changes"])).startswith("(not known")


def test_miniatures_are_named(dataset):
    small = {"models/kimi-vl/repository": "resources/miniatures/kimi-vl"}
    found = dataset(changes=small)
    assert "Kimi-VL-A3B-Thinking-2506 is a miniature checkpoint" in found.json["description"]
    assert "to favour exhaustive analysis" in found.text
    assert "mixture of experts" not in found.text


def test_neither_file_says_what_no_run_shows(dataset):
    """No run shows how the models describe, nor that they reason."""
    for text in (dataset().both, dataset(full=True).both):
        assert not re.search(
            r"step by step by|reasoning vision|both teachers were|English speak", text
        )
