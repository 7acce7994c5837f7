"""How many of a mean's images have a text that is outside the metric's domain."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import polars as pl

from imagenet_think.analysis.aggregation import ImageScores, Key
from imagenet_think.core.schemas import DOMAIN
from imagenet_think.metrics.domain_limits import REASONS

Outside = Mapping[tuple[str, str], np.ndarray]
"""For a model and part, which texts are outside a metric's domain: 0 for none, otherwise one more
than the place of the reason in `REASONS`; int8 of shape (images,). Where a model and part are
absent, all texts are inside."""

EVERYTHING_INSIDE: Outside = MappingProxyType({})


def read_outside(paths: Sequence[str | Path], images: pl.Series) -> Outside:
    """Read which texts of some images, in their order, are outside a metric's domain.

    `paths` are parquet files of schema `DOMAIN`, all of one metric.
    """
    files = [pl.scan_parquet(path).drop_nulls("outside") for path in paths]
    rows = pl.concat([DOMAIN.to_frame().lazy(), *files]).collect()
    places = pl.DataFrame({"image_id": images}).with_row_index("place")
    codes = {name: code for code, name in enumerate(REASONS, start=1)}
    code = pl.col("outside").replace_strict(codes, return_dtype=pl.Int8)
    rows = rows.join(places, on="image_id").with_columns(code=code)
    found: dict[tuple[str, str], np.ndarray] = {}
    for (model, part), own in rows.group_by("model", "part"):
        found[str(model), str(part)] = np.zeros(len(images), dtype=np.int8)
        found[str(model), str(part)][own["place"].to_numpy()] = own["code"].to_numpy()
    return found


def outside_share(
    outside: Outside, texts: Iterable[tuple[str, str]], counted: np.ndarray
) -> dict[str, Any]:
    """Return the share of a mean's images with a text outside the domain, and the reasons.

    Parameters
    ----------
    outside
        From `read_outside`.
    texts
        Models and parts of the texts that were compared.
    counted
        Places of the mean's images; shape (n,).

    Returns
    -------
    dict
        `outside`, null without images, and `outside_reasons`, of `REASONS`, separated by commas,
        null if all texts are inside.
    """
    if not len(counted):
        return {"outside": None, "outside_reasons": None}
    codes = [outside[text][counted] for text in texts if text in outside]
    found = np.unique(codes).tolist() if codes else []
    return {
        "outside": float(np.any(codes, axis=0).mean()) if codes else 0.0,
        "outside_reasons": ",".join(REASONS[code - 1] for code in found if code) or None,
    }


def with_outside(
    rows: Iterable[dict[str, Any]],
    scored: ImageScores,
    chosen: np.ndarray,
    outside: Outside,
    teachers: Sequence[str],
) -> Iterator[dict[str, Any]]:
    """Yield rows of `aggregation.summarise` with the columns of `outside_share`.

    `scored` and `chosen` are those that were summarised, `teachers` the keys of the references.
    """
    for row in rows:
        key = Key(*(row[name] for name in Key._fields))
        counted = chosen[~np.isnan(scored.values[key][chosen])]
        texts = [(model, key.part) for model in (key.model, *teachers)]
        yield row | outside_share(outside, texts, counted)
