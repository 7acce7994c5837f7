import re
from html import unescape
from types import SimpleNamespace

import datasets
import pytest
import yaml
from configs import ROOT, config
from dataset_shards import PUBLISHED, REPORTED, ROWS, publish, write_tables
from datasets.exceptions import NonMatchingSplitsSizesError
from markdown_it import MarkdownIt

from imagenet_think.dataset import publication
from imagenet_think.dataset.card_metadata import size_category
from imagenet_think.dataset.dataset_fields import DESCRIPTIONS
from imagenet_think.dataset.hub_files import schemas
from imagenet_think.dataset.teachers import location
from imagenet_think.parsing.outcomes import STATUSES
from write_card import write_card

TEMPLATE = ROOT / "scripts" / "dataset" / "write_card.md"
HARD = "_a_ % & # {b} \\ ~ ^ | <script>1</script> $c$ [d](javascript:1) *e* `f` 🏹 قوس\n- g"
SHOWN = HARD.replace("\n", " ")
GLM, KIMI = "models/glm-4.1v", "models/kimi-vl"


@pytest.fixture
def card(tmp_path):
    """A function that writes a dataset with its card; it returns folder, front matter and page."""

    def write(full=False, changes=None, **options):
        folder = tmp_path / ("dataset_full" if full else "dataset")
        files = publish(folder, full=full, **options)
        language = tmp_path / "language.md"
        language.write_text("Scale and language.\n\n| Measure |\n| --- |\n| M |\n")
        write_card(
            *(files, write_tables(tmp_path / "tables"), language, REPORTED, TEMPLATE),
            *(folder / "README.md", config(changes)),
            full=full,
        )
        _, front, body = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
        html = MarkdownIt("commonmark", {"html": True}).enable("table").render(body)
        page = SimpleNamespace(body=body, tags=set(re.findall(r"<(\w+)", html)))
        page.text = unescape(re.sub(r"<[^>]*>", "", html)).replace("\n", " ")
        page.links = re.findall(r'href="([^"]*)"', html)
        return folder, yaml.safe_load(front), page

    return write


def cells(page, heading):
    """Return the rows of the table with this first heading, by first cell."""
    lines = page.body.split(f"| {heading} |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return {row[0].replace("\\", ""): row[1:] for row in rows}


def expected(name):
    return {split: n for (configuration, split), n in ROWS.items() if configuration == name and n}


def test_front_matter_has_what_the_hub_reads(card):
    _, front, page = card()
    assert "synthetic" in front["tags"]
    known = {
        "license": "cc-by-nc-4.0",
        "language": ["en"],
        "task_categories": ["image-text-to-text"],
        "size_categories": ["n<1K"],
        "pretty_name": "ImageNet-Think-250K",
    }
    assert front | known == front
    assert "not the paper's" not in page.text
    found = {
        each["config_name"]: {data["split"]: data["path"] for data in each["data_files"]}
        for each in front["configs"]
    }
    assert found == {
        "default": {s: f"data/{s}-*.parquet" for s in ("train", "validation", "test")},
        "failed": {s: f"failed/{s}-*.parquet" for s in ("train", "test")},
    }
    for info in front["dataset_info"]:
        name = info["config_name"]
        counted = {split["name"]: split["num_examples"] for split in info["splits"]}
        assert counted == expected(name)
        assert [each["name"] for each in info["features"]] == list(schemas(full=False)[name])
        assert all(split["num_bytes"] > 0 for split in info["splits"])


@pytest.mark.parametrize("full", [False, True])
def test_it_loads_in_one_line_without_files_of_an_earlier_dataset(full, card, tmp_path, caplog):
    folder, *_ = card(full=full)
    old = [folder / "data" / "train-00001-of-00004.parquet"]
    old.append(folder / "failed" / "validation-00000-of-00001.parquet")
    mine = folder / "data" / "mine.parquet"
    for path in (*old, mine):
        path.write_bytes((folder / "data" / "train-00000-of-00002.parquet").read_bytes())
    before = (folder / "README.md").read_bytes()
    caplog.set_level("INFO", "imagenet_think")
    card(full=full)
    assert (folder / "README.md").read_bytes() == before
    assert [path for path in old if path.exists()] == []
    assert all(f"{path} removed" in caplog.text for path in old)
    assert mine.exists()
    for name, schema in schemas(full).items():
        loaded = datasets.load_dataset(str(folder), name, cache_dir=str(tmp_path / "cache"))
        assert {split: len(rows) for split, rows in loaded.items()} == expected(name)
        assert loaded["train"].column_names == list(schema)
        if full:
            assert loaded["train"][0]["image"].size == (8, 6)
    assert "dataset_info" not in caplog.text  # `datasets` ignores none of it
    # Loading fails if a shard is missing.
    (folder / "data" / "train-00001-of-00002.parquet").unlink()
    with pytest.raises(NonMatchingSplitsSizesError, match="num_examples=6"):
        datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "another"))


