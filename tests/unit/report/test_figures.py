import random
from collections import Counter
from pathlib import Path

import aggregates
import matplotlib
import numpy as np
import polars as pl
import pytest
import regex
from configs import config
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from matplotlib.text import Text
from pictures import encoded, photo
from synthetic_run import CLASS_LIST, make_run

import figure_coverage
import figure_lengths
import figure_organisation
import figure_sample
import figure_scores
from figure_agreement import draw_agreement
from imagenet_think.core import schemas
from imagenet_think.report import figures, table_captions
from imagenet_think.report.examples import Example, choose_examples

PROMPT = "Please look at this image step by step and explain what it shows. " * 4
LONG = "A model whose name is longer than any label could ever be, $x$ and more"
SETTINGS = config({"models/vl-rethinker/name": LONG}, name="miniature")
TEACHERS, MODELS = SETTINGS["teachers"], SETTINGS["benchmarked"]
SHOWN = [SETTINGS["models"][key]["name"] for key in TEACHERS]
TALK = (
    "the image shows a balloon over green hills while light falls from the left and its basket "
    "hangs below **Details** colour suggests summer $5 and $7 so I conclude step by step that"
)

HARD = {
    "short": "A flag.",
    "empty": "",
    "dollars": "It costs $5 or \\frac{1}{2}$ and 100% of {braces} _under_ ^over^ & #1. " * 20,
    "emoji": "A face 😀 and a family 👨‍👩‍👧‍👦, a flag 🇫🇷, a thumb 👍🏽. " * 10,
    "right to left": "هذه الصورة تظهر منطادا ملونا فوق التلال الخضراء. תמונה של דגל. " * 12,
    "chinese": "这张图片展示了一个热气球飞过绿色的山丘。" * 20,
    "marks": "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢L̠ͨͧͩ͘G̴̻͈͍͔̹̑͗̎̅͛́Ǫ̵̹̻̝̳͂̌̌͘ text " * 8,
    "control": "a\x00b\x07c\td\r\ne\u2028f\ufeff g\ud800",
    "runaway loop": "loop " * 150_000,
    "runaway word": "x" * 500_000,
    "lines": "### 1. **Subject**\n\n- one\n- two\n\n\n| a | b |\n" * 12,
}


def words(count: int, seed: int) -> str:
    draw = random.Random(seed)
    chosen = [draw.choice(TALK.split()) for _ in range(count)]
    return " ".join(w + (".\n" if draw.random() < 0.04 else "") for w in chosen)


def example(think: str, answer: str, size: tuple[int, int] = (320, 240)) -> Example:
    return Example(
        "n02782093_12",
        "balloon",
        "artifact",
        encoded(photo(1, size)),
        ((think, answer), (think, answer)),
    )


def drawn_texts(figure: Figure) -> list[tuple[str, matplotlib.transforms.Bbox]]:
    """Return the texts that a drawing of the figure draws, with their extents in pixels."""
    drawn = []
    original = Text.draw

    def draw(self, renderer):
        original(self, renderer)
        if self.get_visible() and self.get_text().strip():
            drawn.append((self.get_text(), self.get_window_extent(renderer)))

    with figures.style(), pytest.MonkeyPatch.context() as patch:
        if figure.get_layout_engine():
            figure.draw_without_rendering()  # settles the layout
        patch.setattr(Text, "draw", draw)
        figure.draw_without_rendering()
    return drawn


def assert_readable(figure: Figure) -> None:
    """No text leaves the page, crosses another text or the border of a box."""
    point = figure.dpi / 72
    drawn = drawn_texts(figure)
    assert drawn
    boxes = [patch.get_window_extent() for patch in figure.findobj(FancyBboxPatch)]
    extents = np.array([extent.extents for _, extent in drawn])
    low, high = extents[:, :2], extents[:, 2:]
    assert (low >= -0.5).all(), "outside the page"
    assert (high <= figure.bbox.max + 0.5).all(), "outside the page"
    common = np.minimum(high[:, None], high) - np.maximum(low[:, None], low)
    crossing = np.argwhere(np.triu((common >= 0.5 * point).all(axis=2), 1))
    assert not [(drawn[one][0], drawn[other][0]) for one, other in crossing]
    for text, extent in drawn:
        for box in boxes:
            common = matplotlib.transforms.Bbox.intersection(extent, box)
            if common is not None and common.width > 0 and common.height > 0:
                inside = np.allclose(common.extents, extent.extents, atol=0.5)
                assert inside, f"crosses its box: {text!r}"


# Synthetic frames of the pipeline ----------------------------------------------------------------


