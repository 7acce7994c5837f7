"""Compile the paper with the numbers, tables and figures of a run."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from imagenet_think.core.files import atomic_path, scratch_folder
from imagenet_think.core.job import start_job
from imagenet_think.core.logs import logger

PACKAGES = "latexmk texlive-latex-recommended lmodern"
TOO_WIDE = 2.0
"""Points by which a box may be too wide without being noticeable."""

COMMAND = ("latexmk", "-pdf", "-halt-on-error", "-interaction=nonstopmode", "-file-line-error")


def compile_paper(
    sources: Sequence[str | Path],
    tables: Sequence[str | Path],
    figures: Sequence[str | Path],
    output: str | Path,
) -> None:
    """Compile `main.tex` among the sources to a PDF that is the same for the same inputs.

    Parameters
    ----------
    sources
        Files of the main folder: main.tex, references.bib, numbers.tex, comparison.tex, audit.tex.
    tables, figures
        LaTeX files that the paper inputs from `tables/`, and PDF files from `figures/`.
    output
        The PDF.

    Raises
    ------
    FileNotFoundError
        If latexmk is not installed.
    RuntimeError
        If the paper does not compile; the message contains LaTeX's errors.
    """
    if shutil.which(COMMAND[0]) is None:
        raise FileNotFoundError(
            "the paper needs latexmk, which is not installed. On Debian and Ubuntu: "
            f"apt-get install --no-install-recommends {PACKAGES}"
        )
    output = Path(output)
    with scratch_folder(output) as build:
        for folder, paths in (("", sources), ("tables", tables), ("figures", figures)):
            (build / folder).mkdir(exist_ok=True)
            for path in paths:
                shutil.copyfile(path, build / folder / Path(path).name)
        _run(build)
        with atomic_path(output) as temporary:
            shutil.copyfile(build / "main.pdf", temporary)


def _run(build: Path) -> None:
    """Run latexmk in a folder, and log typesetting problems."""
    fixed = {"SOURCE_DATE_EPOCH": "0", "FORCE_SOURCE_DATE": "1", "TZ": "UTC", "LC_ALL": "C.UTF-8"}
    with subprocess.Popen(
        [*COMMAND, "main.tex"],
        cwd=build,
        env=os.environ | fixed,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            printed, errors = process.communicate()
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)  # LaTeX too, which writes into the folder
            process.communicate()  # until all of them have ended
            raise
    logger.info("%s", printed)
    log = build / "main.log"
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n") if log.exists() else []
    if process.returncode:
        wrong = [line for line in lines if ".tex:" in line or line.startswith("!")]
        raise RuntimeError(
            "the paper does not compile: "
            + ("\n".join(wrong[:20]) or f"{printed[-2000:]}\n{errors[-2000:]}")
        )
    for line in filter(is_wrong, lines):
        logger.warning("%s", line)


def is_wrong(line: str) -> bool:
    """Return whether a line of LaTeX's log reports a visible problem.

    That is text that sticks out by more than `TOO_WIDE`, a character that no font has, or a
    reference, citation or label that is undefined or defined twice.
    """
    wide = re.match(r"Overfull \\[hv]box \(([\d.]+)pt too", line)
    lacking = "Missing character" in line or re.search("undefined|multiply.defined", line)
    return bool(lacking) or (wide is not None and float(wide[1]) > TOO_WIDE)


if __name__ == "__main__":
    snakemake = start_job()
    compile_paper(
        sources=snakemake.input.sources,
        tables=snakemake.input.tables,
        figures=snakemake.input.figures,
        output=snakemake.output[0],
    )
