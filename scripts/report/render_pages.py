"""Render what the run wrote as Markdown for a browser: tables, accounts, comparisons."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from markdown_it import MarkdownIt

from imagenet_think.core.files import write_text
from imagenet_think.core.job import start_job
from imagenet_think.core.templates import html_template

JOINER = "\u2060"
"""Between the ends of an interval and its dash: no line is broken there."""


def render_pages(
    sources: Sequence[str | Path], outputs: Sequence[str | Path], template: str | Path, run: str
) -> None:
    """Write an HTML page, which loads nothing, for each Markdown file, given in the same order.

    `template` is the pages' Jinja template. A page without a heading is called after its file.
    """
    page = html_template(template)
    for source, output in zip(sources, outputs, strict=True):
        body = to_html(Path(source).read_text(encoding="utf-8"))
        write_text(page.render(title=title(output), run=run, body=body), output)


def to_html(markdown: str) -> str:
    """Return Markdown as HTML: pipe tables are tables, and HTML in it (underlined cells) stays."""
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(markdown)
    return re.sub(r"(?<=[\d%])–(?=\d)", f"{JOINER}–{JOINER}", html)


def title(path: str | Path) -> str:
    """Return a file's name in words: `Table 1` for `table1.html`."""
    words = re.sub(r"(?<=\D)(?=\d)|_", " ", Path(path).stem)
    return words[:1].upper() + words[1:]


if __name__ == "__main__":
    snakemake = start_job()
    render_pages(
        snakemake.input.pages,
        snakemake.output,
        template=snakemake.input.template,
        **json.loads(snakemake.params.settings),
    )
