import csv
from pathlib import Path

import polars as pl
import pytest
import yaml

from imagenet_think.core.schemas import AGGREGATES
from imagenet_think.metrics import registry
from imagenet_think.report import table_captions
from table_ablation import table_ablation
from table_benchmark import TABLES, table_benchmark

METRICS = registry.measures()

ROOT = Path(__file__).parents[3]
MODELS = ["b", "a"]
SETTINGS = {
    "models": MODELS,
    "teachers": ["glm", "kimi"],
    "names": {"a": "Model_A", "b": "Model B", "glm": "GLM", "kimi": "Kimi"},
    "printed_tfidf": "tfidf",
    "ablation_model": "a",
    "rules_of_parsing": {"a": "boxed", "b": "think", "glm": "think_answer", "kimi": "kimi"},
    "intervals": {"draws": 10000, "level": 0.95},
    "missing": "leave_out",
    "bertscore": {
        "repository": "org/roberta",
        "layer": 17,
        "max_tokens": 512,
        "windows": "first",
        "precision": "float32",
    },
    "sbert": {
        "repository": "package:minilm",
        "max_tokens": 256,
        "windows": "first",
        "precision": "float32",
    },
    "rouge": {"stemmer": False},
    "sets": {"token_pattern": "[a-z]+", "stop_words": None},
    "vectors": {"token_pattern": r"\w+", "stop_words": "english"},
}


def value(model, part, metric, aggregate):
    """A number that tells where it comes from."""
    places = (MODELS.index(model), ["full", "think", "answer"].index(part))
    number = places[0] * 0.3 + places[1] * 0.1 + list(METRICS).index(metric) * 0.01
    return number + (0.005 if aggregate == "max" else 0)


@pytest.fixture
def aggregate(tmp_path):
    rows = [
        {
            "model": model,
            "part": part,
            "metric": metric,
            "aggregate": name,
            "value": value(model, part, metric, name),
            "low": value(model, part, metric, name) - 0.002,
            "high": value(model, part, metric, name) + 0.001,
            "images": 140 if part == "full" else 130,
            "left_out": 4 if part == "full" else 14,
            "no_response": 3 if model == "a" else 1,
            "seen": {"bertscore": 0.75, "sbert": 0.4}.get(metric),
            "seen_references": {"bertscore": 0.5, "sbert": 0.25}.get(metric),
            "cut": {"bertscore": 0.3, "sbert": 0.9}.get(metric),
            "cut_references": {"bertscore": 0.004, "sbert": 0.9}.get(metric),
        }
        for model in ("a", "b")
        for part in ("full", "think", "answer")
        for metric in METRICS
        for name in ("avg", "max")
    ]
    path = tmp_path / "aggregate.parquet"
    pl.DataFrame(rows, schema=AGGREGATES).write_parquet(path)
    return path


def read(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("number", TABLES)
def test_the_csv(aggregate, tmp_path, number):
    stem = tmp_path / f"table{number}"
    table_benchmark(aggregate, stem, number, SETTINGS)
    rows = read(f"{stem}.csv")
    assert [row["model"] for row in rows] == ["Model B", "Model_A"]
    assert [row["key"] for row in rows] == MODELS
    first, second = TABLES[number][1]
    wanted = [f"{metric}_{name}" for metric in (first, second) for name in ("avg", "max")]
    assert [name for name in rows[0] if name.endswith(("_avg", "_max"))] == wanted
    for row in rows:
        for metric in (first, second):
            for name in ("avg", "max"):
                expected = value(row["key"], "full", metric, name)
                assert float(row[f"{metric}_{name}"]) == expected
                assert float(row[f"{metric}_{name}_low"]) == expected - 0.002
                assert float(row[f"{metric}_{name}_high"]) == expected + 0.001
        assert (row["images"], row["left_out"]) == ("140", "4")
        assert row["no_response"] == ("3" if row["key"] == "a" else "1")


def test_columns_are_named_as_the_paper_s_numbers_are(aggregate, tmp_path):
    reported = yaml.safe_load((ROOT / "resources/reported.yaml").read_text())["benchmark"]
    printed = [metric for _, metrics in TABLES.values() for metric in metrics]
    assert printed == list(next(iter(reported.values())))
    assert printed == list(table_captions.HEADINGS)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (
            3,
            [
                "org/roberta, layer 17",
                "first 512 tokens",
                "cosine of minilm",
                "first 256 tokens",
                "75.0% of a response's tokens and 50.0% of a teacher's (30.0% and 0.4% of these",
                "neither is clipped, although section 5.3 of the paper puts every metric in",
            ],
        ),
        (4, ["without stemming"]),
        (5, ["[a-z]+ (stop words kept)"]),
        (
            6,
            [
                "references of this run, with which its values change (variant tfidf)",
                "matches of w+",
                "English stop words dropped",
                "raw counts",
            ],
        ),
    ],
)
def test_captions_say_how_it_was_measured(aggregate, tmp_path, number, words):
    table_benchmark(aggregate, tmp_path / "t", number, SETTINGS)
    text = (tmp_path / "t.md").read_text().splitlines()[0].replace("\\", "")
    counted = "M = 140 of 144 images (response missing: 1 to 3; reference missing: 1 to 3)."
    policy = "its image is left out of the model's means"
    for word in [*words, counted, policy, "GLM and Kimi", "95%", "10,000 resamples"]:
        assert word in text.replace("minilm's", "cosine of minilm") or word in text, word
    assert ("window" in text) == (number == 3)


