import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import datasets
import pytest
import yaml
from datasets.utils.info_utils import NonMatchingSplitsSizesError
from datasets_of_a_run import (
    REPORTED,
    ROWS,
    SCHEMAS,
    compared,
    settings,
    write_dataset,
    write_tables,
)
from markdown_it import MarkdownIt

from imagenet_think.dataset import publication
from imagenet_think.dataset.dataset_fields import describe
from imagenet_think.parsing.outcomes import STATUSES
from imagenet_think.report.comparability import TEACHERS
from write_card import size_category, where, write_card

TEMPLATE = Path(__file__).parents[3] / "scripts" / "dataset" / "write_card.md"
HARD = "_a_ % & # {b} \\ ~ ^ | <script>1</script> $c$ [d](javascript:1) *e* `f` 🏹 قوس\n- g"
SHOWN = HARD.replace("\n", " ")


class Page(HTMLParser):
    """What a reader sees of a card: its text, and the kinds of elements in it."""

    def __init__(self, html):
        super().__init__()
        self.text, self.tags, self.links = "", set(), []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.links += [value for name, value in attributes if name == "href"]

    def handle_data(self, data):
        self.text += data


def read(path):
    """Return a card's front matter, its Markdown and the page."""
    _, front, body = path.read_text(encoding="utf-8").split("---\n", 2)
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(body)
    return yaml.safe_load(front), body, Page(html)


@pytest.fixture
def card(tmp_path):
    """A function that writes a dataset and its card, and returns folder, front matter and page."""

    def write(full=False, hard="", rows=ROWS, changes=(), **config):
        folder = tmp_path / ("dataset_full" if full else "dataset")
        files = write_dataset(folder, full=full, hard=hard, rows=rows, **dict(changes))
        (tmp_path / "language.md").write_text(
            "Scale and language.\n\n| Measure |\n| --- |\n| M |\n"
        )
        tables = write_tables(tmp_path / "tables")
        write_card(
            files,
            tables,
            tmp_path / "language.md",
            REPORTED,
            TEMPLATE,
            folder / "README.md",
            settings(full=full, **config),
        )
        return folder, *read(folder / "README.md")

    return write


def cells(body, heading):
    """Return the rows of the table whose first heading is given, by their first cell."""
    lines = body.split(f"| {heading} |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return {row[0]: row[1:] for row in rows}


def test_front_matter_says_what_the_hub_asks(card):
    _, front, _, _ = card()
    assert front["license"] == "cc-by-nc-4.0"
    assert front["language"] == ["en"]
    assert front["task_categories"] == ["image-text-to-text"]
    assert front["size_categories"] == ["n<1K"]
    assert front["pretty_name"] == "ImageNet-Think-250K"
    assert "synthetic" in front["tags"]


def test_configurations_are_those_with_rows(card):
    _, front, _, _ = card()
    found = {
        config["config_name"]: {data["split"]: data["path"] for data in config["data_files"]}
        for config in front["configs"]
    }
    assert found == {
        "default": {s: f"data/{s}-*.parquet" for s in ("train", "validation", "test")},
        "failed": {s: f"failed/{s}-*.parquet" for s in ("train", "test")},
    }
    for info in front["dataset_info"]:
        name = info["config_name"]
        counted = {split["name"]: split["num_examples"] for split in info["splits"]}
        assert counted == {split: ROWS[name, split] for split in found[name]}
        assert [feature["name"] for feature in info["features"]] == list(SCHEMAS[False][name])
        assert all(split["num_bytes"] > 0 for split in info["splits"])


@pytest.mark.parametrize("full", [False, True])
def test_it_is_loaded_in_one_line(full, card, tmp_path, caplog):
    folder, _, _, _ = card(full=full)
    for name, schema in SCHEMAS[full].items():
        loaded = datasets.load_dataset(str(folder), name, cache_dir=str(tmp_path / "cache"))
        expected = {split: n for (config, split), n in ROWS.items() if config == name and n}
        assert {split: len(rows) for split, rows in loaded.items()} == expected
        assert loaded["train"].column_names == list(schema)
        if full:
            assert loaded["train"][0]["image"].size == (8, 6)
    assert "dataset_info" not in caplog.text  # nothing of it is ignored


@pytest.mark.parametrize("full", [False, True])
def test_what_an_earlier_dataset_left_is_not_loaded(full, card, tmp_path, caplog):
    folder, _, _, _ = card(full=full)
    own = folder / "data" / "train-00000-of-00002.parquet"
    left = [folder / "data" / "train-00001-of-00004.parquet"]
    left.append(folder / "failed" / "validation-00000-of-00001.parquet")
    for path in left:
        shutil.copy(own, path)
    mine = shutil.copy(own, folder / "data" / "mine.parquet")
    caplog.set_level("INFO", "imagenet_think")
    card(full=full)
    assert [path for path in left if path.exists()] == []
    assert all(f"{path} removed" in caplog.text for path in left)
    assert Path(mine).exists()
    for name in SCHEMAS[full]:
        loaded = datasets.load_dataset(str(folder), name, cache_dir=str(tmp_path / "cache"))
        expected = {split: n for (config, split), n in ROWS.items() if config == name and n}
        assert {split: len(rows) for split, rows in loaded.items()} == expected


def test_a_missing_shard_is_noticed_by_those_who_load_it(card, tmp_path):
    folder, _, _, _ = card()
    (folder / "data" / "train-00001-of-00002.parquet").unlink()
    with pytest.raises(NonMatchingSplitsSizesError, match="num_examples=5"):
        datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))


