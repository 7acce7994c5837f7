import polars as pl
import pytest
from aggregates import MEASURES
from configs import config
from tests.unit.agreeing import TEACHERS, write_files
from written_tables import read_table

from aggregate_agreement import aggregate_agreement
from imagenet_think.analysis.intervals import Intervals
from imagenet_think.core.numbers import as_text
from imagenet_think.report.table_captions import HEADINGS
from table_agreement import table_agreement

INTERVALS = {"level": 0.9, "population": "fixed"}
MODELS = {"glm": {"name": "GLM_4.1"}, "kimi": {"name": "Kimi"}}
BENCHMARK = {"benchmark/printed_tfidf": "tfidf_pair", "benchmark/intervals": INTERVALS}
SETTINGS = config({"teachers": TEACHERS, "models": MODELS, **BENCHMARK})
IMAGES = 36


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The aggregate of twelve images, and its tables."""
    folder = tmp_path_factory.mktemp("agreement")
    intervals = Intervals(**INTERVALS)
    files = write_files(folder, IMAGES)
    frame = aggregate_agreement(**files, teachers=TEACHERS, intervals=intervals)
    return frame, *write_tables(frame, folder)


def write_tables(frame, folder):
    """Write both tables; return what each holds."""
    frame.write_parquet(folder / "aggregate.parquet")
    stems = folder / "agreement", folder / "domains"
    table_agreement(folder / "aggregate.parquet", [], *stems, SETTINGS)
    return [read_table(stem) for stem in stems]


def found(frame, **keys):
    keys = {"grouping": "all", "minus": None} | keys
    chosen = frame.filter(pl.col(name).eq_missing(pl.lit(key)) for name, key in keys.items())
    return chosen.row(0, named=True) if len(chosen) == 1 else pytest.fail(f"{keys}: {chosen}")


def test_the_csvs_hold_every_number(run):
    frame, (total, *_), (by_domain, *_) = run
    for csv, grouping in ((total, "all"), (by_domain, "domain")):
        assert ("group" in csv.columns) == (grouping == "domain")
        expected = frame.filter(grouping=grouping).with_columns(mark=pl.lit(None, pl.String))
        assert csv.equals(expected.select(csv.columns))
        assert set(csv["metric"]) == set(MEASURES)


def test_what_is_printed(run):
    frame, (_, caption, (_, *rows)), _ = run
    headings = list(HEADINGS.values())
    assert [row[0] for row in rows[::3]] == headings
    assert len(rows) == 8 * 3
    cells = rows[3 * headings.index("ROUGE-L") + 2]
    keys = {"metric": "rougeL", "part": "answer"}
    between = found(frame, **keys, model="glm", against="teacher_2")
    other = found(frame, **keys, model="kimi", against="other_class")
    less = found(frame, **keys, model="kimi", against="teacher_2", minus="same_class")
    assert cells[:2] == ["", "Answer"]
    assert cells[2].startswith(
        f"{as_text(between['value'], '.3f')} ({as_text(between['low'], '.3f')}"
    )
    assert cells[-2] == as_text(other["value"], ".3f")
    assert cells[-1].startswith(f"{as_text(less['value'], '.3f')} ({as_text(less['low'], '.3f')}")
    row = found(frame, metric="tfidf_pair", part="full", model="glm", against="teacher_2")
    tfidf = rows[3 * headings.index("TF-IDF Cosine Similarity")]
    assert tfidf[1] == "Full"
    assert tfidf[2].startswith(f"{as_text(row['value'], '.3f')} ")
    for words in (
        "GLM_4.1 and Kimi",
        "Full: M = 36 images between the teachers (0 left out because a text is missing), 24 in",
        "Thinking and answer: M = 29 images between the teachers (7 left out",
        "12 images are in no mean of a baseline: their shard has no image left to pair",
        "On average the window held",
        "90% intervals for other images of the same classes",
    ):
        assert words in caption


def test_what_is_printed_by_domain(run):
    frame, _, (_, caption, (_, *rows)) = run
    assert [row[:3] for row in rows] == [["animal", "18", "12"], ["plant", "9", "6"]]
    keys = {"grouping": "domain", "group": "plant", "metric": "rougeL", "part": "full"}
    last = found(frame, **keys, model="kimi", against="same_class")
    assert rows[-1][-1] == as_text(last["value"], ".3f")
    assert "GLM_4.1 (1) and Kimi (2)" in caption


def test_without_any_pair_there_are_no_baselines(run, tmp_path):
    between = (pl.col("against") == "teacher_2") & pl.col("minus").is_null()
    numbers = pl.when(between).then(pl.col("value", "low", "high"))
    changed = run[0].with_columns(numbers, unpaired=pl.lit(IMAGES, pl.Int64))
    (_, caption, cells), _ = write_tables(changed, tmp_path)
    assert f"{IMAGES} images are in no mean of a baseline" in caption
    assert all(row[3:] == ["–"] * 6 for row in cells[1:])


def test_an_aggregate_that_lacks_a_number_is_an_error(run, tmp_path):
    with pytest.raises(KeyError, match="rouge1"):
        write_tables(run[0].filter(pl.col("metric") != "rouge1"), tmp_path)
