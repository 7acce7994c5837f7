"""Draw how a sample is organised, with real samples (Figure 1)."""

import json
from collections.abc import Sequence

from matplotlib.figure import Figure

from imagenet_think.core.job import start_job
from imagenet_think.core.settings import names, question
from imagenet_think.report.examples import Example, choose_examples
from imagenet_think.report.figures import (
    GREY,
    LABEL,
    PAGE,
    PAIR,
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
)

# In points.
GAP = 18.0  # between neighbours, with space for an arrow
LEFT = 118.0  # width of question and image
PANEL = 180.0  # height of a sample
QUESTION = 52.0  # height of the question's box
BETWEEN = 8.0  # between the two teachers' boxes
EDGE = 1.0  # so that lines on the border are whole
PAD = 4.0

TEXT = serif(7.5)
Area = tuple[float, float, float, float]  # left, top, width and height


@style()
def draw_organisation(examples: Sequence[Example], prompt: str, names: Sequence[str]) -> Figure:
    """Draw question, image, thinks and answers of samples, one row of boxes per teacher.

    Texts longer than their box end in an ellipsis. `names` are those of the two teachers.
    """
    page = Page(PAGE, len(examples) * (PANEL + GAP) - GAP + 2 * EDGE)
    printed = [printable(name, "name") for name in names]
    for place, example in enumerate(examples):
        top = EDGE + place * (PANEL + GAP)
        source = _question_and_image(page, top, chr(ord("a") + place), example, prompt)
        _responses(page, top, source, example, printed)
    return page.figure


def _question_and_image(
    page: Page, top: float, letter: str, example: Example, prompt: str
) -> tuple[float, float]:
    """Draw the left column; return the point from which the arrows to the thinks start."""
    area = (EDGE, top, LEFT, QUESTION)
    _box(page, area, "Question", "", prompt, GREY, "-", "#f2f2f2")
    label = shorten(printable(f"({letter}) {example.lemma}", example.image_id), LABEL, LEFT)
    middle = EDGE + LEFT / 2
    upper = top + QUESTION + GAP
    page.arrow((middle, top + QUESTION + 2), (middle, upper - 2))
    room = top + PANEL - upper - height_of([label], LABEL) - PAD
    wide, high = picture_size(example.image, LEFT, room)
    page.picture(example.image, middle - wide / 2, upper, wide, high)
    page.write(middle, upper + high + PAD, [label], LABEL, align="center")
    return middle + wide / 2, upper + high / 2


def _responses(
    page: Page, top: float, source: tuple[float, float], example: Example, names: Sequence[str]
) -> None:
    """Draw a think and an answer for each teacher, and the arrows that lead to them."""
    width = (page.width - 2 * EDGE - LEFT - 2 * GAP) / 2
    height = (PANEL - BETWEEN) / 2
    think = EDGE + LEFT + GAP
    answer = think + width + GAP
    rows = zip(names, PAIR, example.texts, strict=True)
    for number, (name, (colour, *_), texts) in enumerate(rows, start=1):
        y = top + (number - 1) * (height + BETWEEN)
        middle = y + height / 2
        parts = ("Think", think, "--"), ("Answer", answer, "-")
        for (part, x, line), text in zip(parts, texts, strict=True):
            area = (x, y, width, height)
            _box(page, area, f"{part} {number}", name, text, colour, line, "white")
        page.arrow((source[0] + 3, source[1]), (think - 2, middle))
        page.arrow((think + width + 2, middle), (answer - 2, middle))


def _box(
    page: Page, area: Area, title: str, name: str, text: str, colour: str, line: str, face: str
) -> None:
    """Draw a titled box with as much of its text as fits."""
    x, y, width, height = area
    page.box(*area, edge=colour, line=line, face=face)
    page.title(x + PAD, y + PAD, width - 2 * PAD, title, name, colour=colour)
    head = PAD + max(height_of(["x"], TITLE), height_of(["x"], LABEL)) + 2
    words = " ".join(printable(text, title).split())
    page.write(x + PAD, y + head, fit(words, TEXT, width - 2 * PAD, height - head - PAD), TEXT)


if __name__ == "__main__":
    snakemake = start_job()
    settings = json.loads(snakemake.params.settings)
    files, count = snakemake.input, settings["figures"]["samples"]
    examples = choose_examples(files.sample, files.images, files.annotations, settings, count)
    figure = draw_organisation(examples, question(settings), list(names(settings).values()))
    save_figure(figure, snakemake.output.pdf, snakemake.output.png)
