"""Table 2 on a few images."""

import polars as pl
from written_tables import read_table

from imagenet_think.report.image_summary import summarize
from table_images import table_images


def test_counts(tmp_path) -> None:
    names = ["n00005787_11054", "n00005787_1 2", "n0000578_1", "cats/n00005787_1", *"abcdef"]
    classes = ["a"] * 5 + ["b"] * 2 + ["c"] * 3
    sample = pl.DataFrame({"image_id": names, "wnid": classes, "other": range(10)})
    sample.write_parquet(tmp_path / "sample.parquet")
    table_images(tmp_path / "sample.parquet", tmp_path / "table2")
    frame, _, cells = read_table(tmp_path / "table2")
    assert frame.row(0, named=True) == {
        "images": 10,
        "classes": 3,
        "min_per_class": 2,
        "max_per_class": 5,
        "mean_per_class": 10 / 3,
        "imagenet_names": 1,
    }
    assert cells[1] == ["10", "3", "2", "5", "3.3"]


def test_an_empty_sample_has_no_mean() -> None:
    sample = pl.DataFrame(schema={"image_id": pl.String, "wnid": pl.String})
    assert summarize(sample).row(0) == (0, 0, None, None, None, 0)
