import csv
from pathlib import Path

import polars as pl
import pytest
import yaml
from configs import config

from compare_with_paper import BENCHMARK_TABLES, MODELS, compare_with_paper
from imagenet_think.report.comparability import VECTORS
from imagenet_think.report.table_captions import COMPUTED, REPORTED

FILE = Path(__file__).parents[3] / "resources" / "reported.yaml"
PAPER = yaml.safe_load(FILE.read_text())
PARTS = ("full", "think", "answer")


def write_tables(folder, shift=0.0):
    """Write the paper's numbers as our tables, each score shifted, with intervals of ± 0.01."""
    language = [
        ("images_per_class", None, 10450, 16.4, 12.8),
        ("unique_words", "think", 1, 3.0, None),
        ("unique_words", None, 1, 1247.0, None),
        ("tokens", "answer", 240_000, 300.0, None),
        ("tokens", "answer", 250_000, 300.0, None),
    ]
    datasets = pl.DataFrame(PAPER["table1"]).drop("reasoning", "models", "domains")
    tables = {
        "table1": datasets.with_columns(source=pl.lit(COMPUTED)),
        "table2": pl.DataFrame([PAPER["table2"] | {"imagenet_names": 250_000}]),
        "language": pl.DataFrame(language, ["measure", "part", "n", "mean", "sd"], orient="row"),
    }

    def number(name, value):
        value += shift
        return {name: value, f"{name}_low": value - 0.01, f"{name}_high": value + 0.01}

    for name, metrics in BENCHMARK_TABLES.items():
        rows = []
        for key, model in MODELS.items():
            row = {"model": f"our {model}", "key": key}
            for metric in metrics:
                avg, highest = PAPER["benchmark"][model][metric]
                row |= number(f"{metric}_avg", avg) | number(f"{metric}_max", highest)
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
    paths = [folder / f"{name}.csv" for name in tables]
    for path in paths:
        tables[path.stem].write_csv(path)
    return paths


def computed_in(path, *datasets):
    """Let a Table 1 be computed for some datasets, and copied from the paper for the others."""
    table = pl.read_csv(path)
    ours = pl.col("dataset").is_in([*datasets, "ImageNet-Think"])
    source = pl.when(ours).then(pl.lit(COMPUTED)).otherwise(pl.lit(REPORTED))
    table.with_columns(source=source).write_csv(path)


@pytest.fixture
def paths(tmp_path):
    return write_tables(tmp_path)


def compare(paths, changes=None):
    stem = paths[0].with_name("comparison")
    compare_with_paper(paths, FILE, stem, config(changes))
    with open(f"{stem}.csv", newline="") as file:
        return list(csv.DictReader(file)), stem.with_suffix(".md").read_text()


def test_the_paper_agrees_with_itself(paths):
    rows, text = compare(paths)
    for row in rows:
        if row["column"] == "thinking-answer pairs":  # those of both teachers
            assert float(row["ours"]) == 490_000
        elif row["column"] != "A100 GPU hours (more than)":
            assert float(row["difference"]) == pytest.approx(0, abs=1e-12), row
    scores = [row for row in rows if row["ours_low"]]
    assert len(scores) == 80 + 48
    assert {row["inside"] for row in scores} == {"true"}
    # The vectors of Tables 6 and 7 are not defined well enough to be compared.
    assert {row["reasons"] for row in scores} == {"", VECTORS}
    assert sum(row["reasons"] == VECTORS for row in scores) == 20 + 12
    assert "96 of the 96 that have an interval lie inside" in text


