"""Table 1 on a few images with numbers worked out by hand."""

import polars as pl
import pytest
import yaml
from synthetic_run import REPORTED
from written_tables import read_table

from imagenet_think.core.schemas import LENGTHS
from table_datasets import compare, table_datasets

PAPER = yaml.safe_load(REPORTED.read_text())["table1"]
SETTINGS = {
    "run": "tiny",
    "teachers": ["glm", "kimi"],
    "statistics": {"tokenizer": {"repository": "Some/tokenizer_1"}},
}
TOKENS = (
    ("i1", "glm", 100, 50),
    ("i1", "kimi", 30, 20),
    ("i2", "glm", 10, 5),
    ("i2", "kimi", 3, 2),
    ("i3", "glm", 7, 7),
    ("i3", "kimi", None, None),
)
THREE = pl.DataFrame(
    [
        (image, model, part, tokens, None, None, None)
        for image, model, think, answer in TOKENS
        for part, tokens in (("full", 1000), ("think", think), ("answer", answer))
    ],
    schema=LENGTHS,
    orient="row",
)
COUNTED = {"images": 7, "min": 3, "max": 9, "mean": 6.5, "total": 52, "samples": 8}


def test_no_complete_sample_gives_empty_cells() -> None:
    row = compare(THREE.clear(), PAPER, ["glm"], ["food"], {}).row(-1, named=True)
    assert (row["images"], row["min"], row["mean"], row["total"]) == (0, None, None, 0)
    assert (row["models"], row["reasoning"], row["domains"]) == ("Single", "No", "food")


def made(folder, images, keys=()):
    """Write Table 1 with the datasets counted that `keys` name; return its rows and caption."""
    ids = [f"i{place}" for place in range(1, images + 1)]
    sample = pl.DataFrame({"image_id": ids, "domain": ["food", "animal", *ids][:images]})
    sample.write_parquet(folder / "sample.parquet")
    lengths = [folder / "glm.parquet", folder / "kimi.parquet"]
    for path in lengths:
        THREE.filter(model=path.stem).write_parquet(path)
    counts = [folder / f"{key}.csv" for key in keys]
    for path in counts:
        pl.DataFrame([COUNTED | {"without_text": 4}]).write_csv(path)
    stem = folder / "table1"
    table_datasets(folder / "sample.parquet", lengths, counts, REPORTED, stem, SETTINGS)
    frame, caption, _ = read_table(stem)
    return frame.rows(named=True), caption


def test_our_row_is_computed_and_the_others_are_the_papers(tmp_path) -> None:
    rows, caption = made(tmp_path, images=4)  # nothing of the fourth
    for ours, row in zip(rows[:4], PAPER, strict=False):
        assert ours == {name: row.get(name) for name in ours} | {"source": "reported by the paper"}
    assert rows[4] == {
        "dataset": "ImageNet-Think",
        "images": 2,
        "samples": 2,
        "min": 20,
        "max": 200,
        "mean": 110.0,
        "total": 220,
        "reasoning": "Yes",
        "models": "Multi",
        "domains": "General",
        "source": "computed here",
    }
    for words in ("the run tiny", "M = 2 of 4 images, 2 left out", "Some/tokenizer_1"):
        assert words in caption
    assert "The others are as reported by the paper, which names no tokenizer. The row" in caption


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (
            ("mac", "visual_cot", "emma"),
            [
                "datasets. LLaVA-CoT-100K is as reported by the paper, which names no tokenizer.",
                "Visual CoT, Emma and MAC are counted in copies by the same tokenizer, each dist",
                "A sample is of Visual CoT a question with detailed reasoning steps (tokens of",
                "answer), 4 without such a text left out; of Emma a problem with a solution (",
                "of MAC a question (tokens of all its options, as there is no reasoning), 4 w",
            ],
        ),
        (
            ("visual_cot", "llava_cot", "emma", "mac"),
            ["datasets. The row of ImageNet-Think", "of LLaVA-CoT-100K a conversation (tokens"],
        ),
    ],
)
def test_a_dataset_that_was_counted_replaces_the_paper_s_numbers(keys, words, tmp_path) -> None:
    rows, caption = made(tmp_path, 3, keys)
    for text in words:
        assert text in caption
    assert [row["dataset"] for row in rows] == [row["dataset"] for row in PAPER]
    for row in rows[:4]:
        counted = {name: row[name] for name in COUNTED} == COUNTED
        assert counted == (row["source"] == "computed here")
    assert [row["source"] for row in rows].count("computed here") == len(keys) + 1
    assert rows[2]["domains"] == "Coding, Chemistry, Physics"
