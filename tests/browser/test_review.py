"""What a reviewer sees and does on the review page, in a real browser."""

import io
import json
import re
import statistics
from copy import deepcopy
from functools import reduce
from operator import getitem

import polars as pl
import pytest
from PIL import Image
from tests.browser.conftest import TIMEOUT
from tests.unit import reviewed

from imagenet_think.analysis.intervals import Intervals
from imagenet_think.core.files import write_parquet
from imagenet_think.core.schemas import REVIEWED
from imagenet_think.review.decisions import read_decisions
from imagenet_think.review.form import QUESTIONS
from tabulate_review import results

ITEMS = reviewed.items(24, failures=0.25, seed=4)
SAMPLE = reviewed.sample(ITEMS)
PHONE = {"width": 375, "height": 720}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pages of a few items, of the first of them, and of hostile texts."""
    folder = tmp_path_factory.mktemp("pages")
    reviewed.write_page(folder / "few.html", ITEMS)
    reviewed.write_page(folder / "fewer.html", ITEMS[:10])
    reviewed.write_page(folder / "hostile.html", reviewed.hostile_items())
    return folder


@pytest.fixture
def page(page):
    """An empty page; the test fails if what it shows requests anything."""
    found = []
    page.on("request", lambda request: found.append(request))
    yield page
    for request in found:
        assert request.is_navigation_request() or request.url.startswith(("data:", "blob:"))


@pytest.fixture
def opened(page, folder):
    page.goto((folder / "few.html").as_uri())
    return page


def press(page, *keys):
    for key in keys:
        page.keyboard.press(key)


def visible(page, selector):
    """Return the ids, or names, of the visible elements among those selected."""
    return page.locator(selector).evaluate_all(
        "all => all.filter(one => one.checkVisibility()).map(one => one.id || one.tagName)"
    )


def pressed(page):
    """Return the ids of the decision's pressed buttons."""
    return visible(page, ".decision [aria-pressed=true]")


def shown(page, name):
    return page.locator(f"#{name}").evaluate("one => one.textContent")


def export(page, path, name="Ada"):
    """Export by keyboard; return the file's content."""
    press(page, "e")
    page.locator("#name").fill(name)
    with page.expect_download() as download:
        press(page, "Enter")
    download.value.save_as(path)
    return json.loads(path.read_text(encoding="utf-8"))


def load(page, path):
    """Import a file; return the page's message."""
    page.locator("#file").set_input_files(path)
    page.locator("#message", has_text="mported").wait_for()
    return page.locator("#message").inner_text()


def test_decisions_survive_a_reload(opened):
    assert shown(opened, "think") == ITEMS[0]["responses"][0]["think"]
    press(opened, "y", "n", "u", "n")
    assert pressed(opened) == ["split-yes", "answer-no", "thought-unsure", "harmful-no"]
    assert shown(opened, "progress") == "1 of 48 decided"
    press(opened, "t")
    opened.keyboard.type("jmn? a note")
    press(opened, "Escape", "ArrowRight", "y")
    opened.reload()
    assert shown(opened, "place") == "2 of 48"
    assert shown(opened, "progress") == "1 of 48 decided"
    assert pressed(opened) == ["split-yes"]
    press(opened, "k")
    assert pressed(opened) == ["split-yes", "answer-no", "thought-unsure", "harmful-no"]
    assert opened.locator("#notes").input_value() == "jmn? a note"
    press(opened, "1", "y")
    assert "split-yes" not in pressed(opened)
    assert shown(opened, "progress") == "0 of 48 decided"


