import shutil

import pytest
from synthetic_run import ROOT, make_figures, make_run

import compile_paper as paper
from export_numbers import export_numbers


def test_without_latexmk_the_message_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"apt-get install .*latexmk"):
        paper.compile_paper([], [], [], tmp_path / "paper.pdf")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("latexmk") is None, reason="needs a LaTeX installation")
def test_the_paper_compiles_to_the_same_bytes(tmp_path, caplog):
    inputs = make_run(tmp_path)
    export_numbers(**inputs, output=tmp_path / "numbers.tex")
    files = {
        "sources": [
            *(ROOT / "paper").glob("*.*"),
            tmp_path / "numbers.tex",
            tmp_path / "comparison.tex",
        ],
        "tables": list((tmp_path / "tables").glob("*.tex")),
        "figures": make_figures(tmp_path),
    }
    for name in ("first", "second"):
        paper.compile_paper(**files, output=tmp_path / name / "paper.pdf")
        assert [path.name for path in (tmp_path / name).iterdir()] == ["paper.pdf"]
    first, second = (tmp_path / name / "paper.pdf" for name in ("first", "second"))
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes().startswith(b"%PDF")
    log = "\n".join(r.message for r in caplog.records if r.levelname == "WARNING")
    assert "undefined" not in log
    assert "Missing character" not in log


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("latexmk") is None, reason="needs a LaTeX installation")
def test_an_error_of_latex_is_told_and_leaves_nothing(tmp_path):
    (tmp_path / "main.tex").write_text(
        "\\documentclass{article}\\begin{document}\\NoSuchMacro\\end{document}"
    )
    output = tmp_path / "out" / "paper.pdf"
    with pytest.raises(RuntimeError, match="Undefined control sequence"):
        paper.compile_paper([tmp_path / "main.tex"], [], [], output)
    assert not list(output.parent.iterdir())
