"""The config: validated against its schema before anything runs, and documented from it.

python -m imagenet_think.run.configuration FILE    checks a config
python -m imagenet_think.run.configuration         prints config/README.md
"""

import difflib
import json
import math
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from functools import cache, partial
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from imagenet_think.analysis.populations import DRAWN, FIXED
from imagenet_think.core import (
    json_schema,
    model_sources,
    paths,
    plugins,
    printing,
    settings,
    shards,
    user_tables,
)
from imagenet_think.core.wording import series
from imagenet_think.images import class_table, sources
from imagenet_think.inference import engines
from imagenet_think.inference.engines import addresses
from imagenet_think.report import products
from imagenet_think.run import file_checks
from imagenet_think.run.config_file import ConfigError, read

Config = dict[str, Any]
Place = tuple[str | int, ...]
SCHEMA = Path(__file__).parents[3] / "config" / "schema.yaml"
RULES = Path(__file__).parents[3] / "rules"
_MOST_SHOWN = 200  # characters of a value in a message
_KINDS = {
    "regex": "a Python regular expression",
    "date": "a date",
    "folder": "a folder",
    "function": "a file, if one is named, that defines the function",
    **dict.fromkeys(("text", "classes"), "a file"),
    **dict.fromkeys(("table", "json", "dataset"), "at least one file"),
}
"""Formats and paths in words, for messages and the documentation."""


