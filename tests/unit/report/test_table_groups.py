import csv

import polars as pl
import pytest
from test_table_benchmark import MODELS, SETTINGS

from imagenet_think.core.schemas import AGGREGATES, GROUPS
from imagenet_think.metrics import registry
from table_groups import table_groups

METRICS = registry.measures()

DIVIDED = [("domain", "plant"), ("domain", "animal"), ("stratum", "1"), ("stratum", "2")]


def value(grouping, group, model, metric, aggregate):
    """A number that tells where it comes from."""
    places = DIVIDED.index((grouping, group)), MODELS.index(model), list(METRICS).index(metric)
    number = 0.1 * places[0] + 0.05 * places[1] + 0.002 * places[2]
    return number + (0.001 if aggregate == "max" else 0)


def numbers(keys):
    rows = []
    for key in keys:
        for model in ("a", "b"):
            for metric in METRICS:
                for name in ("avg", "max"):
                    number = value(*key, model, metric, name) if key in DIVIDED else 0.5
                    row = {"grouping": key[0], "group": key[1], "model": model, "part": "full"}
                    row |= {"metric": metric, "aggregate": name, "value": number}
                    row |= {"low": number - 0.01, "high": number + 0.02}
                    rows.append(row | {"images": 1030, "left_out": 20, "no_response": 15})
    return pl.DataFrame(rows, schema=GROUPS)


@pytest.fixture
def files(tmp_path):
    numbers([*DIVIDED, ("length", "1 (5 tokens)")]).write_parquet(tmp_path / "groups.parquet")
    everything = numbers([("all", "")]).select(list(AGGREGATES))
    everything.write_parquet(tmp_path / "aggregate.parquet")
    return tmp_path / "groups.parquet", tmp_path / "aggregate.parquet"


def test_the_csv_holds_every_number(files, tmp_path):
    table_groups(*files, tmp_path / "groups", SETTINGS)
    with open(tmp_path / "groups.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5 * 2 * len(METRICS) * 2
    for row in rows:
        key = row["grouping"], row["group"]
        if key in DIVIDED:
            expected = value(*key, row["key"], row["metric"], row["aggregate"])
            assert float(row["value"]) == expected
            assert float(row["value_high"]) == expected + 0.02
    assert {(row["key"], row["model"]) for row in rows} == {("a", "Model_A"), ("b", "Model B")}
    assert {row["no_response"] for row in rows} == {"15"}


def test_the_printed_table(files, tmp_path):
    table_groups(*files, tmp_path / "groups", SETTINGS)
    caption, _, head, _, *rows = (tmp_path / "groups.md").read_text().splitlines()
    assert head == "| Group | Images | Metric | Model B Avg. | Model\\_A Avg. |"
    assert len(rows) == 4 * 3
    plant = value("domain", "plant", "b", "bertscore", "avg")
    assert rows[0].startswith(f"| plant | 1,050 | BERTScore | {plant:.3f} (")
    assert rows[1].startswith("|  |  | Sentence-BERT | 0.002 (")
    assert rows[6].startswith("| complexity 1 | 1,050 | BERTScore | 0.200 (")
    assert rows[11].startswith("|  |  | ROUGE-L | 0.306 (0.296–0.326) | 0.356 (")
    for words in (
        "from 1, the least complex",
        "The csv holds every metric",
        "Over all groups M = 1,030 of",
    ):
        assert words in caption
    assert r"\begin{longtable}" in (tmp_path / "groups.tex").read_text()


def test_without_strata_the_caption_says_so(files, tmp_path):
    numbers([("domain", "plant")]).write_parquet(files[0])
    table_groups(*files, tmp_path / "groups", SETTINGS)
    lines = (tmp_path / "groups.md").read_text().splitlines()
    assert "Strata of complexity are not recorded" in lines[0]
    assert len(lines) == 4 + 3


def test_strata_without_an_evaluated_image_are_not_said_to_be_missing(files, tmp_path):
    """The caption knows the strata of the evaluated images alone, and names no greatest one."""
    numbers([("stratum", "1")]).write_parquet(files[0])
    table_groups(*files, tmp_path / "groups", SETTINGS)
    caption = (tmp_path / "groups.md").read_text().splitlines()[0]
    assert "inside its class, counted from 1, the least complex. Images" in caption


def test_without_any_group_the_table_is_empty(files, tmp_path):
    pl.DataFrame(schema=GROUPS).write_parquet(files[0])
    table_groups(*files, tmp_path / "groups", SETTINGS)
    assert len((tmp_path / "groups.md").read_text().splitlines()) == 4
