"""Draw one sample in full (Figure 2)."""

import json
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace

from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

from imagenet_think.core.job import start_job
from imagenet_think.core.logs import logger
from imagenet_think.core.settings import names, question
from imagenet_think.report.examples import Example, choose_examples
from imagenet_think.report.figures import (
    GREY,
    LABEL,
    PAGE,
    PAIR,
    TALLEST,
    TITLE,
    Page,
    fit,
    height_of,
    picture_size,
    printable,
    save_figure,
    serif,
    shorten,
    style,
    wrap,
)

# In points.
GUTTER = 18.0  # between the two columns
SIDE = (PAGE - GUTTER) / 2  # width of a column
PICTURE = 112.0  # greatest height of the image, which has the question on its right
GAP = 7.0  # between blocks
INDENT = 6.0  # of a text from the coloured rule to its left
MOST = 20_000  # characters, more than fit on a page
SIZES = (7.5, 7.0, 6.5)  # of the text: the largest that fits on a page is used


@dataclass(frozen=True)
class Block:
    """A text, or the part of it that is in one column."""

    title: str  # "" if it continues the previous block
    name: str  # printed next to the title
    colour: str  # of the rule to its left
    line: str  # style of that rule
    text: str  # all of it
    lines: tuple[str, ...] = ()  # those of this part


Columns = tuple[list[Block], list[Block]]


@style()
def draw_sample(example: Example, prompt: str, names: Sequence[str]) -> Figure:
    """Draw an image, its question, and both teachers' thinks and answers.

    Each teacher has a column where a page is tall enough for that; otherwise the texts run through
    both columns. The longest texts are shortened to what fits on a page, and their titles give the
    share that is shown. `names` are those of the two teachers. The figure is as tall as the texts
    need, up to `TALLEST`.
    """
    wide, high = picture_size(example.image, SIDE, PICTURE)
    question = fit(printable(prompt, "prompt"), serif(SIZES[0]), SIDE, PICTURE - 30)
    head = max(high, 30 + height_of(question, serif(SIZES[0]))) + 2 * GAP

    blocks = []
    rows = zip(names, PAIR, example.texts, strict=True)
    for number, (name, (colour, *_), texts) in enumerate(rows, start=1):
        for part, line, text in zip(("Think", "Answer"), ("--", "-"), texts, strict=True):
            text = printable(text, f"{example.image_id}, {part} {number}")
            blocks.append(Block(f"{part} {number}", printable(name, "name"), colour, line, text))
    columns, size = _arrange(blocks, TALLEST - head)

    body = max(_height(column, serif(size)) for column in columns)
    page = Page(PAGE, head + body)
    page.picture(example.image, 0, 0, wide, high)
    x = SIDE + GUTTER
    y = page.write(x, 0, ["Question"], TITLE, colour=GREY) + 2
    y += page.write(x, y, question, serif(SIZES[0])) + GAP
    shown = printable(f"{example.image_id}: {example.lemma} ({example.domain})", "image")
    page.write(x, y, [shorten(shown, LABEL, SIDE)], LABEL, colour=GREY)
    for x, column in zip((0.0, SIDE + GUTTER), columns, strict=True):
        _draw_column(page, x, head, column, serif(size))
    return page.figure


def _arrange(blocks: Sequence[Block], room: float) -> tuple[Columns, float]:
    """Return two columns no taller than `room`, and the font size of their text."""
    longest = max(len(block.text) for block in blocks)
    for size in SIZES if longest <= MOST else ():
        columns = _split(blocks, serif(size), room)
        if _tallest(columns, serif(size)) <= room:
            return columns, size
    font = serif(SIZES[-1])
    # The greatest length to which texts can be cut so that all of them fit.
    lengths = range(1, 1 + min(longest, MOST))
    fitting = bisect_right(
        lengths, room, key=lambda n: _tallest(_split(_cut(blocks, n), font, room), font)
    )
    length = max(fitting, 1)
    logger.info("texts longer than %d characters are shortened: a page holds no more", length)
    return _split(_cut(blocks, length), font, room), SIZES[-1]


def _cut(blocks: Sequence[Block], length: int) -> list[Block]:
    """Shorten texts to `length` characters, at a word's end where one is near, and say so."""
    cut = []
    for block in blocks:
        if len(block.text) > length:
            text = block.text[:length]
            space = text.rfind(" ")
            text = text[:space] if space > length - 40 else text
            share = f"first {100 * len(text) // len(block.text)}% shown"
            block = replace(block, text=f"{text} …", name=f"({share}) {block.name}")
        cut.append(block)
    return cut


def _split(blocks: Sequence[Block], font: FontProperties, room: float) -> Columns:
    """Set the blocks in two columns: one per teacher if they fit, else of equal height."""
    blocks = [
        replace(block, lines=tuple(wrap(block.text, font, SIDE - INDENT))) for block in blocks
    ]
    middle = len(blocks) // 2
    by_teacher = blocks[:middle], blocks[middle:]
    if _tallest(by_teacher, font) <= room:
        return by_teacher

    def excess(count: int) -> float:
        left, right = _break(blocks, count)
        return _height(left, font) - _height(right, font)

    # The fewest lines on the left that make it the taller column.
    fewest = bisect_left(range(sum(len(block.lines) for block in blocks)), 0.0, key=excess)
    nearest = (_break(blocks, count) for count in (fewest - 1, fewest))
    return min(nearest, key=lambda columns: _tallest(columns, font))


def _break(blocks: Sequence[Block], count: int) -> Columns:
    """Break the blocks into two columns after `count` lines."""
    left, right = [], []
    for block in blocks:
        here, count = max(0, min(count, len(block.lines))), count - len(block.lines)
        if here:
            left.append(replace(block, lines=block.lines[:here]))
        if here < len(block.lines) or not block.lines:
            rest = replace(block, lines=block.lines[here:])
            right.append(replace(rest, title="", name="") if here else rest)
    return left, right


def _height(column: Sequence[Block], font: FontProperties) -> float:
    """Return the height in points of blocks set below each other."""
    heights = [_title_height(block) + height_of(block.lines, font) for block in column]
    return sum(heights) + GAP * (len(heights) - 1)


def _tallest(columns: Columns, font: FontProperties) -> float:
    return max(_height(column, font) for column in columns)


def _title_height(block: Block) -> float:
    return height_of(["Xg"], TITLE) + 2 if block.title else 0.0


def _draw_column(
    page: Page, x: float, y: float, column: Sequence[Block], font: FontProperties
) -> None:
    for block in column:
        top = y
        if block.title:
            width = SIDE - INDENT
            page.title(x + INDENT, y, width, block.title, block.name, colour=block.colour)
        y += _title_height(block)
        y += page.write(x + INDENT, y, block.lines, font)
        page.rule(x + 1, top, y, colour=block.colour, line=block.line)
        y += GAP


if __name__ == "__main__":
    snakemake = start_job()
    settings = json.loads(snakemake.params.settings)
    # The one after those of Figure 1, which are chosen in the same order.
    files, count = snakemake.input, settings["figures"]["samples"] + 1
    examples = choose_examples(files.sample, files.images, files.annotations, settings, count)
    figure = draw_sample(examples[-1], question(settings), list(names(settings).values()))
    save_figure(figure, snakemake.output.pdf, snakemake.output.png)