def domains_frame(domains: dict[str, tuple[int, int]], schema: pl.Schema) -> pl.DataFrame:
    """Return classes with a number of available images, or as many sampled images of them."""
    rows = [
        {"wnid": f"n{domain}{number % classes}", "domain": domain, "available": available}
        for domain, (classes, available) in domains.items()
        for number in range(classes if "available" in schema else available)
    ]
    known = [{name: row.get(name) for name in schema} for row in rows]
    return pl.DataFrame(known, schema=schema)


def lengths_frame(typical: int, rows: int, longest: int) -> pl.DataFrame:
    draw = np.random.default_rng(1)
    frames = []
    for teacher, factor in zip(TEACHERS, (1.0, 0.8), strict=True):
        for part, share in (("full", 1.0), ("think", 0.55), ("answer", 0.45)):
            tokens = draw.lognormal(np.log(typical * factor * share), 0.4, rows).astype(int) + 1
            tokens[0] = longest
            frames.append(pl.DataFrame({"model": teacher, "part": part, "tokens": tokens}))
    return pl.concat(frames)


def aggregates_frame(models: list[str]) -> pl.DataFrame:
    draw = random.Random(3)
    found = aggregates.rows(lambda *_: draw.uniform(0.2, 0.9), models, ["full"])
    return pl.DataFrame(list(found), schema=schemas.AGGREGATES)


def agreement_frame() -> pl.DataFrame:
    """Numbers of all images, each of which shows where it comes from."""
    kinds = [(TEACHERS[0], "teacher_2"), *((t, b) for t in TEACHERS for b in schemas.AGAINST[1:])]
    rows = []
    for metric in (*table_captions.HEADINGS, "tfidf_pair"):
        for row, part in enumerate(table_captions.PARTS):
            for place, (model, against) in enumerate(kinds):
                value = 0.9 - 0.1 * place - 0.03 * row - (0.01 if metric == "tfidf_pair" else 0)
                keys = {"grouping": "all", "group": "all", "metric": metric, "part": part}
                keys |= {"model": model, "against": against, "value": value}
                rows.append(keys | {"low": value - 0.01, "high": value + 0.02})
                rows.append(keys | {"minus": "same_class", "value": -5.0, "low": -6, "high": -4})
    return pl.DataFrame(rows, schema=schemas.AGREEMENT_AGGREGATES)


DOMAINS = pl.read_csv(CLASS_LIST, separator="\t")["domain"].value_counts(name="classes")
PAPER = {domain: (classes, classes * 24) for domain, classes in DOMAINS.iter_rows()}
MINIATURE = {"artifact": (7, 84), "object": (2, 24), "animal": (1, 12), "food": (2, 24)}


# Choice of samples -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    make_run(folder)
    image = pl.struct(pl.lit(encoded(photo(1, (64, 48)))).alias("bytes")).alias("image")
    sample = pl.read_parquet(folder / "sample.parquet")
    sample.select("image_id", image).write_parquet(folder / "images.parquet")
    return folder


def annotations(run: Path) -> list[Path]:
    return [run / f"annotations/{key}.parquet" for key in SETTINGS["teachers"]]


def chosen(run: Path, count: int, **changed: object) -> list[Example]:
    files = {"sample": run / "sample.parquet", "images": [run / "images.parquet"]}
    given = files | {"annotations": annotations(run), "settings": SETTINGS} | changed
    return choose_examples(**given, count=count)


def test_examples_are_parsed_and_of_different_domains(run):
    everything = chosen(run, 1000)
    parsed = pl.read_parquet(annotations(run)).filter(status="ok")
    by_both = parsed.group_by("image_id").len().filter(len=2)["image_id"]
    assert sorted(e.image_id for e in everything) == sorted(by_both)
    assert len({e.domain for e in everything[:4]}) == 4
    texts = parsed.rows_by_key(["image_id", "model"], unique=True, named=True)
    for e in everything:
        rows = [texts[e.image_id, key] for key in SETTINGS["teachers"]]
        assert e.texts == tuple((row["think"], row["answer"]) for row in rows)
    assert chosen(run, 3) == everything[:3]
    settings = [SETTINGS | {"seed": seed} for seed in range(12)]
    assert len({chosen(run, 1, settings=own)[0].image_id for own in settings}) > 3