def test_captions_say_what_a_missing_response_counts(aggregate, tmp_path):
    frame = pl.read_parquet(aggregate)
    scored = frame.with_columns(left_out=pl.col("left_out") - pl.col("no_response"))
    scored.write_parquet(aggregate)
    table_benchmark(aggregate, tmp_path / "t", 4, SETTINGS | {"missing": "zero"})
    text = (tmp_path / "t.md").read_text().splitlines()[0]
    assert "(response missing: 1 to 3; reference missing: 1 to 3)" in text
    assert "could not be taken apart: it scores 0 in every metric. Images of which a ref" in text


def test_captions_say_what_a_text_was_read_by(aggregate, tmp_path):
    settings = SETTINGS | {
        kind: SETTINGS[kind] | {"windows": "all", "precision": precision}
        for kind, precision in (("bertscore", "tf32"), ("sbert", "float16"))
    }
    table_benchmark(aggregate, tmp_path / "t", 3, settings)
    text = (tmp_path / "t.md").read_text().splitlines()[0]
    assert "of all tokens of a text, read 512 at a time, computed in TF32." in text
    assert "256 at a time, averaged by their number, computed in half precision" in text


def test_the_printed_variant_of_tfidf_is_as_configured(aggregate, tmp_path):
    table_benchmark(aggregate, tmp_path / "t", 6, SETTINGS | {"printed_tfidf": "tfidf_pair"})
    row = read(tmp_path / "t.csv")[0]
    assert float(row["tfidf_avg"]) == value("b", "full", "tfidf_pair", "avg")
    assert "variant tfidf\\_pair" in (tmp_path / "t.md").read_text()


def test_the_greater_score_is_bold(aggregate, tmp_path):
    table_benchmark(aggregate, tmp_path / "t", 4, SETTINGS)
    tex = (tmp_path / "t.tex").read_text()
    assert r"Model\_A & \textbf{0.320} & \textbf{0.325}" in tex
    assert r"Model B & \underline{0.020} & \underline{0.025}" in tex


def test_a_model_without_numbers_is_an_error(aggregate, tmp_path):
    settings = SETTINGS | {"models": ["a", "c"], "names": SETTINGS["names"] | {"c": "C"}}
    with pytest.raises(KeyError, match="c"):
        table_benchmark(aggregate, tmp_path / "t", 3, settings)


def test_nothing_scored_is_printed_as_a_dash(aggregate, tmp_path):
    frame = pl.read_parquet(aggregate)
    nothing = [
        pl.when(pl.col("model") == "a").then(None).otherwise(name).alias(name)
        for name in ("value", "low", "high")
    ]
    frame.with_columns(*nothing).write_parquet(aggregate)
    table_benchmark(aggregate, tmp_path / "t", 3, SETTINGS)
    assert "| Model\\_A | – | – | – | – |" in (tmp_path / "t.md").read_text()


def test_table_7(aggregate, tmp_path):
    table_ablation(aggregate, tmp_path / "table7", SETTINGS)
    rows = read(tmp_path / "table7.csv")
    assert len(rows) == 8 * 3
    for row in rows:
        for name in ("avg", "max"):
            assert float(row[name]) == value("a", row["part"], row["metric"], name)
            assert float(row[f"{name}_low"]) < float(row[name]) < float(row[f"{name}_high"])
    lines = (tmp_path / "table7.md").read_text().splitlines()
    assert lines[2].count("|") == 8
    assert lines[4].startswith("| BERTScore | 0.300 (0.298–0.301) | 0.305")
    assert (
        "Full output: M = 140 of 144 images (response missing: 3; reference missing: 1)" in lines[0]
    )
    counted = "Answer tokens: M = 130 of 144 images (response missing: 3; reference missing: 11)"
    assert counted in lines[0]
    assert r"the rules boxed (Model\_A), think\_answer (GLM), kimi (Kimi)" in lines[0]
    assert r"\multicolumn{2}{c}{Thinking Tokens}" in (tmp_path / "table7.tex").read_text()