def test_decisions_are_exported_and_imported_elsewhere(opened, browser, folder, tmp_path):
    """Decide in both modes, export, count, and import elsewhere."""
    wanted = []
    for item in ITEMS:
        for teacher, response in zip(reviewed.TEACHERS, item["responses"], strict=True):
            assert shown(opened, "who") == reviewed.NAMES[teacher]
            answers = dict(zip(QUESTIONS, ("yes", "no", "unsure", "no"), strict=True))
            if response["status"] != "ok":
                answers = {"failure": "no", "harmful": "no"}
            press(opened, *(answer[0] for answer in answers.values()), "ArrowRight")
            wanted += [(item["id"], teacher, *answered) for answered in answers.items()]
    assert shown(opened, "progress") == "48 of 48 decided"
    press(opened, "m", *["ArrowLeft"] * 30)
    compared = [item for item in ITEMS if item["left"] is not None]
    choices = [("1", "left"), ("2", "right"), ("3", "tie"), ("4", "both_bad"), ("1", "left")]
    for number, item in enumerate(compared):
        key, choice = choices[number % 5]
        press(opened, key, "ArrowRight")
        preferred = {"left": item["left"], "right": 1 - item["left"]}.get(choice)
        value = choice if preferred is None else reviewed.TEACHERS[preferred]
        wanted.append((item["id"], None, "preferred", value))
    content = export(opened, tmp_path / "ada.json")
    assert content["reviewer"] == "Ada"
    assert len(content["decisions"]["quality"]) == 48

    write_parquet(SAMPLE, tmp_path / "sample.parquet", REVIEWED)
    found, _ = read_decisions([tmp_path / "ada.json"], SAMPLE, reviewed.RUN)
    rows = found.select("image_id", "model", "question", "value").rows()
    assert sorted(rows, key=str) == sorted(wanted, key=str)
    classes, intervals = reviewed.classes(found["image_id"]), Intervals(0.95, "fixed")
    table = results(found, classes, reviewed.TEACHERS, reviewed.NAMES, intervals)
    parsed = (SAMPLE["status_1"] == "ok").sum()
    row = table.filter(question="split", key="glm").row(0, named=True)
    assert (row["share"], row["decided"]) == (1, parsed)

    elsewhere = browser.new_page()
    elsewhere.set_default_timeout(TIMEOUT)
    elsewhere.goto((folder / "few.html").as_uri())
    assert shown(elsewhere, "progress") == "0 of 48 decided"
    said = load(elsewhere, tmp_path / "ada.json")
    assert said == f"Imported {48 + len(compared)} decisions of Ada."
    assert shown(elsewhere, "progress") == "48 of 48 decided"
    again = export(elsewhere, tmp_path / "again.json")
    assert again["decisions"] == content["decisions"]
    elsewhere.close()


def test_an_export_needs_a_name_and_keys_work_at_once_afterwards(opened):
    press(opened, "e", "Enter")
    assert opened.locator("#unnamed").is_visible()
    press(opened, "Escape")
    assert not opened.locator("#name-dialog").is_visible()
    press(opened, "e")
    opened.locator("#name").fill("Ada")
    with opened.expect_download():
        # Both before the page is repainted, while the field still has the focus.
        opened.evaluate(
            """() => {
                document.getElementById("save").click();
                const typed = new KeyboardEvent("keydown", { key: "y", bubbles: true });
                document.getElementById("name").dispatchEvent(typed);
            }"""
        )
    assert pressed(opened) == ["split-yes"]


def test_import_keeps_newer_decisions(opened, tmp_path):
    press(opened, "y")
    content = export(opened, tmp_path / "ada.json")
    press(opened, "1", "n", "ArrowRight", "n")
    said = load(opened, tmp_path / "ada.json")
    assert said == "Imported 0 decisions of Ada; 1 newer ones on this page were kept."
    press(opened, "k")
    assert pressed(opened) == ["split-no"]
    content["decisions"]["quality"][0]["at"] = "2126-01-01T00:00:00Z"
    (tmp_path / "newer.json").write_text(json.dumps(content))
    assert load(opened, tmp_path / "newer.json") == "Imported 1 decisions of Ada."
    assert pressed(opened) == ["split-yes"]


def test_a_larger_page_accepts_the_decisions_of_a_smaller_one(page, folder, tmp_path):
    page.goto((folder / "fewer.html").as_uri())
    press(page, "y", "y", "y", "n")
    export(page, tmp_path / "fewer.json")
    page.goto((folder / "few.html").as_uri())
    assert shown(page, "progress") == "0 of 48 decided"
    assert load(page, tmp_path / "fewer.json") == "Imported 1 decisions of Ada."
    assert shown(page, "progress") == "1 of 48 decided"
    export(page, tmp_path / "few.json")
    page.goto((folder / "fewer.html").as_uri())
    assert "a different sample" in load(page, tmp_path / "few.json")


FIRST = ("decisions", "quality", 0)
WRONG = {
    "another run": (("run",), "<img src=x onerror=1>", 'belongs to run "<img src=x onerror=1>"'),
    "another version": (("version",), 9, "has version 9"),
    "no export": (("format",), None, "is not an export"),
    "another sample": (("sample",), "0", "a different sample"),
    "another number": (("images",), 99, "a different sample"),
    "another reviewer": (("reviewer",), "Ben", "decisions of Ben, this page those of Ada"),
    "no list": (("decisions", "blind"), {}, "lacks decisions.blind"),
    "a strange image": ((*FIRST, "image"), "__proto__", "[0] (__proto__) is about an item"),
    "a strange teacher": ((*FIRST, "teacher"), "toString", "an item that is not on this page"),
    "a strange answer": ((*FIRST, "split"), "maybe", 'answers "maybe"; allowed is yes, no, unsure'),
    "a strange question": ((*FIRST, "constructor"), "yes", "answers constructor, which is not"),
    "a strange time": ((*FIRST, "at"), "yesterday", "has no valid time"),
    "strange notes": ((*FIRST, "notes"), ["x"], "has notes that are too long or not text"),
}