@cache
def schema() -> Config:
    """Return the schema with its shared definitions inlined.

    A node with `plugin: inference.families` allows the names of the modules in that sub-package;
    one with `sampled: false`, the kinds of image sources from which no sample is drawn.
    """
    document = yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))
    definitions = document.pop("$defs")

    def inline(node: Any) -> Any:
        if isinstance(node, list):
            return [inline(item) for item in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            return deepcopy(definitions[node["$ref"].removeprefix("#/$defs/")])
        inlined = {key: inline(value) for key, value in node.items()}
        if isinstance(package := node.get("plugin"), str):
            inlined["enum"] = list(plugins.names(package))
        if isinstance(sampled := node.get("sampled"), bool):
            kinds = sources.kinds()
            inlined["enum"] = [kind for kind in kinds if sources.get(kind).sampled == sampled]
        return inlined

    return inline(document)


def check(config: Config, origin: str = "config") -> Config:
    """Validate a config, from the file `origin`, and return a copy with all defaults.

    Raises
    ------
    ConfigError
        With everything that is wrong: unknown and missing keys, values that are not allowed, files
        that are missing or unusable, and keys that contradict each other. Keys that are wrong by
        themselves are not compared with others.
    """
    config = deepcopy(config)
    _drop_retired(config)
    errors = list(_schema_errors(config))
    problems = [problem for _, problem in errors if problem]
    wrong = [place for place, _ in errors]

    def right(*sections: str) -> bool:
        """Return whether sections are valid; with everything in them if `.**` follows."""
        return not any(_affects(place, section) for place in wrong for section in sections)

    missing = list(_file_problems(config, right))
    references = config.get("references")
    if right("references.**", "teachers.**", "models.**"):
        problems += _import_references(config)
    if right("models.**"):
        # Before defaults are filled in, which would hide what each model has itself.
        problems += [each for item in config["models"].items() for each in _kind_of_model(*item)]
    _fill(config, schema())
    if right("models.**"):
        for name, model in config["models"].items():
            if "responses" in model:
                config["models"][name] = {key: model[key] for key in _IMPORTED if key in model}
    for contradictions, sections in _CHECKS:
        if right(*sections):
            problems += contradictions(config)
    if not problems:
        # Both teachers may lack the same column of the references.
        missing += dict.fromkeys(_table_problems(config, references))
    if missing and not problems:  # everything that a run lacks is reported at once
        source = config["images"]["source"]
        missing += unpinned_problems(unpinned(config))
        missing += sources.get(source["kind"]).problems(source, class_ids(config))
    if problems := [*problems, *missing]:
        raise ConfigError(origin, problems)
    intervals = config["benchmark"]["intervals"]
    intervals["population"] = intervals["population"] or _population(config)
    return config


RETIRED = ("benchmark.intervals.draws",)
"""Keys of earlier versions that nothing reads any more; they are ignored."""


def _drop_retired(config: Config) -> None:
    """Remove keys of earlier versions from a config that may be invalid, in place."""
    for key in RETIRED:
        *sections, name = key.split(".")
        section: Any = config
        for each in sections:
            section = section.get(each) if isinstance(section, dict) else None
        if isinstance(section, dict):
            section.pop(name, None)


def _population(config: Config) -> str:
    """Return the population of intervals that fits the source."""
    images = config["images"]
    sampled = sources.get(images["source"]["kind"]).sampled
    return DRAWN if sampled and images["class_count"] < len(class_ids(config)) else FIXED


def _affects(place: Place, section: str) -> bool:
    """Return whether an error at a place makes a section unusable."""
    path = tuple(section.removesuffix(".**").split("."))
    inside = section.endswith(".**") and place[: len(path)] == path
    return inside or path[: len(place)] == place


def _import_references(config: Config) -> Iterator[str]:
    """Make the teachers imported models if references are named, in place; yield what is wrong.

    Their other keys, which say how they would be prompted, are dropped.
    """
    if "references" not in config:
        return
    path = config.pop("references")["published"]
    for place, key in enumerate(config["teachers"], start=1):
        if key not in config["models"]:
            continue
        if "responses" in config["models"][key]:
            yield (
                f"references.published gives the teachers' responses, and so does "
                f"models.{key}.responses: remove one of them"
            )
        columns = {"think": f"think_{place}", "answer": f"answer_{place}"}
        name = config["models"][key]["name"]
        config["models"][key] = {"name": name, "responses": {"path": path} | columns}


def _fill(value: Any, node: Config) -> None:
    """Fill the schema's defaults into `value`, in place.

    A key that is true may do without those of its neighbours: they name it as `x-unless`.
    """
    if isinstance(value, dict):
        for key, child in node.get("properties", {}).items():
            if "default" in child and not value.get(child.get("x-unless")):
                value.setdefault(key, deepcopy(child["default"]))
    for _, child, below in _children(value, node):
        _fill(child, below)


def _children(value: Any, node: Config) -> Iterator[tuple[str, Any, Config]]:
    """Yield the keys in a section that the schema has, with their values and nodes."""
    if isinstance(value, dict):
        other = node.get("additionalProperties")
        for key, child in value.items():
            below = node.get("properties", {}).get(key, other)
            if isinstance(below, dict):
                yield key, child, below


_FORMATS = jsonschema.FormatChecker(formats=["date"])


@_FORMATS.checks("regex", raises=(re.error, OverflowError, RecursionError))
def _is_regex(value: object) -> bool:
    if isinstance(value, str) and re.compile(value).groups > 1:  # as scikit-learn has it
        raise re.error("more than one group; write (?:…) for a group that does not capture")
    return True


def _schema_errors(config: Config) -> Iterator[tuple[Place, str | None]]:
    """Yield the places that violate the schema, with what is wrong there.

    A missing key is not reported if an unknown key is likely to be a misspelling of it.
    """
    seen: set[Place] = set()
    found = json_schema.Validator(schema(), format_checker=_FORMATS).iter_errors(config)
    order = {"additionalProperties": 0, "required": 1}
    for error in sorted(found, key=lambda error: (order.get(error.validator, 2), error.json_path)):
        place = tuple(error.absolute_path)
        key = ".".join(map(str, place))
        inside = f" in {key}" if key else ""
        if error.validator == "additionalProperties":
            known = list(error.schema["properties"])
            for unknown in error.instance.keys() - set(known):
                near = difflib.get_close_matches(unknown, known, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else "."
                yield (
                    (*place, unknown),
                    f"unknown key {unknown!r}{inside}{hint} Known keys: {', '.join(known)}",
                )
                if near and near[0] not in error.instance:
                    seen.add((*place, near[0]))
                    yield (*place, near[0]), None
        elif error.validator == "required":
            for missing in error.validator_value:
                if missing not in error.instance and (*place, missing) not in seen:
                    seen.add((*place, missing))
                    about = _node([*place, missing])["description"]
                    yield (*place, missing), f"key {missing!r} is missing{inside}: {about}"
        elif "propertyNames" in error.absolute_schema_path:
            name = _shown(error.instance)
            yield place, f"{name} cannot be a key of {key}: {_allowed(error.schema)}"
        else:
            cause = f" ({error.cause})" if error.cause else ""
            held = _shown(error.instance)
            yield place, f"{key} is {held}; allowed is {_allowed(error.schema)}{cause}"


def _shown(value: Any) -> str:
    """Return a value as it is written in a config, shortened."""
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)  # YAML knows dates, JSON does not
    except ValueError:
        return "a section that contains itself"
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"


def _node(path: Iterable[str | int]) -> Config:
    """Return the schema's node for a place in a config."""
    node = schema()
    for key in path:
        if isinstance(key, int):
            node = node["items"]
        else:
            node = node.get("properties", {}).get(key) or node["additionalProperties"]
    return node


def _allowed(node: Mapping[str, Any]) -> str:
    """Return what a schema node allows, in words."""
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
        "maxLength": "at most {} characters",
        "pattern": "matching {}",
    }
    words = [phrase.format(node[name]) for name, phrase in bounds.items() if name in node]
    if node.get("uniqueItems"):
        words.append("no entry twice")
    words += [_KINDS[node[name]] for name in ("format", "x-path") if node.get(name) in _KINDS]
    return ", ".join([text, *words])