def test_nothing_parsed_and_a_missing_image_are_errors(run, tmp_path):
    with pytest.raises(ValueError, match=r"no image of .*sample.parquet has a parsed response"):
        chosen(run, 1, settings=SETTINGS | {"teachers": ["another"]})
    pl.read_parquet(run / "images.parquet")[:1].write_parquet(tmp_path / "images.parquet")
    with pytest.raises(ValueError, match="are in none of the 1 shards"):
        chosen(run, 1000, images=[tmp_path / "images.parquet"])


# Text --------------------------------------------------------------------------------------------


def test_characters_without_a_glyph_are_replaced_and_logged(caplog):
    assert figures.printable("a 中 b\u200d\ufe0f", "row 1") == "a □ b\u200d\ufe0f"
    assert "row 1: 1 characters" in caplog.text
    assert "U+4E2D" in caplog.text


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=300), st.floats(20, 300))
def test_wrapped_text_is_whole_and_narrow_enough(text, width):
    text = figures.printable(text)
    font = figures.serif(7)
    lines = list(figures.wrap(text, font, width))
    assert "".join("".join(lines).split()) == "".join(text.split())
    for line in lines:  # only a single letter may be wider than the line
        letters = regex.findall(r"\X", line)
        assert figures.width_of(line, font) <= width + 1 or len(letters) == 1


@pytest.mark.parametrize("text", HARD.values(), ids=HARD.keys())
def test_fitted_text_stays_in_its_area(text):
    font = figures.serif(7)
    text = figures.printable(text)
    lines = figures.fit(text, font, 120, 60)
    assert figures.height_of(lines, font) <= 60 or len(lines) == 1
    assert all(figures.width_of(line, font) <= 121 for line in lines)
    cut = len("".join("".join(lines).split())) < len("".join(text.split()))
    assert cut == (bool(lines) and lines[-1].endswith("…"))


def test_shortened_text_breaks_at_a_word():
    font = figures.sans(7)
    short = figures.shorten("several words that are too long for it", font, 70)
    assert short.endswith("…")
    assert short[:-1] in {"several words", "several words that"}
    assert figures.width_of(short, font) <= 70


# Figures -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", HARD.values(), ids=HARD.keys())
def test_any_text_fits_the_figures_of_samples(text):
    one = example(text, words(20, 1))
    other = example(words(400, 2), text, (100, 900))
    assert_readable(figure_organisation.draw_organisation([one, other], PROMPT, SHOWN))
    assert_readable(figure_sample.draw_sample(other, text, SHOWN))


@pytest.mark.parametrize("count", [1, 250, 2000])
def test_a_sample_of_any_length_fits_a_page(count):
    shown = example(words(count, 1), words(count, 2))
    figure = figure_sample.draw_sample(shown, PROMPT, SHOWN)
    assert_readable(figure)
    assert figure.get_figheight() * 72 <= figures.TALLEST + 1
    texts = " ".join(text for text, _ in drawn_texts(figure))
    wanted = Counter(f"{words(count, 1)} {words(count, 2)}".split() * 2)
    assert (wanted <= Counter(texts.split())) == (count <= 250)
    assert ("% shown)" in texts) == (count == 2000)


@pytest.mark.parametrize("domains", [MINIATURE, PAPER, {"food": (1, 1)}])
def test_coverage(domains, tmp_path):
    files = tmp_path / "sample.parquet", tmp_path / "classes.parquet"
    domains_frame(domains, schemas.SAMPLE).write_parquet(files[0])
    listed = {name: (classes + 2, 700) for name, (classes, _) in domains.items()}
    listed |= {"motive": (1, 0)}
    domains_frame(listed, schemas.CLASSES).write_parquet(files[1])
    counts = figure_coverage.count_domains(*files)
    assert dict(counts.select("domain", "images").iter_rows()) == {
        name: images for name, (_, images) in domains.items()
    }
    assert counts["classes"].sum() == sum(classes for classes, _ in domains.values())
    assert counts["images_available"].sum() == sum(700 * n for n, a in listed.values() if a)
    assert_readable(figure_coverage.draw_coverage(counts))


@pytest.mark.parametrize(
    "lengths",
    [
        lengths_frame(60, 70, 90),
        lengths_frame(400, 2000, 196388),
        lengths_frame(60, 30, 90).filter(pl.col("part") != "answer"),
        lengths_frame(60, 30, 90).clear(),
    ],
    ids=["short", "long", "without answers", "empty"],
)
def test_lengths(lengths):
    assert_readable(figure_lengths.draw_lengths(lengths, SETTINGS))


@pytest.mark.parametrize("count", [1, 4, 9])
def test_any_number_of_panels(count):
    with figures.style():
        figure, panels = figures.panels([f"Metric {n}" for n in range(count)], ["line"], 80)
    assert figure.axes == panels
    assert [axes.get_title() for axes in panels] == [f"Metric {n}" for n in range(count)]
    assert_readable(figure)