def test_numbers_come_from_data_and_tables_and_every_column_is_explained(card):
    _, _, page = card()
    assert cells(page, "Split") == {
        "train": ["8", "6", "2"],
        "validation": ["1", "1", "0"],
        "test": ["2", "1", "1"],
        "all": ["11", "8", "3"],
    }
    assert "250,000 images of 10,450 classes, 2 to 5 per class (23.9 on average)" in page.text
    assert "1,101 to 2,203 tokens (1,652 on average, 13,219 in all, over the 8 im" in page.text
    assert "Scale and language." in page.text
    assert cells(page, "Status") == {
        "cut_off": [STATUSES["cut_off"], "1", "0"],
        "loop": [STATUSES["loop"], "1", "1"],
        "error": [STATUSES["error"], "0", "1"],
    }
    columns = cells(page, "Column").items()
    explained = {name: meaning for names, (meaning,) in columns for name in names.split(", ")}
    assert explained.keys() == schemas(full=False)["failed"].keys()
    for name, meaning in explained.items():
        words = DESCRIPTIONS[name.replace("_2", "_1")].replace("teacher 1", "teacher 1 or 2")
        assert meaning.replace("\\", "").startswith(words)
        assert ("Only in failed" in meaning) == name.startswith("text_")
    # Nothing else is described, and each teacher by its number.
    assert DESCRIPTIONS.keys() == {*schemas(full=True)["failed"], *explained}
    for name, text in DESCRIPTIONS.items():
        assert text.endswith(".")
        assert not name.endswith(("_1", "_2")) or f"teacher {name[-1]}" in text


def test_a_configuration_may_be_empty(card):
    _, front, page = card(failures={})
    assert [each["config_name"] for each in front["configs"]] == ["default"]
    assert "None: every response of both" in page.text
    assert "the configuration failed has no rows" in page.text
    _, front, page = card(failures={("one", name): "loop" for name in PUBLISHED})
    assert [each["config_name"] for each in front["configs"]] == ["failed"]
    assert "none: no image has two good responses" in page.text


def test_models_are_described_as_their_rows_record_them(card):
    columns = {"revision_1": "1" * 40, "engine_2": "vllm", "forced_1": False, "forced_2": False}
    _, _, page = card(columns=columns)
    assert "https://huggingface.co/zai-org/GLM-4.1V-9B-Thinking" in page.links
    for text in (
        "zai-org/GLM-4.1V-9B-Thinking, revision " + "1" * 40,
        "Engine: transformers",
        "Engine: vllm",
        "Decoding: temperature 0.5",
        "System prompt: “You are a helpful assistant”",
        "“What is it?”",
    ):
        assert text in page.text
    assert "begin with" not in page.text
    assert "closed by force; forced_1" not in page.text
    _, _, page = card(columns={"engine_1": "server", "forced_1": False, "forced_2": True})
    assert "Engine: server" in page.text
    assert "The thinking of 11 responses was cut off and closed by force" in page.text


def test_imported_responses_are_described_as_such(card):
    names = ("revision", "prompt_id", "decoding", "engine", "forced")
    unknown = {f"{name}_{k}": None for name in names for k in (1, 2)}
    models = {GLM: {"name": "GLM", "responses": {}}, KIMI: {"name": "Kimi", "responses": {}}}
    _, _, page = card(changes=models, columns=unknown | {"question": None})
    assert page.text.count("made elsewhere and imported") == 3
    assert "The responses of GLM and Kimi were made elsewhere and imported" in page.text
    assert page.text.count("prompt, weights, decoding and engine are not known here") == 2
    assert "Prompt:" not in page.text
    assert "Checkpoint" not in page.text


def test_a_different_run_says_so_first(card):
    changes = {"run": "mini.1", "images/source/kind": "drawings"}
    changes |= {f"{model}/repository": "resources/miniatures/glm-4.1v" for model in (GLM, KIMI)}
    _, front, page = card(changes=changes)
    assert front["pretty_name"] == "ImageNet-Think (run mini.1)"
    first = page.body.split("\n\n")[1]
    assert first.startswith("> This is the run mini.1, not the paper's")
    assert "because the images are drawings, not photographs of ImageNet-21k; " in first
    assert "miniature checkpoints" in first
    assert "drawn by the pipeline itself" in page.text
    assert "ImageNet's terms" not in page.text
    # A run called as the paper's may differ too.
    _, front, page = card(changes={"prompts/section_3_2": "What is it?"})
    assert front["pretty_name"] == "ImageNet-Think (run paper)"
    assert "not the paper's: " in page.text
    assert "the prompt is neither of the paper's two" in page.text


