"""A table and a figure that are added by their script and one row of the registry."""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from .conftest import Project, listed

pytestmark = pytest.mark.slow

TINY = ("--configfile", "config/tiny.yaml", "--cores", "2")
REGISTRY = Path("scripts", "imagenet_think", "report", "products.py")


@dataclass(frozen=True)
class Added:
    """A product, as its author writes it."""

    name: str
    script: str
    category: str
    code: str
    forms: tuple[str, ...]
    shown: str

    @property
    def row(self) -> str:
        return f"""
    Product(
        "{self.name}",
        "Images by domain, counted anew",
        "An added product, which {{ablation_model}} has no part in.",
        {self.category},
        script="{self.script}",
        inputs={{"sample": _SAMPLE}},
        reads=("run",),
    ),"""


TABLE = Added(
    "domains",
    "table_domains",
    "FURTHER",
    '''"""Count the images of each domain."""

from pathlib import Path

import polars as pl

from imagenet_think.core.logs import log_to
from imagenet_think.report.tables import WHOLE, Column, write_table

if __name__ == "__main__":
    log_to(snakemake.log[0])
    counts = pl.read_parquet(snakemake.input.sample).group_by("domain").len("images")
    columns = [Column("domain", "Domain"), Column("images", "Images", format=WHOLE)]
    stem = Path(snakemake.output[0]).with_suffix("")
    write_table(counts.sort("domain"), columns, "Images by domain.", stem)
''',
    ("tables/domains.csv", "tables/domains.tex", "tables/domains.md"),
    "pages/domains.html",
)

FIGURE = Added(
    "figure_domains",
    "figure_domains",
    "FIGURES",
    '''"""Draw the number of images of each domain."""

import polars as pl

from imagenet_think.core.logs import log_to
from imagenet_think.report.figures import PAGE, chart, save_figure

if __name__ == "__main__":
    log_to(snakemake.log[0])
    counts = pl.read_parquet(snakemake.input.sample).group_by("domain").len("images")
    counts = counts.sort("domain")
    figure = chart(PAGE, 100)
    figure.subplots().barh(counts["domain"], counts["images"])
    save_figure(figure, snakemake.output.pdf, snakemake.output.png)
''',
    ("figures/figure_domains.pdf", "figures/figure_domains.png"),
    "figures/figure_domains.pdf",
)


def sources(project: Project) -> dict[str, bytes]:
    """Return the project's own files."""
    folders = ("config", "paper", "resources", "rules", "scripts", "tests")
    files = (file for name in folders for file in (project.root / name).rglob("*"))
    return {
        str(file.relative_to(project.root)): file.read_bytes()
        for file in [project.root / "Snakefile", *files]
        if file.is_file() and file.suffix != ".pyc"
    }


@pytest.mark.parametrize(("added", "target"), [(TABLE, "tables"), (FIGURE, "figures")])
def test_a_product_is_its_script_and_one_row(added, target, tiny, tmp_path):
    project = tiny.copy(tmp_path / "project")
    results = project.root / "results" / "tiny"
    before = sources(project)
    script = Path("scripts", "report", f"{added.script}.py")
    (project.root / script).write_text(added.code)
    registry = (project.root / REGISTRY).read_text()
    start = "\nPRODUCTS = ("
    assert start in registry
    (project.root / REGISTRY).write_text(registry.replace(start, start + added.row, 1))
    after = sources(project)
    changed = {name for name, text in after.items() if before.get(name) != text}
    assert changed == {str(REGISTRY), str(script)}
    assert before.keys() <= after.keys()

    # The plan: nothing but the product and what shows it. The paper is among its consumers.
    plan = project.snakemake(*TINY, "-n", "all", "paper")
    rerun = {added.script: 1, "render_pages": 1} if added is TABLE else {added.script: 1}
    paper = {"compile_paper": 1, "export_numbers": 1}
    assert listed(plan) == {name: 1 for name in rerun | paper}
    (reason,) = re.findall(r"Typesetting the paper\nReason: (.*)", plan)
    (printed,) = [name for name in added.forms if name.endswith((".tex", ".pdf"))]
    assert f"results/tiny/{printed}" in reason
    status = project.snakemake(*TINY, "status")
    assert re.search(r"^report +(\d+) +\d+ ", status, re.M), status

    project.snakemake(*TINY, target, "pages")
    assert all((results / name).stat().st_size for name in added.forms)
    project.snakemake(*TINY, "--report", "report.html", "all")
    report = (project.root / "report.html").read_text()
    for words in ("Images by domain, counted anew", "An added product", f"tiny/{added.shown}"):
        assert words in report
