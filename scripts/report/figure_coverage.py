"""Draw how many images and classes each domain of WordNet has."""

from pathlib import Path

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from imagenet_think.core.job import start_job
from imagenet_think.report.figures import (
    BLUE,
    GREY,
    PAGE,
    chart,
    count_axis,
    label,
    save_figure,
    style,
)

ROW = 10.5  # height of a domain, in points


def count_domains(sample: str | Path, classes: str | Path) -> pl.DataFrame:
    """Count images and classes by domain, of the sample and of the source.

    `sample` and `classes` are parquet files of the sampled images and of the classes, with the
    number of images of each in the source.

    Returns
    -------
    polars.DataFrame
        Columns domain, images and classes (of the sample), images_available and
        classes_available (of the source), in descending order of images. Domains without images in
        the source are left out.
    """
    sampled = (
        pl.scan_parquet(sample)
        .group_by("domain")
        .agg(images=pl.len(), classes=pl.col("wnid").n_unique())
    )
    available = (
        pl.scan_parquet(classes)
        .filter(pl.col("available") > 0)
        .group_by("domain")
        .agg(images_available=pl.col("available").sum(), classes_available=pl.len())
    )
    return (
        sampled.join(available, on="domain", how="full", coalesce=True)
        .with_columns(pl.exclude("domain").fill_null(0).cast(pl.Int64))
        .sort(["images", "domain"], descending=[True, False])
        .collect()
    )


@style()
def draw_coverage(counts: pl.DataFrame) -> Figure:
    """Draw images (left) and classes (right), one row per domain, from `count_domains`."""
    figure = chart(PAGE, 62 + ROW * len(counts))
    left, right = figure.subplots(1, 2, sharey=True)
    _panel(left, counts, "images", "Images")
    _panel(right, counts, "classes", "Classes")
    left.set_yticks(range(len(counts)), [label(domain, 80) for domain in counts["domain"]])
    left.set_ylim(len(counts) - 0.4, -0.6)
    handles, names = left.get_legend_handles_labels()
    figure.legend(handles[::-1], names[::-1], loc="outside lower center", ncols=2)
    return figure


def _panel(axes: Axes, counts: pl.DataFrame, column: str, title: str) -> None:
    rows = range(len(counts))
    sampled, available = counts[column], counts[f"{column}_available"]
    count_axis(axes, [*sampled, *available])
    axes.plot(
        [value or np.nan for value in available],
        rows,
        "o",
        markersize=5.5,
        markerfacecolor="white",
        markeredgecolor=GREY,
        label="in the source",
    )
    axes.plot([value or np.nan for value in sampled], rows, "o", color=BLUE, label="in the sample")
    for row, value in zip(rows, sampled, strict=True):
        axes.annotate(
            f"{value:,}",
            (1.0, row),
            xycoords=axes.get_yaxis_transform(),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            fontsize=6,
        )
    axes.set_title(title)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="both")


if __name__ == "__main__":
    snakemake = start_job()
    figure = draw_coverage(count_domains(snakemake.input.sample, snakemake.input.classes))
    save_figure(figure, snakemake.output.pdf, snakemake.output.png)