@pytest.mark.parametrize(
    ("source", "license_", "text"),
    [
        ("drawings", "cc-by-nc-4.0", "They are the pipeline's own drawings"),
        ("folder", "unknown", "pass it on only if you may pass on the images"),
        ("listing", "other", "must not be redistributed"),
    ],
)
def test_images_of_other_owners_have_other_terms(source, license_, text, card):
    _, front, page = card(full=True, changes={"run": "mine", "images/source/kind": source})
    assert front["license"] == license_
    assert text in page.text


def test_repository_and_licences_with_and_without_images(card):
    changes = {"dataset/repository": "me/think", "dataset/license": "cc0-1.0"}
    _, front, page = card(changes=changes)
    assert 'load_dataset("me/think")' in page.text
    assert 'polars.read_parquet("hf://datasets/me/think/data/*.parquet")' in page.text
    assert front["license"] == "cc0-1.0"
    assert "The texts are CC0 1.0." in page.text
    assert "No images are in this folder: ImageNet's terms of access forbid" in page.text
    assert publication.IMAGENET_TERMS in page.links
    assert "snakemake --cores all rejoin" in page.text
    assert "must not be redistributed" not in page.text
    folder, front, page = card(full=True, changes=changes)
    assert "This form contains ImageNet's images and must not be redistributed" in page.text
    assert front["license"] == "other"
    assert front["license_link"] == publication.IMAGENET_TERMS
    assert front["dataset_info"][0]["features"][0] == {"name": "image", "dtype": "image"}
    assert f'load_dataset("{folder}")' in page.text
    assert "me/think" not in page.text
    assert "rejoin" not in page.text


def test_hard_texts_survive(card):
    keys = ("name", "repository", "system", "template", "prefix")
    changes = {"run": HARD} | {f"{GLM}/{key}": HARD for key in keys}
    columns = {"revision_1": HARD, "engine_1": HARD, "question": HARD, "lemma": HARD}
    _, front, page = card(
        changes=changes, columns=columns | {"decoding_1": '{"max_new_tokens": "<b>_1_"}'}
    )
    assert front["pretty_name"] == f"ImageNet-Think (run {HARD})"
    for text in (
        f"This is the run {SHOWN}, not",
        f"the folder {SHOWN}, revision {SHOWN}",
        f"Engine: {SHOWN}",
        "Decoding: max_new_tokens <b>_1_",
        f"System prompt: “{SHOWN}”",
        f"User turn: “{SHOWN}”",
        f"begin with “{SHOWN}”",
        "Parsing: Thinking is what precedes </think>, the answer what follows it;",
        f"“{SHOWN}”",
        f"Teacher 1: {SHOWN}.",
        f"language models {SHOWN} and Kimi",
    ):
        assert text in page.text, text
    assert SHOWN in page.text.split("Known failures")[1]  # a heading of the table
    assert page.tags <= {
        *("h1", "h2", "p", "a", "pre", "code", "blockquote", "strong", "ul", "li"),
        *("table", "thead", "tbody", "tr", "th", "td"),
    }
    assert not any(link.startswith("javascript") for link in page.links)
    assert len(cells(page, "Status")) == 3  # no bar in a name splits a row
    assert not re.search(r"\{\{|\}\}|\{%|\n\n\n", page.body)


@pytest.mark.parametrize(
    ("repository", "shown", "link"),
    [
        ("zai-org/GLM", "zai-org/GLM", "https://huggingface.co/zai-org/GLM"),
        ("resources/miniatures/glm-4.1v", "resources/miniatures/glm-4.1v", ""),
        ("/home/me/secret/glm", "glm", ""),
        ("package:of_weights", "package:of_weights", ""),
    ],
)
def test_a_models_location_does_not_reveal_local_folders(repository, shown, link):
    assert location({"repository": repository}) == {"repository": shown, "link": link}


def test_size_categories_are_the_hubs():
    names = [size_category(rows) for rows in (999, 1_000, 250_000, 10**7)]
    assert names == ["n<1K", "1K<n<10K", "100K<n<1M", "10M<n<100M"]
