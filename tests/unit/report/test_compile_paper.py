import pytest
from missing_tools import require

import compile_paper as paper


def test_without_latexmk_the_message_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"apt-get install .*latexmk"):
        paper.compile_paper([], [], [], tmp_path / "paper.pdf")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        (r"Overfull \hbox (15.3pt too wide) in paragraph at lines 10--12", True),
        (r"Overfull \hbox (0.8pt too wide) in paragraph at lines 10--12", False),
        (r"Overfull \vbox (30.0pt too high) has occurred while \output is active", True),
        (r"Underfull \hbox (badness 10000) in paragraph at lines 10--12", False),
        ("Missing character: There is no ŝ in font ec-lmr10!", True),
        ("LaTeX Warning: Reference `tab:x' on page 3 undefined on input line 9.", True),
        ("Package natbib Warning: Citation `x' on page 1 undefined on input line 3.", True),
        ("LaTeX Warning: Label `tab:x' multiply defined.", True),
        ("LaTeX Font Info: Trying to load font information for T1+lmss", False),
    ],
)
def test_typesetting_problems_are_reported(line, wrong):
    assert paper.is_wrong(line) == wrong


@pytest.mark.slow
def test_an_error_of_latex_is_reported_and_leaves_no_files(tmp_path):
    require("latexmk")
    (tmp_path / "main.tex").write_text(
        "\\documentclass{article}\\begin{document}\\NoSuchMacro\\end{document}"
    )
    output = tmp_path / "out" / "paper.pdf"
    with pytest.raises(RuntimeError, match="Undefined control sequence"):
        paper.compile_paper([tmp_path / "main.tex"], [], [], output)
    assert not list(output.parent.iterdir())
