"""Draw the benchmarked models' scores in eight metrics."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from imagenet_think.core.logs import log_to
from imagenet_think.core.settings import names
from imagenet_think.report.figures import PAGE, PAIR, chart, label, mark, save_figure, style
from imagenet_think.report.table_captions import HEADINGS

if TYPE_CHECKING:
    from imagenet_think.core.job import snakemake

AGGREGATES = {"avg": "average of the two teachers", "max": "the higher of the two"}
SPREAD = 0.16  # distance of the two aggregates from a row's middle


@style()
def draw_scores(
    scores: pl.DataFrame, models: Sequence[str], names: Mapping[str, str], printed_tfidf: str
) -> Figure:
    """Draw the scores of full outputs: a panel a metric, a row a model, both aggregates.

    Parameters
    ----------
    scores
        Columns as in `schemas.AGGREGATES`.
    models
        Keys of the models, from top to bottom.
    names
        Their names.
    printed_tfidf
        The variant that stands for `tfidf`.

    Returns
    -------
    Figure
        As wide as a page. Each panel has its own scale, because the metrics' ranges differ.
    """
    figure = chart(PAGE, 126 + 2 * 13 * len(models))
    panels = figure.subplots(2, 4, sharey=True)
    scores = scores.filter(pl.col("part") == "full")
    for axes, (metric, title) in zip(panels.flat, HEADINGS.items(), strict=True):
        variant = printed_tfidf if metric == "tfidf" else metric
        _panel(axes, scores.filter(pl.col("metric") == variant), models)
        axes.set_title(label(title, 74, 7))
    shown = [label(names.get(model, model), 92) for model in models]
    panels[0, 0].set_yticks(range(len(models)), shown)
    panels[0, 0].set_ylim(len(models) - 0.5, -0.5)
    handles, legend = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, legend, loc="outside lower center", ncols=2)
    return figure


def _panel(axes: Axes, scores: pl.DataFrame, models: Sequence[str]) -> None:
    for (aggregate, name), (colour, marker, *_), shift in zip(
        AGGREGATES.items(), PAIR, (-SPREAD, SPREAD), strict=True
    ):
        rows = scores.filter(pl.col("aggregate") == aggregate, pl.col("value").is_not_null())
        face = colour if aggregate == "avg" else "white"
        look = {"colour": colour, "marker": marker, "face": face}
        mark(axes, rows, "model", models, shift, **look, legend=name)
    axes.xaxis.set_major_locator(MaxNLocator(3))
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="both")


if __name__ == "__main__":
    log_to(snakemake.log[0])
    settings = json.loads(snakemake.params.settings)
    figure = draw_scores(
        pl.read_parquet(snakemake.input.aggregate),
        settings["benchmarked"],
        names(settings),
        settings["benchmark"]["printed_tfidf"],
    )
    save_figure(figure, snakemake.output.pdf, snakemake.output.png)
