"""Plot the reviewers' decisions: rates by question and teacher, and preferences."""

import json
from collections.abc import Mapping, Sequence

import polars as pl
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from imagenet_think.core.csv_files import read_csv
from imagenet_think.core.job import start_job
from imagenet_think.core.settings import names
from imagenet_think.report.figures import GREY, PAGE, PAIR, chart, label, mark, save_figure, style

SPREAD = 0.16  # offset of the two teachers' marks from the middle of a row
BLIND = ("preferred", "tie", "both_bad", "left")  # questions of the blind comparison


@style()
def draw_review(results: pl.DataFrame, teachers: Sequence[str], names: Mapping[str, str]) -> Figure:
    """Plot shares with their intervals, one row per statement.

    Parameters
    ----------
    results
        As in `tables/review.csv`: question, statement, key, share, share_low and share_high.
    teachers
        Keys of teacher 1 and teacher 2.
    names
        Their names.

    Returns
    -------
    Figure
        As wide as a page: decisions about single responses on the left, about pairs on the right.
        A panel without decisions stays empty.
    """
    rows = results.filter(pl.col("share").is_not_null()).rename(
        {"share": "value", "share_low": "low", "share_high": "high"}
    )
    figure = chart(PAGE, 190)
    panels = figure.subplots(1, 2, sharex=True)
    blind = pl.col("question").is_in(BLIND)
    titles = {"Single responses": blind.not_(), "Both responses side by side": blind}
    for axes, (title, those) in zip(panels, titles.items(), strict=True):
        asked = results.filter(those).unique("question", keep="first", maintain_order=True)
        order = asked["question"].to_list()
        for (colour, marker, *_), shift, teacher in zip(
            PAIR, (-SPREAD, SPREAD), teachers, strict=True
        ):
            look = {"colour": colour, "marker": marker, "face": colour}
            own = rows.filter(key=teacher)
            mark(axes, own, "question", order, shift, **look, legend=label(names[teacher], 200))
        both = rows.filter(pl.col("key").is_null())
        mark(axes, both, "question", order, 0, colour=GREY, marker="s", face=GREY, legend="both")
        axes.set_title(title)
        axes.set_yticks(range(len(order)), [label(text, 80) for text in asked["statement"]])
        axes.set_ylim(max(len(order), 1) - 0.5, -0.5)
        axes.set_xlim(-0.02, 1.02)
        axes.xaxis.set_major_formatter(PercentFormatter(1))
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="both")
    handles, legend = panels[1].get_legend_handles_labels()
    figure.legend(handles, legend, loc="outside lower center", ncols=3)
    return figure


if __name__ == "__main__":
    snakemake = start_job()
    settings = json.loads(snakemake.params.settings)
    figure = draw_review(
        read_csv(snakemake.input.table, infer_schema_length=None),
        teachers=settings["teachers"],
        names=names(settings),
    )
    save_figure(figure, snakemake.output.pdf, snakemake.output.png)
