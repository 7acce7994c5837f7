"""Draw the agreement between the teachers, next to that of each teacher's texts on other images."""

import json
from collections.abc import Mapping

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from imagenet_think.core.job import start_job
from imagenet_think.core.schemas import BETWEEN, OTHER_CLASS, SAME_CLASS
from imagenet_think.core.settings import Values
from imagenet_think.report.figures import GREY, PAIR, label, mark, panels, save_figure, style
from imagenet_think.report.table_captions import HEADINGS, SHORT_PARTS, printed_rows

SPREAD = 0.27  # distance of the rows of a part
BASELINES = {SAME_CLASS: "other image, same class", OTHER_CLASS: "other image, other class"}


@style()
def draw_agreement(aggregates: pl.DataFrame, settings: Values) -> Figure:
    """Draw the numbers of all images: one panel per metric, three rows per part.

    The first row of a part is the teachers' agreement on the same image; the others are each
    teacher's agreement with itself on other images: of the class (filled) and of another class
    (hollow). Each panel has its own scale. `aggregates` are of schema `AGREEMENT_AGGREGATES`.
    """
    names = {key: settings["models"][key]["name"] for key in settings["teachers"]}
    figure, grid = panels(list(HEADINGS.values()), list(SHORT_PARTS.values()), 143)
    means = printed_rows(aggregates, settings).filter(
        pl.col("grouping") == "all", pl.col("minus").is_null(), pl.col("value").is_not_null()
    )
    for axes, metric in zip(grid, HEADINGS, strict=True):
        _panel(axes, means.filter(metric=metric), names)
    handles, legend = grid[0].get_legend_handles_labels()
    # Each teacher has a column of the legend, and nothing is below the first entry.
    handles.insert(1, Line2D([], [], linestyle="none"))
    legend.insert(1, "")
    figure.legend(handles, legend, loc="outside lower center", ncols=3)
    return figure


def _panel(axes: Axes, means: pl.DataFrame, names: Mapping[str, str]) -> None:
    parts = list(SHORT_PARTS)
    between = means.filter(model=next(iter(names)), against=BETWEEN)
    look = {"colour": GREY, "marker": "s", "face": GREY}
    mark(axes, between, "part", parts, -SPREAD, **look, legend="both teachers,\nsame image")
    for shift, (colour, marker, *_), teacher in zip((0, SPREAD), PAIR, names, strict=True):
        for against, words in BASELINES.items():
            rows = means.filter(model=teacher, against=against)
            face = colour if against == SAME_CLASS else "white"
            look = {"colour": colour, "marker": marker, "face": face}
            name = f"{label(names[teacher], 126)}\n{words}"
            mark(axes, rows, "part", parts, shift, **look, legend=name)
    for place in range(1, len(SHORT_PARTS)):
        axes.axhline(place - 0.5, color="#d9d9d9", linewidth=0.5)
    axes.grid(axis="x")


if __name__ == "__main__":
    snakemake = start_job()
    settings = json.loads(snakemake.params.settings)
    figure = draw_agreement(pl.read_parquet(snakemake.input.aggregate), settings)
    save_figure(figure, snakemake.output.pdf, snakemake.output.png)