def test_numbers_are_those_of_data_and_tables(card):
    _, _, body, page = card()
    splits = cells(body, "Split")
    for split in ("train", "validation", "test"):
        default, failed = ROWS["default", split], ROWS["failed", split]
        assert splits[split] == [str(default + failed), str(default), str(failed)]
    assert splits["all"] == ["11", "8", "3"]
    assert "250,000 images of 10,450 classes, 2 to 5 a class (23.9 on average)" in page.text
    sentence = (
        "1,101 to 2,203 tokens (1,652 on average, 13,219 in all, over the 8 images of default)"
    )
    assert sentence in page.text.replace("\n", " ")
    assert "Scale and language." in page.text


def test_failures_are_counted_by_teacher_and_status(card):
    _, _, body, _ = card()
    assert cells(body, "Status") == {
        "cut\\_off": [STATUSES["cut_off"], "1", "0"],
        "loop": [STATUSES["loop"], "1", "1"],
        "error": [STATUSES["error"], "0", "1"],
    }


def test_without_failures_it_says_so(card):
    none = {key: 0 if key[0] == "failed" else n for key, n in ROWS.items()}
    _, front, _, page = card(rows=none)
    assert [config["config_name"] for config in front["configs"]] == ["default"]
    assert "None: every response of both teachers could be taken apart." in page.text
    assert "the configuration failed has no rows" in page.text


def test_with_failures_alone_it_is_a_card_too(card):
    none = {key: 0 if key[0] == "default" else n for key, n in ROWS.items()}
    _, front, _, page = card(rows=none)
    assert [config["config_name"] for config in front["configs"]] == ["failed"]
    assert "no image has two good responses" in page.text


def test_every_column_is_explained(card):
    _, _, body, _ = card()
    explained = {
        name.replace("\\", ""): meaning[0]
        for names, meaning in cells(body, "Column").items()
        for name in names.split(", ")
    }
    assert explained.keys() == SCHEMAS[False]["failed"].keys()
    for name, meaning in explained.items():
        said = describe(name.replace("_2", "_1")).replace("teacher 1", "teacher 1 or 2")
        assert meaning.replace("\\", "").startswith(said)
        assert ("In failed alone" in meaning) == name.startswith("text_")


def test_models_are_told_with_what_their_rows_record(card):
    _, _, _, page = card()
    assert "https://huggingface.co/zai-org/GLM" in page.links
    for text in (
        "zai-org/GLM, revision " + "1" * 40,
        "moonshotai/Kimi, revision " + "2" * 40,
        "Engine: transformers",
        "Engine: vllm",
        "Decoding: max_new_tokens 8192; temperature 0.6",
        "System prompt: “You are a helpful assistant”",
        "“Look closely.”",
    ):
        assert text in page.text
    assert "begin with" not in page.text
    assert "closed by force; forced_1" not in page.text


def test_several_engines_and_forced_thoughts_are_told(card, tmp_path):
    changes = {"engine_1": "server", "forced_2": True}
    _, _, _, page = card(changes=changes.items())
    assert "Engine: server" in page.text
    assert "11 responses have a thought that was cut off and closed by force" in page.text


def test_imported_responses_are_called_so(card):
    teachers = [{"name": "GLM", "responses": True}, {"name": "Kimi", "responses": True}]
    changes = {
        f"{name}_{k}": None
        for name in ("revision", "prompt_id", "decoding", "engine", "forced")
        for k in (1, 2)
    }
    _, _, _, page = card(changes=[*changes.items(), ("question", None)], teachers=teachers)
    assert page.text.count("made elsewhere and imported") == 2
    assert "The texts were made elsewhere, so the prompt is not known here." in page.text
    assert "Checkpoint" not in page.text


def test_the_papers_run_is_no_other(card):
    _, front, _, page = card()
    assert front["pretty_name"] == "ImageNet-Think-250K"
    assert "not the paper's" not in page.text


def test_a_run_of_that_name_may_be_another(card):
    _, front, _, page = card(compared=compared(prompt="What is it?"))
    assert front["pretty_name"] == "ImageNet-Think (run paper)"
    assert "not the paper's" in page.text
    assert "the prompt is neither of the paper's two" in page.text


