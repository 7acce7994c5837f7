"""The config: checked against its schema before anything runs, and documented from it."""

import difflib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from imagenet_think import paths, repositories, settings

Config = dict[str, Any]
SCHEMA = Path(__file__).parents[2] / "config" / "schema.yaml"
RULES = Path(__file__).parents[2] / "rules"


class ConfigError(ValueError):
    """A config that cannot be run; the message names the key, what it held and what is allowed."""


@cache
def schema() -> Config:
    """Return the schema with its shared definitions put in place of the references to them."""
    document = yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))
    definitions = document.pop("$defs")

    def inline(node: Any) -> Any:
        if isinstance(node, dict):
            if "$ref" in node:
                return deepcopy(definitions[node["$ref"].removeprefix("#/$defs/")])
            return {key: inline(value) for key, value in node.items()}
        return [inline(item) for item in node] if isinstance(node, list) else node

    return inline(document)


def check(config: Mapping[str, Any], origin: str = "config") -> Config:
    """Check a config and fill in what may be left out.

    Parameters
    ----------
    config
        The config as read from its file.
    origin
        Name of the file, for messages.

    Returns
    -------
    dict
        A complete copy.

    Raises
    ------
    ConfigError
        For the first thing that is wrong: an unknown or missing key, a value that is not allowed,
        or keys that contradict each other.
    """
    config = deepcopy(dict(config))
    errors = sorted(
        jsonschema.Draft202012Validator(schema()).iter_errors(config),
        # An unknown key first: it is often the missing one, misspelt.
        key=lambda error: (error.validator != "additionalProperties", error.json_path),
    )
    if errors:
        raise ConfigError(f"{origin}: {_explain(errors[0])}")
    problem = next(_reference_contradictions(config), None)
    if problem is None:
        _import_references(config)
        # Of what each model holds itself: defaults would hide it.
        problem = next(_model_contradictions(config["models"]), None)
    if problem is None:
        _fill(config, schema())
        for name, model in config["models"].items():
            if "responses" in model:
                config["models"][name] = {key: model[key] for key in _IMPORTED if key in model}
        problem = next(_contradictions(config), None)
    if problem:
        raise ConfigError(f"{origin}: {problem}")
    return config


def has_pictures(source: Config) -> bool:
    """Tell whether a source (`images.source`) holds pictures, or only names the images."""
    return source["kind"] != LISTING or source.get("pictures", False)


def _reference_contradictions(config: Config) -> Iterator[str]:
    """Yield what is wrong with references that take the place of the teachers' responses."""
    if "references" not in config:
        return
    for key in config["teachers"]:
        if "responses" in config["models"].get(key, {}):
            yield (
                f"references.published gives the teachers' responses, and so does "
                f"models.{key}.responses: take away the one or the other"
            )
    try:
        paths.parquet_files(config["references"]["published"])
    except FileNotFoundError as error:
        yield f"references.published: {error}"


def _import_references(config: Config) -> None:
    """Make the teachers imported models where references are named, in place.

    Their other keys, which say how they would be asked, count no more.
    """
    if "references" not in config:
        return
    path = config.pop("references")["published"]
    for place, key in enumerate(config["teachers"], start=1):
        if key in config["models"]:
            columns = {"think": f"think_{place}", "answer": f"answer_{place}"}
            name = config["models"][key]["name"]
            config["models"][key] = {"name": name, "responses": {"path": path} | columns}


def _fill(value: Any, node: Config) -> None:
    """Put the schema's defaults into `value`, in place."""
    if isinstance(value, dict):
        for key, child in node.get("properties", {}).items():
            if key not in value and "default" in child:
                value[key] = deepcopy(child["default"])
            if key in value:
                _fill(value[key], child)
        other = node.get("additionalProperties")
        if isinstance(other, dict):
            for key in value.keys() - node.get("properties", {}).keys():
                _fill(value[key], other)


