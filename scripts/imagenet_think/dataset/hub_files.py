"""Parquet files of the dataset, as `datasets`, polars and DuckDB read them without being told how.

Types are the plain ones (`string`, not Arrow's `large_string`), and the metadata holds the features
as the hub's `datasets` write them: so images are images there, whatever the dataset's card says.
"""

import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pyarrow as pa
from pyarrow.parquet import ParquetWriter, read_metadata

from imagenet_think.core.files import atomic_path
from imagenet_think.core.logs import logger
from imagenet_think.core.schemas import DATASET, FAILED, IMAGE
from imagenet_think.core.splits import CONFIGURATIONS, SPLITS

TEXT_ROWS = 1024
"""Rows a row group in files of texts: some 8 MB."""

_TYPES = {
    pl.String: (pa.string(), {"dtype": "string", "_type": "Value"}),
    pl.Int64: (pa.int64(), {"dtype": "int64", "_type": "Value"}),
    pl.Boolean: (pa.bool_(), {"dtype": "bool", "_type": "Value"}),
    IMAGE: (pa.struct({"bytes": pa.binary(), "path": pa.string()}), {"_type": "Image"}),
}
"""Arrow's type of each of polars', and the feature of `datasets`."""


def arrow_schema(schema: pl.Schema) -> pa.Schema:
    """Return a schema as it stands in the files, with the features in its metadata."""
    features = {name: _TYPES[dtype][1] for name, dtype in schema.items()}
    return pa.schema(
        {name: _TYPES[dtype][0] for name, dtype in schema.items()},
        metadata={"huggingface": json.dumps({"info": {"features": features}})},
    )


@contextmanager
def writer(path: str | Path, schema: pl.Schema) -> Iterator[Callable[[pl.DataFrame], None]]:
    """Yield a function that appends rows to a file, as a row group.

    The file appears when the block succeeds; without rows it still has the schema.

    Parameters
    ----------
    path
        The parquet file.
    schema
        Its columns, of `imagenet_think.core.schemas`. Rows may hold others too, which are left out.
    """
    columns = arrow_schema(schema)
    # Images do not shrink any further, and nobody looks for one by its bytes.
    leaves = [name for name, dtype in schema.items() if dtype != IMAGE]
    with (
        atomic_path(path) as temporary,
        ParquetWriter(
            temporary,
            columns,
            compression={name: "ZSTD" for name in leaves}
            | {"image.bytes": "NONE", "image.path": "ZSTD"},
            use_dictionary=leaves,
            write_statistics=leaves,
        ) as parquet,
    ):

        def append(rows: pl.DataFrame) -> None:
            if len(rows):
                table = rows.select(list(schema)).to_arrow(compat_level=pl.CompatLevel.oldest())
                parquet.write_table(table.cast(columns), row_group_size=len(rows))

        yield append


def published_schema(path: str | Path) -> pl.Schema:
    """Return the schema of a file of the dataset without images, `DATASET` or `FAILED`.

    Raises
    ------
    ValueError
        If columns are missing or of another type; the message names file and columns.
    """
    held = pl.read_parquet_schema(path)
    schema = FAILED if "text_1" in held else DATASET
    # A file that others wrote anew may lack the type of a column without values.
    wrong = [name for name, dtype in schema.items() if held.get(name) not in (dtype, pl.Null)]
    if wrong:
        raise ValueError(
            f"{path} is no file of the dataset: columns missing or of another type: "
            f"{', '.join(wrong)}. Name a folder that `snakemake dataset` wrote, or a copy of it, "
            "as dataset.rejoin"
        )
    return schema


def remove_leftovers(files: Iterable[str | Path], numbered: str = "?????-of-?????") -> None:
    """Remove what an earlier dataset left in a dataset's folders, with a line in the log each.

    `datasets` reads every file that is named as a split's, such as `data/train-*.parquet`.

    Parameters
    ----------
    files
        The dataset's files, of all configurations.
    numbered
        What stands between split and ending in the names of files that may be removed; a pattern.
    """
    own = set(map(Path, files))
    for root in {path.parent.parent for path in own}:
        patterns = itertools.product(CONFIGURATIONS.values(), SPLITS)
        for pattern in (f"{folder}/{split}-{numbered}.parquet" for folder, split in patterns):
            for path in sorted(set(root.glob(pattern)) - own):
                path.unlink(missing_ok=True)
                logger.info("%s removed: an earlier dataset left it", path)


def count_rows(files: Iterable[str | Path]) -> Counter[tuple[str, str]]:
    """Return the rows of each configuration and split, by the names of the dataset's files."""
    names = {folder: name for name, folder in CONFIGURATIONS.items()}
    rows = Counter[tuple[str, str]]()
    for path in map(Path, files):
        rows[names[path.parent.name], path.name.partition("-")[0]] += read_metadata(path).num_rows
    return rows


def front_matter(rows: Mapping[tuple[str, str], int]) -> list[dict]:
    """Return `configs` of the dataset's card: which files are which configuration and split.

    Those without any row are left out: `datasets` 5.2 refuses to load a split that is empty, and
    with it its configuration ("corresponds to no data"). Single files may be.

    Parameters
    ----------
    rows
        Of each configuration and split, as `count_rows` returns them.
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
