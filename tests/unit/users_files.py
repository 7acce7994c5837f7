"""Tables as users bring them, in each format."""

import csv
import gzip
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

SUFFIXES = [".parquet", ".jsonl", ".csv", ".ndjson.gz", ".csv.gz"]


def write_table(path: Path, columns: Mapping[str, Sequence]) -> str:
    """Write columns in the format of the path's suffix; return the path.

    In JSON Lines every other null is left out; in csv a null is an empty field.
    """
    if path.suffix == ".parquet":
        pl.DataFrame(columns, strict=False).write_parquet(path, row_group_size=2)
        return str(path)
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    if ".csv" in path.suffixes:
        text = io.StringIO(newline="")
        writer = csv.writer(text, quoting=csv.QUOTE_ALL)
        writer.writerow(columns)
        writer.writerows(row.values() for row in rows)
        content = text.getvalue()
    else:
        kept = (
            {key: value for key, value in row.items() if value is not None} if number % 2 else row
            for number, row in enumerate(rows)
        )
        content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept)
    data = content.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return str(path)
