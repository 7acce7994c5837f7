import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from missing_tools import require
from waiting import wait_for

import compile_paper as paper
from imagenet_think.core.processes import start_of


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


LATEXMK = """\
#!/bin/sh
(while :; do echo text > main.aux; done) &
echo $! > {folder}/child
wait
"""

WORKER = """
import sys
from pathlib import Path
import compile_paper
from imagenet_think.core import job
job.exit_on_sigterm()
folder = Path(sys.argv[1])
compile_paper.compile_paper([], [], [], folder / "out" / "paper.pdf")
"""


def test_sigterm_ends_latex_too_and_leaves_no_files(tmp_path):
    (tmp_path / "latexmk").write_text(LATEXMK.format(folder=tmp_path))
    (tmp_path / "latexmk").chmod(0o755)
    scripts = Path(paper.__file__).parent
    path = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "PYTHONPATH": f"{scripts}:{scripts.parent}",
    }
    command = [sys.executable, "-c", WORKER, str(tmp_path)]
    with subprocess.Popen(command, env=os.environ | path, stderr=subprocess.DEVNULL) as process:
        child = tmp_path / "child"
        wait_for(lambda: child.exists() and child.read_text().endswith("\n"))
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=600) == 143
    assert not list((tmp_path / "out").iterdir())
    wait_for(lambda: start_of(int(child.read_text())) in (None, "ended"))
