import json
import re
import subprocess

import polars as pl
import pytest
from latex_documents import compile_latex
from missing_tools import require

from imagenet_think.report import escaping, products
from imagenet_think.report.tables import WHOLE, Column, latex, markdown, write_table

COLUMNS = [
    Column("model", "Model"),
    Column("key", "", printed=False),
    Column("f1", "Avg.", "BERTScore", ranked=True, interval=True),
    Column("images", "#", "Size & more", format=WHOLE),
]


def frame(values, low=None, high=None):
    nothing = [None] * len(values)
    numbers = {"f1": values, "f1_low": low or nothing, "f1_high": high or nothing}
    return pl.DataFrame(numbers, schema=dict.fromkeys(numbers, pl.Float64)).with_columns(
        model=pl.format("m_{}", pl.int_range(pl.len())),
        key=pl.lit("k"),
        images=250_000,
        compared=True,
    )


def cells(table):
    """Return the printed values of the ranked column, in LaTeX and in Markdown."""
    tex = latex(table, COLUMNS, "c", "l").split("\\midrule\n")[1].splitlines()
    md = markdown(table, COLUMNS, "c").splitlines()
    count = len(table)
    return (
        [line.split(" & ")[1] for line in tex[:count]],
        [line.split(" | ")[1] for line in md[4 : 4 + count]],
    )


@pytest.mark.parametrize(
    ("values", "marked"),
    [
        ([0.1, 0.3, 0.2], ["0.100", "**0.300**", "<ins>0.200</ins>"]),
        # What prints alike ranks alike.
        ([0.86712, 0.86688, 0.8641, 0.8639], [*["**0.867**"] * 2, *["<ins>0.864</ins>"] * 2]),
        # Missing values have no rank, and a single one has none.
        ([None, 0.3, float("nan"), 0.2], ["–", "**0.300**", "–", "<ins>0.200</ins>"]),
        ([0.3], ["0.300"]),
    ],
)
def test_best_is_bold_and_second_underlined(values, marked):
    tex, md = cells(frame(values))
    assert md == marked
    for sign, command in (
        (r"\*\*(.*)\*\*", r"\\textbf{\1}"),
        ("<ins>(.*)</ins>", r"\\underline{\1}"),
        ("–", r"\\textendash{}"),
    ):
        marked = [re.sub(sign, command, cell) for cell in marked]
    assert tex == marked


def test_only_compared_rows_are_marked():
    table = frame([0.9, 0.1, 0.3, 0.1, 0.5]).with_columns(
        compared=pl.Series([False, False, True, True, True])
    )
    _, md = cells(table)
    assert md == ["0.900", "0.100", "<ins>0.300</ins>", "0.100", "**0.500**"]
    _, md = cells(table.with_columns(compared=False))
    assert md == ["0.900", "0.100", "0.300", "0.100", "0.500"]


def test_numbers_words_and_yes_or_no():
    table = pl.DataFrame({"a": [1234567, 2], "b": [True, False], "c": [0.25, -0.5]})
    table = table.with_columns(d=pl.Series(["GLM-4", "x"]))
    columns = [Column("a", "A", format=WHOLE), Column("b", "B"), Column("c", "C", format=".1%")]
    columns.append(Column("d", "D"))
    md, tex = markdown(table, columns, "c"), latex(table, columns, "c", "l")
    assert "| 1,234,567 | yes | 25.0% | GLM-4 |\n| 2 | no | −50.0% | x |" in md
    # A minus in numbers, a hyphen in words; no marks, as nothing is ranked.
    assert r"1,234,567 & yes & 25.0\% & GLM-4 \\" in tex
    assert r"2 & no & $-$50.0\% & x \\" in tex


def test_intervals_are_below_the_value_in_latex_and_after_it_in_markdown():
    table = frame([0.5, 0.4], low=[0.45, -0.1], high=[0.55, 0.6])
    tex = latex(table, COLUMNS, "c", "l").splitlines()
    row = next(place for place, line in enumerate(tex) if line.startswith(r"m\_0"))
    assert tex[row].endswith(r"\\*")  # no page break before its interval
    assert tex[row + 1] == r" & {\scriptsize 0.450\textendash{}0.550} &  \\"
    assert tex[row + 3] == r" & {\scriptsize $-$0.100 to 0.600} &  \\"
    assert "| **0.500** (0.450–0.550) |" in markdown(table, COLUMNS, "c")
    assert "| <ins>0.400</ins> (−0.100 to 0.600) |" in markdown(table, COLUMNS, "c")