@pytest.mark.parametrize("name", [*WRONG, "damage", "nothing"])
def test_the_error_in_a_file_is_shown_and_nothing_imported(opened, tmp_path, name):
    press(opened, "y")
    before = export(opened, tmp_path / "ada.json")
    content = (tmp_path / "ada.json").read_text() if name == "damage" else "  "
    message = "is damaged or not JSON"
    if name in WRONG:
        (*above, last), value, message = WRONG[name]
        wrong = deepcopy(before)
        wrong["decisions"]["quality"].append(
            {"image": ITEMS[1]["id"], "teacher": "glm", "at": before["exported"], "split": "no"}
        )
        reduce(getitem, above, wrong)[last] = value
        content = json.dumps(wrong) + " "
    (tmp_path / "wrong.json").write_text(content[:-1])
    said = load(opened, tmp_path / "wrong.json")
    assert said.startswith("Nothing was imported from wrong.json: ")
    assert message in said
    assert export(opened, tmp_path / "after.json")["decisions"] == before["decisions"]


def test_damaged_or_missing_storage_is_reported(opened, folder, tmp_path):
    press(opened, "y", "ArrowRight", "y")
    opened.evaluate(
        """() => Object.keys(localStorage).filter(key => key.includes("/quality/glm/"))
            .forEach(key => localStorage.setItem(key, '{"at": 1, "split": "<b>"'))"""
    )
    opened.reload()
    assert "damaged" in opened.locator("#message").inner_text()
    assert pressed(opened) == ["split-yes"]
    opened.evaluate("localStorage.clear()")
    opened.add_init_script(
        "Storage.prototype.setItem = () => { throw new DOMException('no', 'QuotaExceededError') }"
    )
    opened.goto((folder / "few.html").as_uri())
    press(opened, "y")
    said = opened.locator("#storage").inner_text()
    assert "does not keep decisions (QuotaExceededError)" in said
    content = export(opened, tmp_path / "ada.json")
    assert [row["split"] for row in content["decisions"]["quality"]] == ["yes"]
    assert content["reviewer"] == "Ada"


# Models' texts ----------------------------------------------------------------------------------


def test_hostile_texts_are_shown_and_do_nothing(page, folder):
    page.on("dialog", lambda dialog: pytest.fail(dialog.message))
    page.goto((folder / "hostile.html").as_uri())
    elements = page.locator("*").count()
    lines = re.compile(r"\r\n|\r")
    for text in reviewed.HOSTILE:
        assert shown(page, "think") == text
        assert shown(page, "answer") == text * 2
        assert shown(page, "lemma") == text[:200]
        press(page, "r")
        assert shown(page, "text") == text
        assert page.locator("#think").is_visible()
        assert page.locator("#text").is_visible()
        printed = page.locator("#think").inner_text()
        assert lines.sub("\n", printed).split() == lines.sub("\n", text).split()
        press(page, "ArrowRight", "ArrowRight")
    press(page, "m")
    press(page, *["ArrowLeft"] * 20)
    for text in reviewed.HOSTILE:
        assert shown(page, "left-think") == shown(page, "right-think") == text
        press(page, "ArrowRight")
    assert page.locator("*").count() == elements
    assert page.evaluate("globalThis.harmed") is None
    assert page.url.endswith("/hostile.html")
    # Search finds them too.
    press(page, "/")
    page.keyboard.type("javascript:")
    page.locator("#place", has_text="1 of 1").wait_for()