def test_scores_with_and_without_gaps():
    assert_readable(figure_scores.draw_scores(aggregates_frame(MODELS), SETTINGS))
    others = pl.when(pl.col("model") != MODELS[0]).then(pl.col("value", "low", "high"))
    scores = aggregates_frame(MODELS).with_columns(others)
    assert_readable(figure_scores.draw_scores(scores, SETTINGS))


def test_an_interval_may_end_at_0_and_none_is_not_drawn():
    one, two = (pl.col("model") == key for key in MODELS[:2])
    scores = aggregates_frame(MODELS).with_columns(
        low=pl.when(one).then(0.0).when(~two).then("low"), high=pl.when(~two).then("high")
    )
    figure = figure_scores.draw_scores(scores, SETTINGS)
    for container in (container for axes in figure.axes for container in axes.containers):
        values, _, (bars,) = container.lines
        lows = {round(bar[0, 1]): bar[0, 0] for bar in bars.get_segments() if len(bar)}
        assert lows.keys() == {place for place, key in enumerate(MODELS) if key != MODELS[1]}
        assert lows[0] == 0
        assert len(values.get_xdata()) == len(MODELS)


def test_agreement_is_drawn_in_its_rows():
    changed = {"benchmark/printed_tfidf": "tfidf_pair", "models/kimi-vl/name": LONG}
    figure = draw_agreement(agreement_frame(), config(changed, name="miniature"))
    assert_readable(figure)
    for axes, (metric, title) in zip(figure.axes, table_captions.HEADINGS.items(), strict=True):
        assert axes.get_title().replace("\n", " ") == title
        shift = 0.01 if metric == "tfidf" else 0
        drawn = [container.lines[0] for container in axes.containers]
        assert len(drawn) == 5
        for place, line in enumerate(drawn):
            wanted = [0.9 - 0.1 * place - 0.03 * row - shift for row in range(3)]
            assert line.get_xdata() == pytest.approx(wanted)
            assert [round(y) for y in line.get_ydata()] == [0, 1, 2]
        assert drawn[0].get_ydata()[0] < drawn[1].get_ydata()[0] < drawn[3].get_ydata()[0]
        assert [line.get_markerfacecolor() for line in drawn][2::2] == ["white", "white"]


def test_agreement_without_baselines():
    none = pl.when(pl.col("against") == "teacher_2").then(pl.col("value"))
    figure = draw_agreement(agreement_frame().with_columns(value=none), SETTINGS)
    assert_readable(figure)
    assert [len(c.lines[0].get_xdata()) for c in figure.axes[0].containers] == [3, 0, 0, 0, 0]


COVERAGE = ["domain", "images", "classes", "images_available", "classes_available"]
DRAWINGS = {
    "organisation": lambda: figure_organisation.draw_organisation(
        [example(words(90, 1), HARD["right to left"])] * 2, PROMPT, SHOWN
    ),
    "sample": lambda: figure_sample.draw_sample(
        example(words(90, 1), HARD["emoji"]), PROMPT, SHOWN
    ),
    "coverage": lambda: figure_coverage.draw_coverage(
        pl.DataFrame([["food", 3, 1, 9, 2]], schema=COVERAGE, orient="row")
    ),
    "lengths": lambda: figure_lengths.draw_lengths(lengths_frame(60, 30, 90), SETTINGS),
    "scores": lambda: figure_scores.draw_scores(aggregates_frame(MODELS), SETTINGS),
    "agreement": lambda: draw_agreement(agreement_frame(), SETTINGS),
}


@pytest.mark.parametrize("draw", DRAWINGS.values(), ids=DRAWINGS)
@pytest.mark.slow
def test_equal_figures_are_equal_files_whatever_the_user_s_settings(draw, tmp_path):
    changed = {"font.size": 20, "axes.facecolor": "red", "savefig.dpi": 50}
    for name, own in (("first", {}), ("second", changed)):
        with matplotlib.rc_context(own):
            figures.save_figure(draw(), tmp_path / f"{name}.pdf", tmp_path / f"{name}.png")
    for ending in ("pdf", "png"):
        first, second = (tmp_path / f"{name}.{ending}" for name in ("first", "second"))
        assert first.read_bytes() == second.read_bytes()
        assert first.stat().st_size > 1000
    pdf = (tmp_path / "first.pdf").read_bytes()
    assert b"Date" not in pdf
    assert b"FontFile2" in pdf
