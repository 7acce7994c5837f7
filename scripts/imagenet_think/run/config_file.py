"""Strict reading of a YAML file: everything that is wrong with it is reported with its line.

Snakemake's own reader keeps the last of duplicate keys, and names neither file nor line of a syntax
error.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from imagenet_think.core import paths
from imagenet_think.core.json_schema import LEAST, MOST
from imagenet_think.core.printing import escaped

MOST_VALUES = 1_000_000
"""Maximum number of values in a file, with aliases expanded."""

_MERGE = "tag:yaml.org,2002:merge"
_STRING = "tag:yaml.org,2002:str"
_PLAIN = {
    f"tag:yaml.org,2002:{kind}"
    for kind in ("str", "int", "float", "bool", "null", "seq", "map", "merge")
}
_UNPRINTABLE = re.compile("[\0\ud800-\udfff]")
_QUOTE = "write it in quotation marks if it is meant as text"


class ConfigError(ValueError):
    """A config that cannot be run: the name of its file, and each problem in one line.

    Characters that a terminal would not show or would interpret are escaped.
    """

    def __init__(self, origin: str, problems: Sequence[str]) -> None:
        self.problems = tuple(map(escaped, problems))
        super().__init__(listed(origin, problems))


def listed(subject: str, problems: Sequence[str]) -> str:
    """Return one message that lists the problems of a subject, a single one on the same line."""
    subject, *problems = map(escaped, (subject, *problems))
    if len(problems) == 1:
        return f"{subject}: {problems[0]}"
    lines = [f"{subject}: {len(problems)} problems", *(f"  - {each}" for each in problems)]
    return "\n".join(lines)


def read(path: str | Path) -> dict[str, Any]:
    """Read a config: a YAML (or JSON) file in UTF-8 with a mapping at its top level.

    Raises
    ------
    ConfigError
        If it cannot be read or is not valid, with the line. Duplicate keys, and keys that are not
        strings, are listed all at once.
    """
    try:
        text = paths.read_text(str(path))
    except (OSError, ValueError) as error:
        raise ConfigError(str(path), [str(error)]) from None
    try:
        return _parse(text, str(path))
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        problem = f"line {line}: the character {error.character:#06x} is not allowed in YAML"
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        words = ", ".join(filter(None, (error.problem, error.context)))
        problem = f"{_line(mark)}: {words}" if mark else words
    except RecursionError:
        problem = "the file is nested too deeply"
    raise ConfigError(str(path), [problem])


def _parse(text: str, origin: str) -> dict[str, Any]:
    loader = _Loader(text)
    root = loader.get_single_node()
    if root is None:
        raise ConfigError(origin, ["the file is empty; a config has keys at its top level"])
    if not isinstance(root, yaml.MappingNode):
        problem = f"{_line(root.start_mark)}: keys are needed at the top level of a config"
        raise ConfigError(origin, [problem])
    too_long = _size(root, {}) > MOST_VALUES  # first: it refuses an endless one
    problems = list(_wrong_nodes(root, set()))
    if too_long:
        problems.append(f"it holds more than {MOST_VALUES:,} values once aliases are expanded")
    if problems:
        raise ConfigError(origin, problems)
    return loader.construct_document(root)


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, with the line in every error about a value."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            value = super().construct_object(node, deep)
            if not isinstance(value, int) or LEAST <= value <= MOST:
                return value
        except (ValueError, KeyError):  # `!!bool perhaps`
            pass
        kind = node.tag.rpartition(":")[2]
        problem = f"{_held(node)} is not a valid {kind}; {_QUOTE}"
        raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


def _line(mark: yaml.Mark) -> str:
    return f"line {mark.line + 1}"


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key
            yield value
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value


def _size(node: yaml.Node, sizes: dict[int, int]) -> int:
    """Return the number of values in a node, with aliases expanded; refuse an endless one."""
    if id(node) not in sizes:
        sizes[id(node)] = 0  # as long as its children are counted
        sizes[id(node)] = 1 + sum(_size(child, sizes) for child in _children(node))
    elif not sizes[id(node)]:
        problem = "an alias refers to a part that contains it"
        raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
    return sizes[id(node)]


def _wrong_nodes(node: yaml.Node, done: set[int]) -> Iterator[str]:
    """Yield duplicate keys, keys that are not strings, and values of types that no key takes."""
    if id(node) in done:
        return
    done.add(id(node))
    if isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if key.tag == _MERGE:
                continue
            if key.tag != _STRING:
                yield f"line {line}: the key {_held(key)} is not a string; {_QUOTE}"
            elif key.value in lines:
                first = lines[key.value]
                yield f"line {line}: duplicate key {_held(key)}, which is also in line {first}"
            else:
                lines[key.value] = line
    if node.tag not in _PLAIN:
        kind = node.tag.rpartition(":")[2]
        yield f"{_line(node.start_mark)}: {_held(node)} is a {kind}, which no key takes; {_QUOTE}"
    elif isinstance(node, yaml.ScalarNode) and _UNPRINTABLE.search(node.value):
        problem = "contains a null character or half of a surrogate pair"
        yield f"{_line(node.start_mark)}: {_held(node)} {problem}"
    for child in _children(node):
        yield from _wrong_nodes(child, done)


def _held(node: yaml.Node) -> str:
    """Return a node's value for a message."""
    if not isinstance(node, yaml.ScalarNode):
        return "a collection"
    text = node.value if len(node.value) <= 60 else f"{node.value[:60]}…"
    return repr(text)