def test_groups_span_their_columns():
    columns = [
        Column("model", "Model"),
        Column("f1", "Avg.", "BERT_Score"),
        Column("f1_low", "Max", "BERT_Score"),
        Column("images", "N", "Other", format=WHOLE),
    ]
    tex = latex(frame([0.5]), columns, "c", "l")
    assert (
        r"\multicolumn{1}{c}{} & \multicolumn{2}{c}{BERT\_Score} & \multicolumn{1}{c}{Other} \\"
        in tex
    )
    assert r"\cmidrule(lr){2-3} \cmidrule(lr){4-4}" in tex
    assert r"| Model | BERT\_Score Avg. | BERT\_Score Max | Other N |" in markdown(
        frame([0.5]), columns, "c"
    )


def test_a_long_group_heading_is_broken_by_what_is_printed():
    def stack(heading):
        columns = [Column(name, name, heading) for name in ("f1", "images")]
        found = re.search(r"shortstack\{(.*?)\}\}", latex(frame([0.5]), columns, "c", "l"))[1]
        return found.replace(r"\allowbreak{}", "").split(r"\\")

    words = [r"Sentence-BERT Cosine", r"\& Similarity"]
    assert stack("Sentence-BERT Cosine & Similarity") == words
    lines = stack(f"{'bow' * 20} 弓弓弓弓")
    assert lines[0] == "bowbowbowbowbowbowbo"
    assert max(map(len, lines)) == 20
    assert "".join(lines).count("U+5F13") == 4


def test_the_files(tmp_path):
    table = frame([1 / 3, 0.1], low=[0.3, None], high=[0.35, None])
    stem = tmp_path / "tables" / "table3"
    defined = {"share": 0.5, "names": ["é"]}
    caption = "Scores of {share:.0%} & more, {names[0]}.".format_map
    write_table(table, COLUMNS, defined, caption, stem)
    written = pl.read_csv(f"{stem}.csv")
    assert written.columns == ["model", "key", "f1", "f1_low", "f1_high", "images"]
    assert written["f1"][0] == 1 / 3
    assert written["f1_low"][1] is None
    tex = stem.with_suffix(".tex").read_text()
    assert tex.startswith(r"\begin{table}")
    assert r"\caption{Scores of 50\% \& more, \'{e}.}" in tex
    assert r"\label{tab:table3}" in tex
    assert stem.with_suffix(".md").read_text().startswith("Scores of 50% \\& more, é.\n\n| M")
    assert json.loads(stem.with_suffix(".definitions.json").read_text()) == defined
    names = {path.name.removeprefix("table3") for path in stem.parent.iterdir()}
    assert names == set(products.TABLE_FILES)


def test_a_missing_column_is_named(tmp_path):
    with pytest.raises(pl.exceptions.ColumnNotFoundError, match="f1_high"):
        write_table(frame([0.1]).drop("f1_high"), COLUMNS, {}, str, tmp_path / "t")
    assert not list(tmp_path.iterdir())


def test_long_tables_repeat_their_headings():
    tex = latex(frame([0.1, 0.2]), COLUMNS, "c", "l", long=True)
    assert tex.count("Model & Avg.") == 2
    assert r"\begin{longtable}{lrr}" in tex
    assert r"\begin{table}" not in tex


@pytest.mark.parametrize("long", [False, True])
def test_latex_compiles(tmp_path, long):
    columns = [*COLUMNS, Column("text", "Text", width=0.3)]
    table = frame([0.5, 0.4], low=[0.45, -0.1], high=[0.55, 0.6])
    table = table.with_columns(text=pl.lit("[a_b] 100% {x} \\ <y> " * 8))
    tex = latex(table, columns, "A caption of 5% & [more].", "tab:x", long=long)
    compile_latex(tmp_path, tex, r"See \ref{tab:x}.", packages="array,booktabs,longtable")


def test_asterisks_and_brackets_that_begin_a_row_survive(tmp_path):
    """After `\\\\`, LaTeX would take them for its star and its optional argument."""
    require("pdftotext")
    names = ["*", "* starred", "[1ex] bracketed", "*[2] both", "[x"]
    columns = [Column("model", "[Model*"), Column("f1", "*Avg.", "*Scores [all] of both teachers")]
    table = frame([0.25] * len(names)).with_columns(model=pl.Series(names))
    tex = latex(table, columns, "*", "l")
    rows = [rf"{escaping.latex(name)} & {escaping.latex(name)} \\\\" for name in names]
    macros = [r"\begin{tabular}{ll}", *rows, r"\end{tabular}"]
    compile_latex(tmp_path, tex, *macros, packages="array,booktabs")
    said = ["pdftotext", "-layout", tmp_path / "text.pdf", "-"]
    text = subprocess.run(said, capture_output=True, text=True, check=True).stdout
    for name in names:
        assert re.search(rf"^ *{re.escape(name)} +0\.250$", text, re.M), name
        assert re.search(rf"^ *{re.escape(name)} +{re.escape(name)}$", text, re.M), name
    assert re.search(r"\[Model\* +\*Avg\.", text)
