"""Made-up items of a review page, and the page that shows them."""

import io
import random
from pathlib import Path

import polars as pl
from PIL import Image

from imagenet_think.parsing.outcomes import STATUSES
from imagenet_think.review.form import FORMAT, VERSION
from imagenet_think.review.review_page import ReviewedRun, describe, listed, render
from imagenet_think.review.review_sample import left

SCRIPTS = Path(__file__).parents[2] / "scripts" / "review"
ENDINGS = {"template": "html", "style": "css", "script": "js"}
SOURCES = {name: SCRIPTS / f"review.{ending}" for name, ending in ENDINGS.items()}
NAMES = {"glm": "GLM the Long", "kimi": "Kimi the Short"}
TEACHERS = list(NAMES)
RUN = "a_run"
PROMPT = "What is <b>this</b>?"
TEXT = "the image shows a wooden bow beside an arrow, so it is most likely archery; perhaps"
WORDS = TEXT.split()

HOSTILE = [
    "<script>globalThis.harmed = true</script>",
    "<img src=x onerror=globalThis.harmed=true>",
    "</script><script>globalThis.harmed = true</script>",
    "<!--<script>",
    "<svg/onload=globalThis.harmed=true><style>*{display:none}</style>",
    '"}]}</script><iframe src="https://example.org/"></iframe>',
    "[here](javascript:globalThis.harmed=true) <a href='javascript:globalThis.harmed=true'>x</a>",
    "<base href='https://example.org/'><meta http-equiv=refresh content='0;url=//example.org'>",
    "{{ 7 * 7 }} {% raw %} ${globalThis.harmed = true} `",
    "<div><table><b>never closed <p",
    "line\u2028separator\u2029and\x85next\r\nand\rreturn\x00null\x0bfeed",
    "مرحبا \u202egnp.exe\u202c שלום \u2066isolated",
    "👩🏽‍🚀🏳️‍🌈 e\u0301\u0300\u0301\u0302 𝐁𝐨𝐰 中文",
    "bow" * 10_000,
    "a\tb  c   d\n\n\n   indented",
    "\\u003cscript\\u003e &lt;b&gt; &amp;",
]
"""Texts that do harm if a page shows them unescaped."""


def picture(number: int, width: int = 48, height: int = 36) -> bytes:
    """Return a small JPEG, a different one for each number."""
    file = io.BytesIO()
    colour = (37 * number % 256, 91 * number % 256, 150)
    Image.new("RGB", (width, height), colour).save(file, "JPEG")
    return file.getvalue()


def items(
    number: int, words: int = 30, failures: float = 0.1, seed: int = 1, size=(48, 36)
) -> list[dict]:
    """Return items with texts of so many words, and a share of failures."""
    draw = random.Random(seed)
    failed = [status for status in STATUSES if status != "ok"]
    found = []
    for place in range(number):
        responses = []
        for teacher in TEACHERS:
            think, answer = (" ".join(draw.choices(WORDS, k=words)) for _ in range(2))
            text = f"<think>{think} ({teacher}, {place})</think>{answer}"
            said = {"status": "ok", "think": think, "answer": answer, "text": text}
            if draw.random() < failures:
                said |= {"status": draw.choice(failed), "think": None, "answer": None}
                if said["status"] == "error":
                    said["text"] = None
            responses.append(said | {"error": None if said["text"] else "out of memory"})
        compared = all(said["status"] == "ok" for said in responses)
        image = f"n{place % 7}_{place}"
        found.append(
            {
                "id": image,
                "lemma": ("bow", "fish", "lollipop")[place % 3],
                "domain": ("artifact", "animal", "food")[place % 3],
                "sha256": f"{place:064x}",
                "width": size[0],
                "height": size[1],
                "left": left(seed, image) if compared else None,
                "responses": responses,
            }
        )
    return found


def hostile_items() -> list[dict]:
    """Return items with a hostile text in every place, two items per text."""
    found = items(2 * len(HOSTILE), failures=0)
    for item, text in zip(found, HOSTILE * 2, strict=True):
        item["lemma"] = text[:200]
        for response in item["responses"]:
            response |= {"think": text, "answer": f"{text}{text}", "text": text}
    for item in found[len(HOSTILE) :]:
        item["left"] = None
        item["responses"][0] |= {"status": "unclosed_think", "think": None, "answer": None}
    return found


def content(found: list[dict], run: str = RUN) -> dict:
    """Return the content of a page of some items."""
    return describe(found, ReviewedRun(run, PROMPT, NAMES))


def write_page(path: Path, found: list[dict], pictures=None, run: str = RUN) -> dict:
    """Write a page of some items; return its content."""
    shown = content(found, run)
    pictures = pictures or [picture(place) for place in range(len(found))]
    path.write_text(render(shown, pictures, SOURCES), encoding="utf-8")
    return shown


def export(listed, quality=(), blind=(), reviewer="Ada", images=None, run: str = RUN) -> dict:
    """Return what a reviewer exports who decided on the first images of a sample, or on all."""
    at = "2026-11-21T10:00:09Z"
    images = images or len(listed)
    return {
        "format": FORMAT,
        "version": VERSION,
        "run": run,
        "sample": listed["sample"][images - 1],
        "images": images,
        "reviewer": reviewer,
        "exported": at,
        "decisions": {"quality": list(quality), "blind": list(blind)},
    }


def sample(found: list[dict], run: str = RUN):
    """Return the sample of a page, schema `REVIEWED`."""
    return listed(content(found, run))


def classes(images: pl.Series) -> pl.DataFrame:
    """Return image_id and wnid of images that are all of one class."""
    return pl.DataFrame({"image_id": images.unique(), "wnid": "n1"})
