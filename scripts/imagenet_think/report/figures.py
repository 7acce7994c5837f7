"""The style of all figures, text that fits its area, and reproducible files."""

import io
import logging
import math
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache, lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
import polars as pl
import regex
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullFormatter
from matplotlib.transforms import Affine2D
from PIL import Image

from imagenet_think.core.files import atomic_path

logger = logging.getLogger(__name__)

PAGE = 468.0
"""Width of every figure in points (6.5 inches): one column of text, or two side by side."""

PANELS = 4
"""Panels in a row."""

TALLEST = 626.0
"""Greatest height of a figure in points: a page without its margins and a caption."""

# Okabe and Ito's colours, distinguishable with any colour vision; each has its marker, line and
# hatch, so that a figure can be read without colour.
BLUE, VERMILLION, GREY = "#0072B2", "#D55E00", "#595959"
PAIR = ((BLUE, "o", "-", ""), (VERMILLION, "D", "--", "////"))
"""Colour, marker, line and hatch of the first and the second of two series."""

_DPI = 300
_SANS = ("DejaVu Sans",)
_SERIF = ("STIXGeneral", "DejaVu Sans")  # both come with matplotlib: the same on every machine
_REPLACEMENT = "□"
_ELLIPSIS = "…"

# Space that a line takes above and below its baseline, as shares of the font's size.
_ABOVE, _BELOW = 0.9, 0.24

_STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.labelsize": 7,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 7,
    "axes.titleweight": "bold",
    "figure.dpi": _DPI,
    "font.family": list(_SANS),
    "font.size": 7,
    "grid.color": "#d9d9d9",
    "grid.linewidth": 0.5,
    "hatch.linewidth": 0.5,
    "legend.fontsize": 6.5,
    "legend.frameon": False,
    "lines.linewidth": 1.0,
    "lines.markersize": 4.0,
    "pdf.fonttype": 42,  # fonts embedded as TrueType
    "savefig.dpi": _DPI,
    "svg.hashsalt": "imagenet-think",
    "text.hinting": "none",
    "text.parse_math": False,  # a dollar sign in a model's text is a dollar sign
    "xtick.labelsize": 6.5,
    "xtick.major.size": 2.5,
    "xtick.major.width": 0.6,
    "xtick.minor.size": 1.5,
    "xtick.minor.width": 0.4,
    "ytick.labelsize": 6.5,
    "ytick.major.size": 2.5,
    "ytick.major.width": 0.6,
}


@contextmanager
def style() -> Iterator[None]:
    """Set the look of figures, whatever the user's own matplotlib settings are.

    It decorates every function that draws.
    """
    with matplotlib.style.context(_STYLE, after_reset=True):
        yield


@style()
def save_figure(figure: Figure, pdf: str | Path, png: str | Path) -> None:
    """Write a figure as PDF and PNG (300 dots per inch), atomically.

    The files contain no date and no name of software, so that equal figures are equal files.
    """
    nothing = {"Creator": None, "Producer": None, "CreationDate": None}
    for path, metadata in ((pdf, nothing), (png, {"Software": None})):
        with atomic_path(path) as temporary:
            figure.savefig(temporary, metadata=metadata)


def sans(size: float, weight: str = "normal") -> FontProperties:
    """Return the font of labels, `size` in points."""
    return FontProperties(family=list(_SANS), size=size, weight=weight)


def serif(size: float) -> FontProperties:
    """Return the font of running text, `size` in points."""
    return FontProperties(family=list(_SERIF), size=size)


TITLE, LABEL = sans(6.5, "bold"), sans(6.5)
"""Fonts of a text's title, and of what is written next to it."""


# Text of unknown content -------------------------------------------------------------------------


@cache
def _drawable() -> frozenset[int]:
    """Return the code points for which the fonts that come with matplotlib have a glyph."""
    fonts = (get_font(findfont(family)) for family in {*_SANS, *_SERIF})
    return frozenset().union(*(font.get_charmap() for font in fonts))


