"""Draw how alike the teachers' texts are, beside each teacher's own other texts."""

import json
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from imagenet_think.captions import HEADINGS, SHORT_PARTS
from imagenet_think.figures import GREY, PAGE, PAIR, chart, label, save_figure, style
from imagenet_think.logs import log_to
from imagenet_think.schemas import BETWEEN, OTHER_CLASS, SAME_CLASS

SPREAD = 0.27  # distance of the rows of a part
BASELINES = {SAME_CLASS: "other image, same class", OTHER_CLASS: "other image, other class"}


@style()
def draw_agreement(
    aggregates: pl.DataFrame,
    teachers: Sequence[str],
    names: Mapping[str, str],
    printed_tfidf: str,
) -> Figure:
    """Draw the numbers of all images: a panel a metric, three rows a part.

    Parameters
    ----------
    aggregates
        Columns as in `schemas.AGREEMENT_AGGREGATES`.
    teachers
        Keys of teacher 1 and teacher 2.
    names
        Their names.
    printed_tfidf
        The variant that stands for `tfidf`.

    Returns
    -------
    Figure
        As wide as a page. Of a part the first row is the teachers' agreement on the same image,
        the others each teacher's agreement with itself on other images: of the class (filled) and
        of another class (hollow). Each panel has its own scale.
    """
    figure = chart(PAGE, 286)
    panels = figure.subplots(2, 4, sharey=True)
    means = aggregates.filter(
        pl.col("grouping") == "all", pl.col("minus").is_null(), pl.col("value").is_not_null()
    )
    for axes, (metric, title) in zip(panels.flat, HEADINGS.items(), strict=True):
        variant = printed_tfidf if metric == "tfidf" else metric
        _panel(axes, means.filter(metric=variant), teachers, names)
        axes.set_title(label(title, 74, 7))
    panels[0, 0].set_yticks(range(len(SHORT_PARTS)), list(SHORT_PARTS.values()))
    panels[0, 0].set_ylim(len(SHORT_PARTS) - 0.5, -0.5)
    handles, legend = panels[0, 0].get_legend_handles_labels()
    # A column for each teacher, so nothing below the first entry.
    handles.insert(1, Line2D([], [], linestyle="none"))
    legend.insert(1, "")
    figure.legend(handles, legend, loc="outside lower center", ncols=3)
    return figure


def _panel(
    axes: Axes, means: pl.DataFrame, teachers: Sequence[str], names: Mapping[str, str]
) -> None:
    between = means.filter(model=teachers[0], against=BETWEEN)
    _series(axes, between, -SPREAD, GREY, "s", GREY, "both teachers,\nsame image")
    for shift, (colour, marker, *_), teacher in zip((0, SPREAD), PAIR, teachers, strict=True):
        for against, words in BASELINES.items():
            rows = means.filter(model=teacher, against=against)
            face = colour if against == SAME_CLASS else "white"
            name = f"{label(names[teacher], 126)}\n{words}"
            _series(axes, rows, shift, colour, marker, face, name)
    for place in range(1, len(SHORT_PARTS)):
        axes.axhline(place - 0.5, color="#d9d9d9", linewidth=0.5)
    axes.xaxis.set_major_locator(MaxNLocator(3))
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")


def _series(
    axes: Axes, rows: pl.DataFrame, shift: float, colour: str, marker: str, face: str, name: str
) -> None:
    found = {row["part"]: row for row in rows.iter_rows(named=True)}
    drawn = [(place, found[part]) for place, part in enumerate(SHORT_PARTS) if part in found]
    value, low, high = (
        np.array([row[name] for _, row in drawn], dtype=np.float64)
        for name in ("value", "low", "high")
    )
    axes.errorbar(
        value,
        [place + shift for place, _ in drawn],
        # NaN, where there is no interval, stays so and is not drawn.
        xerr=np.maximum(0.0, [value - low, high - value]),
        fmt=marker,
        color=colour,
        markerfacecolor=face,
        markersize=3.2,
        markeredgewidth=0.8,
        elinewidth=0.8,
        capsize=2.2,
        label=name,
    )


if __name__ == "__main__":
    log_to(snakemake.log[0])
    settings = json.loads(snakemake.params.settings)
    figure = draw_agreement(
        pl.read_parquet(snakemake.input.aggregate),
        settings["teachers"],
        settings["names"],
        settings["printed_tfidf"],
    )
    save_figure(figure, snakemake.output.pdf, snakemake.output.png)