def numbers(value):
    """Every number in what is reported."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [number for item in value for number in numbers(item)]
    return [float(value)] if isinstance(value, int | float) else []


def test_every_reported_number_is_compared_or_has_a_reason(paths):
    computed_in(paths[0])
    rows, _ = compare(paths)
    assert sorted(float(row["paper"]) for row in rows) == sorted(numbers(PAPER))
    without = [row for row in rows if not row["ours"]]
    assert {row["row"] for row in without} == {"Visual CoT", "LLaVA-CoT-100K", "Emma", "MAC", "all"}
    assert len(without) == 4 * 5 + 1
    for row in without:
        assert row["reasons"].startswith("not computed: ")


def test_a_dataset_counted_here_is_compared(paths):
    computed_in(paths[0], "LLaVA-CoT-100K")
    rows, _ = compare(paths, {"statistics/tokenizer/repository": "package:mini"})
    ours = {row["column"]: row["reasons"] for row in rows if row["row"] == "LLaVA-CoT-100K"}
    assert ours.pop("images") == ""
    assert all(reasons.startswith("tokens are mini's") for reasons in ours.values())
    assert {row["ours"] for row in rows if row["row"] == "MAC"} == {""}


def test_a_shift_shows(tmp_path):
    rows, text = compare(write_tables(tmp_path, shift=-0.02))
    key = ["Tab. 4", "VL-Rethinker-7B", "ROUGE-L, max"]
    (row,) = (row for row in rows if [row["table"], row["row"], row["column"]] == key)
    assert float(row["paper"]) == 0.261
    assert float(row["ours"]) == pytest.approx(0.241)
    assert float(row["difference"]) == pytest.approx(-0.02)
    assert row["inside"] == "false"
    assert "| 0.261 | 0.241 | 0.231–0.251 | −0.020 | outside |  |" in text
    assert "0 of the 96 that have an interval" in text


@pytest.mark.parametrize(("low", "inside"), [(None, ""), (0.8604, "true"), (0.8606, "false")])
def test_inside_allows_for_the_papers_rounding(paths, low, inside):
    path = paths[0].with_stem("table3")
    low = pl.lit(low, pl.Float64)
    pl.read_csv(path).with_columns(bertscore_avg_low=low).write_csv(path)
    rows, _ = compare(paths)
    row = next(row for row in rows if row["column"] == "BERTScore, avg")
    assert (row["row"], row["paper"], row["inside"]) == ("InternVL-3.5-8B", "0.86", inside)


def test_a_different_run_gives_reasons_and_counts_nothing(paths):
    other = {"models/internvl3.5/repository": "resources/miniatures/internvl3.5"}
    rows, _ = compare(paths, other)
    differing = {row["row"] for row in rows if "other weights" in row["reasons"]}
    assert differing == {"InternVL-3.5-8B"}
    rows, text = compare(paths, other | {"images/source/kind": "drawings"})
    drawn = "the images are drawings, not photographs of ImageNet-21k"
    for row in rows:
        if row["ours"] and row["row"] not in ("Visual CoT", "LLaVA-CoT-100K", "Emma", "MAC"):
            assert drawn in row["reasons"].split("\n"), row
    scores = [row for row in rows if row["ours_low"]]
    assert all(row["reasons"] for row in scores)
    assert "that have an interval" not in text
    assert "inside is no agreement" in text
    (line,) = [line for line in text.split("\n") if "| InternVL-3.5-8B | ROUGE-1, avg |" in line]
    assert line.endswith("| inside | a c |")
    assert f"(a) {drawn}" in text.replace("\\", "")


def test_models_that_were_not_run_or_ablated_have_no_number(paths):
    path = paths[0].with_stem("table5")
    pl.read_csv(path).filter(pl.col("key") != "visionthink").write_csv(path)
    rows, text = compare(paths, {"benchmark/ablation_model": "vl-rethinker"})
    missing = {(row["table"], row["row"]) for row in rows if not row["ours"]}
    assert missing - {("Sec. 3.2", "all")} == {
        ("Tab. 5", "VisionThink-Efficient"),
        *(("Tab. 7", f"OpenVLThinker-7B, {part}") for part in PARTS),
    }
    assert all(row["reasons"].startswith("not computed: ") for row in rows if not row["ours"])
    assert "56 of the 56 that have an interval" in text


def test_hard_names_are_one_reason_and_escaped(paths):
    name = "A; B_1 & 50% <b>$x$</b> \\ {#} | ~^\nC"
    kimi = {"models/kimi-vl/name": name, "models/kimi-vl/repository": "mine"}
    rows, text = compare(paths, kimi)
    given = {row["reasons"] for row in rows if row["table"] == "Tab. 3"}
    assert len(given) == 1
    assert "A; B_1 & 50% <b>$x$</b> \\ {#} | ~^ C" in given.pop()
    assert "<b>" not in text
    tex = paths[0].with_name("comparison.tex").read_text(encoding="ascii")
    assert r"A; B\_1 \& 50\% \textless{}b\textgreater{}\$x\$" in tex
