"""Table 1 on a few images with numbers worked out by hand."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest
import yaml

from imagenet_think.core.schemas import LENGTHS
from table_datasets import compare, table_datasets

REPORTED = Path(__file__).parents[3] / "resources" / "reported.yaml"
PAPER = yaml.safe_load(REPORTED.read_text())["table1"]


def lengths(*rows: tuple[str, str, int | None, int | None]) -> pl.DataFrame:
    return pl.DataFrame(
        [
            (image, model, part, tokens, None, None)
            for image, model, think, answer in rows
            for part, tokens in (("full", 1000), ("think", think), ("answer", answer))
        ],
        schema=LENGTHS,
        orient="row",
    )


THREE = lengths(
    ("i1", "glm", 100, 50),
    ("i1", "kimi", 30, 20),
    ("i2", "glm", 10, 5),
    ("i2", "kimi", 3, 2),
    ("i3", "glm", 7, 7),
    ("i3", "kimi", None, None),
)


def test_our_row_is_computed_and_the_others_are_the_papers() -> None:
    frame = compare(THREE, PAPER, ["glm", "kimi"], {})
    assert frame["dataset"].to_list() == [
        "Visual CoT",
        "LLaVA-CoT-100K",
        "Emma",
        "MAC",
        "ImageNet-Think",
    ]
    for ours, row in zip(frame.rows(named=True)[:4], PAPER, strict=False):
        assert ours == {name: row.get(name) for name in ours} | {"source": "reported by the paper"}
    assert frame.row(-1, named=True) == {
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


def test_no_complete_sample_gives_empty_cells() -> None:
    row = compare(THREE.clear(), PAPER, ["glm"], {}).row(-1, named=True)
    assert (row["images"], row["min"], row["mean"], row["total"]) == (0, None, None, 0)
    assert row["models"] == "Single"


def write(folder: Path, images: int, keys: Sequence[str] = ()) -> str:
    """Write Table 1 with the datasets counted that `keys` name; return its Markdown."""
    ids = [f"i{place}" for place in range(1, images + 1)]
    pl.DataFrame({"image_id": ids}).write_parquet(folder / "sample.parquet")
    for model in ("glm", "kimi"):
        THREE.filter(model=model).write_parquet(folder / f"{model}.parquet")
    for key in keys:
        pl.DataFrame([COUNTED | {"without_text": 4}]).write_csv(folder / f"{key}.csv")
    table_datasets(
        folder / "sample.parquet",
        [folder / "glm.parquet", folder / "kimi.parquet"],
        [folder / f"{key}.csv" for key in keys],
        REPORTED,
        folder / "table1",
        SETTINGS,
    )
    return (folder / "table1.md").read_text()


def test_files_and_caption(tmp_path) -> None:
    markdown = write(tmp_path, images=4)  # nothing of the fourth
    frame = pl.read_csv(tmp_path / "table1.csv")
    assert frame["total"].to_list()[-1] == 220
    assert frame["mean"].to_list()[-1] == pytest.approx(110)
    for words in (
        "the run tiny",
        "M = 2 of 4 images, 2 left out",
        "Some/tokenizer\\_1",
        "reported by the paper",
    ):
        assert words in markdown
    assert (tmp_path / "table1.tex").exists()


SETTINGS = {
    "run": "tiny",
    "teachers": ["glm", "kimi"],
    "statistics": {"tokenizer": {"repository": "Some/tokenizer_1"}},
}
COUNTED = {"images": 7, "min": 3, "max": 9, "mean": 6.5, "total": 52, "samples": 8}


def test_a_dataset_that_was_counted_replaces_the_paper_s_numbers() -> None:
    counts = COUNTED | {"without_text": 4}
    frame = compare(THREE, PAPER, ["glm", "kimi"], {"emma": counts})
    rows = {row["dataset"]: row for row in frame.iter_rows(named=True)}
    row = rows["Emma"]
    assert {name: row[name] for name in COUNTED} == COUNTED
    assert (row["source"], row["domains"]) == ("computed here", "Coding, Chemistry, Physics")
    assert rows["MAC"]["source"] == "reported by the paper"
    assert rows["MAC"]["samples"] is None
    assert frame["dataset"].to_list() == [row["dataset"] for row in PAPER]


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ((), ["The others are as reported by the paper, which names no tokenizer. The row"]),
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
def test_the_caption_says_what_a_sample_is(keys, words, tmp_path) -> None:
    markdown = write(tmp_path, 3, keys)
    for text in words:
        assert text in markdown
    assert markdown.count("computed here") == len(keys) + 1
