import csv
from pathlib import Path

import polars as pl
import pytest
import yaml

from compare_with_paper import MODELS, TABLES, cell, compare_with_paper

REPORTED = Path(__file__).parents[2] / "resources" / "reported.yaml"
PAPER = yaml.safe_load(REPORTED.read_text())
PARTS = ("full", "think", "answer")


def write_tables(folder, shift=0.0):
    """The paper's own numbers as our tables, each score shifted, in intervals of ± 0.01."""
    tables = {
        "table1": pl.DataFrame(PAPER["table1"]).drop("reasoning", "models", "domains"),
        "table2": pl.DataFrame([PAPER["table2"]]),
        "language": pl.DataFrame(
            [
                ("images_per_class", None, 10450, 16.4, 12.8),
                ("unique_words", "think", 1, 3.0, None),
                ("unique_words", None, 1, 1247.0, None),
                ("tokens", "answer", 240_000, 300.0, None),
                ("tokens", "answer", 250_000, 300.0, None),
            ],
            schema=["measure", "part", "n", "mean", "sd"],
            orient="row",
        ),
    }

    def number(name, value):
        value += shift
        return {name: value, f"{name}_low": value - 0.01, f"{name}_high": value + 0.01}

    for name, metrics in TABLES.items():
        rows = []
        for key, model in MODELS.items():
            row = {"model": f"our {model}", "key": key}
            for metric in metrics:
                for aggregate, value in zip(
                    ("avg", "max"), PAPER["benchmark"][model][metric], strict=True
                ):
                    row |= number(f"{metric}_{aggregate}", value)
            rows.append(row)
        tables[name] = pl.DataFrame(rows)
    tables["table7"] = pl.DataFrame(
        [
            {"metric": metric, "part": part}
            | number("avg", values[2 * place])
            | number("max", values[2 * place + 1])
            for metric, values in PAPER["ablation"].items()
            for place, part in enumerate(PARTS)
        ]
    )
    paths = []
    for name, table in tables.items():
        paths.append(folder / f"{name}.csv")
        table.write_csv(paths[-1])
    return paths


def compare(folder, paths, run="paper", ablation_model="openvlthinker"):
    stem = folder / "comparison"
    compare_with_paper(paths, REPORTED, stem, run=run, ablation_model=ablation_model)
    with open(f"{stem}.csv", newline="") as file:
        return list(csv.DictReader(file)), stem.with_suffix(".md").read_text()


def test_the_paper_agrees_with_itself(tmp_path):
    rows, text = compare(tmp_path, write_tables(tmp_path))
    assert len(rows) == 5 + 5 + 4 + 5 * 8 * 2 + 8 * 6
    for row in rows:
        if row["column"] != "thinking-answer pairs":
            assert float(row["difference"]) == pytest.approx(0, abs=1e-12), row
    scores = [row for row in rows if row["ours_low"]]
    assert len(scores) == 80 + 48
    assert {row["inside"] for row in scores} == {"true"}
    assert "128 of 128 do" in text


def test_every_number_of_tables_3_to_7_is_compared(tmp_path):
    rows, _ = compare(tmp_path, write_tables(tmp_path))
    ours = sorted(float(row["paper"]) for row in rows if row["ours_low"])
    reported = [
        *(n for model in PAPER["benchmark"].values() for pair in model.values() for n in pair),
        *(n for numbers in PAPER["ablation"].values() for n in numbers),
    ]
    assert ours == sorted(reported)


def test_a_shift_shows(tmp_path):
    rows, text = compare(tmp_path, write_tables(tmp_path, shift=-0.02))
    row = next(
        row
        for row in rows
        if (row["table"], row["row"], row["column"])
        == ("Tab. 4", "VL-Rethinker-7B", "ROUGE-L, max")
    )
    assert float(row["paper"]) == 0.261
    assert float(row["ours"]) == pytest.approx(0.241)
    assert float(row["difference"]) == pytest.approx(-0.02)
    assert row["inside"] == "false"
    assert "| 0.261 | 0.241 | 0.231–0.251 | −0.020 | no |" in text
    assert "0 of 128 do" in text


@pytest.mark.parametrize(("low", "inside"), [(0.8644, True), (0.8646, False), (None, None)])
def test_inside_allows_for_the_paper_s_rounding(low, inside):
    ours = {"x": 0.9, "x_low": low, "x_high": None if low is None else 1.0}
    assert cell("Table 3", "m", "c", 0.864, ours, "x")["inside"] is inside


def test_thinking_answer_pairs_are_those_of_both_teachers(tmp_path):
    rows, _ = compare(tmp_path, write_tables(tmp_path))
    row = next(row for row in rows if row["column"] == "thinking-answer pairs")
    assert float(row["ours"]) == 490_000


def test_another_run_says_that_differences_mean_nothing(tmp_path):
    paths = write_tables(tmp_path)
    assert "means nothing" in compare(tmp_path, paths, run="miniature")[1]
    assert "means nothing" not in compare(tmp_path, paths)[1]


def test_a_model_that_was_not_run_and_another_ablated_model_have_no_number(tmp_path):
    paths = write_tables(tmp_path)
    path = tmp_path / "table5.csv"
    pl.read_csv(path).filter(pl.col("key") != "visionthink").write_csv(path)
    rows, text = compare(tmp_path, paths, ablation_model="vl-rethinker")
    missing = {(row["table"], row["row"]) for row in rows if not row["ours"]}
    assert missing == {
        ("Tab. 5", "VisionThink-Efficient"),
        *(("Tab. 7", f"OpenVLThinker-7B, {part}") for part in PARTS),
    }
    assert "76 of 76 do" in text
