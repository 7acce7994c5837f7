"""Different words of groups of samples."""

import polars as pl
import pytest

from imagenet_think.analysis.vocabulary import sample_groups, unique_words, word_types
from imagenet_think.core.schemas import ANNOTATIONS


def test_word_types() -> None:
    assert word_types("The cat, the CAT's 2 hats; don’t don't café_2") == {
        *("the", "cat", "cat's", "hats", "don't", "café")
    }
    assert word_types("") == set()


@pytest.mark.parametrize(("count", "sizes"), [(0, []), (3, [3]), (5, [5]), (12, [5, 5])])
def test_only_full_groups_unless_there_is_none(count: int, sizes: list[int]) -> None:
    groups = sample_groups([f"i{k}" for k in range(count)], seed=1, size=5)
    counts = pl.Series(list(groups.values()), dtype=pl.Int64).value_counts().sort("")
    assert counts["count"].to_list() == sizes


def test_groups_depend_on_the_seed_and_not_on_the_order() -> None:
    images = [f"i{k}" for k in range(40)]
    groups = sample_groups(images, seed=1, size=10)
    assert groups == sample_groups(images[::-1], seed=1, size=10)
    assert groups != sample_groups(images, seed=2, size=10)


def test_unique_words_over_files(tmp_path) -> None:
    files = {
        "glm": [("i1", "a b", "c"), ("i2", "a d", "c"), ("i3", "z", "z"), ("left out", "q", "r")],
        "kimi": [("i1", "a e", "f"), ("i2", "e", "f"), ("i3", "z", "y")],
    }
    paths = []
    for model, rows in files.items():
        paths.append(tmp_path / f"{model}.parquet")
        pl.DataFrame(
            [(i, model, None, think, answer, *3 * ["ok"]) for i, think, answer in rows],
            schema=ANNOTATIONS,
            orient="row",
        ).write_parquet(paths[-1])
    words = unique_words(paths, {"i1": 0, "i2": 0, "i3": 1})
    assert set(words.rows()) == {
        ("glm", "think", 0, 3),
        ("glm", "answer", 0, 1),
        ("kimi", "think", 0, 2),
        ("kimi", "answer", 0, 1),
        ("glm", "think", 1, 1),
        ("glm", "answer", 1, 1),
        ("kimi", "think", 1, 1),
        ("kimi", "answer", 1, 1),
        (None, None, 0, 6),
        (None, None, 1, 2),
    }
    assert len(words) == 10
