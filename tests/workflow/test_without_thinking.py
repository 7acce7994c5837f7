"""Models that answer without thinking, from the config to Tables 3 to 7."""

import polars as pl
import pytest

from .additions import CONFIG, RESULTS
from .conftest import listed

pytestmark = pytest.mark.slow

THINKER = "openvlthinker"
COLUMNS = {
    "captions": {"answer": "words"},
    "plain": {"text": "words"},
    "unmarked": {"text": "words"},
}
OUTPUT = {"plain": "plain", "unmarked": "think"}
"""The new models: all give the answers of a model that thinks. One of them should think, too."""

COUNTED = ("images", "left_out", "no_response")


def of(results, table, *columns, **rows):
    """Return columns of some rows of a table's csv, all but the names of models."""
    return pl.read_csv(results / "tables" / f"{table}.csv").filter(**rows).select(*columns).rows()


def test_answers_without_thinking_are_scored_counted_and_searched(finished):
    results = finished.root / RESULTS
    numbers = ("metric", "avg", "max", *COUNTED)
    answers = of(results, "table7", *numbers, part="answer")
    mentions = of(results, "mentions", "group", "synset", "any", "answers", key=THINKER)
    pl.read_parquet(results / "annotations" / THINKER / "*.parquet").select(
        image="image_id", words="answer"
    ).write_parquet(finished.root / "answers.parquet")
    with finished.editing() as config:
        for key, columns in COLUMNS.items():
            model = {"name": key, "responses": {"path": "answers.parquet"} | columns}
            config["models"][key] = model | ({"output": OUTPUT[key]} if key in OUTPUT else {})
            config["benchmarked"].append(key)
        config["benchmark"]["ablation_model"] = "captions"
        config["benchmark"]["intervals"]["draws"] = 400  # for ten pairs of models at once
    said = finished.snakemake(*CONFIG, "tables", "accounting")
    assert listed(said)["import_responses"] == len(COLUMNS)
    assert "generate_responses" not in listed(said)

    for key in COLUMNS:
        rows = pl.read_parquet(results / "annotations" / key / "*.parquet")
        images = len(rows)
        should_think = key == "unmarked"
        assert set(rows["status"]) == {"no_think" if should_think else "ok"}
        assert set(rows["think_status"]) == {"no_think"}
        assert set(rows["answer_status"]) == {"ok"}
        assert rows["full"].equals(rows["answer"])
        (counts,) = (
            pl.read_csv(results / "accounting.csv")
            .filter(model=key)
            .select("asked", "done", "failed", "failed_no_think")
            .rows()
        )
        assert counts == (images, *((0, images, images) if should_think else (images, 0, 0)))
        assert of(results, "mentions", "group", "synset", "any", "answers", key=key) == mentions
        for table in ("table3", "table4", "table5", "table6"):
            assert of(results, table, *COUNTED, key=key) == [(images, 0, 0)]
            # So few images have no intervals.
            (scores,) = of(results, table, pl.col("^.*_(avg|max|common)$"), key=key)
            assert None not in scores
            everything = pl.exclude("model", "key")
            assert of(results, table, everything, key="plain") == of(
                results, table, everything, key=key
            )

    assert of(results, "table7", *numbers, part="answer") == answers
    full = of(results, "table7", "metric", "avg", "max", part="full")
    assert {metric for metric, *_ in full} == {metric for metric, *_ in answers}
    assert all(None not in row for row in full)
    thinking = of(results, "table7", "avg", "max", *COUNTED, part="think")
    assert set(thinking) == {(None, None, 0, images, images)}

    # A missing response may score 0, but the thinking of such a model is not missing.
    with finished.editing() as config:
        config["benchmark"]["missing"] = "zero"
    finished.snakemake(*CONFIG, "tables")
    zero = of(results, "table7", "avg", "max", *COUNTED, part="think")
    assert set(zero) == {(None, None, 0, images, images)}
    groups = pl.read_parquet(results / "scores" / "*" / "groups.parquet").filter(part="think")
    assert set(groups.filter(model="unmarked")["value"]) == {0.0}
    for key in ("captions", "plain"):
        assert set(groups.filter(model=key)["value"]) == {None}