def _explain(error: jsonschema.ValidationError) -> str:
    """Say in one line which key is wrong, what it held and what is allowed."""
    key = ".".join(str(part) for part in error.absolute_path)
    inside = f" in {key}" if key else ""
    if error.validator == "additionalProperties":
        known = list(error.schema["properties"])
        unknown = next(name for name in error.instance if name not in known)
        near = difflib.get_close_matches(unknown, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return f"unknown key {unknown!r}{inside}{hint} Known keys: {', '.join(known)}"
    if error.validator == "required":
        missing = next(name for name in error.validator_value if name not in error.instance)
        about = _node(error.absolute_path)["properties"][missing].get("description", "")
        return f"key {missing!r} is missing{inside}: {about}"
    if "propertyNames" in error.absolute_schema_path:
        return f"{error.instance!r} cannot be a key of {key}: {_allowed(error.schema)}"
    held = json.dumps(error.instance, default=str)  # YAML knows dates, JSON does not
    return f"{key} holds {held}; allowed is {_allowed(error.schema)}"


def _node(path: Iterable[str | int]) -> Config:
    """Return what the schema says of a place in a config."""
    node = schema()
    for key in path:
        node = node["items"] if isinstance(key, int) else _child(node, key)
    return node


def _child(node: Config, key: str) -> Config:
    known = node.get("properties", {})
    return known[key] if key in known else node["additionalProperties"]


def _allowed(node: Config) -> str:
    """Say in words what a schema node allows."""
    if "enum" in node:
        return "one of " + ", ".join("null" if v is None else str(v) for v in node["enum"])
    kinds = node.get("type", "text")
    text = " or ".join(kinds) if isinstance(kinds, list) else kinds
    bounds = {
        "minimum": "at least {}",
        "exclusiveMinimum": "above {}",
        "maximum": "at most {}",
        "exclusiveMaximum": "below {}",
        "minItems": "at least {} entries",
        "maxItems": "at most {} entries",
        "minLength": "at least {} characters",
        "pattern": "matching {}",
    }
    words = [phrase.format(node[name]) for name, phrase in bounds.items() if name in node]
    if node.get("uniqueItems"):
        words.append("no entry twice")
    return ", ".join([text, *words])


def _contradictions(config: Config) -> Iterator[str]:
    """Yield what is wrong between keys that are each right by themselves."""
    images, models = config["images"], config["models"]
    yield from _source_contradictions(images["source"])
    if images["source"]["kind"] == LISTING:
        yield from _listing_contradictions(config)
    else:
        yield from _total_contradictions(images)
    if config["prompt"] not in config["prompts"]:
        yield f"prompt holds {config['prompt']!r}; allowed is one of {', '.join(config['prompts'])}"
    for key in ("teachers", "benchmarked"):
        for model in config[key]:
            if model not in models:
                yield f"{key} holds {model!r}; allowed is one of {', '.join(models)}"
    both = sorted(set(config["teachers"]) & set(config["benchmarked"]))
    if both:
        yield f"benchmarked holds {both[0]!r}, a teacher: it would be scored against itself"
    ablation = config["benchmark"]["ablation_model"]
    if ablation not in config["benchmarked"]:
        allowed = ", ".join(config["benchmarked"])
        yield f"benchmark.ablation_model holds {ablation!r}; allowed is one of {allowed}"
    yield from _interval_contradictions(config)
    for key, entry in repository_entries(config):
        try:
            repositories.files(entry["repository"])
        except (NotADirectoryError, ModuleNotFoundError) as error:
            yield f"{key}.repository: {error}"
        if entry["revision"] is not None and not repositories.is_hub(entry["repository"]):
            yield f"{key}.revision is only for the hub: {entry['repository']} lies on this machine"
    for name, path in config["statistics"]["datasets"].items():
        try:
            paths.dataset_files(name, path)
        except FileNotFoundError as error:
            yield f"statistics.datasets.{name}: {error}"
    for name, model in models.items():
        if "responses" in model:
            try:
                paths.parquet_files(model["responses"]["path"])
            except FileNotFoundError as error:
                yield f"models.{name}.responses.path: {error}"


def _interval_contradictions(config: Config) -> Iterator[str]:
    """Yield what is wrong where no resample would lie beyond an end of a simultaneous interval."""
    intervals, pairs = config["benchmark"]["intervals"], math.comb(len(config["benchmarked"]), 2)
    # Exact: in floats, 2 / (1 - 0.95) is more than 40.
    least = math.ceil(2 * pairs / (1 - Fraction(str(intervals["level"]))))
    if intervals["draws"] < least:
        yield (
            f"benchmark.intervals.draws holds {intervals['draws']}, too few for intervals at "
            f"{intervals['level']} that hold for {pairs} pairs of models at once; allowed is at "
            f"least {least}"
        )


def _total_contradictions(images: Config) -> Iterator[str]:
    """Yield what is wrong between the total and the bounds of a class."""
    least, most = images["min_per_class"], images["max_per_class"]
    if least > most:
        yield f"images.min_per_class ({least}) is greater than images.max_per_class ({most})"
    classes, total = images["class_count"], images["total"]
    if not classes * least <= total <= classes * most:
        yield (
            f"images.total holds {total}; allowed is {classes * least} to {classes * most}: "
            f"images.class_count ({classes}) times images.min_per_class ({least}) to "
            f"images.max_per_class ({most})"
        )


_GENERATED = ("repository", "family", "output")
"""Keys that a model needs to be asked."""

_IMPORTED = ("name", "responses", "output")
"""Keys that a model may have whose responses are imported."""


def _model_contradictions(models: Config) -> Iterator[str]:
    """Yield what is wrong with models that are neither asked nor imported, or both."""
    for name, model in models.items():
        if "responses" not in model:
            for key in _GENERATED:
                if key not in model:
                    about = _node(["models", name])["properties"][key]["description"]
                    yield (
                        f"key {key!r} is missing in models.{name}: {about} (A model whose "
                        "responses are there already has `responses` instead.)"
                    )
            continue
        if strange := [key for key in model if key not in _IMPORTED]:
            yield (
                f"models.{name} has `responses`, which are imported, and {', '.join(strange)}, "
                "which say how responses are generated: take away the one or the other"
            )
        columns = model["responses"].keys() & {"text", "think", "answer"}
        if columns not in ({"text"}, {"think", "answer"}):
            given = ", ".join(sorted(columns)) or "neither"
            yield f"models.{name}.responses names {given}; needed is text, or think and answer"
        elif ("text" in columns) != ("output" in model):
            yield (
                f"models.{name} lacks output, which says how responses.text is taken apart"
                if "text" in columns
                else f"models.{name}.output is only for responses.text: think and answer are apart"
            )


def _listing_contradictions(config: Config) -> Iterator[str]:
    """Yield what is wrong with a run whose images are listed by files."""
    asked = (*config["teachers"], *config["benchmarked"])
    for model in () if has_pictures(config["images"]["source"]) else asked:
        if "responses" not in config["models"].get(model, {"responses": None}):
            yield (
                f"images.source is of kind {LISTING}, without pictures, so that models.{model} "
                "cannot be asked: it needs `responses`, or, if the files hold the images' bytes, "
                "images.source needs `pictures: true`"
            )
    try:
        paths.parquet_files(config["images"]["source"]["path"])
    except FileNotFoundError as error:
        yield f"images.source.path: {error}"


LISTING = "listing"
"""The kind of source that lists images in parquet files, with or without their bytes."""

_SOURCE_KEYS = {
    "classes": ("drawings",),
    "drawings_per_class": ("drawings",),
    "drawings_step": ("drawings",),
    "archive": ("outer_archive",),
    "labels": ("webdataset", "hub_parquet", LISTING),
    "image": (LISTING,),
    "label": (LISTING,),
    "pictures": (LISTING,),
}
"""Keys of `images.source` that are not for every kind, and the kinds they are for."""

_OPTIONAL = {"labels", "image", "label", "pictures"}
"""Those that may be left out."""


def _source_contradictions(source: Config) -> Iterator[str]:
    """Yield what is wrong between the kind of the source and its other keys."""
    kind = source["kind"]
    needed = {key for key, kinds in _SOURCE_KEYS.items() if kind in kinds} - _OPTIONAL
    if missing := sorted(needed - source.keys()):
        yield f"images.source of kind {kind} needs {', '.join(missing)}"
    for key, kinds in _SOURCE_KEYS.items():
        if key in source and kind not in kinds:
            yield f"images.source.{key} is only for kind {_listed(kinds)}"


def _listed(words: Sequence[str]) -> str:
    """Return `a, b and c`."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def repository_entries(config: Config) -> Iterator[tuple[str, Config]]:
    """Yield every part of the config that names a repository, with its dotted key."""
    for name, model in config["models"].items():
        if "responses" in model:
            continue
        yield f"models.{name}", model
        if "processor" in model:
            yield f"models.{name}.processor", model["processor"]
    yield "statistics.tokenizer", config["statistics"]["tokenizer"]
    yield "benchmark.bertscore", config["benchmark"]["bertscore"]
    yield "benchmark.sbert", config["benchmark"]["sbert"]


def unpinned(config: Config) -> list[str]:
    """Return the dotted keys of hub repositories that have no revision."""
    return [
        key
        for key, entry in repository_entries(config)
        if entry["revision"] is None and repositories.is_hub(entry["repository"])
    ]


def as_markdown() -> str:
    """Return `config/README.md`: every key of the schema with its meaning and what it allows."""
    lines = [
        "# Configuration",
        "",
        schema()["description"],
        "",
        "`config.yaml` is the paper's run, `miniature.yaml` the embedded one. A wrong config is",
        "refused with one message before any job runs. This page is made from `schema.yaml` by",
        "`make config-docs`. [What reads it](#what-reads-it) says what a change runs again.",
        "",
        "| key | what it is | allowed | default |",
        "| --- | --- | --- | --- |",
    ]
    for key, node in keys(schema()):
        default = f"`{json.dumps(node['default'])}`" if "default" in node else ""
        allowed = "" if node.get("type") == "object" else _allowed(node)
        cells = [f"`{key}`", node["description"], allowed, default]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join([*lines, "", *_readers()]) + "\n"


def _readers() -> Iterator[str]:
    """Yield the lines of the table of the config's sections and the rule files that read them."""
    yield from (
        "## What reads it",
        "",
        "Each rule names the keys that it reads, and its jobs run again when one of them changes,",
        "with everything that depends on their files: `grep -rn images.criteria rules` finds the",
        "rules, and `snakemake -n all` lists the jobs. Comments and the order of keys change",
        "nothing. What is in brackets reads keys that change no result, and does not run again.",
        "`record_run`, which writes the whole config down, runs again with every change.",
        "",
        "| section | rule files that read it |",
        "| --- | --- |",
    )
    sections: dict[str, dict[str, bool]] = {}
    for key, node in keys(schema()):
        if not settings.has_keys(node):
            sections.setdefault(_section(key), {})
    for file in sorted(RULES.glob("*.smk")):
        if file.stem == MINIATURES:
            continue
        for key, counts in settings.declared_in(file.read_text(), schema()).items():
            for leaf in settings.leaves(key, schema()):
                own = sections[_section(leaf)]
                own[file.stem] = own.get(file.stem, False) or counts
    for section, files in sections.items():
        named = [name if counts else f"({name})" for name, counts in files.items()]
        yield f"| `{section}` | {', '.join(named) or 'planning alone'} |"


MINIATURES = "miniatures"
"""The rule file that reads `miniature.yaml`, whichever config is loaded."""


def _section(leaf: str) -> str:
    """Return the section that a leaf is counted to, at most two keys deep, or the leaf itself."""
    *above, _ = leaf.split(".")
    return ".".join(above[:2]) or leaf


def keys(node: Config, prefix: str = "") -> Iterator[tuple[str, Config]]:
    """Yield every key of a schema with its node, parents before children."""
    for key, child in node.get("properties", {}).items():
        yield prefix + key, child
        yield from keys(child, f"{prefix}{key}.")
    other = node.get("additionalProperties")
    if isinstance(other, dict):
        yield f"{prefix}<name>", other
        yield from keys(other, f"{prefix}<name>.")


if __name__ == "__main__":
    print(as_markdown(), end="")
