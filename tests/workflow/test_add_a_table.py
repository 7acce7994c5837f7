"""A table and a figure that are added by their script and one row of the registry."""

import re
from dataclasses import dataclass

import pytest

from .additions import CONFIG, RESULTS
from .conftest import listed

pytestmark = pytest.mark.slow

REGISTRY = "scripts/imagenet_think/report/products.py"


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
        "Images of each domain",
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

from imagenet_think.core.job import start_job
from imagenet_think.report.tables import WHOLE, Column, write_table

if __name__ == "__main__":
    snakemake = start_job()
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

from imagenet_think.core.job import start_job
from imagenet_think.report.figures import PAGE, chart, save_figure

if __name__ == "__main__":
    snakemake = start_job()
    counts = pl.read_parquet(snakemake.input.sample).group_by("domain").len("images")
    counts = counts.sort("domain")
    figure = chart(PAGE, 100)
    figure.subplots().barh(counts["domain"], counts["images"])
    save_figure(figure, snakemake.output.pdf, snakemake.output.png)
''',
    ("figures/figure_domains.pdf", "figures/figure_domains.png"),
    "figures/figure_domains.pdf",
)


@pytest.mark.parametrize(("added", "target"), [(TABLE, "tables"), (FIGURE, "figures")])
def test_a_product_is_its_script_and_one_row(added, target, finished):
    script = f"scripts/report/{added.script}.py"
    (finished.root / script).write_text(added.code)
    registry, start = (finished.root / REGISTRY).read_text(), "\nPRODUCTS = ("
    assert start in registry
    (finished.root / REGISTRY).write_text(registry.replace(start, start + added.row, 1))

    # The plan: nothing but the product and what shows it. The paper is among its consumers.
    plan = finished.snakemake(*CONFIG, "-n", "all", "paper")
    pages = ["render_pages"] if added is TABLE else []
    planned = [added.script, *pages, "compile_paper", "export_numbers"]
    assert listed(plan) == dict.fromkeys(planned, 1)
    (reason,) = re.findall(r"Typesetting the paper\nReason: (.*)", plan)
    (printed,) = [name for name in added.forms if name.endswith((".tex", ".pdf"))]
    assert f"{RESULTS}/{printed}" in reason
    status = finished.snakemake(*CONFIG, "status")
    done, of = map(int, re.search(r"Not finished: (\d+) of (\d+) jobs", status).groups())
    assert of - done >= 1 + len(pages)

    finished.snakemake(*CONFIG, target, "pages")
    assert all((finished.root / RESULTS / name).stat().st_size for name in added.forms)
    finished.snakemake(*CONFIG, "--report", "report.html", "all")
    report = (finished.root / "report.html").read_text()
    for words in (
        "Images of each domain",
        "An added product",
        f"{RESULTS}/{added.shown}",
    ):
        assert words in report
