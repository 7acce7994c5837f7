import polars as pl
import pytest
import yaml
from aggregates import MODELS, PRINTED, SETTINGS, rows, value
from tests.pretended_runs import ROOT
from written_tables import read_table

from imagenet_think.core.schemas import AGGREGATES, DOCUMENT_FREQUENCIES
from imagenet_think.metrics import registry
from imagenet_think.report import table_captions
from table_ablation import table_ablation
from table_benchmark import table_benchmark

COVERAGE = {
    "seen": {"bertscore": 0.75, "sbert": 0.4},
    "seen_references": {"bertscore": 0.5, "sbert": 0.25},
    "cut": {"bertscore": 0.3, "sbert": 0.9},
    "cut_references": {"bertscore": 0.004, "sbert": 0.9},
}
FREQUENCIES = [("full", "bow", 3, 1280), ("full", "boat", 2, 1280), ("think", "bow", 1, 9)]
NUMBERS = pl.DataFrame(list(rows()), schema=AGGREGATES).with_columns(
    pl.col("metric").replace_strict(shares, default=None, return_dtype=pl.Float64).alias(name)
    for name, shares in COVERAGE.items()
)


@pytest.fixture
def made(tmp_path):
    """Write a table with other settings of the benchmark; return its csv, caption and cells."""

    def make(table, numbers=NUMBERS, models=MODELS, **settings):
        measures = [own.name for metric in registry.tables()[table] for own in metric.measures]
        own = numbers.filter(pl.col("metric").is_in(measures))
        own.write_parquet(tmp_path / "aggregate.parquet")
        changed = {"benchmarked": models, "benchmark": SETTINGS["benchmark"] | settings}
        path = tmp_path / "document_frequencies.parquet"
        pl.DataFrame(FREQUENCIES, schema=DOCUMENT_FREQUENCIES, orient="row").write_parquet(path)
        stem = tmp_path / table
        table_benchmark(tmp_path / "aggregate.parquet", [path], stem, SETTINGS | changed)
        return read_table(tmp_path / table)

    return make


def is_value(row, name, *keys):
    """Return whether a number of a row and its interval are those of the aggregates."""
    expected = value(*keys)
    ends = [row[name + end] for end in ("", "_low", "_high")]
    return ends == [expected, expected - 0.01, expected + 0.02]


@pytest.mark.parametrize("table", registry.tables())
def test_the_csv(made, table):
    frame, *_ = made(table)
    assert frame.select("key", "model").rows() == [("b", "Model B"), ("a", "Model_A")]
    measures = [own.name for metric in registry.tables()[table] for own in metric.printed]
    wanted = [f"{name}_{aggregate}" for name in measures for aggregate in ("avg", "max")]
    assert [name for name in frame.columns if name.endswith(("_avg", "_max"))] == wanted
    for row in frame.iter_rows(named=True):
        for column in wanted:
            name, aggregate = column.split("_")
            assert is_value(row, column, row["key"], "full", PRINTED[name], aggregate)
        assert (row["images"], row["left_out"]) == (140, 4)
        assert row["no_response"] == (3 if row["key"] == "a" else 1)


def test_columns_are_named_as_the_paper_s_numbers_are():
    reported = yaml.safe_load((ROOT / "resources/reported.yaml").read_text())["benchmark"]
    assert list(next(iter(reported.values()))) == list(table_captions.HEADINGS)


MEASURED = {
    "table3": [
        "FacebookAI/roberta-large, layer 17",
        "first 512 tokens",
        "cosine of sentence-transformers/all-MiniLM-L6-v2",
        "first 256 tokens",
        "75.0% of a response's tokens and 50.0% of a teacher's (30.0% and 0.4% of these",
        "neither is clipped, although section 5.3 of the paper puts every metric in",
    ],
    "table4": ["without stemming"],
    "table5": ["[a-z0-9]+ (no stop words are dropped, and the pattern drops letters with accents"],
    "table6": ["variant tfidf_pair", "w+ (English stop words are dropped)", "raw counts"],
}


@pytest.mark.parametrize(("table", "words"), MEASURED.items())
def test_captions_say_how_it_was_measured(made, table, words):
    _, caption, _ = made(table)
    counted = "M = 140 of 144 images (response missing: 1 to 3; reference missing: 1 to 3)."
    policy = "its image is left out of the model's means"
    for word in [*words, counted, policy, "GLM and Kimi", "95%", "10,000 resamples"]:
        assert word in caption, word
    assert ("window" in caption) == (table == "table3")


def test_captions_follow_the_settings(made):
    scored = NUMBERS.with_columns(left_out=pl.col("left_out") - pl.col("no_response"))
    _, caption, _ = made("table4", scored, missing="zero")
    assert "(response missing: 1 to 3; reference missing: 1 to 3)" in caption
    assert "could not be parsed: it scores 0 in every metric (what has no score" in caption
    nothing = scored.with_columns(images=0, left_out=144, no_response=144)
    _, caption, _ = made("table4", nothing, missing="zero")
    assert "M = 0 of 144 images (response missing: 144; reference missing: 0)" in caption
    encoders = SETTINGS["benchmark"]["bertscore"], SETTINGS["benchmark"]["sbert"]
    bertscore, sbert = (own | {"windows": "all"} for own in encoders)
    bertscore["precision"], sbert["precision"] = "tf32", "float16"
    _, caption, _ = made("table3", bertscore=bertscore, sbert=sbert)
    assert "read 512 at a time, special tokens included, computed in TF32." in caption
    assert "averaged by their number, special tokens included, computed in half pre" in caption
    _, caption, _ = made("table6", printed_tfidf="tfidf")
    assert "over the 1,280 full outputs of both teachers, for every part alike" in caption


def test_the_greater_score_is_bold(made, tmp_path):
    made("table4")
    tex = (tmp_path / "table4.tex").read_text()
    assert r"Model\_A & \textbf{0.320} & \textbf{0.325}" in tex
    assert r"Model B & \underline{0.020} & \underline{0.025}" in tex


def test_a_model_without_numbers_is_an_error_and_without_scores_printed_as_dashes(made):
    with pytest.raises(KeyError, match="no number of glm"):
        made("table3", models=["a", "glm"])
    scored = pl.when(pl.col("model") != "a").then(pl.col("value", "low", "high"))
    _, _, cells = made("table3", NUMBERS.with_columns(scored))
    assert cells[2] == ["Model_A", *"––––"]


def test_table_7(tmp_path):
    NUMBERS.write_parquet(tmp_path / "aggregate.parquet")
    table_ablation(tmp_path / "aggregate.parquet", [], tmp_path / "table7", SETTINGS)
    frame, caption, (head, first, *_) = read_table(tmp_path / "table7")
    assert len(frame) == 8 * 3
    for row in frame.iter_rows(named=True):
        for name in ("avg", "max"):
            assert is_value(row, name, "a", row["part"], PRINTED[row["metric"]], name)
    assert len(head) == 7
    assert first[:3] == ["BERTScore", "0.300 (0.290–0.320)", "0.305 (0.295–0.325)"]
    for words in (
        "Full output: M = 140 of 144 images (response missing: 3; reference missing: 1)",
        "Answer tokens: M = 130 of 144 images (response missing: 3; reference missing: 11)",
        "the formats boxed (Model_A), think_answer (GLM), kimi (Kimi)",
    ):
        assert words in caption
    assert r"\multicolumn{2}{c}{Thinking Tokens}" in (tmp_path / "table7.tex").read_text()