_Contradictions = Callable[[Config], Iterable[str]]

_CHECKS: list[tuple[_Contradictions, Sequence[str]]] = []
"""Checks of keys against each other, and the sections that must be valid for each.

`.**` means all keys of a section; without it, an invalid key inside does not matter.
"""


def _needs(*sections: str) -> Callable[[_Contradictions], _Contradictions]:
    """Register a check of valid sections; it yields what is wrong between their keys."""

    def register(check: _Contradictions) -> _Contradictions:
        _CHECKS.append((check, sections))
        return check

    return register


@_needs("images.source.**")
def _source_contradictions(config: Config) -> Iterator[str]:
    given = config["images"]["source"]
    source = sources.get(given["kind"])
    if missing := sorted(set(source.required_keys) - given.keys()):
        yield f"images.source of kind {given['kind']} needs {', '.join(missing)}"
    for key in sorted(given.keys() - {"kind", "path", *_keys_of(source)}):
        kinds = [kind for kind in sources.kinds() if key in _keys_of(sources.get(kind))]
        yield f"images.source.{key} is only for kind {series(kinds)}"


def _keys_of(source: sources.Source) -> list[str]:
    return [*source.required_keys, *source.optional_keys]


@_needs("images.source.**", "teachers.**", "benchmarked.**", "models.**")
def _listing_contradictions(config: Config) -> Iterator[str]:
    source, known = config["images"]["source"], config["models"]
    models = [
        f"models.{key}"
        for key in (*config["teachers"], *config["benchmarked"])
        if key in known and "responses" not in known[key]
    ]
    if models and not sources.get(source["kind"]).has_pictures(source):
        yield (
            f"images.source is of kind {source['kind']}, without pictures, so that "
            f"{series(models)} cannot be prompted: "
            f"{'they need' if models[1:] else 'it needs'} `responses`, or, if the files hold the "
            "images' bytes, images.source needs `pictures: true`"
        )


@_needs(
    *("images.source.kind", "images.total", "images.class_count"),
    *("images.min_per_class", "images.max_per_class"),
)
def _total_contradictions(config: Config) -> Iterator[str]:
    images = config["images"]
    if not sources.get(images["source"]["kind"]).sampled:
        return  # needs none of them
    least, most = images["min_per_class"], images["max_per_class"]
    if least > most:
        yield f"images.min_per_class ({least}) is greater than images.max_per_class ({most})"
    classes, total = images["class_count"], images["total"]
    if not classes * least <= total <= classes * most:
        yield (
            f"images.total is {total}; allowed is {classes * least} to {classes * most}: "
            f"images.class_count ({classes}) times images.min_per_class ({least}) to "
            f"images.max_per_class ({most})"
        )


@_needs("prompt", "prompts")
def _prompt_contradictions(config: Config) -> Iterator[str]:
    yield from _not_among(config["prompts"], "prompt is", config["prompt"])


@_needs("teachers.**", "benchmarked.**", "models")
def _role_contradictions(config: Config) -> Iterator[str]:
    for key in ("teachers", "benchmarked"):
        yield from _not_among(config["models"], f"{key} has", *config[key])
    for model in sorted(set(config["teachers"]) & set(config["benchmarked"])):
        yield f"benchmarked has {_shown(model)}, a teacher: it would be scored against itself"


@_needs("benchmark.ablation_model", "benchmarked.**")
def _ablation_contradictions(config: Config) -> Iterator[str]:
    model = config["benchmark"]["ablation_model"]
    yield from _not_among(config["benchmarked"], "benchmark.ablation_model is", model)


