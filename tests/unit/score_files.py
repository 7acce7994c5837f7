"""Small score files for tests of the analysis."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from imagenet_think.metrics import registry
from imagenet_think.metrics.score_schemas import scores
from imagenet_think.parsing import PARTS

Pair = tuple[float, float] | str
"""Both scores, or which text is missing: "reference" or "response"."""

PAIRS = st.one_of(
    st.sampled_from(["reference", "response"]), st.tuples(st.floats(0, 1), st.floats(0, 1))
)
FILES = settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
"""Settings of property tests that write files."""

SHARES = {"seen": 0.5, "seen_1": 0.2, "seen_2": 0.4}


def frames(pairs: Mapping[tuple[str, str, str], Pair]) -> dict[str, pl.DataFrame]:
    """Return one frame per metric, in which every column has the same pair of scores.

    The reference is missing of any part of an image and model that is not given.
    """
    cells = {(image, model) for image, model, _ in pairs}
    result = {}
    for metric in registry.metrics():
        rows = []
        for image, model in sorted(cells):
            for part in PARTS:
                pair = pairs.get((image, model, part), "reference")
                row = {"image_id": image, "model": model, "part": part}
                if isinstance(pair, str):
                    row["missing"] = pair
                else:
                    row |= {f"{c}_{k}": pair[k - 1] for c in metric.score_columns for k in (1, 2)}
                    row |= SHARES if metric.coverage else {}
                rows.append(row)
        result[metric.name] = pl.DataFrame(rows, schema=scores(metric))
    return result


def full(*pairs: Pair, model: str = "m") -> dict[tuple[str, str, str], Pair]:
    """Return pairs of full outputs of one model, of the images i000, i001 and so on."""
    return {(f"i{place:03}", model, "full"): pair for place, pair in enumerate(pairs)}


def one(frame: pl.DataFrame, **keys: str) -> dict[str, Any]:
    """Return the first row with these values."""
    return frame.filter(**keys).row(0, named=True)


def write(files: Mapping[str, pl.DataFrame], folder: Path, name: str = "00") -> dict[str, Path]:
    """Write frames as one shard; return the path of each metric's file."""
    paths = {metric: folder / f"{metric}-{name}.parquet" for metric in files}
    for metric, path in paths.items():
        files[metric].write_parquet(path)
    return paths
