"""Which config keys a rule reads: declared at the rule, and passed to its script as JSON.

A key is dotted (`images.criteria.min_side`). A placeholder stands for some keys of a section:
`models.{teachers}.name` for the names of both teachers, `models.{model}.output` for the output
format of the model in the job's wildcard.
"""

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any

Values = Mapping[str, Any]
"""A config, or a section of it."""

Placeholders = Mapping[str, Sequence[str] | Callable[[Any], Sequence[str]]]
"""The keys that placeholders stand for; a function is called with the job's wildcards."""

Param = Callable[..., Any]
"""A param or input function, as Snakemake calls it."""

_PLACEHOLDER = re.compile(r"\{(\w+)\}")


class UnknownKeyError(ValueError):
    """A rule declares a key that the config's schema does not have."""


class Declarations:
    """Makes the params and input functions by which rules declare the keys that they read.

    A placeholder that is not in `placeholders` is a wildcard of the job. `content_of` returns a
    digest or version of the files of a model repository, None for one on the hub. `outside` gets a
    key and the paths that it stands for, and returns them as an input function may.
    """

    def __init__(
        self,
        config: Values,
        placeholders: Placeholders,
        content_of: Callable[[str], str | None] = lambda repository: None,
        outside: Callable[[str, Any], Any] = lambda key, paths: paths,
    ) -> None:
        self.config, self.placeholders = config, placeholders
        self.content_of, self.outside = content_of, outside

    def reads(self, *keys: str, of: Values | None = None, **placeholders: Any) -> Param:
        """Return a param with the values of some keys, as `select` returns them, in JSON.

        It is a function because Snakemake would look for wildcards in the braces of a string. `of`
        is a config to read instead.
        """
        config = self.config if of is None else of
        known = {**self.placeholders, **placeholders}

        def settings(wildcards: Any) -> str:
            return as_json(**select(keys, config, known, wildcards))

        return _declare(settings, keys, known, holds_keys=True)

    def uses(self, *keys: str) -> Param:
        """Return a param as `reads` does, for keys that change no result: they rerun no job.

        Snakemake does not count functions of `resources` among the reasons to rerun a job.
        """

        def settings(wildcards: Any, resources: Any) -> str:
            return as_json(**select(keys, self.config, self.placeholders, wildcards))

        return _declare(settings, keys, self.placeholders, holds_keys=True, changes_nothing=True)

    def content(self, *keys: str) -> Param:
        """Return a param that changes with the files of the models whose repositories keys name."""

        def contents(wildcards: Any) -> str:
            paths = [path for key in keys for path in expand(key, self.placeholders, wildcards)]
            named = {".".join(path): value(path, self.config) for path in paths}
            return as_json(content={key: self.content_of(own) for key, own in named.items() if own})

        return _declare(contents, keys, self.placeholders)

    def files(self, *keys: str, by: Param | None = None) -> Param:
        """Return an input function for the file that a key names, if any.

        With `by`, it returns what this input function finds; the keys decide which files these are.
        """

        def found(wildcards: Any) -> Any:
            paths = by(wildcards) if by else value(keys[0].split("."), self.config)
            return self.outside(".".join(*expand(keys[0], {}, wildcards)), paths or [])

        return _declare(found, keys, {})


def as_json(**values: object) -> str:
    """Return named values as JSON, in the order of their names."""
    return json.dumps(values, sort_keys=True, ensure_ascii=False)


def derived(**values: Any) -> Param:
    """Return a param with values, or functions of wildcards, that are no config keys, as JSON.

    Snakemake records params without their names, so each value is recorded with its own.
    """

    def named(wildcards: Any) -> str:
        found = {key: each(wildcards) if callable(each) else each for key, each in values.items()}
        return as_json(**found)

    return named


def _declare(
    function: Any, keys: Sequence[str], placeholders: Placeholders, **marks: bool
) -> Param:
    """Attach to a function the keys that it reads: as declared, and for one job."""
    function.config_keys = tuple(keys)
    function.config_paths = lambda wildcards: [
        path for key in keys for path in expand(key, placeholders, wildcards)
    ]
    vars(function).update(marks)
    return function


def select(
    keys: Iterable[str], config: Values, placeholders: Placeholders, wildcards: Any = None
) -> dict[str, Any]:
    """Return some keys of a config in its own nesting; a section with everything in it.

    A key that the config does not have is left out, but not the sections around it.
    """
    found: dict[str, Any] = {}
    for path in (path for key in keys for path in expand(key, placeholders, wildcards)):
        source, target = config, found
        for part in path[:-1]:
            if not isinstance(source.get(part), Mapping):
                break
            source, target = source[part], target.setdefault(part, {})
        else:
            if path[-1] in source:
                target[path[-1]] = source[path[-1]]
    return found


def value(path: Iterable[str], config: Values) -> Any:
    """Return the value at a path of a config, None if it is left out."""
    found: Any = config
    for part in path:
        found = found.get(part) if found else None
    return found


