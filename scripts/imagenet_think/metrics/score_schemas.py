"""Columns of the files that hold scores, which each metric declares."""

import polars as pl

from imagenet_think.core.schemas import FLOAT, TEXT
from imagenet_think.metrics.registry import Metric


def scores(metric: Metric) -> pl.Schema:
    """Return the schema of `scores/<metric>/<shard>.parquet`."""
    columns = {"image_id": TEXT, "model": TEXT, "part": TEXT}
    columns |= {f"{name}_{k}": FLOAT for name in metric.score_columns for k in (1, 2)}
    if metric.coverage:
        # Share of tokens inside the window: of the response, of teacher 1's text, of teacher 2's.
        columns |= {"seen": FLOAT, "seen_1": FLOAT, "seen_2": FLOAT}
    # Which missing text makes a score null: "reference" (a teacher's), "response" (the model's).
    columns |= {"missing": TEXT}
    return pl.Schema(columns)


def agreement(metric: Metric) -> pl.Schema:
    """Return the schema of `agreement/<metric>/<shard>.parquet`: the teachers' texts compared."""
    columns = {"image_id": TEXT, "model": TEXT, "part": TEXT, "against": TEXT}
    columns |= dict.fromkeys(metric.score_columns, FLOAT)
    if metric.coverage:
        # Share of tokens inside the window: of the text, of the one it is compared with.
        columns |= {"seen": FLOAT, "seen_other": FLOAT}
    return pl.Schema(columns)
