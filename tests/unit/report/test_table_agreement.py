import polars as pl
import pytest
from aggregates import MEASURES
from configs import config
from tests.unit.agreeing import TEACHERS, write_files

from aggregate_agreement import aggregate_agreement
from imagenet_think.analysis.resampling import Intervals
from imagenet_think.report import table_captions
from table_agreement import table_agreement

CONFIG = config(name="miniature")
INTERVALS = {"draws": 200, "level": 0.9}
SETTINGS = {
    "teachers": TEACHERS,
    "models": {"glm": {"name": "GLM_4.1"}, "kimi": {"name": "Kimi"}},
    "benchmark": CONFIG["benchmark"] | {"printed_tfidf": "tfidf_pair", "intervals": INTERVALS},
}
IMAGES = 12


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The aggregate of twelve images, and its tables."""
    folder = tmp_path_factory.mktemp("agreement")
    intervals = Intervals(**INTERVALS, least=1, seed=3)
    files = write_files(folder, IMAGES)
    frame = aggregate_agreement(**files, teachers=TEACHERS, intervals=intervals)
    return write_tables(frame, folder)


def write_tables(frame, folder):
    frame.write_parquet(folder / "aggregate.parquet")
    table_agreement(
        folder / "aggregate.parquet", folder / "agreement", folder / "domains", SETTINGS
    )
    return folder


def found(frame, **keys):
    keys = {"grouping": "all", "minus": None} | keys
    chosen = frame.filter(pl.col(name).eq_missing(pl.lit(key)) for name, key in keys.items())
    assert len(chosen) == 1, keys
    return chosen.row(0, named=True)


def test_without_any_pair_there_are_no_baselines(run, tmp_path):
    frame = pl.read_parquet(run / "aggregate.parquet")
    between = (pl.col("against") == "teacher_2") & pl.col("minus").is_null()
    numbers = pl.when(between).then(pl.col("value", "low", "high"))
    write_tables(frame.with_columns(numbers, unpaired=pl.lit(IMAGES, pl.Int64)), tmp_path)
    text = (tmp_path / "agreement.md").read_text()
    assert f"{IMAGES} images are in no mean of a baseline" in text
    assert "| – | – | – |" in text


def test_the_csvs_hold_every_number(run):
    frame = pl.read_parquet(run / "aggregate.parquet")
    for name, grouping in (("agreement", "all"), ("domains", "domain")):
        written = pl.read_csv(run / f"{name}.csv", infer_schema_length=None)
        assert ("group" in written.columns) == (grouping == "domain")
        assert written.equals(frame.filter(grouping=grouping).select(written.columns))
        assert set(written["metric"]) == set(MEASURES)


def test_what_is_printed(run):
    frame = pl.read_parquet(run / "aggregate.parquet")
    lines = (run / "agreement.md").read_text().splitlines()
    assert len(lines) == 4 + 8 * 3
    headings = list(table_captions.HEADINGS.values())
    assert [line.split(" | ")[0] for line in lines[4::3]] == [f"| {h}" for h in headings]
    cells = lines[4 + 3 * headings.index("ROUGE-L") + 2].strip("| ").split(" | ")
    keys = {"metric": "rougeL", "part": "answer"}
    between = found(frame, **keys, model="glm", against="teacher_2")
    other = found(frame, **keys, model="kimi", against="other_class")
    less = found(frame, **keys, model="kimi", against="teacher_2", minus="same_class")
    assert cells[0] == "Answer"
    assert cells[1].startswith(f"{between['value']:.3f} ({between['low']:.3f}")
    assert cells[-2] == f"{other['value']:.3f}"
    assert cells[-1].startswith(f"{less['value']:.3f} ({less['low']:.3f}")
    row = found(frame, metric="tfidf_pair", part="full", model="glm", against="teacher_2")
    heading = "TF-IDF Cosine Similarity"
    line = lines[4 + 3 * headings.index(heading)]
    assert line.startswith(f"| {heading} | Full | {row['value']:.3f} ")


def test_what_is_printed_by_domain(run):
    frame = pl.read_parquet(run / "aggregate.parquet")
    lines = (run / "domains.md").read_text().splitlines()
    assert [line.split(" | ")[:3] for line in lines[4:]] == [
        ["| animal", "6", "4"],
        ["| plant", "3", "2"],
    ]
    keys = {"grouping": "domain", "group": "plant", "metric": "rougeL", "part": "full"}
    last = found(frame, **keys, model="kimi", against="same_class")
    assert lines[-1].strip("| ").split(" | ")[-1] == f"{last['value']:.3f}"


def test_captions(run):
    text = (run / "agreement.md").read_text().splitlines()[0].replace("\\", "")
    for words in (
        "GLM_4.1 and Kimi",
        "Full: M = 12 images between the teachers (0 left out because a text is missing), 8 in",
        "Thinking: M = 9 images between the teachers (3 left out",
        "4 images are in no mean of a baseline: their shard has no image left to pair",
        "On average the window held",
        "90% intervals from 200 resamples",
    ):
        assert words in text
    text = (run / "domains.md").read_text().splitlines()[0].replace("\\", "")
    assert "GLM_4.1 (1) and Kimi (2)" in text
    assert r"GLM\_4.1" in (run / "agreement.tex").read_text()


def test_an_aggregate_that_lacks_a_number_is_an_error(run, tmp_path):
    frame = pl.read_parquet(run / "aggregate.parquet").filter(pl.col("metric") != "rouge1")
    with pytest.raises(KeyError, match="rouge1"):
        write_tables(frame, tmp_path)