def _not_among(choices: Iterable[str], subject: str, *chosen: str) -> Iterator[str]:
    """Yield which values are not among the choices that the config defines elsewhere."""
    for value in chosen:
        if value not in choices:
            yield f"{subject} {_shown(value)}; allowed is one of {', '.join(choices)}"


@_needs(
    *("models.**", "statistics.tokenizer.**"),
    *(f"benchmark.{metric}.**" for metric in plugins.names("metrics.definitions")),
)
def _revision_contradictions(config: Config) -> Iterator[str]:
    for key, entry in repository_entries(config):
        if entry["revision"] is not None and not model_sources.is_hub(entry["repository"]):
            yield f"{key}.revision is only for the hub: {entry['repository']} is on this machine"


@_needs("engines.**")
def _server_contradictions(config: Config) -> Iterator[str]:
    server = config["engines"].get("server")
    if server and (problem := addresses.problem(server["url"])):
        yield f"engines.server.url {problem}"


@_needs("inference.**", "engines.**", "models.**", "teachers.**", "benchmarked.**")
def _engine_contradictions(config: Config) -> Iterator[str]:
    inference, known = config["inference"], config["models"]
    chosen = {
        key: engines.chosen(known[key], inference)
        for key in (*config["teachers"], *config["benchmarked"])
        if key in known and "responses" not in known[key]
    }
    served = [key for key, engine in chosen.items() if engine == "server"]
    if served and "server" not in config["engines"]:
        yield f"engines.server.url is missing, where {series(served)} would be served"
    for name, used_by in engines.DECIDED_HERE.items():
        if inference[name] != "auto" and chosen and used_by.isdisjoint(chosen.values()):
            yield (
                f"inference.{name} is {inference[name]}, but every model has an engine "
                f"({series(sorted(set(chosen.values())))}) that is told so elsewhere: say auto "
                "(vLLM: --attention-backend=… in engines.vllm.arguments; server: where it was "
                "started)"
            )


_GENERATED = ("repository", "family", "output")
"""Keys that a model needs to be prompted."""

_IMPORTED = ("name", "responses", "output")
"""Keys that a model with imported responses may have."""


def _kind_of_model(name: str, model: Config) -> Iterator[str]:
    """Yield what is wrong with a model that can be neither prompted nor imported, or both."""
    if "responses" not in model:
        for key in _GENERATED:
            if key not in model:
                about = _node(["models", name, key])["description"]
                yield (
                    f"key {key!r} is missing in models.{name}: {about} (A model with existing "
                    "responses has `responses` instead.)"
                )
        return
    if others := [key for key in model if key not in _IMPORTED]:
        yield (
            f"models.{name} has `responses`, which are imported, and {', '.join(others)}, "
            "which say how responses are generated: remove one or the other"
        )
    columns = model["responses"].keys() & {"text", "think", "answer"}
    if columns not in ({"text"}, {"think", "answer"}, {"answer"}):
        given = ", ".join(sorted(columns)) or "neither"
        yield (
            f"models.{name}.responses has {given}; needed is text, or think and answer, or only "
            "answer if there is no thinking"
        )
    elif "text" in columns and "output" not in model:
        yield f"models.{name} lacks output, which says how responses.text is parsed"
    elif "text" not in columns and "output" in model:
        yield f"models.{name}.output is only for responses.text: the parts are separate"


def repository_entries(config: Config) -> Iterator[tuple[str, Config]]:
    """Yield the sections that name a repository, with their dotted keys."""
    for name, model in config["models"].items():
        if "responses" in model:
            continue
        yield f"models.{name}", model
        if "processor" in model:
            yield f"models.{name}.processor", model["processor"]
    yield "statistics.tokenizer", config["statistics"]["tokenizer"]
    for metric in plugins.names("metrics.definitions"):
        if "repository" in config["benchmark"][metric]:
            yield f"benchmark.{metric}", config["benchmark"][metric]


def unpinned(config: Config) -> list[str]:
    """Return the dotted keys of hub repositories that have no revision."""
    return [
        key
        for key, entry in repository_entries(config)
        if entry["revision"] is None and model_sources.is_hub(entry["repository"])
    ]


def unpinned_problems(keys: Sequence[str]) -> list[str]:
    """Return that hub repositories have no revision, and how they get one."""
    if not keys:
        return []
    return [
        f"no revision for {', '.join(keys)}: run `snakemake --cores 1 pin` once (with the same "
        "--configfile) on a machine that reaches the hub; it looks up the current commits and "
        "writes them into the config"
    ]


