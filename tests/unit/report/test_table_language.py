"""The numbers of sections 4.2 and 4.3 on a few images."""

import polars as pl
import pytest
from written_tables import read_table

from imagenet_think.core.schemas import ANNOTATIONS, LENGTHS
from table_language import describe, table_language

SETTINGS = {
    "seed": 1,
    "teachers": ["glm", "kimi"],
    "models": {"glm": {"name": "GLM"}, "kimi": {"name": "Kimi"}},
    "statistics": {"tokenizer": {"repository": "tokenizer"}},
}
# Kimi's third response was cut off, its second is Chinese.
TEXTS = {
    "glm": [("red ball", "a ball", "ok"), ("red car", "a car", "ok"), ("x", "y", "ok")],
    "kimi": [("ball", "ball", "ok"), ("车", "车", "ok"), ("z", None, "cut_off")],
}


def test_describe() -> None:
    series = (pl.Series(values, dtype=pl.Int64) for values in ([2, 4, 4, 10], [3], []))
    rows = pl.concat(describe(values, "tokens", "Tokens") for values in series)
    assert rows.select("n", "mean", "min", "median", "max").rows() == [
        (4, 5.0, 2.0, 4.0, 10.0),
        (1, 3.0, 3.0, 3.0, 3.0),
        (0, None, None, None, None),
    ]
    assert rows["sd"].to_list() == [pytest.approx((36 / 3) ** 0.5), None, None]


@pytest.fixture
def made(tmp_path):
    """Write the table of three images of two classes; return its csv and caption."""
    annotations, lengths = [], []
    for model, rows in TEXTS.items():
        for place, (think, answer, status) in enumerate(rows, 1):
            full = f"{think}\n{answer}" if answer else think
            annotations.append((f"i{place}", model, full, think, answer, *3 * [status]))
            for part, text in (("full", full), ("think", think), ("answer", answer)):
                measured = part == "full" or status == "ok"
                words = len(text.split()) if measured else None
                script = "车" in text if measured else None
                english = "a" in text.split() if measured else None
                lengths.append((f"i{place}", model, part, words, words, script, english))
    sample = pl.DataFrame({"image_id": ["i1", "i2", "i3"], "wnid": ["a", "a", "b"]})
    frames = [sample] + [
        pl.DataFrame(rows, schema=schema, orient="row")
        for rows, schema in ((annotations, ANNOTATIONS), (lengths, LENGTHS))
    ]
    paths = [tmp_path / f"{name}.parquet" for name in ("sample", "annotations", "lengths")]
    for frame, path in zip(frames, paths, strict=True):
        frame.write_parquet(path)

    def make(size):
        stem = tmp_path / "language"
        table_language(paths[0], paths[1:2], paths[2:], stem, SETTINGS, size)
        return read_table(stem)[:2]

    return make


def row(frame: pl.DataFrame, measure: str, model: str | None, part: str | None) -> dict:
    return frame.row(
        by_predicate=pl.col("measure").eq(measure)
        & pl.col("model").eq_missing(pl.lit(model))
        & pl.col("part").eq_missing(pl.lit(part)),
        named=True,
    )


def test_rows(made) -> None:
    frame, _ = made(size=2)
    images = row(frame, "images_per_class", None, None)
    assert (images["n"], images["mean"]) == (2, 1.5)
    assert images["sd"] == pytest.approx(0.5**0.5)
    full = row(frame, "tokens", "GLM", "full")
    assert (full["n"], full["mean"], full["median"], full["max"]) == (3, 10 / 3, 4, 4)
    assert row(frame, "tokens", "Kimi", "full")["n"] == 3
    assert row(frame, "tokens", "Kimi", "answer")["n"] == 2
    # i1 and i2: red ball a car, and 车; i3 is no sample.
    assert row(frame, "unique_words", "GLM", "think")["mean"] == 3
    assert row(frame, "unique_words", "GLM", "answer")["mean"] == 3
    assert row(frame, "unique_words", "Kimi", "think")["mean"] == 2
    together = row(frame, "unique_words", "all teachers", None)
    assert (together["n"], together["mean"]) == (1, 5)
    script = row(frame, "non_latin_percent", "Kimi", "full")
    assert script["mean"] == pytest.approx(100 / 3)
    assert (script["n"], script["sd"], script["max"]) == (3, None, None)
    assert row(frame, "non_latin_percent", "GLM", "full")["mean"] == 0
    assert row(frame, "english_percent", "GLM", "full")["mean"] == pytest.approx(200 / 3)


def test_caption(made) -> None:
    _, caption = made(size=1)
    assert "tokenizer of tokenizer" in caption
    assert "M = 2 of 3 images, 1 left out" in caption
    assert "2 random groups of 1 samples each" in caption
    frame, caption = made(size=1000)
    assert "all 2 samples as one group, fewer than 1,000" in caption
    assert "Unique words per 2 samples" in set(frame["label"])
