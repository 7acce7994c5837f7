"""Markdown of the run as pages for a browser."""

from pathlib import Path

from render_pages import render_pages, title, to_html

TEMPLATE = Path(__file__).parents[3] / "scripts" / "report" / "render_pages.html"


def page(folder, name, markdown):
    source, output = folder / f"{name}.md", folder / f"{name}.html"
    source.write_text(markdown, encoding="utf-8")
    render_pages([source], [output], TEMPLATE, "a run")
    return output.read_text(encoding="utf-8")


def test_a_table_has_its_numbers_on_the_right_and_a_heading_if_it_has_none(tmp_path):
    html = page(tmp_path, "table1", "Words.\n\n| a | b |\n| --- | ---: |\n| x | **1** |\n")
    assert "<h1>Table 1</h1>" in html
    assert '<td style="text-align:right"><strong>1</strong></td>' in html
    html = page(tmp_path, "cost", "# Cost of the run\n\nWords.\n")
    assert html.count("<h1>") == 1
    assert "<title>Cost (a run)</title>" in html


def test_what_is_escaped_stays_text():
    assert "a_b &lt;i&gt; *c*" in to_html(r"a\_b \<i\> \*c\*")


def test_an_interval_is_not_broken():
    joined = to_html("1.0 (0.5–1.5), 2% (1%–3%), a – b")
    assert "0.5\u2060–\u20601.5" in joined
    assert "1%\u2060–\u20603%" in joined
    assert "a – b" in joined


def test_a_page_is_called_after_its_file():
    assert title("x/table12.html") == "Table 12"
    assert title("agreement_domains.md") == "Agreement domains"
