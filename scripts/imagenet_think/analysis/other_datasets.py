"""The other datasets of Table 1: the samples in their files, with images and texts.

The forms are those of the copies on the Hugging Face hub, as public code reads them:
`deepcs233/Visual-CoT` (arXiv 2403.16999), `Xkev/LLaVA-CoT-100k` (arXiv 2411.10440),
`luckychao/EMMA` (arXiv 2501.05444) and `mhjiang0408/MAC_Bench` (arXiv 2508.15802).
"""

import hashlib
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from imagenet_think.core import parquet_columns
from imagenet_think.core.line_files import REMEDY, csv_columns, csv_rows, json_lines
from imagenet_think.core.user_tables import NAMES

_TAGS = re.compile(r"</?(?:SUMMARY|CAPTION|REASONING|CONCLUSION)>")
_NUMBERED_IMAGE = re.compile(r"image_\d+")
_OPTION = re.compile(r"option_[A-Z]")

_ROWS = 16  # of a parquet file with images, in memory at a time


class Sample(NamedTuple):
    """A sample of a dataset."""

    texts: tuple[str, ...]
    """The texts whose tokens count; none if the sample has no reasoning."""
    images: tuple[str, ...]
    """Names of its images, or the SHA-256 of their bytes."""


class Form(NamedTuple):
    """A dataset's form."""

    name: str
    """Its name in Table 1."""
    counted: str
    """What a sample is and which tokens count, in words."""
    read: Callable[[str], Iterator[Sample]]
    """Yields the samples of a file."""


_KINDS: dict[type, str] = {str: "text", list: "a list"}


def _value(row: dict[str, Any], key: str, where: str, kind: type = str) -> Any:
    """Return a value of the given type, or None if it is null or empty."""
    if key not in row:
        raise ValueError(f"{where} has no key {key!r}; there are {', '.join(row) or 'none'}")
    value = row[key]
    if value is not None and not isinstance(value, kind):
        raise ValueError(f"{where}: {key!r} is not {_KINDS[kind]}: {REMEDY}")
    return value or None


def _only(*values: str | None) -> tuple[str, ...]:
    return tuple(value for value in values if value and value.strip())


def _visual_cot(path: str) -> Iterator[Sample]:
    for where, row in json_lines(path):
        thought, answer = (_value(row, key, where) for key in ("thought", "full_answer"))
        image = _value(row, "image", where)
        # The name may be followed by a bounding box.
        images = _only(image and image.partition("###")[0])
        yield Sample(_only(thought, answer) if _only(thought) else (), images)


def _llava_cot(path: str) -> Iterator[Sample]:
    for where, row in json_lines(path):
        said = []
        for turn in _value(row, "conversations", where, list) or []:
            if not isinstance(turn, dict):
                raise ValueError(f"{where}: a turn of 'conversations' is not an object: {REMEDY}")
            speaker, value = (_value(turn, key, where) for key in ("from", "value"))
            if speaker == "gpt":
                said.append(_TAGS.sub("", value or ""))
        yield Sample(_only(*said), _only(_value(row, "image", where)))


def _emma(path: str) -> Iterator[Sample]:
    with parquet_columns.opened(path, "solution", "image_1") as file:
        parquet_columns.check_column(file, path, "solution")
        parquet_columns.check_column(file, path, "image_1", NAMES)
        columns = [name for name in file.schema_arrow.names if _NUMBERED_IMAGE.fullmatch(name)]
        for column in columns:
            parquet_columns.check_column(file, path, column, NAMES)
        for batch in file.iter_batches(_ROWS, columns=["solution", *columns]):
            for row in batch.to_pylist():
                images = (_image(row[column]) for column in columns)
                yield Sample(_only(row["solution"]), _only(*images))


def _image(value: str | dict[str, Any] | None) -> str | None:
    """Return the SHA-256 of an image's bytes, or its name where it has none."""
    if not isinstance(value, dict):
        return value
    data = value.get("bytes")
    return value.get("path") if data is None else hashlib.sha256(data).hexdigest()


def _mac(path: str) -> Iterator[Sample]:
    names = csv_columns(path)
    options = [name for name in names if _OPTION.fullmatch(name)]
    if not options or "cover_image" not in names:
        raise ValueError(
            f"{path}: columns cover_image and option_A, option_B and so on are needed; "
            f"there are {', '.join(names) or 'none'}"
        )
    for _, row in csv_rows(path):
        yield Sample(_only(*(row[option] for option in options)), _only(row["cover_image"]))


FORMS = {
    "visual_cot": Form(
        "Visual CoT",
        "a question with detailed reasoning steps (tokens of the thought and the full answer)",
        _visual_cot,
    ),
    "llava_cot": Form(
        "LLaVA-CoT-100K",
        "a conversation (tokens of all that the model says, tags left out)",
        _llava_cot,
    ),
    "emma": Form("Emma", "a problem with a solution (tokens of the solution)", _emma),
    "mac": Form("MAC", "a question (tokens of all its options, as there is no reasoning)", _mac),
}
"""The datasets by their keys in `statistics.datasets` of the config."""
