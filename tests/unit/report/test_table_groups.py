import polars as pl
import pytest
from aggregates import MEASURES, SETTINGS, rows, value
from written_tables import read_table

from imagenet_think.core.schemas import AGGREGATES, GROUPS
from table_groups import table_groups

DIVIDED = [("domain", "plant"), ("domain", "animal"), ("stratum", "1"), ("stratum", "2")]


def numbers(keys):
    """Return the scores of some groups, those of each group 10 above those of the one before."""
    counts = {"images": 1030, "left_out": 20, "no_response": 15}
    found = [
        row
        for place, (grouping, group) in enumerate(keys)
        for row in rows(above=10 * place, grouping=grouping, group=group, **counts)
    ]
    return pl.DataFrame(found, schema=GROUPS)


@pytest.fixture
def made(tmp_path):
    """Write the table of some groups; return its csv, caption and cells."""

    def make(keys):
        numbers(keys).write_parquet(tmp_path / "groups.parquet")
        everything = numbers([("all", "")]).select(list(AGGREGATES))
        everything.write_parquet(tmp_path / "aggregate.parquet")
        files = tmp_path / "groups.parquet", tmp_path / "aggregate.parquet"
        table_groups(*files, [], tmp_path / "groups", SETTINGS)
        return read_table(tmp_path / "groups")

    return make


def test_the_table(made, tmp_path):
    keys = [*DIVIDED, ("length", "1 (5 tokens)")]
    frame, caption, (head, *rows) = made(keys)
    assert len(frame) == 5 * 2 * 3 * len(MEASURES) * 2
    for row in frame.iter_rows(named=True):
        above = 10 * keys.index((row["grouping"], row["group"]))
        numbers = (row[name] for name in ("key", "part", "metric", "aggregate"))
        expected = value(*numbers) + above
        assert (row["value"], row["value_high"]) == (expected, expected + 0.02)
    assert set(frame.select("key", "model").rows()) == {("a", "Model_A"), ("b", "Model B")}
    assert set(frame["no_response"]) == {15}
    assert head == ["Group", "Images", "Metric", "Model B Avg.", "Model_A Avg."]
    assert len(rows) == 4 * 3
    assert rows[0][:4] == ["plant", "1,050", "BERTScore", "0.000 (−0.010 to 0.020)"]
    assert rows[1][:4] == ["", "", "Sentence-BERT", "0.010 (0.000–0.030)"]
    assert rows[6][:4] == ["complexity 1", "1,050", "BERTScore", "20.000 (19.990–20.020)"]
    assert rows[11][2:4] == ["ROUGE-L", "30.030 (30.020–30.050)"]
    for words in ("The csv holds every metric", "Over all groups M = 1,030 of"):
        assert words in caption
    assert r"\begin{longtable}" in (tmp_path / "groups.tex").read_text()


def test_the_caption_says_whether_there_are_strata(made):
    _, caption, cells = made([("domain", "plant")])
    assert "Strata of complexity are not recorded" in caption
    assert len(cells) == 1 + 3
    _, caption, cells = made([("stratum", "1")])
    # The caption knows the strata of evaluated images only, and names no greatest one.
    assert "inside its class, counted from 1, the least complex. Images" in caption
    assert len(cells) == 1 + 3
    assert len(made([])[2]) == 1
