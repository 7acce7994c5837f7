"""Parquet files of the dataset, which `datasets`, polars and DuckDB read without further options.

Types are the plain ones (`string`, not Arrow's `large_string`), and the metadata holds the features
as the library `datasets` writes them, so that images load as images whatever the card says.
"""

import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
from pyarrow.parquet import FileMetaData, read_metadata

from imagenet_think.core.files import parquet_writer
from imagenet_think.core.logs import logger
from imagenet_think.core.schemas import DATASET, FAILED, IMAGE
from imagenet_think.core.splits import CONFIGURATIONS, SPLITS

TEXT_ROWS = 1024
"""Rows per row group in files of texts: about 8 MB."""

_TYPES = {
    pl.String: (pa.string(), {"dtype": "string", "_type": "Value"}),
    pl.Int64: (pa.int64(), {"dtype": "int64", "_type": "Value"}),
    pl.Boolean: (pa.bool_(), {"dtype": "bool", "_type": "Value"}),
    IMAGE: (pa.struct({"bytes": pa.binary(), "path": pa.string()}), {"_type": "Image"}),
}
"""The Arrow type of each polars type, and the feature of `datasets`."""


def schemas(full: bool) -> dict[str, pl.Schema]:
    """Return the schema of each configuration; the full form has images."""
    plain = {"default": DATASET, "failed": FAILED}
    if not full:
        return plain
    return {name: pl.Schema({"image": IMAGE} | dict(schema)) for name, schema in plain.items()}


def features(schema: pl.Schema) -> dict[str, dict[str, str]]:
    """Return the columns as features of `datasets`."""
    return {name: _TYPES[dtype][1] for name, dtype in schema.items()}


def arrow_schema(schema: pl.Schema) -> pa.Schema:
    """Return the Arrow schema of a file, with the features of `datasets` in its metadata."""
    return pa.schema(
        {name: _TYPES[dtype][0] for name, dtype in schema.items()},
        metadata={"huggingface": json.dumps({"info": {"features": features(schema)}})},
    )


@contextmanager
def writer(path: str | Path, schema: pl.Schema) -> Iterator[Callable[[pl.DataFrame], None]]:
    """Yield a function that appends a row group, as `parquet_writer` does.

    Columns that are not in the schema are left out.
    """
    with parquet_writer(path, schema, arrow_schema(schema), ["image.path"]) as append:
        yield lambda rows: append(rows.select(list(schema)).cast(schema))


def published_schema(path: str | Path) -> pl.Schema:
    """Return the schema of a file of the dataset without images, `DATASET` or `FAILED`.

    Raises
    ------
    ValueError
        If columns are missing or have a different type; the message names file and columns.
    """
    held = pl.scan_parquet(path, glob=False).collect_schema()
    schema = FAILED if "text_1" in held else DATASET
    # If other software rewrote the file, a column without values may have lost its type.
    wrong = [name for name, dtype in schema.items() if held.get(name) not in (dtype, pl.Null)]
    if wrong:
        raise ValueError(
            f"{path} is not a file of the dataset: columns missing or of a different type: "
            f"{', '.join(wrong)}. Set dataset.rejoin to a folder that `snakemake dataset` wrote, "
            "or to a copy of it"
        )
    return schema


def remove_leftovers(files: Iterable[str | Path], numbered: str = "?????-of-?????") -> None:
    """Remove files of an earlier dataset from the folders of a dataset's files, and log each.

    `datasets` reads every file with the name of a split, such as `data/train-*.parquet`; `numbered`
    is the pattern of what is between split and extension in the names of files to remove.
    """
    own = set(map(Path, files))
    for root in {path.parent.parent for path in own}:
        patterns = itertools.product(CONFIGURATIONS.values(), SPLITS)
        for pattern in (f"{folder}/{split}-{numbered}.parquet" for folder, split in patterns):
            for path in sorted(set(root.glob(pattern)) - own):
                path.unlink(missing_ok=True)
                logger.info("%s removed: it belongs to an earlier dataset", path)


def count_rows(files: Iterable[str | Path]) -> Counter[tuple[str, str]]:
    """Return the number of rows of each configuration and split, given the dataset's files."""
    return _sum_by_part(files, lambda file: file.num_rows)


def failed(rows: Mapping[tuple[str, str], int]) -> int:
    """Return the rows of the configuration `failed`, given those of each part (`count_rows`)."""
    return sum(rows["failed", split] for split in SPLITS)


def count_bytes(files: Iterable[str | Path]) -> Counter[tuple[str, str]]:
    """Return the uncompressed size of each configuration and split in bytes."""
    return _sum_by_part(
        files,
        lambda file: sum(file.row_group(k).total_byte_size for k in range(file.num_row_groups)),
    )


def _sum_by_part(
    files: Iterable[str | Path], measure: Callable[[FileMetaData], int]
) -> Counter[tuple[str, str]]:
    names = {folder: name for name, folder in CONFIGURATIONS.items()}
    sums = Counter[tuple[str, str]]()
    for path in map(Path, files):
        split = path.name.partition("-")[0]
        sums[names[path.parent.name], split] += measure(read_metadata(path))
    return sums


def data_files(rows: Mapping[tuple[str, str], int]) -> list[dict[str, Any]]:
    """Return `configs` of the card's front matter: the files of each configuration and split.

    Splits without rows (`count_rows`) are left out: `datasets` 5.2 refuses to load a configuration
    with an empty split ("corresponds to no data"). Single files may be empty.
    """
    return [
        {
            "config_name": name,
            "data_files": [
                {"split": split, "path": f"{folder}/{split}-*.parquet"}
                for split in SPLITS
                if rows[name, split]
            ],
        }
        for name, folder in CONFIGURATIONS.items()
        if any(rows[name, split] for split in SPLITS)
    ]
