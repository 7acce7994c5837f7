import re

import polars as pl
import pytest
from synthetic_run import CONFIG, ROOT, make_run

from export_numbers import export_numbers
from imagenet_think.core.wording import series
from imagenet_think.report import paper_macros, products
from imagenet_think.report.comparability import VECTORS
from imagenet_think.report.macros import define, number, spelled

MAIN = (ROOT / "paper" / "main.tex").read_text(encoding="utf-8")
BODY = MAIN.split(r"\begin{document}")[1]

# What counts as typed: any digit of the document's body, and any word that could spell a result,
# outside of comments and of what follows. The preamble sets lengths and sizes; the bibliography has
# years and pages of its own. "One" and "both" are words of every sentence.
WORDS = (
    r"\b(?:two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|dozens?|hundreds?|thousands?"
    r"|millions?|billions?|twice|half|halves|percent)\b"
)
# Names that contain digits, formulas of the paper, and places in it.
NAMES = ("ImageNet-Think-250K", "ImageNet-21K-P", "ImageNet-21k", "R1-Onevision", "InternVL3.5")
NAMES += ("the F1 of", "GLM-4.1V-9B-Thinking", "Kimi-VL-A3B-Thinking-2506")
FORMULAS = (r"$s_1$", r"$s_2$", r"$m_{\text{avg}} = (s_1 + s_2)/2$", r"\max(s_1, s_2)$")
PLACES = r"(Section|Table|Equation|Figure)s? \d(\.\d)?( (to|and) \d(\.\d)?)?"
COMMANDS = (
    r"\\(label|ref|input|includegraphics|cite\w*)\{[^}]*\}|p\{0?\.\d+\\textwidth\}|\[[\d.]+ex\]"
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return folder, make_run(folder)


def exported(run, **changed):
    """Return the macros of a run, and whether they say that it is the paper's."""
    folder, inputs = run
    export_numbers(**inputs | changed, output=folder / "numbers.tex")
    text = (folder / "numbers.tex").read_text(encoding="utf-8")
    return read_macros(text), r"\PaperRuntrue" in text


@pytest.fixture(scope="module")
def macros(run):
    return exported(run)[0]


def read_macros(text):
    return dict(
        re.findall(r"\\newcommand\{\\([A-Za-z]+)\}\{(.*?)\}(?=\n\\newcommand|\n\Z)", text, re.S)
    )


def used_macros(text):
    """Return the run's macros in the text: they begin with a capital letter."""
    return set(re.findall(r"\\([A-Z][A-Za-z]+)", text)) - {"AddToHook", "LTcapwidth"}


def typed_numbers(text):
    text = re.sub(r"(?<!\\)%.*", "", text)
    for allowed in (*NAMES, *FORMULAS):
        text = text.replace(allowed, "")
    text = re.sub(r"\s+", " ", text.replace("~", " "))
    text = re.sub(COMMANDS, "", text)
    return re.findall(rf".{{0,30}}(?:\d|{WORDS}).{{0,20}}", re.sub(PLACES, "", text), re.I)


def test_no_number_is_typed():
    assert typed_numbers(BODY) == []
    examples = ("of 250,000 images", "$0.87$", r"4\%", "$m = 3$", "its two teachers")
    for text in (*examples, "Eight metrics", "a Half"):
        assert typed_numbers(text)


def test_every_macro_is_defined_and_used(macros):
    assert used_macros(MAIN) == macros.keys()


def test_every_table_and_figure_is_included_and_cited(run):
    folder, _ = run
    paths = [*(folder / "tables").glob("*.tex"), folder / "comparison.tex", folder / "audit.tex"]
    for path in paths:
        assert rf"\input{{{path.relative_to(folder)}}}" in BODY
        for label in re.findall(r"\\label\{(.*?)\}", path.read_text()):
            assert rf"\ref{{{label}}}" in BODY
    for name in (figure.name for figure in products.figures() if figure.in_paper):
        assert rf"\includegraphics{{figures/{name}.pdf}}" in BODY
        assert rf"\ref{{fig:{name.removeprefix('figure_')}}}" in BODY


def test_the_paper_prints_the_products_that_say_so():
    printed = re.findall(r"\\(?:input|includegraphics)\{(?:tables|figures)/(\w+)\.", BODY)
    assert sorted(printed) == sorted(each.name for each in products.PRODUCTS if each.in_paper)


def test_every_citation_is_in_the_bibliography():
    entries = set(re.findall(r"@\w+\{(\w+),", (ROOT / "paper" / "references.bib").read_text()))
    cited = ",".join(re.findall(r"\\cite\w*(?:\[[^\]]*\])*\{([^}]*)\}", MAIN))
    assert {key.strip() for key in cited.split(",")} == entries


def test_numbers_are_those_of_the_files(macros):
    numbers = {"RunName": "miniature", "NumImages": "40 images", "NumClasses": "4 classes"}
    numbers |= {"NumDomains": "4 domains", "NumBenchmarked": "five models"}
    numbers |= {"NumResponses": "280", "NumPairs": "80", "NumExcluded": "9", "NumMetrics": "eight"}
    numbers |= {"ExcludedReasons": ": too small (5), near duplicate (3) and undecodable (1)"}
    numbers |= {"PaperImages": "250,000", "IntervalLevel": r"95\%", "NumTeachers": "two"}
    numbers |= {"PaperPrompts": "two", "ComparedComparable": "0", "ComparedInside": "0"}
    assert {name: macros[name] for name in numbers} == numbers
    assert macros["StatusRows"].count(r"\\") == len(CONFIG["models"])
    assert "drawings" in macros["ComparisonReasons"]


def test_teachers_are_first_whatever_the_order_of_the_config(run):
    models = dict(sorted(CONFIG["models"].items(), reverse=True))
    macros, _ = exported(run, settings=CONFIG | {"models": models})
    for rows in (macros["ModelRows"], macros["StatusRows"]):
        assert 0 == rows.index(macros["TeacherOne"]) < rows.index(macros["TeacherTwo"])


@pytest.mark.parametrize(
    ("decoding", "printed"),
    [
        ({"temperature": 0.6}, "0.6"),
        ({"from_checkpoint": True}, "checkpoint's"),
        ({"from_checkpoint": True, "temperature": 0.2}, "0.2"),
        ({"from_checkpoint": False, "temperature": 0.0}, "0"),
    ],
)
def test_the_table_of_models_has_the_temperature_in_force(decoding, printed):
    model = {"repository": "owner/name", "decoding": {"max_new_tokens": 8192} | decoding}
    assert paper_macros._origin(model) == [r"\texttt{owner/name}", "8,192", printed]


def test_best_models_are_those_of_the_tables(run, macros):
    table = pl.read_csv(run[0] / "tables" / "table5.csv")
    best = table.sort("overlap_avg", descending=True).row(0, named=True)
    assert macros["BestOverlap"] == f"{best['overlap_avg']:.3f}"
    assert macros["BestOverlapModels"] == best["model"]


def test_the_dataset_s_rows_are_those_of_its_splits(run, macros):
    _, inputs = run
    ids = pl.read_parquet(inputs["sample"], columns=["image_id"])["image_id"]
    annotations = pl.read_parquet(inputs["annotations"])
    teachers = annotations.filter(pl.col("model").is_in(CONFIG["teachers"]))
    failed = teachers.filter(pl.col("status") != "ok")["image_id"].n_unique()
    rows = re.findall(r"texttt\{(\w+)\} & (\d+) & (\d+)", macros["SplitRows"])
    assert [name for name, *_ in rows] == ["train", "validation", "test"]
    sizes = [int(rows) + int(left) for _, rows, left in rows]
    assert sizes == [len(ids) - 3 * 4, 1 * 4, 2 * 4]  # of four classes
    assert sum(int(left) for *_, left in rows) == int(macros["DatasetLeftOut"]) == failed > 0
    assert int(macros["DatasetRows"]) == len(ids) - failed


def test_only_a_run_without_a_reason_says_that_it_is_the_paper_s(run, tmp_path):
    comparison = pl.read_csv(run[1]["comparison"])
    own = comparison.with_columns(reasons=pl.when(pl.col("ours").is_null()).then("reasons"))
    sixth = pl.col("table") == "Tab. 6"
    unclear = own.with_columns(reasons=pl.when(sixth).then(pl.lit(VECTORS)).otherwise("reasons"))
    for frame, is_the_paper_s in ((comparison, False), (own, True), (unclear, True)):
        frame.write_csv(tmp_path / "comparison.csv")
        assert exported(run, comparison=tmp_path / "comparison.csv")[1] == is_the_paper_s


def test_a_missing_table_is_named(run):
    tables = [path for path in run[1]["tables"] if path.stem != "table4"]
    with pytest.raises(ValueError, match="table4"):
        exported(run, tables=tables)


def test_a_macro_has_letters_only():
    with pytest.raises(ValueError, match="Best1"):
        define({"Best1": "1"}, {})
    with pytest.raises(ValueError, match="Table1"):
        define({}, {"Table1": True})


def test_numbers_as_text():
    assert number(1234567) == "1,234,567"
    assert number(-0.5, 1) == "$-$0.5"
    assert number(None) == "--"
    assert series(["a", "b", "c"]) == "a, b and c"
    assert series(["a"]) == "a"
    assert series([]) == ""
    assert [spelled(n) for n in (0, 2, 12, 13)] == ["no", "two", "twelve", "13"]
