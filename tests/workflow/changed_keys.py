"""Configs of several runs, and changes of every leaf of the schema."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from imagenet_think.core.settings import all_leaves, schema_keys
from imagenet_think.run import configuration
from imagenet_think.run.configuration import Config
from tests.pretended_runs import ROOT

Edit = Callable[[Config], None]
"""Changes a config in place."""


@dataclass(frozen=True)
class Change:
    """A change of a leaf in the config of a run."""

    key: str  # the leaf, as the schema names it
    case: str  # what distinguishes it from other changes of the leaf
    run: str
    path: Sequence[str]  # in the run's config
    edit: Edit

    def __str__(self) -> str:
        return f"{self.key} {self.case}".rstrip()

    def of(self, configs: Mapping[str, Config]) -> Config:
        """Return the changed config of the run."""
        config = deepcopy(configs[self.run])
        self.edit(config)
        return config


def every_leaf() -> dict[str, Config]:
    """Return the nodes of the schema's leaves by their keys."""
    schema = configuration.schema()
    nodes = dict(schema_keys(schema))
    return {leaf: nodes[leaf] for leaf in all_leaves(schema)}


# The runs ----------------------------------------------------------------------------------------

TEACHER, OTHER_TEACHER = "glm-4.1v", "kimi-vl"
BENCHMARKED, ABLATED, OTHER_BENCHMARKED = "r1-onevision", "openvlthinker", "visionthink"
IMPORTED, SPARE = "mine", "vl-rethinker"

_SECTIONS = {
    "processor": {"repository": "owner/processor", "revision": "0" * 40},
    "second_round": {"first_scale": 0.5, "template": "{image} Look again."},
    "close_thought": {"text": "</think>", "max_new_tokens": 64},
}
"""Optional sections of a model, which `OTHER_TEACHER` and `OTHER_BENCHMARKED` have."""


def runs(folder: Path) -> dict[str, Config]:
    """Return configs by the names of their runs; the files that they name are created empty.

    `drawn` is the miniature with models on the hub, an imported model, and one that no list names.
    The others have other sources of images: in `listed`, all models are imported; in `pictured`,
    the listing has pictures.
    """
    text = (ROOT / "config" / "miniature.yaml").read_text(encoding="utf-8")
    drawn = yaml.safe_load(text) | {"run": "drawn"}
    hub = {"repository": "owner/name", "revision": "0" * 40}
    asked = [TEACHER, OTHER_TEACHER, BENCHMARKED, ABLATED, OTHER_BENCHMARKED, SPARE]
    drawn["models"] = {key: drawn["models"][key] | hub for key in asked}
    for key in (OTHER_TEACHER, OTHER_BENCHMARKED):
        drawn["models"][key] |= deepcopy(_SECTIONS)
    drawn["models"][IMPORTED] = {
        "name": "Mine",
        "responses": {"path": "texts.parquet", "text": "text"},
        "output": "boxed",
    }
    drawn["benchmarked"] = [BENCHMARKED, ABLATED, OTHER_BENCHMARKED, IMPORTED]
    drawn["statistics"]["tokenizer"] = hub
    drawn["benchmark"]["bertscore"] |= hub
    drawn["benchmark"]["sbert"] |= hub
    drawn["review"] = {"decisions": "decisions.json"}
    drawn["dataset"] = {"test": 2, "validation": 1}
    drawn["engines"] = {"server": {"url": "http://localhost:8000/v1"}}
    classes = drawn["images"]["source"]["classes"]
    sources = {
        "archives": {"kind": "class_tars", "path": "source"},
        "packed": {"kind": "outer_archive", "path": "unpacked", "archive": "packed.tar"},
        "labelled": {"kind": "hub_parquet", "path": "source", "labels": "labels.txt"},
    }
    listing = {"kind": "listing", "path": "texts.parquet", "label": "label"}
    sources["pictured"] = listing | {"pictures": True}
    found = {"drawn": drawn}
    for name, source in sources.items():
        found[name] = drawn | {"run": name, "images": drawn["images"] | {"source": source}}
    apart = {"path": "texts.parquet", "image": "image", "think": "think", "answer": "answer"}
    found["listed"] = drawn | {
        "run": "listed",
        "images": drawn["images"]
        | {"source": listing | {"image": "image", "labels": "labels.txt", "pictures": False}},
        "models": {key: {"name": key, "responses": dict(apart)} for key in asked},
        "benchmarked": [BENCHMARKED, ABLATED, OTHER_BENCHMARKED],
    }
    for name in (
        *(f"{place}/{wnid}.tar" for place in ("source", "elsewhere") for wnid in classes),
        *(f"{place}/train.parquet" for place in ("source", "elsewhere")),
        *("texts.parquet", "others.parquet", "labels.txt", "others.txt", "packed.tar"),
        *("others.tar", "denied.txt", "judge.py", "classes.tsv"),
        *("decisions.json", "others.json"),
        *("train.jsonl", "image2text.csv"),
        "published/data/train-00000-of-00001.parquet",
    ):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    texts = ("file", "label", "class", "text", "said", "think", "thought", "answer")
    texts += ("think_1", "answer_1", "think_2", "answer_2")
    row = dict.fromkeys(texts, "a") | {"image": {"bytes": b"", "path": "a"}}
    for name in ("texts.parquet", "others.parquet"):
        pl.DataFrame([row]).write_parquet(folder / name)
    (folder / "judge.py").write_text("def judge(image): return None\n", encoding="utf-8")
    (folder / "classes.tsv").write_bytes((ROOT / drawn["images"]["classes"]).read_bytes())
    return found


