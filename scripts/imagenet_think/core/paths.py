"""The files that a path in the config stands for, and their text."""

import glob
from collections.abc import Sequence
from pathlib import Path

OF_A_DATASET = {
    "visual_cot": ("**/cot_with_detailed_reasoning_steps/*.jsonl", "*.jsonl"),
    "llava_cot": ("**/train.jsonl",),
    "emma": ("**/*.parquet",),
    "mac": ("**/image2text*.csv",),
}
"""Patterns of the files with another dataset's texts; the first that finds any is used."""

TABLES = (("parquet",), ("jsonl", "jsonl.gz", "ndjson", "ndjson.gz"), ("csv", "csv.gz"))
"""Endings of the tables in a folder, by format; the first format of which there is any is used."""


def read_text(path: str) -> str:
    """Return the text of a file in UTF-8; an OSError or ValueError says what is wrong with it."""
    try:
        return Path(path).read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise FileNotFoundError("no such file") from None
    except OSError as error:
        raise OSError(f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ValueError(f"line {line} is not UTF-8; save the file as UTF-8") from None


def table_files(path: str) -> list[str]:
    """Return the tables that a path stands for, in name order.

    The path is a file, a folder (files of one of the formats `TABLES` at any depth), or a pattern
    with `*`, `?` and `**`.

    Raises
    ------
    FileNotFoundError
        If there is none.
    """
    groups = [[f"**/*.{ending}" for ending in endings] for endings in TABLES]
    return _files(path, groups, "no parquet, jsonl or csv file is there")


def json_files(path: str) -> list[str]:
    """Return the JSON files that a path stands for, as `table_files` does."""
    return _files(path, [["**/*.json"]], "no json file is there")


def dataset_files(dataset: str, path: str) -> list[str]:
    """Return the files of another dataset (of `OF_A_DATASET`), as `table_files` does."""
    patterns = OF_A_DATASET[dataset]
    wanted = " or ".join(pattern.removeprefix("**/") for pattern in patterns)
    return _files(path, [[each] for each in patterns], f"no file of it is there, such as {wanted}")


def _files(path: str, groups: Sequence[Sequence[str]], missing: str) -> list[str]:
    """Return the files at a path; in a folder, those of the first patterns that find any."""
    place = Path(path)
    if place.is_file():
        return [path]
    if place.is_dir():
        folder = Path(glob.escape(path))
        groups = [[str(folder / pattern) for pattern in patterns] for patterns in groups]
    else:
        groups = [[path]]
    found = (
        {name for each in patterns for name in glob.glob(each, recursive=True)}
        for patterns in groups
    )
    files = (sorted(file for file in names if Path(file).is_file()) for names in found)
    if not (first := next(filter(None, files), [])):
        raise FileNotFoundError(f"{path}: {missing}")
    return first
