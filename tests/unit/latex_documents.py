"""Small LaTeX documents around what the pipeline typesets."""

import subprocess
from pathlib import Path

from missing_tools import require


def compile_latex(folder: Path, *body: str, packages: str = "") -> None:
    """Compile lines of LaTeX, in T1 encoding as in the paper; fail with LaTeX's messages."""
    require("pdflatex")
    lines = [r"\documentclass{article}", r"\usepackage[T1]{fontenc}"]
    lines += [rf"\usepackage{{{packages}}}"] if packages else []
    lines += [r"\begin{document}", *body, r"\end{document}"]
    (folder / "text.tex").write_text("\n".join(lines), encoding="ascii")
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "text.tex"],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-2000:]
