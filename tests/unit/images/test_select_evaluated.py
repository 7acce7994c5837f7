"""The images on which the benchmarked models are scored: nested, and spread over the classes."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagenet_think.core import schemas
from imagenet_think.core.files import write_parquet
from select_evaluated import choose, select_evaluated

samples = st.lists(st.integers(1, 12), min_size=1, max_size=6).map(
    lambda sizes: pl.DataFrame(
        [(f"c{c}_{n}", f"c{c}") for c, size in enumerate(sizes) for n in range(size)],
        {"image_id": pl.String, "wnid": pl.String},
        orient="row",
    )
)
seeds = st.integers(0, 9)


@given(samples, st.integers(1, 80), seeds)
def test_a_larger_number_keeps_all_and_each_class_gives_its_share(sample, count, seed):
    chosen = choose(sample, count, seed)
    assert len(chosen) == min(count, len(sample))
    assert chosen <= choose(sample, count + 1, seed) <= set(sample["image_id"])
    assert chosen == choose(sample[::-1], count, seed)  # in any order
    given = [
        (len(chosen & set(images["image_id"])), len(images))
        for _, images in sample.group_by("wnid")
    ]
    # There is a share from which no class is further off than half an image.
    assert max((own - 0.5) / n for own, n in given) <= min((own + 0.5) / n for own, n in given)


def test_the_seed_counts_and_none_is_all():
    sample = pl.DataFrame({"image_id": [f"c_{n}" for n in range(50)], "wnid": ["c"] * 50})
    assert choose(sample, 10, 1) != choose(sample, 10, 2)
    assert choose(sample, None, 1) == set(sample["image_id"])


@pytest.fixture
def sample(tmp_path):
    rows = [{"image_id": f"c_{n}", "wnid": "c", "shard": f"0{n % 2}"} for n in (3, 1, 2, 0)]
    write_parquet(pl.DataFrame(rows, schema=schemas.SAMPLE), tmp_path / "s", schemas.SAMPLE)
    return tmp_path / "s"


def test_the_file_holds_image_and_shard(sample, tmp_path):
    select_evaluated(sample, tmp_path / "e", images=3, seed=1)
    rows = pl.read_parquet(tmp_path / "e")
    assert rows.schema == schemas.EVALUATED
    assert len(rows) == 3
    assert rows["image_id"].is_sorted()
    assert all(shard == f"0{int(name[-1]) % 2}" for name, shard in rows.rows())


def test_more_than_there_are_is_all_with_a_warning(sample, tmp_path, caplog):
    select_evaluated(sample, tmp_path / "e", images=5, seed=1)
    assert len(pl.read_parquet(tmp_path / "e")) == 4
    assert "benchmark.images: 5 images wanted, the sample has 4" in caplog.text