# The changes -------------------------------------------------------------------------------------


def changes(configs: dict[str, Config]) -> Iterator[Change]:
    """Yield the changes of every leaf of the schema, in its order; `runs` returns `configs`."""
    for key, node in every_leaf().items():
        if key in _CASES:
            for case, run, path, edit in _CASES[key]:
                yield Change(key, case, run, path, edit)
        else:
            for case, run, path in _places(key):
                names = (key, key.rpartition(".")[2])
                known = [_VALUES[name] for name in names if name in _VALUES]
                value = known[0] if known else _another(configs[run], path, node)
                yield Change(key, case, run, path, _put(path, value))


def _places(key: str) -> Iterator[tuple[str, str, Sequence[str]]]:
    """Yield the places of a key: the case, the run, and the path in its config."""
    parts = key.split(".")
    if parts[:2] != ["models", "<name>"]:
        yield "", _RUN_OF.get(key, "drawn"), parts
        return
    for case, run, model in _models(parts[2:]):
        yield case, run, ["models", model, *parts[2:]]


def _models(parts: Sequence[str]) -> list[tuple[str, str, str]]:
    """Return the models whose key is changed: the case, the run, the model's key."""
    a_teacher, a_benchmarked = "of a teacher", "of a benchmarked model"
    if parts[0] == "responses":
        if parts[1] == "text":
            return [(a_benchmarked, "drawn", IMPORTED)]
        return [(a_teacher, "listed", TEACHER), (a_benchmarked, "listed", BENCHMARKED)]
    if parts[0] in _SECTIONS:
        return [(a_teacher, "drawn", OTHER_TEACHER), (a_benchmarked, "drawn", OTHER_BENCHMARKED)]
    found = [(a_teacher, "drawn", TEACHER), (a_benchmarked, "drawn", BENCHMARKED)]
    if parts[0] in ("name", "output"):
        found.append(("of `ablation_model`", "drawn", ABLATED))
    if parts[0] == "output":
        found.append(("of a benchmarked model with `close_thought`", "drawn", OTHER_BENCHMARKED))
        found.append(("of an imported model", "drawn", IMPORTED))
    return found


def _put(path: Sequence[str], value: Any) -> Edit:
    """Return a function that sets a value in a config."""
    *above, last = path

    def edit(config: Config) -> None:
        for key in above:
            config = config.setdefault(key, {})
        config[last] = value

    return edit


def _another(config: Config, path: Sequence[str], node: Config) -> Any:
    """Return an allowed value that differs from the present one, if the schema tells how."""
    value: Any = config
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    value = node.get("default") if value is None else value
    if "enum" in node:
        return next(other for other in node["enum"] if other != value)
    kinds = [node["type"]] if isinstance(node["type"], str) else node["type"]
    if "boolean" in kinds:
        return not value
    if "integer" in kinds:
        return node.get("minimum", 1) if value is None else value + 1
    if "number" in kinds:
        return value / 2 if value else 0.5
    raise KeyError(f"{'.'.join(path)}: name another value of it in _VALUES")


