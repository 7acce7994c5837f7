"""Table 2 on a few images."""

import polars as pl

from imagenet_think.report.image_summary import summarize
from table_images import table_images


def test_counts() -> None:
    sample = pl.DataFrame({"wnid": ["a"] * 5 + ["b"] * 2 + ["c"] * 3})
    assert summarize(sample).row(0, named=True) == {
        "images": 10,
        "classes": 3,
        "min_per_class": 2,
        "max_per_class": 5,
        "mean_per_class": 10 / 3,
    }


def test_an_empty_sample_has_no_mean() -> None:
    sample = pl.DataFrame({"wnid": []}, schema={"wnid": pl.String})
    assert summarize(sample).row(0) == (0, 0, None, None, None)


def test_file(tmp_path) -> None:
    pl.DataFrame({"wnid": ["a", "a", "b"], "other": [1, 2, 3]}).write_parquet(
        tmp_path / "s.parquet"
    )
    table_images(tmp_path / "s.parquet", tmp_path / "table2")
    assert pl.read_csv(tmp_path / "table2.csv").row(0) == (3, 2, 1, 2, 1.5)
    assert "1.5" in (tmp_path / "table2.md").read_text()
