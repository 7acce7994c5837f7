"""A table and a figure that are added by their script and one row of the registry."""

import re

import pytest

from .additions import CONFIG, RESULTS
from .conftest import listed

pytestmark = pytest.mark.slow

REGISTRY = "scripts/imagenet_think/report/products.py"
ROW = """
    Product(
        "{name}",
        "Images of each domain",
        "An added product, which {{ablation_model}} has no part in.",
        {category},
        script="{script}",
        inputs={{"sample": _SAMPLE}},
        reads=("run",),
    ),"""
TABLE = '''"""Count the images of each domain."""

from pathlib import Path

import polars as pl

from imagenet_think.core.job import start_job
from imagenet_think.report.tables import WHOLE, Column, write_table

if __name__ == "__main__":
    snakemake = start_job()
    counts = pl.read_parquet(snakemake.input.sample).group_by("domain").len("images")
    columns = [Column("domain", "Domain"), Column("images", "Images", format=WHOLE)]
    stem = Path(snakemake.output[0]).with_suffix("")
    defined = {"images": int(counts["images"].sum())}
    caption = "Images by domain, {images} in all.".format_map
    write_table(counts.sort("domain"), columns, defined, caption, stem)
'''
FORMS = "csv tex md definitions.json"
FIGURE = '''"""Draw the number of images of each domain."""

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
'''


@pytest.mark.parametrize(
    ("target", "name", "script", "category", "code", "forms", "pages"),
    [
        ("tables", "domains", "table_domains", "FURTHER", TABLE, FORMS, ["render_pages"]),
        ("figures", "figure_domains", "figure_domains", "FIGURES", FIGURE, "png pdf", []),
    ],
)
def test_a_product_is_its_script_and_one_row(
    target, name, script, category, code, forms, pages, finished
):
    (finished.root / f"scripts/report/{script}.py").write_text(code)
    row = ROW.format(name=name, category=category, script=script)
    registry, start = (finished.root / REGISTRY).read_text(), "\nPRODUCTS = ("
    assert start in registry
    (finished.root / REGISTRY).write_text(registry.replace(start, start + row, 1))

    # The plan: nothing but the product and what shows it. The paper is among its consumers.
    plan = finished.snakemake(*CONFIG, "-n", "all", "paper")
    planned = [script, *pages, "compile_paper", "export_numbers"]
    assert listed(plan) == dict.fromkeys(planned, 1)
    (reason,) = re.findall(r"Typesetting the paper\nReason: (.*)", plan)
    printed = "pdf" if target == "figures" else "tex"
    assert f"{RESULTS}/{target}/{name}.{printed}" in reason
    status = finished.snakemake(*CONFIG, "status")
    done, of = map(int, re.search(r"Not finished: (\d+) of (\d+) jobs", status).groups())
    assert of - done >= 1 + len(pages)

    finished.snakemake(*CONFIG, target, "pages")
    for form in forms.split():
        assert (finished.root / RESULTS / target / f"{name}.{form}").stat().st_size
    finished.snakemake(*CONFIG, "--report", "report.html", "all")
    report = (finished.root / "report.html").read_text()
    shown = f"pages/{name}.html" if pages else f"{target}/{name}.pdf"
    for words in ("Images of each domain", "An added product", f"{RESULTS}/{shown}"):
        assert words in report