def test_another_run_says_so_at_once(card):
    miniatures = dict.fromkeys(TEACHERS, "resources/miniatures/glm-4.1v")
    other = compared(source="drawings", repositories=miniatures)
    _, front, body, page = card(run="mini.1", source="drawings", compared=other)
    assert front["pretty_name"] == "ImageNet-Think (run mini.1)"
    first = body.split("\n\n")[1]
    assert first.startswith("> This is the run mini.1, not the paper's")
    assert "for the images are drawings, not photographs of ImageNet-21k; " in first
    assert "miniature checkpoints" in first
    assert "drawn by the pipeline itself" in page.text
    assert "ImageNet's terms" not in page.text


def test_terms_of_the_pictures_are_told(card):
    _, _, _, page = card()
    text = page.text.replace("\n", " ")
    assert "No pictures are in this folder: ImageNet's terms of access forbid" in text
    assert publication.IMAGENET_TERMS in page.links
    assert "snakemake --cores all rejoin" in text
    assert "must not be redistributed" not in text


def test_the_form_with_pictures_must_not_be_passed_on(card):
    folder, front, _, page = card(full=True, dataset=settings()["dataset"] | {"repository": "a/b"})
    text = page.text.replace("\n", " ")
    assert "This form holds ImageNet's pictures and must not be redistributed" in text
    assert front["license"] == "other"
    assert front["license_link"] == publication.IMAGENET_TERMS
    assert front["dataset_info"][0]["features"][0] == {"name": "image", "dtype": "image"}
    assert f'load_dataset("{folder}")' in text
    assert "a/b" not in text
    assert "rejoin" not in text


@pytest.mark.parametrize(
    ("source", "license_", "said"),
    [
        ("drawings", "cc-by-nc-4.0", "They are the pipeline's own drawings"),
        ("folder", "unknown", "pass it on only if you may pass on the pictures"),
        ("listing", "other", "must not be redistributed"),
    ],
)
def test_other_pictures_have_other_terms(source, license_, said, card):
    _, front, _, page = card(full=True, source=source, run="mine", criteria=None)
    assert front["license"] == license_
    assert said in page.text
    assert "near-duplicates" not in page.text


def test_a_repository_of_the_hub_is_where_it_is_loaded_from(card):
    _, _, _, page = card(dataset=settings()["dataset"] | {"repository": "me/think"})
    assert 'load_dataset("me/think")' in page.text
    assert 'polars.read_parquet("hf://datasets/me/think/data/*.parquet")' in page.text


def test_the_licence_of_texts_is_the_configs(card):
    _, front, _, page = card(dataset=settings()["dataset"] | {"license": "cc0-1.0"})
    assert front["license"] == "cc0-1.0"
    assert "The texts are CC0 1.0." in page.text


def test_hard_texts_survive(card):
    teachers = [
        settings()["teachers"][0]
        | {"name": HARD, "repository": HARD, "system": HARD, "template": HARD, "prefix": HARD}
        | {"output": "think_answer"},
        settings()["teachers"][1],
    ]
    changes = {"revision_1": HARD, "engine_1": HARD, "decoding_1": '{"max_new_tokens": "<b>_1_"}'}
    _, front, body, page = card(
        hard=HARD,
        run=HARD,
        teachers=teachers,
        changes=changes.items(),
        compared=compared(
            names=dict.fromkeys(TEACHERS, HARD), repositories=dict.fromkeys(TEACHERS)
        ),
    )
    assert front["pretty_name"] == f"ImageNet-Think (run {HARD})"
    for text in (
        f"This is the run {SHOWN}, not",
        f"the folder {SHOWN}, revision {SHOWN}",
        f"Engine: {SHOWN}",
        "Decoding: max_new_tokens <b>_1_",
        f"System prompt: “{SHOWN}”",
        f"The user's turn: “{SHOWN}”",
        f"begin with “{SHOWN}”",
        "Parsing: Thinking is what precedes </think>, the answer what follows it;",
        f"“Look closely. {SHOWN}”",
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
    assert len(cells(body, "Status")) == 3  # no bar of a name divides a row


@pytest.mark.parametrize(
    ("repository", "shown", "link"),
    [
        ("zai-org/GLM", "zai-org/GLM", "https://huggingface.co/zai-org/GLM"),
        ("resources/miniatures/glm-4.1v", "resources/miniatures/glm-4.1v", ""),
        ("/home/me/secret/glm", "glm", ""),
        ("package:of_weights", "package:of_weights", ""),
    ],
)
def test_where_a_model_lies_is_told_without_this_machine(repository, shown, link):
    assert where({"repository": repository}) == {"repository": shown, "link": link}


@pytest.mark.parametrize(
    ("rows", "name"),
    [(999, "n<1K"), (1_000, "1K<n<10K"), (250_000, "100K<n<1M"), (10**7, "10M<n<100M")],
)
def test_sizes_are_the_hubs(rows, name):
    assert size_category(rows) == name


def test_the_same_inputs_give_the_same_bytes(card):
    folder, _, _, _ = card()
    again = (folder / "README.md").read_bytes()
    card()
    assert (folder / "README.md").read_bytes() == again


def test_no_line_of_the_template_is_left(card):
    _, _, body, _ = card()
    assert not re.search(r"\{\{|\}\}|\{%|\n\n\n", body)
