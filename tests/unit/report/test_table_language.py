"""The numbers of sections 4.2 and 4.3 on a few images."""

from pathlib import Path

import polars as pl
import pytest

from imagenet_think.core.schemas import ANNOTATIONS, LENGTHS
from table_language import describe, table_language

NAMES = {"glm": "GLM", "kimi": "Kimi"}
SETTINGS = {
    "seed": 1,
    "teachers": list(NAMES),
    "models": {key: {"name": name} for key, name in NAMES.items()},
    "statistics": {"tokenizer": {"repository": "tokenizer"}},
}


def test_describe() -> None:
    def described(values: list[int]) -> dict[str, float | None]:
        frame = pl.DataFrame({"tokens": values}, schema={"tokens": pl.Int64})
        return describe(frame, "tokens", "Tokens", "GLM", "full").row(0, named=True)

    row = described([2, 4, 4, 10])
    numbers = [row[name] for name in ("n", "mean", "min", "median", "max")]
    assert numbers == [4, 5.0, 2.0, 4.0, 10.0]
    assert row["sd"] == pytest.approx((36 / 3) ** 0.5)
    assert described([3])["sd"] is None
    assert described([])["mean"] is None


@pytest.fixture
def folder(tmp_path) -> Path:
    """Three images of two classes; Kimi's third response was cut off, its second is Chinese."""
    pl.DataFrame({"image_id": ["i1", "i2", "i3"], "wnid": ["a", "a", "b"]}).write_parquet(
        tmp_path / "sample.parquet"
    )
    texts = {
        "glm": [("red ball", "a ball", "ok"), ("red car", "a car", "ok"), ("x", "y", "ok")],
        "kimi": [("ball", "ball", "ok"), ("车", "车", "ok"), ("z", None, "cut_off")],
    }
    for model, rows in texts.items():
        annotations, lengths = [], []
        for place, (think, answer, status) in enumerate(rows, 1):
            full = f"{think}\n{answer}" if answer else think
            annotations.append((f"i{place}", model, full, think, answer, status))
            for part, text in (("full", full), ("think", think), ("answer", answer)):
                measured = part == "full" or status == "ok"
                words = len(text.split()) if measured else None
                script = None if not measured else "车" in text
                lengths.append((f"i{place}", model, part, words, words, script))
        pl.DataFrame(annotations, schema=ANNOTATIONS, orient="row").write_parquet(
            tmp_path / f"annotations_{model}.parquet"
        )
        pl.DataFrame(lengths, schema=LENGTHS, orient="row").write_parquet(
            tmp_path / f"lengths_{model}.parquet"
        )
    return tmp_path


def table(folder: Path, size: int) -> pl.DataFrame:
    table_language(
        folder / "sample.parquet",
        [folder / f"annotations_{model}.parquet" for model in NAMES],
        [folder / f"lengths_{model}.parquet" for model in NAMES],
        folder / "language",
        SETTINGS,
        size,
    )
    return pl.read_csv(folder / "language.csv")


def row(frame: pl.DataFrame, measure: str, model: str | None, part: str | None) -> dict:
    chosen = frame.filter(
        pl.col("measure").eq(measure)
        & pl.col("model").eq_missing(pl.lit(model))
        & pl.col("part").eq_missing(pl.lit(part))
    )
    assert len(chosen) == 1
    return chosen.row(0, named=True)


def test_rows(folder) -> None:
    frame = table(folder, size=2)
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


def test_caption(folder) -> None:
    table(folder, size=1)
    caption = (folder / "language.md").read_text().split("\n")[0]
    assert "tokenizer of tokenizer" in caption
    assert "M = 2 of 3 images, 1 left out" in caption
    assert "2 random groups of 1 samples each" in caption
    table(folder, size=1000)
    text = (folder / "language.md").read_text()
    assert "all 2 samples as one group, fewer than 1,000" in text
    assert "Unique words per 2 samples" in text