def printable(text: str, source: str = "text") -> str:
    """Return `text` in composed form, with what cannot be drawn replaced by white squares.

    Line breaks are kept; other white space becomes a space. Invisible characters (joiners,
    variation selectors) that the fonts lack are left out. The log counts the replaced characters of
    the `source`.
    """
    text = unicodedata.normalize("NFC", text)
    table: dict[int, str | None] = {}
    lacking = []
    for character in set(text):
        category = unicodedata.category(character)
        if character in "\n\v\f\r\x85\u2028\u2029":
            table[ord(character)] = "\n"
        elif character.isspace():
            table[ord(character)] = " "
        elif ord(character) not in _drawable() or category in {"Cc", "Cs"}:
            invisible = category == "Cf" or "VARIATION SELECTOR" in unicodedata.name(character, "")
            table[ord(character)] = None if invisible else _REPLACEMENT
            if not invisible:
                lacking.append(character)
    if lacking:
        codes = ", ".join(f"U+{ord(character):04X}" for character in sorted(lacking)[:8])
        logger.warning(
            "%s: %d characters that no font here can draw are shown as %s (%s%s)",
            source,
            sum(text.count(character) for character in lacking),
            _REPLACEMENT,
            codes,
            ", …" if len(lacking) > 8 else "",
        )
    return text.translate(table)


@cache
def _scratch() -> FigureCanvasAgg:
    """Return a canvas on which texts are only measured."""
    return FigureCanvasAgg(Figure((1, 1), dpi=_DPI))


@lru_cache(maxsize=100_000)
def _extent(text: str, font: FontProperties) -> tuple[float, float, float]:
    """Return width, height above and depth below the baseline of a line, in points."""
    renderer = _scratch().get_renderer()
    width, height, depth = renderer.get_text_width_height_descent(text, font, False)
    return width * 72 / _DPI, (height - depth) * 72 / _DPI, depth * 72 / _DPI


def width_of(text: str, font: FontProperties) -> float:
    """Return the width in points of text on one line."""
    return _extent(text, font)[0]


def height_of(lines: Sequence[str], font: FontProperties) -> float:
    """Return the height in points of several lines."""
    return _baselines(lines, font)[1]


def _baselines(lines: Sequence[str], font: FontProperties) -> tuple[list[float], float]:
    """Return the depths of the lines' baselines below the top, and the height of them all.

    Lines are evenly spaced. Only a line with taller or deeper letters than Latin ones, for example
    with stacked marks, gets more space.
    """
    size = font.get_size_in_points()
    baselines: list[float] = []
    bottom = 0.0
    for line in lines:
        _, above, below = _extent(line, font)
        baselines.append(bottom + max(above, _ABOVE * size))
        bottom = baselines[-1] + max(below, _BELOW * size)
    return baselines, bottom


def wrap(text: str, font: FontProperties, width: float) -> Iterator[str]:
    """Break text into lines no wider than `width` points, at spaces and inside too wide words.

    Line breaks of the text are kept, empty lines are not. Lines are yielded one by one, so that the
    first few lines of a very long text cost no more than those of a short one.
    """
    space = width_of("x x", font) - 2 * width_of("x", font)
    for paragraph in text.split("\n"):
        line, used = "", 0.0
        for word in paragraph.split():
            *pieces, rest = _pieces(word, font, width)
            if pieces:
                if line:
                    yield line
                yield from pieces
                line, used = rest, width_of(rest, font)
                continue
            wide = width_of(word, font)
            if line and used + space + wide > width:
                yield line
                line, used = word, wide
            else:
                used += space + wide if line else wide
                line = f"{line} {word}" if line else word
        if line:
            yield line


def _pieces(word: str, font: FontProperties, width: float) -> list[str]:
    """Break a word that is wider than a line; combining marks stay with their letter."""
    if len(word) < 200 and width_of(word, font) <= width:
        return [word]
    letters = regex.findall(r"\X", word)
    pieces = []
    while letters:
        count = max(1, _fitting(letters, "", font, width))
        pieces.append("".join(letters[:count]))
        letters = letters[count:]
    return pieces


