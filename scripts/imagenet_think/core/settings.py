"""Which keys of the config a rule reads: declared at the rule, and handed to its script as JSON.

A key is dotted (`images.criteria.min_side`). A name in braces stands for some keys of a section:
`models.{teachers}.name` for the names of both teachers, `models.{model}.output` for the output
format of the model that the job's wildcard names.
"""

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

Values = Mapping[str, Any]
"""A config, or a section of it."""

Sets = Mapping[str, Sequence[str] | Callable[[Any], Sequence[str]]]
"""What the names in braces stand for; a function is given the job's wildcards."""

_PLACEHOLDER = re.compile(r"\{(\w+)\}")


class UnknownKeyError(ValueError):
    """A rule declares a key that the schema of the config does not know."""


def as_json(**values: object) -> str:
    """Return values with their names as JSON, the same for any order of keys."""
    return json.dumps(values, sort_keys=True, ensure_ascii=False)


def reads(keys: Sequence[str], config: Values, sets: Sets) -> Callable[[Any], str]:
    """Return a param that holds some keys of the config, as a function of a job's wildcards.

    Parameters
    ----------
    keys
        The keys. A section stands for all that it holds.
    config
        The config.
    sets
        What the names in braces stand for. Any other name is a wildcard of the job.

    Returns
    -------
    callable
        A function that returns JSON with sorted keys, in the config's own nesting. A key that the
        config does not hold is left out, but not the sections around it. (It is a function because
        Snakemake would look for wildcards in the braces of a text.)
    """

    def settings(wildcards: Any) -> str:
        return as_json(**select(keys, config, sets, wildcards))

    settings.holds_keys = True
    return _declare(settings, keys, sets)


def uses(keys: Sequence[str], config: Values, sets: Sets) -> Callable[[Any, Any], str]:
    """Return a param as `reads` does, for keys that change no result: a job does not run again.

    Snakemake does not count functions of `resources` among the reasons to run a job again.
    """

    def settings(wildcards: Any, resources: Any) -> str:
        return as_json(**select(keys, config, sets, wildcards))

    settings.holds_keys = settings.changes_nothing = True
    return _declare(settings, keys, sets)


def derived(values: Values) -> Callable[[Any], str]:
    """Return a param that is no key of the config, as a function of a job's wildcards.

    Snakemake keeps params without their names, so each value is recorded with its own.

    Parameters
    ----------
    values
        Values by their names; a function is given the job's wildcards.
    """

    def named(wildcards: Any) -> str:
        found = {
            name: value(wildcards) if callable(value) else value for name, value in values.items()
        }
        return as_json(**found)

    return named


def content(
    keys: Sequence[str], config: Values, sets: Sets, of: Callable[[str], str | None]
) -> Callable[[Any], str]:
    """Return a param that stands for the files of models, as a function of a job's wildcards.

    Parameters
    ----------
    keys
        Keys whose values are repositories. One that the config does not hold is left out.
    config, sets
        As for `reads`.
    of
        Returns what stands for the files of a repository.
    """

    def contents(wildcards: Any) -> str:
        named = {".".join(path): value(path, config) for path in contents.config_paths(wildcards)}
        return as_json(content={key: of(own) for key, own in named.items() if own is not None})

    return _declare(contents, keys, sets)


