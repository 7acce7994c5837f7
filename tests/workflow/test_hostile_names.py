r"""Names, paths and texts with `_ % & # { } \ ~ ^ | < > $` are intact in every output of a run.

The run is small and real: drawings in a folder of images, and three models whose responses were
generated elsewhere.
"""

import html
import json
import re
import subprocess

import polars as pl
import pytest
import yaml
from markdown_it import MarkdownIt

from draw_images import draw_images
from imagenet_think.core import csv_files
from imagenet_think.report import escaping

from .conftest import MINIATURE, Project, clone

pytestmark = pytest.mark.slow

MARKS = r"a_b %c &d #e {f} g\h ~i ^j |k <l> $m$ `n` [o](p) *q* <script>alert(1)</script>"
TEMPLATES = "{{7*7}} `x <javascript:alert(1)>`_"
WORDS = {
    "marks": MARKS,
    "emoji": "a bow \U0001f3f9 and \U0001f469\U0001f3fd\u200d\U0001f680",
    "right to left": "\u05e7\u05e9\u05ea \u0642\u0648\u0633 bow",
    "long": "bow" * 60,
}
"""Parts of class names, domains, names of models, the prompt and the responses."""

FOLDERS = {
    "c_1 & 100% {model} <results>": WORDS["marks"],
    "c#2 ~^$x": WORDS["emoji"],
    "c3": WORDS["right to left"],
}
"""Folders of the classes and their names."""

NAMES = {
    "one": f"Teacher {MARKS}",
    "two": f"Teacher {TEMPLATES} {WORDS['emoji']} {WORDS['right to left']}",
    "three": f"=Model_{WORDS['long']}",
}
MARGIN = 36
"""Half of the paper's margin, in points: text that is wider by less can be read."""

ALL = ("--configfile", "hard.yaml", "--cores", "2", "all")


def plain(text):
    """Return a text without white space and invisible break opportunities."""
    return re.sub(r"[\s\u00ad\u2060\u200b]+", "", text)


def unbroken(latex):
    """Return LaTeX without line breaks and break opportunities."""
    return plain(latex.replace(r"\allowbreak{}", "").replace(r"\\", ""))


def shown(page):
    """Return the plain text of an HTML page."""
    return plain(html.unescape(re.sub(r"<[^>]*>", "", page)))


def typeset(text):
    """Return a text as LaTeX prints it here: characters without a glyph as code points."""
    return plain("".join(c if c < "\u0250" else f"U+{ord(c):04X}" for c in text))


@pytest.fixture(scope="module")
def hard(tmp_path_factory):
    project = clone(tmp_path_factory.mktemp("hard"))
    folder = project.root / "my #1 pictures & more_100% {x} [1] <unknown>"
    wnids = ["n02782093", "n03544143", "n02948072"]
    draw_images(folder / "tars", wnids, 9, 11)
    for wnid, name in zip(wnids, FOLDERS, strict=True):
        (folder / "own" / name).mkdir(parents=True)
        tar = folder / "tars" / f"{wnid}.tar"
        subprocess.run(["tar", "-xf", tar, "-C", folder / "own" / name], check=True)
    rows = ["wnid\tlemmas\tdomain\thypernym"]
    rows += [f"{wnid}\t{lemma}, x\td_{lemma}\tn1" for wnid, lemma in FOLDERS.items()]
    (project.root / "my {classes} [1].tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")

    columns = {"image": "image_id", "think": "think", "answer": "answer"}
    with project.editing(MINIATURE, to="hard.yaml") as config:
        config["images"] |= {
            "classes": "my {classes} [1].tsv",
            "groups": 1,
            "total": 12,
            "reserve": 1,
        }
        config["images"] |= {"class_count": 3, "min_per_class": 4, "max_per_class": 4}
        own = str((folder / "own").relative_to(project.root))
        config["images"]["source"] = {"kind": "folder", "path": own}
        config |= {"run": "hard", "sharding": {"blocks": 1, "shards_per_block": 1}}
        config |= {"prompts": {"mine": f"Say: {' '.join(WORDS.values())}"}, "prompt": "mine"}
        config |= {"teachers": ["one", "two"], "benchmarked": ["three"]}
        config["models"] = {
            key: {
                "name": name,
                "responses": {"path": f"said by {{x}} [1]/{key}_100%.parquet"} | columns,
            }
            for key, name in NAMES.items()
        }
        config["benchmark"]["ablation_model"] = "three"
    pictures = sorted(str(path.relative_to(folder / "own")) for path in folder.glob("own/*/*"))
    (project.root / "said by {x} [1]").mkdir()
    for key in NAMES:
        texts = [
            f"{' '.join(list(WORDS.values())[n % 4 :])} {key} {n}" for n in range(len(pictures))
        ]
        said = pl.DataFrame({"image_id": pictures, "think": texts[::-1], "answer": texts})
        said.write_parquet(project.root / "said by {x} [1]" / f"{key}_100%.parquet")
    project.snakemake(*ALL, "paper")
    return project.root / "results" / "hard"


def hostile(frame):
    """Return the names with marks in a table."""
    known = {*NAMES.values(), *FOLDERS.values(), *(f"d_{name}" for name in FOLDERS.values())}
    texts = frame.select(pl.col(pl.String))
    return known.intersection(*[[text for column in texts for text in column]])