@pytest.mark.parametrize(
    "attempt",
    [
        "document.body.innerHTML = '<b>'",
        "add('script', {text: '1'})",
        "setTimeout('globalThis.harmed = true')",
        "await fetch('https://example.org/')",
        "add('iframe', {src: 'data:,'})",
        "await add('img', {src: 'https://example.org/x.png'}).decode()",
        "add('style', {textContent: 'a{}'})",
        "add('base', {href: '/x/'})",
    ],
)
def test_the_policy_refuses(browser, folder, attempt):
    """What a text could attempt if it became markup or code after all."""
    page = browser.new_page()  # without the fixture, which fails on errors
    page.set_default_timeout(TIMEOUT)
    page.goto((folder / "few.html").as_uri())
    refused = page.evaluate(
        """async () => {
            const found = [];
            const add = (name, properties) => document.head.appendChild(
                Object.assign(document.createElement(name), properties));
            document.addEventListener("securitypolicyviolation",
                (event) => found.push(event.effectiveDirective));
            try {
                ATTEMPT;
            } catch (error) { error.message; }
            await new Promise((done) => setTimeout(done, 100));
            return found;
        }""".replace("ATTEMPT", attempt)
    )
    assert refused
    assert page.evaluate("globalThis.harmed") is None
    page.close()


def test_a_failed_response_shows_status_and_raw_text(opened):
    place = next(n for n, item in enumerate(ITEMS) if item["responses"][0]["status"] != "ok")
    press(opened, *["ArrowRight"] * (2 * place))
    response = ITEMS[place]["responses"][0]
    assert shown(opened, "status") == response["status"]
    assert opened.locator("#failure").is_visible()
    assert not opened.locator("#parts").is_visible()
    text = response["text"] or f"(no text) {response['error']}"
    assert opened.locator("#text").inner_text() == text
    assert visible(opened, ".row") == ["row-split", "row-harmful"]
    assert "rightly a failure" in shown(opened, "ask-split")


# Modes and filters -------------------------------------------------------------------------------


def test_the_comparison_is_blind(opened):
    press(opened, "f", "Escape", "m")
    for item in [item for item in ITEMS if item["left"] is not None]:
        first, second = item["responses"][item["left"]], item["responses"][1 - item["left"]]
        assert shown(opened, "left-answer") == first["answer"]
        assert shown(opened, "right-think") == second["think"]
        seen = opened.locator("body").inner_text() + opened.title() + opened.url
        for name in (*reviewed.NAMES.values(), *reviewed.TEACHERS):
            assert name.lower() not in seen.lower()
        press(opened, "ArrowRight")
    assert {item["left"] for item in ITEMS} == {None, 0, 1}
    assert shown(opened, "progress").startswith("0 of ")


def test_filters_keep_matching_items(opened):
    press(opened, "f")
    assert opened.locator("#filters").is_visible()
    for name, value in {"domain": "food", "teacher": "kimi", "filter-status": "ok"}.items():
        opened.locator(f"#{name}").select_option(value)
    of_domain = [item for item in ITEMS if item["domain"] == "food"]
    wanted = [item["id"] for item in of_domain if item["responses"][1]["status"] == "ok"]
    opened.evaluate("document.activeElement.blur()")
    for number, image in enumerate(wanted):
        assert shown(opened, "place") == f"{number + 1} of {len(wanted)}"
        assert shown(opened, "about") == f"food · {image}"
        press(opened, "ArrowRight")
    press(opened, *"yyyy")
    assert shown(opened, "done") == "Decided"
    opened.locator("#state").select_option("decided")
    assert shown(opened, "place") == "1 of 1"
    opened.locator("#state").select_option("undecided")
    assert shown(opened, "place").endswith(f" of {len(wanted) - 1}")
    opened.locator("#search").fill("no such words")
    opened.locator("#nothing:not([hidden])").wait_for()
    assert not opened.locator("#item").is_visible()
    press(opened, "Escape", "y", "1", "ArrowRight", "m", "g", "t")


def test_two_tabs_share_decisions(browser, folder):
    context = browser.new_context()
    context.set_default_timeout(TIMEOUT)
    one, other = context.new_page(), context.new_page()
    for page in (one, other):
        page.goto((folder / "few.html").as_uri())
    press(other, *"yyyn")
    one.locator("#progress", has_text="1 of 48 decided").wait_for()
    assert pressed(one)[0] == "split-yes"
    context.close()


# Accessibility -----------------------------------------------------------------------------------


def test_focus_reaches_everything_and_is_visible(opened):
    press(opened, "f")
    opened.evaluate("document.activeElement.blur()")
    seen = {}
    for _ in range(60):
        press(opened, "Tab")
        name, outline, label = opened.evaluate(
            """() => {
                const one = document.activeElement;
                const look = getComputedStyle(one);
                const label = one.labels?.[0]?.textContent || one.getAttribute("aria-label");
                return [one.id || one.tagName, `${look.outlineStyle} ${look.outlineWidth}`,
                    label || one.textContent];
            }"""
        )
        if name in seen:
            break
        if name == "BODY":  # between the last and the first
            continue
        seen[name] = outline
        assert label.strip(), name
    assert set(seen.values()) == {"solid 2px"}
    controls = visible(opened, "button, input, select, textarea, summary")
    assert set(controls) <= set(seen)
    assert len(controls) > 25


