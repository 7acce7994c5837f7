"""Helpers of the tests that add something to a finished run."""

from .conftest import BIN, Project

CONFIG = ["--configfile", "config/tiny.yaml", "--cores", "2"]
RESULTS = "results/tiny"
REPORTED = {
    "write_card": "dataset/README.md",
    "export_numbers": "paper/numbers.tex",
    "compare_with_paper": "comparison.md",
}
"""Rules that write about how images were chosen, and the files."""


def report_again(project: Project) -> dict[str, str]:
    """Run the rules that write about how images were chosen, on the texts that there are.

    Returns the file of each rule by the rule's name, white space as single spaces.
    """
    files = [f"{RESULTS}/{file}" for file in REPORTED.values()]
    project.snakemake(*CONFIG, "--allowed-rules", *REPORTED, "--forcerun", *REPORTED, "--", *files)
    return {
        name: " ".join((project.root / RESULTS / file).read_text().split())
        for name, file in REPORTED.items()
    }


def documented(project: Project) -> str:
    """Return the documentation of the config."""
    return project.call(
        *("env", f"PYTHONPATH={project.root}/scripts", str(BIN / "python")),
        *("-m", "imagenet_think.run.configuration"),
    )