_VALUES = {
    "repository": "owner/another",
    "revision": "1" * 40,
    "token_pattern": "[a-z]+",
    "run": "another",
    "images.classes": "classes.tsv",
    "images.source.path": "elsewhere",
    "images.source.image": "file",
    "images.source.label": "class",
    "images.source.archive": "others.tar",
    "images.source.classes": ["n02782093", "n04507155"],
    "images.criteria.denied_classes": ["n02782093"],
    "images.criteria.denied_classes_file": "denied.txt",
    "images.criteria.denied_images_file": "denied.txt",
    "images.criteria.denied_images": ["n02782093_1"],
    "images.criteria.scorer": "judge.py:judge",
    "prompt": "figure_2",
    "models.<name>.name": "Another",
    "models.<name>.responses.path": "others.parquet",
    "models.<name>.responses.image": "file",
    "models.<name>.responses.text": "said",
    "models.<name>.responses.think": "thought",
    "models.<name>.responses.answer": "said",
    "models.<name>.system": "Be brief.",
    "models.<name>.template": "{prompt}{image}",
    "models.<name>.second_round.template": "{image}",
    "models.<name>.prefix": "So",
    "models.<name>.close_thought.text": "</think><answer>",
    "references.published": "texts.parquet",
    "engines.vllm.command": "/bin/sh",
    "engines.vllm.arguments": ["--enforce-eager"],
    "engines.server.url": "http://localhost:9000/v1",
    "engines.server.key_variable": "KEY",
    "statistics.datasets.visual_cot": "train.jsonl",
    "statistics.datasets.llava_cot": "train.jsonl",
    "statistics.datasets.emma": "texts.parquet",
    "statistics.datasets.mac": "image2text.csv",
    "benchmark.ablation_model": BENCHMARKED,
    "dataset.rejoin": "published",
    "dataset.version": "2.0.0",
    "dataset.published": "2026-01-31",
    "review.decisions": "others.json",
}
"""Other values where the schema does not tell how to find one: of a key, or of all of its name."""

_RUN_OF = {
    "images.source.path": "archives",
    "images.source.image": "listed",
    "images.source.label": "listed",
    "images.source.pictures": "listed",
    "images.source.archive": "packed",
}
"""Runs of the keys that do not exist for every source."""


def _roles(teachers: list[str], benchmarked: list[str]) -> Edit:
    return lambda config: config.update(teachers=teachers, benchmarked=benchmarked)


_TEACHERS = [TEACHER, OTHER_TEACHER]
_BENCHMARKED = [BENCHMARKED, ABLATED, OTHER_BENCHMARKED, IMPORTED]
_ANOTHER_KIND = {"kind": "webdataset", "path": "source"}
_ANOTHER_PROMPT = "Describe this image."

_KIND = ["images", "source", "kind"]
_LABELS = ["images", "source", "labels"]
_COUNT_CLASSES = ["images", "source", "count_classes"]
_PROMPT = ["prompts", "section_3_2"]
_OTHER_PROMPT = ["prompts", "figure_2"]

_CASES: dict[str, list[tuple[str, str, Sequence[str], Edit]]] = {
    "images.source.kind": [("", "archives", _KIND, _put(_KIND[:2], _ANOTHER_KIND))],
    "images.source.labels": [
        ("of `hub_parquet`", "labelled", _LABELS, _put(_LABELS, "others.txt")),
        ("of `listing`", "listed", _LABELS, _put(_LABELS, "others.txt")),
    ],
    "images.source.count_classes": [
        ("of `hub_parquet`", "labelled", _COUNT_CLASSES, _put(_COUNT_CLASSES, True)),
        ("of `listing`", "listed", _COUNT_CLASSES, _put(_COUNT_CLASSES, True)),
    ],
    "prompts.<name>": [
        ("the one that `prompt` names", "drawn", _PROMPT, _put(_PROMPT, _ANOTHER_PROMPT)),
        ("another one", "drawn", _OTHER_PROMPT, _put(_OTHER_PROMPT, _ANOTHER_PROMPT)),
    ],
    "teachers": [
        ("in the other order", "drawn", ["teachers"], _roles(_TEACHERS[::-1], _BENCHMARKED)),
        ("another model", "drawn", ["teachers"], _roles([TEACHER, SPARE], _BENCHMARKED)),
    ],
    "benchmarked": [
        ("in another order", "drawn", ["benchmarked"], _roles(_TEACHERS, _BENCHMARKED[::-1])),
        ("one more", "drawn", ["benchmarked"], _roles(_TEACHERS, [*_BENCHMARKED, SPARE])),
        ("one fewer", "drawn", ["benchmarked"], _roles(_TEACHERS, _BENCHMARKED[1:])),
    ],
}
"""Changes of keys that need several, or special ones: the case, the run, the path, the edit."""
