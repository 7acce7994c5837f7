"""The files that a path in the config stands for."""

import glob
from pathlib import Path

OF_A_DATASET = {
    "visual_cot": ("**/cot_with_detailed_reasoning_steps/*.jsonl", "*.jsonl"),
    "llava_cot": ("**/train.jsonl",),
    "emma": ("**/*.parquet",),
    "mac": ("**/image2text*.csv",),
}
"""Patterns of the files with another dataset's texts; the first that finds any is used."""


def parquet_files(path: str) -> list[str]:
    """Return the parquet files that a path stands for, in name order.

    The path is a file, a folder (files at any depth), or a pattern with `*`, `?` and `**`.

    Raises
    ------
    FileNotFoundError
        If there is none.
    """
    return _of_form(path, "parquet")


def json_files(path: str) -> list[str]:
    """Return the JSON files that a path stands for, as `parquet_files` does."""
    return _of_form(path, "json")


def _of_form(path: str, form: str) -> list[str]:
    if found := _files(path, (f"**/*.{form}",)):
        return found
    raise FileNotFoundError(f"{path}: no {form} file is there")


def dataset_files(dataset: str, path: str) -> list[str]:
    """Return the files of another dataset (of `OF_A_DATASET`), as `parquet_files` does."""
    patterns = OF_A_DATASET[dataset]
    if found := _files(path, patterns):
        return found
    wanted = " or ".join(pattern.removeprefix("**/") for pattern in patterns)
    raise FileNotFoundError(f"{path}: no file of it is there, such as {wanted}")


def _files(path: str, patterns: tuple[str, ...]) -> list[str]:
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
    return next(filter(None, files), [])
