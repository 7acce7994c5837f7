"""A new metric is one module and its settings; all other places derive from them."""

import polars as pl
import pytest

from .additions import CONFIG, RESULTS, documented
from .conftest import listed

pytestmark = pytest.mark.slow

MODULE = "scripts/imagenet_think/metrics/definitions/lengths.py"
METRIC = '''"""Ratio of the lengths of two texts."""

from imagenet_think.metrics.registry import Measure, Metric


def load(*, unit):
    import numpy as np

    def length(text):
        return max(len(text.split() if unit == "words" else text), 1)

    def score(candidates, references):
        pairs = zip(candidates, references, strict=True)
        lengths = [sorted((length(a), length(b))) for a, b in pairs]
        return {"ratio": np.array([short / long for short, long in lengths])}

    return score


METRIC = Metric(
    name="lengths",
    title="Ratio of lengths",
    measures=(Measure("length_ratio", "Length Ratio", column="ratio", brief=True),),
    definition=lambda own: f"Length Ratio counts {own['unit']}.",
)
'''
SCHEMA = """\
      lengths:
        description: Ratio of the lengths of two texts.
        type: object
        additionalProperties: false
        required: [unit]
        properties:
          unit: {description: What is counted., enum: [words, characters]}
"""
PLANNED = {
    **dict.fromkeys(("score", "aggregate_scores", "compare_models", "aggregate_groups"), 1),
    **dict.fromkeys(("aggregate_agreement", "table_ablation", "table_agreement"), 1),
    **dict.fromkeys(("table_groups", "table_parts", "table_ranks"), 1),
    **dict.fromkeys(("figure_scores", "figure_agreement", "compare_with_paper"), 1),
    "table_benchmark": 5,
}
"""Jobs that must run: one per product of the scores, and one per table of scores."""


def test_a_metric_is_its_module_and_its_settings(finished):
    (finished.root / MODULE).write_text(METRIC)
    file = finished.root / "config/schema.yaml"
    schema = file.read_text()
    place = schema.index("      sets:\n        description:")
    file.write_text(schema[:place] + SCHEMA + schema[place:])
    with finished.editing() as config:
        config["benchmark"]["lengths"] = {"unit": "words"}

    targets = ("tables", "figures", "comparison")
    jobs = listed(finished.snakemake(*CONFIG, "-n", *targets))
    assert {name: jobs.get(name) for name in PLANNED} == PLANNED
    assert not jobs.keys() & {"score_embeddings", "generate_responses", "parse_responses"}
    finished.snakemake(*CONFIG, *targets)
    results = finished.root / RESULTS

    scores = pl.concat(
        map(pl.read_parquet, (results / "scores" / "lengths").glob("[0-9]*.parquet"))
    )
    assert {"ratio_1", "ratio_2"} < set(scores.columns)
    assert scores["ratio_1"].is_between(0, 1).all()
    for name in ("aggregate", "differences", "groups"):
        frame = pl.read_parquet(results / "scores" / "lengths" / f"{name}.parquet")
        assert set(frame["metric"]) == {"length_ratio"}
    agreement = pl.read_parquet(results / "agreement" / "aggregate.parquet")
    assert "length_ratio" in set(agreement["metric"])

    tables = results / "tables"
    own = pl.read_csv(tables / "lengths.csv")
    assert {"length_ratio_avg", "length_ratio_max_high"} < set(own.columns)
    assert own["length_ratio_avg"].null_count() == 0
    for name in ("ranks", "parts", "agreement", "groups", "table7"):
        text = (tables / f"{name}.csv").read_text() + (tables / f"{name}.md").read_text()
        assert "length_ratio" in text or "Length Ratio" in text, name
    for name in ("lengths", "table7", "agreement"):
        assert "Length Ratio counts words." in (tables / f"{name}.md").read_text(), name
    assert (results / "comparison.csv").exists()
    assert "`benchmark.lengths.unit`" in documented(finished)
