import csv
import json

import polars as pl
import pytest
import reviewed
from scipy.stats import binomtest
from sklearn.metrics import cohen_kappa_score
from tests.unit.report.test_figures import assert_readable

from figure_review import draw_review
from imagenet_think.analysis.intervals import Intervals
from imagenet_think.core.files import write_parquet
from imagenet_think.core.schemas import DECISIONS, REVIEWED
from imagenet_think.report.figures import save_figure
from imagenet_think.review.form import CHOICES, QUESTIONS
from tabulate_review import results, tabulate_review

NAMES = {"glm": "GLM_4.1 & co", "kimi": "Kimi $x$"}
SETTINGS = {
    "run": reviewed.RUN,
    "teachers": reviewed.TEACHERS,
    "models": {key: {"name": name} for key, name in NAMES.items()},
    "benchmark": {"intervals": {"level": 0.9, "population": "fixed"}},
}
INTERVALS = Intervals(**SETTINGS["benchmark"]["intervals"])


def wilson(count: int, total: int) -> tuple:
    """Return a share, approximately, and its interval if judgements are independent."""
    ends = binomtest(count, total).proportion_ci(0.9, method="wilson")
    return tuple(pytest.approx(number) for number in (count / total, ends.low, ends.high))


def frame(*rows) -> pl.DataFrame:
    """Return decisions from (reviewer, image, model, question, value) and perhaps the side."""
    return pl.DataFrame([(*row, None)[:6] for row in rows], DECISIONS, orient="row")


def found(decisions: pl.DataFrame, question: str, key: str | None = None) -> dict:
    classes = reviewed.classes(decisions["image_id"])
    table = results(decisions, classes, reviewed.TEACHERS, NAMES, INTERVALS)
    return table.filter(pl.col("key").eq_missing(pl.lit(key)), question=question).row(0, named=True)


def votes(question: str, model: str, **reviewers: str) -> list[tuple]:
    """Return rows from one text per reviewer: y, n or u per image, or a point without an answer."""
    words = {"y": "yes", "n": "no", "u": "unsure"}
    return [
        (reviewer, f"i{place}", model, question, words[mark])
        for reviewer, marks in reviewers.items()
        for place, mark in enumerate(marks)
        if mark in words
    ]


def test_rates_of_one_reviewer():
    decisions = frame(*votes("answer", "glm", a="y" * 14 + "n" * 4 + "u" * 2))
    row = found(decisions, "answer", "glm")
    assert (row["decided"], row["undecided"]) == (18, 2)
    assert (row["share"], row["share_low"], row["share_high"]) == wilson(14, 18)
    assert (row["twice"], row["reviewers"], row["alpha"], row["kappa"]) == (0, 1, None, None)


def test_a_response_counts_once_as_the_majority_decided():
    row = found(frame(*votes("thought", "kimi", a="yynu", b="ynn.", c="n.u.")), "thought", "kimi")
    assert (row["agreeing"], row["decided"], row["undecided"]) == (1, 2, 2)
    assert (row["twice"], row["judgements"], row["reviewers"]) == (3, 9, 3)


def test_two_reviewers_have_a_kappa():
    one = "yyynnuyynnyyuynynyyn" * 2
    other = "yynnnuyynyyyynynnyyu" * 2
    rows = votes("split", "glm", a=one, b=other)
    row = found(frame(*rows, ("a", "alone", "glm", "split", "yes")), "split", "glm")
    assert row["kappa"] == pytest.approx(cohen_kappa_score(list(one), list(other)))
    assert row["kappa_low"] < row["kappa"] < row["kappa_high"]
    assert row["alpha_low"] < row["alpha"] < row["alpha_high"]
    # Chance is that of both together for alpha, of each for kappa: near each other.
    assert row["alpha"] == pytest.approx(row["kappa"], abs=0.05)
    assert row["twice"] == 40
    third = found(frame(*rows, *votes("split", "glm", c="yyy")), "split", "glm")
    assert third["kappa"] is None
    assert third["alpha"] is not None


