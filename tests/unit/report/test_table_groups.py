import polars as pl
import pytest
from aggregates import MEASURES, MODELS, SETTINGS, rows

from imagenet_think.core.schemas import AGGREGATES, GROUPS
from table_groups import table_groups

DIVIDED = [("domain", "plant"), ("domain", "animal"), ("stratum", "1"), ("stratum", "2")]


def value(place, model, metric, aggregate):
    """Return a number that shows where it comes from."""
    number = 0.1 * place + 0.05 * MODELS.index(model) + 0.002 * MEASURES.index(metric)
    return number + (0.001 if aggregate == "max" else 0)


def numbers(keys):
    counts = {"images": 1030, "left_out": 20, "no_response": 15}
    found = [
        row
        for place, (grouping, group) in enumerate(keys)
        for row in rows(
            lambda model, part, metric, name, place=place: value(place, model, metric, name),
            parts=["full"],
            grouping=grouping,
            group=group,
            **counts,
        )
    ]
    return pl.DataFrame(found, schema=GROUPS)


@pytest.fixture
def made(tmp_path):
    """Write the table of some groups; return the lines of its Markdown."""

    def make(keys):
        numbers(keys).write_parquet(tmp_path / "groups.parquet")
        everything = numbers([("all", "")]).select(list(AGGREGATES))
        everything.write_parquet(tmp_path / "aggregate.parquet")
        files = tmp_path / "groups.parquet", tmp_path / "aggregate.parquet"
        table_groups(*files, tmp_path / "groups", SETTINGS)
        return (tmp_path / "groups.md").read_text().splitlines()

    return make


def test_the_csv_holds_every_number(made, tmp_path):
    keys = [*DIVIDED, ("length", "1 (5 tokens)")]
    made(keys)
    frame = pl.read_csv(tmp_path / "groups.csv")
    assert len(frame) == 5 * 2 * len(MEASURES) * 2
    for row in frame.iter_rows(named=True):
        place = keys.index((row["grouping"], row["group"]))
        expected = value(place, row["key"], row["metric"], row["aggregate"])
        assert (row["value"], row["value_high"]) == (expected, expected + 0.02)
    assert set(frame.select("key", "model").rows()) == {("a", "Model_A"), ("b", "Model B")}
    assert set(frame["no_response"]) == {15}


def test_the_printed_table(made, tmp_path):
    caption, _, head, _, *lines = made([*DIVIDED, ("length", "1 (5 tokens)")])
    assert head == "| Group | Images | Metric | Model B Avg. | Model\\_A Avg. |"
    assert len(lines) == 4 * 3
    assert lines[0].startswith("| plant | 1,050 | BERTScore | 0.000 (")
    assert lines[1].startswith("|  |  | Sentence-BERT | 0.002 (")
    assert lines[6].startswith("| complexity 1 | 1,050 | BERTScore | 0.200 (")
    assert lines[11].startswith("|  |  | ROUGE-L | 0.306 (0.296–0.326) | 0.356 (")
    for words in ("The csv holds every metric", "Over all groups M = 1,030 of"):
        assert words in caption
    assert r"\begin{longtable}" in (tmp_path / "groups.tex").read_text()


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (("domain", "plant"), "Strata of complexity are not recorded"),
        # The caption knows the strata of evaluated images only, and names no greatest one.
        (("stratum", "1"), "inside its class, counted from 1, the least complex. Images"),
    ],
)
def test_the_caption_says_whether_there_are_strata(made, key, words):
    lines = made([key])
    assert words in lines[0]
    assert len(lines) == 4 + 3


def test_without_any_group_the_table_is_empty(made):
    assert len(made([])) == 4