def named_by(keys: Sequence[str], find: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return an input function that declares which keys of the config decide what it finds."""

    def files(wildcards: Any) -> Any:
        return find(wildcards)

    return _declare(files, keys, {})


def _declare(function: Callable, keys: Sequence[str], sets: Sets) -> Callable:
    """Write on a function which keys it reads: as they were declared, and of one job."""
    function.config_keys = tuple(keys)
    function.config_paths = lambda wildcards: [
        path for key in keys for path in expand(key, sets, wildcards)
    ]
    return function


def select(
    keys: Iterable[str], config: Values, sets: Sets, wildcards: Any = None
) -> dict[str, Any]:
    """Return some keys of a config in its own nesting; what it does not hold is left out."""
    found: dict[str, Any] = {}
    for key in keys:
        for path in expand(key, sets, wildcards):
            _copy(path, config, found)
    return found


def value(path: Iterable[str], config: Values) -> Any:
    """Return what stands at a path of a config, None where it is left out."""
    found: Any = config
    for part in path:
        found = found.get(part) if found else None
    return found


def expand(key: str, sets: Sets, wildcards: Any = None) -> Iterator[list[str]]:
    """Yield the paths in a config that a key stands for.

    Parameters
    ----------
    key
        A key, perhaps with names in braces.
    sets, wildcards
        What these stand for; names that are not in `sets` are wildcards.
    """
    paths: list[list[str]] = [[]]
    for part in key.split("."):
        paths = [[*path, own] for path in paths for own in _meant(part, sets, wildcards)]
    yield from paths


def _meant(part: str, sets: Sets, wildcards: Any) -> Sequence[str]:
    if not (placeholder := _PLACEHOLDER.fullmatch(part)):
        return [part]
    name = placeholder[1]
    if name not in sets:
        return [getattr(wildcards, name)]
    meant = sets[name]
    return meant(wildcards) if callable(meant) else meant


def _copy(path: Sequence[str], source: Any, target: dict[str, Any]) -> None:
    """Put what stands at a path of one config at the same path of another, if it is there."""
    *above, last = path
    for part in above:
        if not isinstance(source.get(part), Mapping):
            return
        source, target = source[part], target.setdefault(part, {})
    if last in source:
        target[last] = source[last]


# What is declared ---------------------------------------------------------------------------------


def declaring(rule: Any) -> list[Callable]:
    """Return the functions by which a rule of Snakemake declares what it reads.

    Each has `config_keys`, the keys, and `config_paths`, a function of a job's wildcards that
    returns their paths in the config; `changes_nothing` marks those of `uses`, and `holds_keys`
    params that hold the keys' values.
    """
    # Snakemake wraps those of inputs.
    functions = [getattr(item, "callable", None) or item for item in (*rule.params, *rule.input)]
    return [function for function in functions if hasattr(function, "config_keys")]


_DECLARATION = re.compile(r"\b(reads|uses|files|content)\(")
_TEXT = re.compile(r'"([^"\n]*)"')


def declared_in(rules: str, schema: Values) -> dict[str, bool]:
    """Return the keys that a rule file declares, and whether a change of each runs jobs again.

    Parameters
    ----------
    rules
        The file's text.
    schema
        The schema of the config, definitions inlined. Texts that it does not know are no keys.
    """
    found: dict[str, bool] = {}
    for start in _DECLARATION.finditer(rules):
        for key in _TEXT.findall(rules[start.end() : _closing(rules, start.end())]):
            if leaves(key, schema):
                found[key] = found.get(key, False) or start[1] != "uses"
    return found


def _closing(text: str, start: int) -> int:
    """Return where the parenthesis closes that is open at a place."""
    depth = 1
    for place in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[place], 0)
        if depth == 0:
            return place
    raise ValueError(f"a parenthesis is never closed: {text[start : start + 80]}")


def check(rule: Any, schema: Values) -> None:
    """Make sure that the schema of the config knows every key that a rule declares.

    Parameters
    ----------
    rule
        A rule of Snakemake.
    schema
        The schema, definitions inlined.

    Raises
    ------
    UnknownKeyError
        If it does not; the message names the rule and the key.
    """
    for key in (key for function in declaring(rule) for key in function.config_keys):
        if not leaves(key, schema):
            raise UnknownKeyError(
                f"Rule {rule.name} reads {key}, which config/schema.yaml does not know."
            )


def leaves(
    key: str, schema: Values, known: Mapping[str, Collection[str]] | None = None
) -> list[str]:
    """Return the leaves that a key stands for, named as `configuration.keys` names them.

    `models.{teachers}.image` stands for `models.<name>.image.min_pixels` and so on. Where the
    schema names the keys of a section, a name in braces stands for those that the rest of the key
    exists for; `known` restricts some names in braces further.
    """
    nodes = list(_nodes(key.split("."), schema, known or {}))
    return list(dict.fromkeys(leaf for name, node in nodes for leaf in _below(name, node)))


def _nodes(
    parts: Sequence[str], node: Values, known: Mapping[str, Collection[str]], above: str = ""
) -> Iterator[tuple[str, Values]]:
    """Yield what a path with names in braces leads to in the schema: keys and their nodes."""
    if not parts:
        yield above.removesuffix("."), node
        return
    first, *rest = parts
    children = _children(node)
    if placeholder := _PLACEHOLDER.fullmatch(first):
        own = [name for name in children if name in known.get(placeholder[1], children)]
    else:
        own = [first] if first in children else [name for name in children if name == ANY]
    for name in own:
        yield from _nodes(rest, children[name], known, f"{above}{name}.")


ANY = "<name>"
"""What the schema's keys call a key that the user names."""


def _children(node: Values) -> dict[str, Values]:
    other = node.get("additionalProperties")
    named = {ANY: other} if isinstance(other, Mapping) else {}
    return {**node.get("properties", {}), **named}


def has_keys(node: Values) -> bool:
    """Tell whether a node of the schema is a section."""
    return bool(_children(node))


def _below(name: str, node: Values) -> Iterator[str]:
    """Yield the leaves of a node of the schema."""
    children = _children(node)
    if not children:
        yield name
    for key, child in children.items():
        yield from _below(f"{name}.{key}", child)


# What scripts read --------------------------------------------------------------------------------


def in_order(settings: Values) -> list[str]:
    """Return the models that a script is given settings of: teachers first, then the benchmarked.

    Parameters
    ----------
    settings
        What the rule declares: `models`, and `teachers` and `benchmarked`, which give the order.
    """
    order = [*settings.get("teachers", ()), *settings.get("benchmarked", ())]
    return [key for key in order if key in settings.get("models", {})]


def names(settings: Values) -> dict[str, str]:
    """Return the printed names of these models by their keys, in the same order."""
    return {key: settings["models"][key]["name"] for key in in_order(settings)}


def prompt(settings: Values) -> str:
    """Return the text of the run's prompt, where `prompt` and `prompts.{prompt}` are declared."""
    return settings["prompts"][settings["prompt"]]
