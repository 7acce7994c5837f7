"""Tables of the dataset card in Markdown: splits, columns and failed responses."""

from collections.abc import Iterable, Mapping, Sequence

import polars as pl

from imagenet_think.core.splits import CONFIGURATIONS, SPLITS
from imagenet_think.dataset.dataset_fields import DESCRIPTIONS
from imagenet_think.parsing.outcomes import STATUSES
from imagenet_think.parsing.statuses import OK
from imagenet_think.report.tables import WHOLE, Column, markdown


def split_table(rows: Mapping[tuple[str, str], int]) -> str:
    """Return the rows of each configuration by split (`hub_files.count_rows`), and of all."""
    table = pl.DataFrame(
        [
            {"split": split, **{name: rows[name, split] for name in CONFIGURATIONS}}
            for split in SPLITS
        ]
    )
    total = table.select(pl.lit("all").alias("split"), pl.exclude("split").sum())
    columns = [
        Column("split", "Split"),
        Column("images", "Images", format=WHOLE),
        *(Column(name, f"Rows of {name}", format=WHOLE) for name in CONFIGURATIONS),
    ]
    table = pl.concat([table, total]).with_columns(images=pl.sum_horizontal(list(CONFIGURATIONS)))
    return markdown(table, columns, "").lstrip()


def column_table(default: Iterable[str], failed: Iterable[str]) -> str:
    """Return the descriptions of columns, both teachers' in one row, given each configuration's."""
    default = list(default)
    rows = []
    for name in (*default, *(name for name in failed if name not in default)):
        if name.endswith("_2"):
            continue
        meaning = DESCRIPTIONS[name] if name in default else f"{DESCRIPTIONS[name]} Only in failed."
        if name.endswith("_1"):
            meaning = meaning.replace("teacher 1", "teacher 1 or 2")
            name = f"{name}, {name[:-1]}2"
        rows.append({"column": name, "meaning": meaning})
    columns = [Column("column", "Column"), Column("meaning", "Content")]
    return markdown(pl.DataFrame(rows), columns, "").lstrip()


def failure_table(rows: pl.DataFrame, names: Sequence[str]) -> str:
    """Return how many responses of the named teachers failed by status; "" if none did.

    `rows` are those of all files, with columns status_1 and status_2.
    """
    counts = [dict(rows.group_by(f"status_{k}").len().iter_rows()) for k in (1, 2)]
    table = []
    for status, meaning in STATUSES.items():
        failed = {str(k): found.get(status, 0) for k, found in enumerate(counts)}
        if status != OK and any(failed.values()):
            table.append({"status": status, "meaning": meaning} | failed)
    if not table:
        return ""
    columns = [
        Column("status", "Status"),
        Column("meaning", "Meaning"),
        *(Column(str(k), name, format=WHOLE) for k, name in enumerate(names)),
    ]
    return markdown(pl.DataFrame(table), columns, "Responses by status and teacher.")
