"""The files that a path in the config stands for, and their text."""

import glob
from pathlib import Path

OF_A_DATASET = {
    "visual_cot": ("**/cot_with_detailed_reasoning_steps/*.jsonl", "*.jsonl"),
    "llava_cot": ("**/train.jsonl",),
    "emma": ("**/*.parquet",),
    "mac": ("**/image2text*.csv",),
}
"""Patterns of the files with another dataset's texts; the first that finds any is used."""


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


def parquet_files(path: str) -> list[str]:
    """Return the parquet files that a path stands for, in name order.

    The path is a file, a folder (files at any depth), or a pattern with `*`, `?` and `**`.

    Raises
    ------
    FileNotFoundError
        If there is none.
    """
    return _files(path, ("**/*.parquet",), "no parquet file is there")


def json_files(path: str) -> list[str]:
    """Return the JSON files that a path stands for, as `parquet_files` does."""
    return _files(path, ("**/*.json",), "no json file is there")


def dataset_files(dataset: str, path: str) -> list[str]:
    """Return the files of another dataset (of `OF_A_DATASET`), as `parquet_files` does."""
    patterns = OF_A_DATASET[dataset]
    wanted = " or ".join(pattern.removeprefix("**/") for pattern in patterns)
    return _files(path, patterns, f"no file of it is there, such as {wanted}")


def _files(path: str, patterns: tuple[str, ...], missing: str) -> list[str]:
    """Return the files at a path; in a folder, those of the first pattern that finds any."""
    place = Path(path)
    if place.is_file():
        return [path]
    if place.is_dir():
        patterns = tuple(str(Path(glob.escape(path)) / pattern) for pattern in patterns)
    else:
        patterns = (path,)
    found = (glob.glob(pattern, recursive=True) for pattern in patterns)
    files = (sorted(file for file in names if Path(file).is_file()) for names in found)
    if not (first := next(filter(None, files), [])):
        raise FileNotFoundError(f"{path}: {missing}")
    return first