def test_names_are_whole_in_every_form_of_a_table(hard):
    found = set()
    tables = [*hard.glob("tables/*.csv"), *hard.glob("*.csv")]
    for path in tables:
        names = hostile(csv_files.read_csv(path, infer_schema_length=None))
        assert not re.search(r"^[=@]|,[=@]", path.read_text("utf-8"), re.M), path
        page = MarkdownIt("commonmark", {"html": True}).enable("table")
        markdown = shown(page.render(path.with_suffix(".md").read_text("utf-8")))
        browser = shown((hard / "pages" / f"{path.stem}.html").read_text("utf-8"))
        typeset_as = path.with_suffix(".tex")  # the accounting has none
        latex = unbroken(typeset_as.read_text("utf-8")) if typeset_as.exists() else None
        if path.stem not in ("groups", "agreement_domains"):
            names &= {*NAMES.values()}  # other tables print no domains
        for name in names:
            assert plain(name) in markdown, path
            assert plain(name) in browser, path
            assert latex is None or unbroken(escaping.latex(name)) in latex
        found |= names
    assert found >= {*NAMES.values(), *(f"d_{name}" for name in FOLDERS.values())}


def test_the_paper_prints_names_whole(hard):
    said = ["pdftotext", hard / "paper.pdf", "-"]
    pages = plain(subprocess.run(said, capture_output=True, text=True, check=True).stdout)
    for name in NAMES.values():
        assert typeset(name) in pages
    assert typeset(f"Say: {WORDS['marks']} {WORDS['emoji']} {WORDS['right to left']}") in pages
    warnings = re.findall(r"WARNING (.*)", (hard / "logs" / "compile_paper.log").read_text())
    too_wide = [re.match(r"Overfull \\hbox \((\d+)", warning) for warning in warnings]
    assert all(too_wide), warnings
    assert all(int(points[1]) < MARGIN for points in too_wide), warnings


def test_figures_print_names(hard):
    pages = {}
    for path in hard.glob("figures/*.pdf"):
        said = subprocess.run(["pdftotext", path, "-"], capture_output=True, text=True, check=True)
        pages[path.stem] = plain(said.stdout)
    assert plain(MARKS) in pages["figure_sample"]
    assert "\u05e7\u05e9\u05ea" in pages["figure_sample"]
    assert plain(r"d_a_b %c &d #e {f} g\h") in pages["figure_coverage"]
    assert "Model_bow" in pages["figure_scores"]
    assert len(pages) > 5


def test_no_text_becomes_markup(hard):
    pages = [*hard.rglob("*.html")]
    assert len(pages) > 19
    for path in pages:
        assert "<script>alert" not in path.read_text("utf-8"), path
    report = shown((hard / "images" / "report.html").read_text("utf-8"))
    for name, lemma in FOLDERS.items():
        assert plain(name) in report
        assert plain(f"d_{lemma}") in report


def test_texts_are_unchanged(hard):
    for key in NAMES:
        said = pl.read_parquet(
            hard.parents[1] / "said by {x} [1]" / f"{key}_100%.parquet", glob=False
        )
        kept = pl.read_parquet(hard / "annotations" / key / "*.parquet")
        assert len(kept) == 12
        names = said.with_columns(pl.col("image_id").str.replace(r"\.[A-Za-z]+$", ""))
        both = kept.join(names, on="image_id", suffix="_said")
        assert len(both) == 12
        assert both["think"].equals(both["think_said"], check_names=False)
        assert both["answer"].equals(both["answer_said"], check_names=False)


def test_the_dataset_and_its_card_contain_names_and_texts(hard):
    folder = hard / "dataset"
    rows = pl.read_parquet(folder / "data" / "*.parquet")
    assert len(rows) == 12
    assert hostile(rows) == {*FOLDERS.values(), *(f"d_{name}" for name in FOLDERS.values())}
    for place, key in enumerate(("one", "two"), start=1):
        made = pl.read_parquet(hard / "annotations" / key / "*.parquet")
        both = rows.join(made, on="image_id")
        assert both["think"].equals(both[f"think_{place}"], check_names=False)
        assert both["answer"].equals(both[f"answer_{place}"], check_names=False)
    _, front, text = (folder / "README.md").read_text("utf-8").split("---\n", 2)
    assert yaml.safe_load(front)["configs"]
    card = shown(MarkdownIt("commonmark", {"html": True}).enable("table").render(text))
    croissant = json.loads((folder / "croissant.json").read_text("utf-8"))
    for key in ("one", "two"):
        assert plain(NAMES[key]) in card
        assert plain(NAMES[key]) in plain(croissant["description"])


def test_snakemakes_report_prints_names_and_runs_none(hard):
    project = Project(hard.parents[1])
    project.snakemake(*ALL, "--report", "report.html")
    page = (project.root / "report.html").read_text("utf-8")
    scripts = dict(re.findall(r'<script id="([\w-]+)">\s*var \w+ = (.*);\n', page))
    about = json.loads(scripts["workflow-desc"])
    for name in NAMES.values():
        assert plain(name) in shown(about)
    assert 'href="javascript:alert' not in about
    results = json.loads(scripts["results"])
    caption = results["results/hard/pages/table7.html"]["caption"]
    assert plain(NAMES["three"]) in shown(caption)
    assert "<script>alert" not in page
