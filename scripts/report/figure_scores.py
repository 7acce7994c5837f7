"""Draw the benchmarked models' scores in all metrics."""

import json
from collections.abc import Sequence

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from imagenet_think.core.job import start_job
from imagenet_think.core.settings import Values
from imagenet_think.report.common_images import COMMON, with_common
from imagenet_think.report.figures import PAIR, label, mark, panels, save_figure, style
from imagenet_think.report.table_captions import HEADINGS, count_range, models, printed_rows

AGGREGATES = {"avg": "average of the two teachers", "max": "the higher of the two"}
SPREAD = 0.16  # distance of the two aggregates from a row's middle


@style()
def draw_scores(scores: pl.DataFrame, settings: Values) -> Figure:
    """Draw the scores of full outputs: one panel per metric, one row per model, both aggregates.

    Where models are scored on different images, their means over the same ones are marked, too.
    `scores` are of schema `AGGREGATES`. Each panel has its own scale, because the metrics' ranges
    differ.
    """
    names = models(settings)
    scores = printed_rows(scores.filter(part="full"), settings)
    scores = with_common(scores, "common").filter(pl.col("value").is_not_null())
    lines, height = [label(name, 92) for name in names.values()], 13
    if not scores["compared"].all():
        own = scores.filter(~pl.col("added"))
        counts = dict(own.select("model", "images").unique().iter_rows())
        lines = [
            f"{line}\nn = {counts.get(key, 0):,}" for key, line in zip(names, lines, strict=True)
        ]
        height = 24
    figure, grid = panels(list(HEADINGS.values()), lines, 63 + height * len(names))
    for axes, metric in zip(grid, HEADINGS, strict=True):
        _panel(axes, scores.filter(metric=metric), list(names))
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def _panel(axes: Axes, scores: pl.DataFrame, models: Sequence[str]) -> None:
    """Mark both aggregates, and where models are scored on different images also the same ones."""
    common = scores.filter("added")
    for (aggregate, name), (colour, marker, *_), shift in zip(
        AGGREGATES.items(), PAIR, (-SPREAD, SPREAD), strict=True
    ):
        face = colour if aggregate == "avg" else "white"
        look = {"colour": colour, "marker": marker, "face": face}
        rows = scores.filter(~pl.col("added"), pl.col("aggregate") == aggregate)
        mark(axes, rows, "model", models, shift, **look, legend=name)
        if len(common):
            rows = common.filter(aggregate=aggregate)
            same = f"the same, over the {count_range(common['images'])} {COMMON}"
            mark(axes, rows, "model", models, shift, **look | {"marker": "x"}, legend=same)
    axes.grid(axis="both")


if __name__ == "__main__":
    snakemake = start_job()
    settings = json.loads(snakemake.params.settings)
    figure = draw_scores(pl.read_parquet(snakemake.input.aggregate), settings)
    save_figure(figure, snakemake.output.pdf, snakemake.output.png)
