"""Draw the lengths of the teachers' texts, in tokens, by part."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from imagenet_think.core import model_sources, numbers
from imagenet_think.core.job import start_job
from imagenet_think.core.logs import logger
from imagenet_think.core.settings import Values
from imagenet_think.report.figures import PAGE, PAIR, chart, label, log_axis, save_figure, style

PARTS = {"full": "Full output", "think": "Think", "answer": "Answer"}
BINS = 30  # over all lengths, about
MARKS = {"o": "●", "D": "◆"}  # markers as characters


def read_lengths(paths: Sequence[str | Path]) -> pl.DataFrame:
    """Return model, part and tokens of all texts that are not missing or empty."""
    rows = pl.read_parquet(list(map(Path, paths)), columns=["model", "part", "tokens"])
    kept = rows.filter(pl.col("tokens") > 0)
    if len(kept) < len(rows):
        logger.info("%d of %d texts are missing or empty", len(rows) - len(kept), len(rows))
    return kept


@style()
def draw_lengths(lengths: pl.DataFrame, settings: Values) -> Figure:
    """Draw the distribution of lengths: one panel per part, with both teachers in each.

    `lengths` has the columns model, part and tokens, one row per text. Lengths are on a logarithmic
    axis, because they span several powers of ten; heights are shares of a teacher's texts.
    """
    figure = chart(PAGE, 168)
    panels = figure.subplots(1, len(PARTS), sharex=True, sharey=True)
    edges = _edges(lengths["tokens"])
    for axes, (part, title) in zip(panels, PARTS.items(), strict=True):
        log_axis(axes, edges[0], edges[-1])
        rows = lengths.filter(pl.col("part") == part)
        medians = []
        for teacher, look in zip(settings["teachers"], PAIR, strict=True):
            tokens = rows.filter(model=teacher)["tokens"]
            name = label(settings["models"][teacher]["name"], 200)
            medians.append(_distribution(axes, tokens, edges, look, name))
        axes.set_title(title, pad=14)
        axes.annotate(
            f"medians: {' · '.join(medians)}",
            (0.5, 1),
            xycoords="axes fraction",
            xytext=(0, 5),
            textcoords="offset points",
            ha="center",
            fontsize=6.5,
        )
        axes.grid(axis="y")
    panels[0].set_ylim(bottom=0)
    panels[0].set_ylabel("Share of texts (%)")
    tokenizer = model_sources.name(settings["statistics"]["tokenizer"]["repository"])
    panels[1].set_xlabel(label(f"Tokens of {tokenizer}", 400))
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def _edges(tokens: pl.Series) -> np.ndarray:
    """Return the edges of about `BINS` bins around all lengths, equally wide on a logarithmic axis.

    A bin is at least 5% wide: narrower ones would show individual counts.
    """
    low, high = min(tokens, default=1), max(tokens, default=10)
    width = max(np.log10((high + 1) / low) / BINS, np.log10(1.05))
    first = np.floor(np.log10(low) / width) - 1
    last = np.ceil(np.log10(high + 1) / width) + 1
    return 10 ** (np.arange(first, last + 1) * width)


def _distribution(
    axes: Axes, tokens: pl.Series, edges: np.ndarray, look: tuple[str, str, str, str], name: str
) -> str:
    """Draw one teacher's lengths; return their median as text."""
    colour, marker, line, hatch = look
    counts, _ = np.histogram(tokens, edges)
    shares = 100 * counts / max(len(tokens), 1)
    axes.stairs(shares, edges, fill=True, facecolor=colour, alpha=0.18, linewidth=0)
    axes.stairs(shares, edges, color=colour, linestyle=line, hatch=hatch, label=name)
    if not len(tokens):
        return numbers.MISSING
    median = float(np.median(tokens))
    axes.plot([median], [0], marker, color=colour, clip_on=False, zorder=5)
    return f"{numbers.median(median)} ({MARKS[marker]})"


if __name__ == "__main__":
    snakemake = start_job()
    settings = json.loads(snakemake.params.settings)
    figure = draw_lengths(read_lengths(snakemake.input.lengths), settings)
    save_figure(figure, snakemake.output.pdf, snakemake.output.png)