def _fitting(letters: Sequence[str], ending: str, font: FontProperties, width: float) -> int:
    """Return how many letters fit into a width together with an ending."""
    counts = range(1, 1 + min(len(letters), 1 + int(width)))  # no letter is narrower than a point
    return bisect_right(
        counts, width, key=lambda n: width_of("".join(letters[:n]).rstrip() + ending, font)
    )


def fit(text: str, font: FontProperties, width: float, height: float) -> list[str]:
    """Return the lines of a text that fit into `width` × `height` points.

    If the text is longer, the last line ends in an ellipsis.
    """
    enough = 2 + int(height / (0.8 * font.get_size_in_points()))
    # No letter is narrower than a point.
    lines = list(islice(wrap(text[: enough * (1 + int(width))], font, width), enough))
    shown = list(lines)
    while len(shown) > 1 and height_of(shown, font) > height:
        shown.pop()
    if len(shown) < len(lines):
        shown[-1] = shorten(f"{shown[-1]} {_ELLIPSIS}", font, width)
    return shown


def shorten(text: str, font: FontProperties, width: float) -> str:
    """Return text on one line of at most `width` points, with an ellipsis if it is cut."""
    text = " ".join(text.split())
    if width_of(text, font) <= width:
        return text
    text = text.removesuffix(_ELLIPSIS).rstrip()
    fitting = _fitting(text, _ELLIPSIS, font, width)
    cut = text[:fitting]
    if fitting < len(text) and not text[fitting].isspace() and " " in cut[fitting // 2 :]:
        cut = cut[: cut.rindex(" ")]
    return cut.rstrip() + _ELLIPSIS


def picture_size(data: bytes, width: float, height: float) -> tuple[float, float]:
    """Return the size in points of an encoded image that fills an area without being cropped."""
    with Image.open(io.BytesIO(data)) as image:
        scale = min(width / image.width, height / image.height)
        return image.width * scale, image.height * scale


# A page measured in points -----------------------------------------------------------------------


class Page:
    """A figure whose size, and the places on it from the upper left corner, are in points."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self.figure = Figure((width / 72, height / 72), dpi=_DPI)
        # From points above the lower left corner to the page.
        self.points = Affine2D().scale(1 / 72) + self.figure.dpi_scale_trans

    def write(
        self,
        x: float,
        y: float,
        lines: Sequence[str],
        font: FontProperties,
        *,
        colour: str = "black",
        align: str = "left",
    ) -> float:
        """Write lines from (x, y) down; return their height in points."""
        baselines, height = _baselines(lines, font)
        for line, baseline in zip(lines, baselines, strict=True):
            self.figure.text(
                x,
                self.height - y - baseline,
                line,
                transform=self.points,
                fontproperties=font,
                color=colour,
                va="baseline",
                ha=align,
            )
        return height

    def title(
        self, x: float, y: float, width: float, title: str, name: str, *, colour: str
    ) -> None:
        """Write a title in bold, and a name next to it as far as both fit into the width."""
        self.write(x, y, [title], TITLE, colour=colour)
        after = width_of(title, TITLE) + 5
        if name:
            self.write(x + after, y, [shorten(name, LABEL, width - after)], LABEL, colour=GREY)

    def box(
        self, x: float, y: float, width: float, height: float, *, edge: str, face: str, line: str
    ) -> None:
        """Draw a box with rounded corners."""
        self.figure.add_artist(
            FancyBboxPatch(
                (x, self.height - y - height),
                width,
                height,
                boxstyle="round,pad=0,rounding_size=3",
                transform=self.points,
                edgecolor=edge,
                facecolor=face,
                linestyle=line,
                linewidth=0.8,
            )
        )

    def rule(self, x: float, top: float, bottom: float, *, colour: str, line: str) -> None:
        """Draw a vertical line."""
        ends = [self.height - top, self.height - bottom]
        vertical = Line2D([x, x], ends, transform=self.points)
        vertical.set(color=colour, linestyle=line)
        self.figure.add_artist(vertical)

    def arrow(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Draw an arrow between two points."""
        self.figure.add_artist(
            FancyArrowPatch(
                (start[0], self.height - start[1]),
                (end[0], self.height - end[1]),
                transform=self.points,
                arrowstyle="-|>",
                mutation_scale=6,
                linewidth=0.8,
                color=GREY,
                shrinkA=0,
                shrinkB=0,
            )
        )

    def picture(self, data: bytes, x: float, y: float, width: float, height: float) -> None:
        """Draw an encoded image at the size that `picture_size` gave."""
        with Image.open(io.BytesIO(data)) as opened:
            pixels = opened.convert("RGB")
        left, bottom = x / self.width, 1 - (y + height) / self.height
        axes = self.figure.add_axes((left, bottom, width / self.width, height / self.height))
        axes.imshow(pixels, aspect="auto")
        axes.set_axis_off()


# Charts ------------------------------------------------------------------------------------------


def chart(width: float, height: float) -> Figure:
    """Return an empty figure of `width` × `height` points whose axes make room for their labels."""
    return Figure((width / 72, height / 72), dpi=_DPI, layout="constrained")


def panels(titles: Sequence[str], lines: Sequence[str], height: float) -> tuple[Figure, list[Axes]]:
    """Return a figure with a panel for each title, four in a row, and its panels.

    The panels share their y axis, whose `lines` are labelled from the top. A row of panels is
    `height` points high.
    """
    rows = math.ceil(len(titles) / PANELS)
    figure = chart(PAGE, height * rows)
    grid = figure.subplots(rows, min(len(titles), PANELS), sharey=True, squeeze=False)
    axes = list(grid.flat)
    for spare in axes[len(titles) :]:
        spare.remove()
    for panel, title in zip(axes, titles, strict=False):
        panel.set_title(label(title, 74, 7))
        panel.xaxis.set_major_locator(MaxNLocator(3))
        panel.tick_params(axis="y", length=0)
    axes[0].set_yticks(range(len(lines)), lines)
    axes[0].set_ylim(len(lines) - 0.5, -0.5)
    return figure, axes[: len(titles)]


def label(name: str, width: float, size: float = 6.5) -> str:
    """Return a name as a label of at most two lines of `width` points."""
    font = sans(size)
    return "\n".join(fit(printable(name, "name"), font, width, height_of(["Xg", "Xg"], font)))


def mark(
    axes: Axes,
    rows: pl.DataFrame,
    column: str,
    order: Sequence[str],
    shift: float,
    *,
    colour: str,
    marker: str,
    face: str,
    legend: str,
) -> None:
    """Mark a value with its interval on each line of a panel, `shift` below the line.

    Parameters
    ----------
    axes
        The panel.
    rows
        Columns value, low, high (null where there is no interval) and `column`.
    column, order
        What distinguishes the lines, and its values from line 0 on. A line without a row stays
        empty.
    shift
        Distance of the mark from its line.
    colour, marker, face
        Colour of marks and intervals, shape of the marks, and their filling.
    legend
        Label in the legend.
    """
    found = {row[column]: row for row in rows.iter_rows(named=True)}
    drawn = [(place, found[key]) for place, key in enumerate(order) if key in found]
    value, low, high = (
        np.array([row[end] for _, row in drawn], dtype=np.float64)
        for end in ("value", "low", "high")
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
        label=legend,
    )


def count_axis(axes: Axes, values: Sequence[float]) -> None:
    """Set an x axis of counts: from zero, or logarithmic where they span more than a factor 30."""
    positive = [value for value in values if value > 0]
    if positive and max(positive) > 30 * min(positive):
        log_axis(axes, min(positive) / 1.6, max(positive) * 1.6)
    else:
        axes.set_xlim(0, max(positive, default=1) * 1.12)
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.xaxis.set_major_formatter("{x:,.0f}")


def log_axis(axes: Axes, low: float, high: float) -> None:
    """Make the x axis logarithmic from `low` to `high`, labelled in plain numbers."""
    steps = (1.0,) if high > 100 * low else (1.0, 2.0, 5.0)
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.xaxis.set_major_locator(LogLocator(10, subs=steps, numticks=9))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.xaxis.set_minor_formatter(NullFormatter())