def test_help_lists_the_keys_and_closes(opened):
    press(opened, "?")
    assert opened.locator("#help-dialog").is_visible()
    assert "Answer yes, no, unsure" in opened.locator("#keys").inner_text()
    press(opened, "y", "ArrowRight", "Escape")
    assert not opened.locator("#help-dialog").is_visible()
    assert shown(opened, "place") == "1 of 48"
    assert pressed(opened) == []


def luminance(colour: str) -> float:
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark_are_readable(opened, scheme):
    opened.emulate_media(color_scheme=scheme)
    back = opened.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (luminance(back) > 0.5) == (scheme == "light")
    press(opened, "y")
    opened.evaluate("Promise.all(document.getAnimations().map(one => one.finished))")
    for name in ("#think", "#progress", "#lemma", "#about", "#hint", "#split-yes", "#split-no"):
        colours = opened.locator(name).evaluate(
            """one => {
                const colour = element => getComputedStyle(element).backgroundColor;
                let behind = one;
                while (/, 0\\)$/.test(colour(behind))) behind = behind.parentElement;
                return [getComputedStyle(one).color, colour(behind)];
            }"""
        )
        one, other = sorted(map(luminance, colours))
        assert (other + 0.05) / (one + 0.05) >= 4.5, (name, colours)


@pytest.mark.parametrize("name", ["few", "hostile"])
def test_a_phone_scrolls_in_one_direction(page, folder, name):
    page.set_viewport_size(PHONE)
    page.goto((folder / f"{name}.html").as_uri())
    press(page, "f")
    page.evaluate("document.activeElement.blur()")
    for switch in ((), ("m",)):  # both modes
        press(page, *switch)
        for _ in range(20):
            width = page.evaluate("document.documentElement.scrollWidth")
            assert width <= PHONE["width"]
            press(page, "ArrowRight")
    left, right = (page.locator(f"#{side}-think").bounding_box() for side in ("left", "right"))
    assert right["y"] > left["y"] + left["height"]
    page.locator("#choice-left").click()
    assert pressed(page) == ["choice-left"]


# Size --------------------------------------------------------------------------------------------


DECIDE = """async () => {
    const start = performance.now();
    for (const key of ["y", "1", "j"]) {
        document.body.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
    }
    await document.getElementById("picture").decode();
    await new Promise(requestAnimationFrame);
    return performance.now() - start;
}"""
"""Returns the milliseconds of a decision, from key press to painted picture."""


def test_a_thousand_images_do_not_lag(page, tmp_path):
    """A decision costs the same on a large page as on a small one, on a machine of any speed.

    Images have 512 pixels and texts 670 words, as in real runs.
    """
    file = io.BytesIO()
    Image.effect_noise((64, 48), 80).convert("RGB").resize((512, 384)).save(file, "JPEG")
    medians = {}
    for count in (140, 1000):
        path = tmp_path / f"{count}.html"
        found = reviewed.items(count, words=335, failures=0.05, size=(512, 384))
        reviewed.write_page(path, found, pictures=[file.getvalue()] * count)
        page.goto(path.as_uri())
        taken = [page.evaluate(DECIDE) for _ in range(50)]
        press(page, "m")
        taken += [page.evaluate(DECIDE) for _ in range(50)]
        assert shown(page, "progress").startswith("5")
        medians[count] = statistics.median(taken)
    print(f"\nnext after {medians} ms (median), by number of images")
    assert medians[1000] < 4 * medians[140]


# The miniature -----------------------------------------------------------------------------------


def test_the_miniatures_own_page(page, run):
    path = run / "review" / "index.html"
    page.goto(path.as_uri())
    sample = pl.read_parquet(path.with_name("sample.parquet"), schema=REVIEWED)
    assert len(sample) == 144
    assert shown(page, "progress") == "0 of 288 decided"
    assert page.locator("#picture").evaluate("one => one.complete && one.naturalWidth > 200")
    annotations = pl.read_parquet(run / "annotations" / "*" / "*.parquet")
    for row in sample.head(20).iter_rows(named=True):
        for k in (1, 2):
            said = annotations.filter(image_id=row["image_id"], model=row[f"model_{k}"])
            assert shown(page, "think") == said["think"][0]
            assert shown(page, "answer") == said["answer"][0]
            press(page, "ArrowRight")