def class_ids(config: Config) -> list[str]:
    """Return the classes that may be sampled, in the order of their list."""
    images = config["images"]
    return images["source"].get("classes") or class_table.class_ids(images["classes"])


def files_of(section: str, config: Config) -> list[str]:
    """Return the files that a section of the config names."""
    place = section.split(".")
    named = _named_paths(settings.value(place, config), _node(place))
    # The function of a file is named `path/to/file.py:function`, that of a module is in no file.
    files = [path.rpartition(":")[0] if kind == "function" else path for _, kind, path in named]
    return [file for file in files if Path(file).suffix]


_PATHS: Mapping[str, Callable[[str], object]] = {
    "text": paths.read_text,
    "classes": class_table.class_ids,
    "folder": file_checks.folder,
    "output": file_checks.output,
    "function": file_checks.function,
    "repository": model_sources.files,
    "table": lambda path: paths.table_files(path),
    "json": lambda path: paths.json_files(path),
    **{f"dataset.{name}": partial(paths.dataset_files, name) for name in paths.OF_A_DATASET},
}
"""Checks of paths, by the schema's `x-path`."""


def _file_problems(config: Config, right: Callable[..., bool]) -> Iterator[str]:
    """Yield what is wrong with the files that the config names; `right` as in `check`."""
    replaced = config["teachers"] if "references" in config and right("teachers.**") else ()
    for place, kind, path in _named_paths(config, schema()):
        if place[0] == "models" and place[1] in replaced:
            continue
        check: str | None = kind
        if kind == "images":  # of other kinds: checked when a job needs them
            known = right("images.source", "images.source.kind")
            check = sources.get(config["images"]["source"]["kind"]).path_check if known else None
        elif kind in ("archive", "executable"):  # not needed once their jobs have run
            check = None
        elif kind == "dataset":
            check = f"dataset.{place[-1]}"
        try:
            if check:
                _PATHS[check](path)
        except (OSError, ValueError, ModuleNotFoundError) as error:
            problem = str(error).removeprefix(f"{path}: ")
            yield f"{'.'.join(place)}: {_shown(path)}: {problem}"


def _named_paths(
    value: Any, node: Config, place: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], str, str]]:
    """Yield every path in a config with its place and its `x-path` in the schema."""
    if "x-path" in node and isinstance(value, str):
        yield place, node["x-path"], value
    for key, child, below in _children(value, node):
        yield from _named_paths(child, below, (*place, key))


def _table_problems(config: Config, references: object) -> Iterator[str]:
    """Yield what is wrong with the tables that the config names; set `sharding` if it is missing.

    These are the images of a listing, responses, and `references`, which are already imported.
    """
    source, listed = config["images"]["source"], list[str]()
    if not sources.get(source["kind"]).sampled:
        kind = user_tables.IMAGES if source.get("pictures") else user_tables.NAMES
        columns = {"image": (source.get("image", "image"), kind)}
        if "label" in source:
            columns["label"] = (source["label"], user_tables.LABELS)
        listed = list(_column_problems("images.source", source["path"], columns))
        yield from listed
    for name, model in config["models"].items():
        if "responses" not in model:
            continue
        given = model["responses"]
        columns = {
            key: (given[key], user_tables.NAMES if key == "image" else user_tables.TEXT)
            for key in ("image", "text", "think", "answer")
            if key in given
        }
        published = references and name in config["teachers"]
        key = "references.published" if published else f"models.{name}.responses"
        yield from _column_problems(key, given["path"], columns)
    if "sharding" not in config and not listed:
        try:
            config["sharding"] = shards.for_images(_image_count(config["images"]))
        except OSError:
            return  # it has been reported that there is no file
        except ValueError as error:
            yield f"images.source.path: {error}"


def _column_problems(
    section: str, path: str, columns: Mapping[str, tuple[str, str]]
) -> Iterator[str]:
    """Yield what is wrong with the first file that lacks each column, given by its config key."""
    try:
        files = _tables(path)
    except OSError:
        return  # it has been reported that there is none
    for key, (column, kind) in columns.items():
        try:
            for file in files:
                user_tables.check(file, {column: kind})
        except (OSError, ValueError) as error:
            named = section if section.endswith(".published") else f"{section}.{key}"
            yield f"{named}: {error}"


