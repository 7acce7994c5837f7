"""What a reader sees in the reports of a finished run."""

import pytest

CATEGORIES = ["Figures", "Further tables", "Tables of the paper", "The run"]


@pytest.fixture
def opened(page, report):
    page.goto(report.as_uri())
    page.get_by_text("The run", exact=True).wait_for()
    return page


def test_the_first_page_says_what_the_run_is_and_lists_all_its_results(opened, run):
    assert opened.locator("h1.title").inner_text() == "Run miniature"
    assert "say nothing about the real models" in opened.locator("body").inner_text()
    assert sorted(opened.evaluate("Object.keys(categories)")) == CATEGORIES
    for category in CATEGORIES:
        assert opened.get_by_text(category, exact=True).is_visible()
    names = [f"pages/{path.stem}.html" for path in (run / "tables").glob("*.md")]
    names += [f"figures/{path.name}" for path in (run / "figures").glob("*.pdf")]
    names += [f"pages/{name}.html" for name in ("accounting", "audit", "comparison", "cost")]
    names += ["images/report.html"]
    assert len(names) > 20
    shown = opened.evaluate("Object.keys(results)")
    assert sorted(shown) == sorted(f"results/miniature/{name}" for name in names)


def width_of_pdf(page, path):
    """Wait until Chromium's viewer has laid out a PDF, and return its width in pixels."""
    for _ in range(3000):
        for frame in page.frames:
            if frame.url.endswith(path):
                width = frame.evaluate("document.querySelector('#sizer')?.offsetWidth")
                if width:
                    return width
        page.wait_for_timeout(100)
    raise AssertionError(f"{path} is not shown")


@pytest.mark.parametrize("category", CATEGORIES)
def test_every_result_opens_and_has_its_words(opened, category):
    opened.get_by_text(category, exact=True).click()
    titles = opened.locator("tbody tr").all_inner_texts()
    count = "category => Object.values(categories[category]).flat().length"
    assert len(titles) == len(set(titles)) == opened.evaluate(count, category)
    paths = set()
    for row in range(len(titles)):
        link, explanation = (
            opened.locator("tbody tr").nth(row).locator("a").nth(k) for k in (0, 1)
        )
        link.click()
        content = opened.locator("iframe")
        content.wait_for()
        paths.add(content.get_attribute("src"))
        inside = opened.frame_locator("iframe")
        if category == "Figures":
            assert width_of_pdf(opened, content.get_attribute("src")) > 300
        else:
            inside.locator("h1").wait_for()
            assert inside.locator("table").count()
        explanation.click()
        assert len(opened.locator(".prose-invert").inner_text().split()) > 5
        opened.get_by_text(category, exact=True).first.click()
    assert len(paths) == len(titles)


def test_numbers_of_a_table_are_those_of_its_file(opened, run):
    """A cell with its interval, as the Markdown has it, without the marks of rank."""
    opened.get_by_text("Tables of the paper", exact=True).click()
    opened.locator("tbody tr").nth(2).locator("a").nth(0).click()
    cell = opened.frame_locator("iframe").locator("tbody td").nth(1).inner_text()
    line = (run / "tables" / "table3.md").read_text().splitlines()[4]
    assert cell.replace("\u2060", "") == line.split(" | ")[1].replace("**", "")


def test_the_sampling_report_is_self_contained(page, run):
    page.goto((run / "images" / "report.html").as_uri())
    assert page.locator("h1").inner_text() == "Sampling report: miniature"
    assert page.locator(".tile").count() > 20
    pictures = page.locator(".tile img")
    assert pictures.count() > 20
    assert pictures.evaluate_all("all => all.every(one => one.complete && one.naturalWidth > 0)")


def test_every_canary_page_opens(page, run):
    pages = sorted((run / "canary").glob("*.html"))
    assert pages
    for path in pages:
        page.goto(path.as_uri())
        assert page.locator("body").inner_text().strip()
