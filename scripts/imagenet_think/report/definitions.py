"""What the numbers of a table mean, as data.

Each table is written with `<table>.definitions.json`. It has whatever else than the texts decides
the numbers, so that they can be recomputed from it and the annotations. The table's caption is
rendered from it and from nothing else (`imagenet_think.report.table_captions`). Each function here
returns one section of such a file.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from imagenet_think.analysis.populations import LEAST
from imagenet_think.core.schemas import IMAGE_COUNTS
from imagenet_think.core.settings import Values
from imagenet_think.metrics.domain_limits import thresholds
from imagenet_think.metrics.registry import Metric
from imagenet_think.parsing import PARTS
from imagenet_think.parsing.statuses import OK

Definitions = dict[str, Any]
"""Sections of a file of definitions by name; JSON values."""

WINDOWS = ("seen", "seen_references", "cut", "cut_references")
"""The columns of `AGGREGATES` that say how much of the texts a metric's window holds."""

AGGREGATES = {
    "avg": "mean over images of the mean of the scores against both references",
    "max": "mean over images of the greater of the scores against both references",
}
"""Equations 1 to 3 of the paper."""

COMPARED = {
    "common": "images on which every model is scored in the part",
    "paired": "images on which the model is scored in every part",
    "shared": "images on which every model is scored in every part",
}
"""Images on which numbers are compared: best and second, ranks, parts. A model or part that is
scored on no image counts for nothing."""

ORDER = (
    "by the BLAKE2b digest, 16 bytes, keyed by the decimal digits of the seed, of the parts of a "
    "name, each as UTF-8 after its length in bytes and a colon"
)
"""The random order of `imagenet_think.core.hash_order`."""

SAMPLE = "images/sample.parquet"
"""The file with what is known of the images, in the run's folder."""

GROUPED_BY = {
    "domain": {"file": SAMPLE, "column": "domain"},
    "stratum": {"file": SAMPLE, "column": "complexity_stratum"},
}
"""What decides the group of an image, and where it is in the run's folder."""


def of_scores(
    metrics: Sequence[Metric],
    keys: Iterable[str],
    aggregates: pl.DataFrame,
    statistics: Iterable[str | Path],
    settings: Values,
    precision: Iterable[str | Path] = (),
) -> Definitions:
    """Return the sections of a table of benchmarked models' scores.

    Parameters
    ----------
    metrics, keys
        The metrics and the models that it prints, in order.
    aggregates
        Rows of schema `AGGREGATES` of the scores that it prints, with `table_captions.mark`.
    statistics
        The files that metrics name in `statistics`.
    settings
        The keys of the config that the rule declares.
    precision
        Parquet files of schema `PRECISION`.
    """
    return {
        "references": models(settings["teachers"], settings),
        "models": models(keys, settings),
        "texts": texts(),
        "aggregates": AGGREGATES,
        "compared": COMPARED,
        "metrics": of_metrics(metrics, statistics, settings),
        "precision": errors(precision),
        "domain": domain(aggregates),
        "windows": windows(aggregates),
        "images": images(aggregates),
        "missing": settings["benchmark"]["missing"],
        "intervals": intervals(settings),
    }


def models(keys: Iterable[str], settings: Values) -> list[dict[str, str]]:
    """Return key, name and, where the table depends on it, format of models, in order."""
    columns = ("name", "output")
    known = {key: settings["models"][key] for key in keys}
    return [
        {"key": key} | {name: model[name] for name in columns if name in model}
        for key, model in known.items()
    ]


def texts() -> dict[str, dict[str, str]]:
    """Return which texts are scored: for each part, its column of annotations and a condition."""
    return {
        part: {"column": part} | ({f"{part}_status": OK} if part != PARTS[0] else {})
        for part in PARTS
    }


def of_metrics(
    metrics: Sequence[Metric], statistics: Iterable[str | Path], settings: Values
) -> dict[str, Any]:
    """Return the definition of each metric, by name."""
    counted = {Path(path).stem: path for path in statistics}
    return {metric.name: metric.defined(settings["benchmark"], counted) for metric in metrics}


def errors(files: Iterable[str | Path]) -> list[dict[str, Any]]:
    """Return how far scores are from those in float32, of metrics that do not compute in it."""
    return [row for path in files for row in pl.read_parquet(path).drop_nulls().to_dicts()]


def domain(means: pl.DataFrame) -> dict[str, Any]:
    """Return which texts are outside a metric's domain, and which means are marked for them.

    `means` have the columns metric, model, part and outside_reasons, and `table_captions.mark`.
    """
    marked = means.drop_nulls("mark").select("metric", "model", "part", "outside_reasons")
    return thresholds() | {"marked": marked.unique(maintain_order=True).to_dicts()}


def windows(aggregates: pl.DataFrame) -> list[dict[str, Any]]:
    """Return how much of the texts a metric with a window reads, by measure and part.

    Means over models of the share of tokens read, of responses and of references, and of the
    shares of texts that are cut.
    """
    means = aggregates.group_by("metric", "part", maintain_order=True).agg(pl.col(WINDOWS).mean())
    by_metric = means.drop_nulls().partition_by("metric", maintain_order=True)
    return [row for rows in by_metric for row in rows.to_dicts()]


def images(aggregates: pl.DataFrame) -> list[dict[str, Any]]:
    """Return how many images each model's means are over, by part, and how many are left out.

    `no_response` counts those of the images that lack only the response; the images on which means
    are compared (`COMPARED`) are counted, too.
    """
    counts = [*IMAGE_COUNTS, *(f"{name}_images" for name in COMPARED)]
    return aggregates.select("model", "part", *counts).unique(maintain_order=True).to_dicts()


def by_length(settings: Values) -> dict[str, Any]:
    """Return what decides the group of an image by the length of a model's response."""
    tokenizer = settings["statistics"]["tokenizer"]
    ties = "texts of equal length are in one quarter"
    return {"tokens_of": PARTS[0], "tokenizer": tokenizer, "groups": "quarters", "ties": ties}


def intervals(settings: Values) -> dict[str, Any]:
    """Return how intervals are made."""
    classes = {"file": SAMPLE, "column": "wnid", "least": LEAST}
    return {**settings["benchmark"]["intervals"], "classes": classes}
