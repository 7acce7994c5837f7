import numpy as np
import polars as pl
import pytest
from tests.unit.report.test_figures import NAMES, TEACHERS, assert_readable, assert_same_bytes

from figure_agreement import draw_agreement
from imagenet_think.core.schemas import AGAINST, AGREEMENT_AGGREGATES
from imagenet_think.parsing import PARTS
from imagenet_think.report import table_captions


def aggregates() -> pl.DataFrame:
    """Numbers of all images, such that each tells where it comes from."""
    kinds = [(TEACHERS[0], "teacher_2"), *((t, b) for t in TEACHERS for b in AGAINST[1:])]
    rows = []
    for metric in (*table_captions.HEADINGS, "tfidf_pair"):
        for row, part in enumerate(PARTS):
            for place, (model, against) in enumerate(kinds):
                value = 0.9 - 0.1 * place - 0.03 * row - (0.01 if metric == "tfidf_pair" else 0)
                keys = {"grouping": "all", "group": "all", "metric": metric, "part": part}
                keys |= {"model": model, "against": against, "value": value}
                rows.append(keys | {"low": value - 0.01, "high": value + 0.02})
                rows.append(keys | {"minus": "same_class", "value": -5.0, "low": -6, "high": -4})
    return pl.DataFrame(rows, schema=AGREEMENT_AGGREGATES)


SETTINGS = {"teachers": TEACHERS, "names": NAMES, "printed_tfidf": "tfidf"}


def draw(frame: pl.DataFrame, **settings):
    return draw_agreement(frame, SETTINGS | settings)


def test_it_is_readable():
    assert_readable(draw(aggregates(), names=dict(NAMES, kimi=NAMES["three"])))


def test_numbers_stand_in_their_rows():
    figure = draw(aggregates(), printed_tfidf="tfidf_pair")
    panels = figure.axes
    assert [axes.get_title().replace("\n", " ") for axes in panels] == list(
        table_captions.HEADINGS.values()
    )
    for axes, metric in zip(panels, table_captions.HEADINGS, strict=True):
        shift = 0.01 if metric == "tfidf" else 0
        drawn = [container.lines[0] for container in axes.containers]
        assert len(drawn) == 5
        for place, line in enumerate(drawn):
            wanted = [0.9 - 0.1 * place - 0.03 * row - shift for row in range(3)]
            assert line.get_xdata() == pytest.approx(wanted)
            assert [round(y) for y in line.get_ydata()] == [0, 1, 2]
        assert drawn[0].get_ydata()[0] < drawn[1].get_ydata()[0] < drawn[3].get_ydata()[0]
        assert [line.get_markerfacecolor() for line in drawn][2::2] == ["white", "white"]


def test_without_baselines():
    none = pl.when(pl.col("against") == "teacher_2").then(pl.col("value"))
    figure = draw(aggregates().with_columns(value=none))
    assert_readable(figure)
    assert [len(c.lines[0].get_xdata()) for c in figure.axes[0].containers] == [3, 0, 0, 0, 0]


def test_numbers_without_an_interval_are_drawn_without_bars():
    few = pl.when(pl.col("part") != "think").then(pl.col("low", "high"))
    figure = draw(aggregates().with_columns(few))
    assert_readable(figure)
    _, _, (bars,) = figure.axes[0].containers[0].lines
    widths = [float(np.ptp(bar[:, 0])) for bar in bars.get_segments() if len(bar)]
    assert widths == pytest.approx([0.03] * 2)
    assert len(figure.axes[0].containers[0].lines[0].get_xdata()) == 3


@pytest.mark.slow
def test_equal_figures_are_equal_files(tmp_path):
    assert_same_bytes(lambda: draw(aggregates()), tmp_path)