def expand(key: str, placeholders: Placeholders, wildcards: Any = None) -> Iterator[list[str]]:
    """Yield the paths in a config that a key, with or without placeholders, stands for."""

    def names(part: str) -> Sequence[str]:
        if not (placeholder := _PLACEHOLDER.fullmatch(part)):
            return [part]
        name = placeholder[1]
        keys = placeholders[name] if name in placeholders else [getattr(wildcards, name)]
        return keys(wildcards) if callable(keys) else keys

    yield from map(list, product(*map(names, key.split("."))))


# What is declared ---------------------------------------------------------------------------------


def declaring(rule: Any) -> list[Any]:
    """Return the functions by which a Snakemake rule declares what it reads.

    Each has `config_keys`, and `config_paths`, which returns the keys' paths for a job's wildcards.
    `changes_nothing` marks those of `uses`, and `holds_keys` params that hold the keys' values.
    """
    # Snakemake wraps those of inputs.
    functions = [getattr(item, "callable", None) or item for item in (*rule.params, *rule.input)]
    return [function for function in functions if hasattr(function, "config_keys")]


_DECLARATION = re.compile(r"\b(reads|uses|files|content)\(((?:[^()]|\([^()]*\))*)\)")
_TEXT = re.compile(r'"([^"\n]*)"')


def declared_in(rules: str, schema_leaves: Sequence[str]) -> dict[str, bool]:
    """Return the keys that the text of a rule file declares, and whether a change reruns jobs."""
    found: dict[str, bool] = {}
    for function, arguments in _DECLARATION.findall(rules):
        for key in _TEXT.findall(arguments):
            if leaves(key, schema_leaves):  # or it is another string
                found[key] = found.get(key, False) or function != "uses"
    return found


def check(rule: Any, schema_leaves: Sequence[str]) -> None:
    """Raise `UnknownKeyError` if a Snakemake rule declares a key that the schema does not have."""
    for key in (key for function in declaring(rule) for key in function.config_keys):
        if not leaves(key, schema_leaves):
            raise UnknownKeyError(
                f"Rule {rule.name} reads {key}, which config/schema.yaml does not have."
            )


ANY = "<name>"
"""How the schema's keys name a key that the user chooses."""


def leaves(
    key: str, schema_leaves: Sequence[str], known: Mapping[str, Collection[str]] | None = None
) -> list[str]:
    """Return those of the schema's leaves (from `all_leaves`) that a key stands for.

    `models.{teachers}.image` stands for `models.<name>.image.min_pixels` and so on. Where the
    schema names the keys of a section, a placeholder stands for those that have the rest of the
    key; `known` restricts some placeholders further.
    """

    def pattern(part: str) -> str:
        if not (placeholder := _PLACEHOLDER.fullmatch(part)):
            return f"(?:{re.escape(part)}|{ANY})"
        names = (known or {}).get(placeholder[1])
        return r"[^.]+" if names is None else f"(?:{'|'.join(map(re.escape, names))})"

    whole = re.compile(r"\.".join(map(pattern, key.split("."))) + r"(?:\.|$)")
    return [leaf for leaf in schema_leaves if whole.match(leaf)]


def all_leaves(schema: Values) -> list[str]:
    """Return the keys of a schema, definitions inlined, that are not sections."""
    return [key for key, node in schema_keys(schema) if not _children(node)]


def schema_keys(node: Values, prefix: str = "") -> Iterator[tuple[str, Values]]:
    """Yield every key of a schema with its node, parents before children."""
    for key, child in _children(node).items():
        yield prefix + key, child
        yield from schema_keys(child, f"{prefix}{key}.")


def _children(node: Values) -> dict[str, Values]:
    other = node.get("additionalProperties")
    named = {ANY: other} if isinstance(other, Mapping) else {}
    return {**node.get("properties", {}), **named}


# What scripts read --------------------------------------------------------------------------------


def in_order(settings: Values) -> list[str]:
    """Return the keys of `models` in a script's settings: `teachers`, then `benchmarked`."""
    order = [*settings.get("teachers", ()), *settings.get("benchmarked", ())]
    return [key for key in order if key in settings.get("models", {})]


def names(settings: Values) -> dict[str, str]:
    """Return the printed names of these models by key, in the same order."""
    return {key: settings["models"][key]["name"] for key in in_order(settings)}


def prompt(settings: Values) -> str:
    """Return the text of the run's prompt, where `prompt` and `prompts.{prompt}` are declared."""
    return settings["prompts"][settings["prompt"]]


def question(settings: Values) -> str:
    """Return the teachers' prompt; if both were imported, that it is not known.

    The teachers' repositories are declared too.
    """
    prompted = any("repository" in settings["models"][key] for key in settings["teachers"])
    return prompt(settings) if prompted else "(not known: the responses were imported)"