def _image_count(images: Config) -> int:
    """Return the number of images in the sample, or at most in the listing."""
    if sources.get(images["source"]["kind"]).sampled:
        return int(images["total"])
    return sum(map(user_tables.count, _tables(images["source"]["path"])))


def _tables(path: str) -> list[str]:
    """Return the tables that a path stands for, except those that the rules refuse by name."""
    return list(filter(printing.is_text, paths.table_files(path)))


def as_markdown() -> str:
    """Return `config/README.md`: every key of the schema with its description."""
    keys = []
    for key, node in settings.schema_keys(schema()):
        default = f"`{json.dumps(node['default'])}`" if "default" in node else ""
        allowed = "" if node.get("type") == "object" else _allowed(node)
        cells = [f"`{key}`", _described(node), allowed, default]
        keys.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    about = schema()["description"]
    return _PAGE.format(about=about, keys="\n".join(keys), readers="\n".join(_readers()))


_PAGE = """\
# Configuration

{about}

`config.yaml` is the paper's run, `miniature.yaml` the embedded one. Everything that is
wrong with a config or missing for the planned jobs (images, revisions of models) is
reported in one message before the first job. This page is generated from `schema.yaml`
by `make config-docs`. [What reads it](#what-reads-it) says what a change reruns.

Snakemake reads the file of `--configfile` before this workflow starts. If the file is
missing, empty, not valid YAML or not UTF-8, or has an alias inside what it stands for,
Snakemake stops without naming the line.
This command names it, and validates the whole config without planning a run:

```bash
PYTHONPATH=scripts python -m imagenet_think.run.configuration my.yaml
```

| key | what it is | allowed | default |
| --- | --- | --- | --- |
{keys}

## What reads it

Each rule names the keys that it reads, and its jobs rerun when one of them changes, with
everything that depends on their files: `grep -rn images.criteria rules` finds the rules
(for tables and figures, search `scripts/imagenet_think/report/products.py`), and
`snakemake -n all` lists the jobs. Comments and the order of keys do not matter.
Rule files in parentheses only read keys that change no result, and do not rerun.
`record_run`, which records the whole config, reruns after every change.

| section | rule files that read it |
| --- | --- |
{readers}
"""


def _described(node: Mapping[str, Any]) -> str:
    """Return the description of a key; for a choice of plugins, with a summary of each."""
    words = [node["description"]]
    if package := node.get("plugin"):
        words += [f"`{name}`: {plugins.summary(package, name)}" for name in node["enum"]]
    return " ".join(words)


def _readers() -> Iterator[str]:
    """Yield rows of a table of the config's sections and the rule files that read them."""
    metrics = plugins.names("metrics.definitions")
    leaves = settings.all_leaves(schema())
    sections: dict[str, dict[str, bool]] = {_section(leaf): {} for leaf in leaves}
    for file in sorted(RULES.glob("[!.]*.smk")):
        if file.stem == MINIATURE:
            continue
        for key, counts in declared_in(file).items():
            for leaf in settings.leaves(key, leaves, {"metric": metrics, "metrics": metrics}):
                own = sections[_section(leaf)]
                own[file.stem] = own.get(file.stem, False) or counts
    for section, files in sections.items():
        named = [name if counts else f"({name})" for name, counts in files.items()]
        yield f"| `{section}` | {', '.join(named) or 'planning only'} |"


def declared_in(file: Path) -> dict[str, bool]:
    """Return the keys that a stage's rules declare, and whether a change of each reruns jobs."""
    leaves = settings.all_leaves(schema())
    found = settings.declared_in(file.read_text(encoding="utf-8"), leaves)
    return found | dict.fromkeys(products.keys(file.stem), True)


MINIATURE = "miniature"
"""The rule file that reads `miniature.yaml`, whichever config is loaded."""


def _section(leaf: str) -> str:
    """Return the section of a leaf, at most two keys deep, or the leaf itself."""
    *above, _ = leaf.split(".")
    return ".".join(above[:2]) or leaf


def _main(files: Sequence[str]) -> None:
    """Validate configs, or print `config/README.md` without any."""
    if not files:
        print(as_markdown(), end="")
    refused = []
    for file in files:
        try:
            check(read(file), file)
        except ConfigError as error:
            refused.append(str(error))
    if refused:
        sys.exit("\n".join(refused))


if __name__ == "__main__":
    _main(sys.argv[1:])
