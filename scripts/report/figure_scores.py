"""Draw the benchmarked models' scores in all metrics."""

import json
from collections.abc import Sequence

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from imagenet_think.core.job import start_job
from imagenet_think.core.settings import Values
from imagenet_think.report.figures import PAIR, label, mark, panels, save_figure, style
from imagenet_think.report.table_captions import HEADINGS, models, printed_rows

AGGREGATES = {"avg": "average of the two teachers", "max": "the higher of the two"}
SPREAD = 0.16  # distance of the two aggregates from a row's middle


@style()
def draw_scores(scores: pl.DataFrame, settings: Values) -> Figure:
    """Draw the scores of full outputs: one panel per metric, one row per model, both aggregates.

    `scores` are of schema `AGGREGATES`. Each panel has its own scale, because the metrics' ranges
    differ.
    """
    names = models(settings)
    scores = printed_rows(scores.filter(part="full"), settings)
    lines = [label(name, 92) for name in names.values()]
    figure, grid = panels(list(HEADINGS.values()), lines, 63 + 13 * len(names))
    for axes, metric in zip(grid, HEADINGS, strict=True):
        _panel(axes, scores.filter(metric=metric), list(names))
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def _panel(axes: Axes, scores: pl.DataFrame, models: Sequence[str]) -> None:
    for (aggregate, name), (colour, marker, *_), shift in zip(
        AGGREGATES.items(), PAIR, (-SPREAD, SPREAD), strict=True
    ):
        rows = scores.filter(pl.col("aggregate") == aggregate, pl.col("value").is_not_null())
        face = colour if aggregate == "avg" else "white"
        look = {"colour": colour, "marker": marker, "face": face}
        mark(axes, rows, "model", models, shift, **look, legend=name)
    axes.grid(axis="both")


if __name__ == "__main__":
    snakemake = start_job()
    settings = json.loads(snakemake.params.settings)
    figure = draw_scores(pl.read_parquet(snakemake.input.aggregate), settings)
    save_figure(figure, snakemake.output.pdf, snakemake.output.png)