def test_ties_count_for_neither():
    choices = [("glm", "left")] * 12 + [("kimi", "right")] * 4
    choices += [("tie", None)] * 6 + [("both_bad", None)] * 2
    decisions = frame(*(("a", f"i{n}", None, "preferred", *one) for n, one in enumerate(choices)))
    row = found(decisions, "preferred", "glm")
    assert (row["agreeing"], row["decided"], row["undecided"]) == (12, 16, 8)
    assert (row["share"], row["share_low"], row["share_high"]) == wilson(12, 16)
    assert found(decisions, "preferred", "kimi")["share"] == 0.25
    assert found(decisions, "tie")["share"] == 0.25
    assert found(decisions, "both_bad")["share"] == pytest.approx(1 / 12)
    assert found(decisions, "left")["share"] == 0.75
    # Divided reviewers prefer neither.
    rows = [("a", "i1", None, "preferred", "glm"), ("b", "i1", None, "preferred", "kimi")]
    row = found(frame(*rows), "preferred", "glm")
    assert (row["share"], row["decided"], row["undecided"]) == (None, 0, 1)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The files of two reviewers, the sample, and the table of them."""
    folder = tmp_path_factory.mktemp("review")
    items = reviewed.items(60, failures=0.2)
    sample = reviewed.sample(items)
    write_parquet(sample, folder / "reviewed.parquet", REVIEWED)
    reviewed.classes(sample["image_id"]).write_parquet(folder / "sample.parquet")
    for place, name in enumerate(("Ada", "Бен <b>_$")):
        quality, blind = [], []
        for number, item in enumerate(items):
            at = {"image": item["id"], "at": "2026-11-21T10:00:00Z"}
            for teacher, response in zip(reviewed.TEACHERS, item["responses"], strict=True):
                said = {
                    key: "no" if (number + len(key)) % (5 + place) == 0 else "yes"
                    for key, words in QUESTIONS.items()
                    if response["status"] == "ok" or words["failed"]
                }
                quality.append(at | {"teacher": teacher} | said)
            if item["left"] is not None:
                blind.append(at | {"choice": list(CHOICES)[(number * (place + 3)) % 4]})
        content = reviewed.export(sample, quality, blind, name)
        (folder / f"{place}.json").write_text(json.dumps(content))
    tabulate(folder, folder / "0.json", folder / "1.json")
    return folder


def tabulate(sample, *files, out=None):
    """Write the table of some files into the folder of the sample, or another."""
    stem = (out or sample) / "review"
    tabulate_review(files, sample / "reviewed.parquet", sample / "sample.parquet", stem, SETTINGS)


def test_the_table_holds_every_row(made):
    with open(made / "review.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    wanted = ["split", "answer", "thought", "harmful", "failure"]
    keys = [(question, key) for question in wanted for key in reviewed.TEACHERS]
    keys += [("preferred", "glm"), ("preferred", "kimi")]
    keys += [("tie", ""), ("both_bad", ""), ("left", "")]
    assert [(row["question"], row["key"]) for row in rows] == keys
    for row in rows:
        ends = row["share_low"], row["share_high"]
        if int(row["decided"]) < 10:
            assert ends == ("", "")
        else:
            assert 0 <= float(ends[0]) <= float(row["share"]) <= float(ends[1]) <= 1
        assert int(row["agreeing"]) / int(row["decided"]) == float(row["share"])
    failures = [row for row in rows if row["question"] == "failure"]
    ended = pl.read_parquet(made / "reviewed.parquet")
    failed = [(ended[f"status_{k}"] != "ok").sum() for k in (1, 2)]
    assert [int(row["decided"]) + int(row["undecided"]) for row in failures] == failed


def test_texts_are_escaped_and_reviewers_stay_anonymous(made):
    latex, markdown = ((made / f"review.{form}").read_text() for form in ("tex", "md"))
    assert r"GLM\_4.1 \& co" in latex
    assert r"Kimi \$x\$" in latex
    assert "2 reviewers decided on 60 of the 60 images" in markdown
    assert "Ada" not in latex + markdown


def test_the_same_files_in_any_order_give_the_same_bytes(made, tmp_path):
    tabulate(made, made / "1.json", made / "0.json", out=tmp_path)
    for form in ("csv", "tex", "md"):
        assert (tmp_path / f"review.{form}").read_bytes() == (made / f"review.{form}").read_bytes()


def test_files_without_answers_are_reported(made, tmp_path):
    content = json.loads((made / "0.json").read_text())
    content["decisions"] = {"quality": [], "blind": []}
    (tmp_path / "none.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"no decisions in .*none\.json"):
        tabulate(made, tmp_path / "none.json", out=tmp_path)


def draw(table: pl.DataFrame):
    return draw_review(table, reviewed.TEACHERS, NAMES)


def test_the_figure_is_readable_and_shows_the_shares(made):
    table = pl.read_csv(made / "review.csv")
    figure = draw(table)
    assert_readable(figure)
    drawn = [value for c in figure.axes[0].containers for value in c.lines[0].get_xdata()]
    wanted = [table.filter(key=key).head(5)["share"] for key in reviewed.TEACHERS]
    assert drawn == pytest.approx([*wanted[0], *wanted[1]])
    # Those of one mode alone, too.
    for rows in (table.head(4), table.filter(question="preferred"), table.tail(3)):
        assert_readable(draw(rows))


@pytest.mark.slow
def test_equal_figures_are_equal_files(made, tmp_path):
    names = [(tmp_path / f"{name}.pdf", tmp_path / f"{name}.png") for name in ("first", "second")]
    for pair in names:
        save_figure(draw(pl.read_csv(made / "review.csv")), *pair)
    for first, second in zip(*names, strict=True):
        assert first.read_bytes() == second.read_bytes()
