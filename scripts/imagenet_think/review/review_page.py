"""The review page: its content as data, and one HTML file that shows it."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from imagenet_think.core.schemas import REVIEWED
from imagenet_think.core.templates import html_template
from imagenet_think.parsing.outcomes import STATUSES
from imagenet_think.review import form
from imagenet_think.review.review_sample import digests


class ReviewedRun(NamedTuple):
    """The run whose responses are reviewed."""

    name: str
    prompt: str
    teachers: Mapping[str, str]  # printed names of teacher 1 and teacher 2 by their keys


def describe(items: Sequence[Mapping[str, Any]], run: ReviewedRun) -> dict[str, Any]:
    """Return the content of the page without its pictures.

    Items are in their order and have id, lemma, domain, sha256 (of the prepared image), width,
    height, left (0 or 1; None if the responses are not compared) and responses, one per teacher,
    with status, think, answer, text and error.
    """
    judged = [
        [item[key] for key in ("id", "domain", "sha256", "left", "responses")] for item in items
    ]
    origin = {"run": run.name, "prompt": run.prompt, "teachers": list(run.teachers)}
    return {
        "format": form.FORMAT,
        "version": form.VERSION,
        "run": run.name,
        "prompt": run.prompt,
        "teachers": [{"key": key, "name": name} for key, name in run.teachers.items()],
        "statuses": STATUSES,
        "questions": form.QUESTIONS,
        "answers": list(form.ANSWERS),
        "choices": form.CHOICES,
        "limits": form.LIMITS,
        "items": [
            dict(item) | {"sample": digest}
            for item, digest in zip(items, digests(origin, judged), strict=True)
        ],
    }


def listed(content: Mapping[str, Any]) -> pl.DataFrame:
    """Return the sample of a page, schema `REVIEWED`, given its content."""
    models = [teacher["key"] for teacher in content["teachers"]]
    rows = [
        {
            "image_id": item["id"],
            "domain": item["domain"],
            **{f"model_{k}": model for k, model in enumerate(models, start=1)},
            **{
                f"status_{k}": response["status"]
                for k, response in enumerate(item["responses"], start=1)
            },
            "left": None if item["left"] is None else models[item["left"]],
            "sample": item["sample"],
        }
        for item in content["items"]
    ]
    return pl.DataFrame(rows, schema=REVIEWED)


def render(
    content: Mapping[str, Any], pictures: Sequence[bytes], sources: Mapping[str, str | Path]
) -> str:
    """Return the page: HTML that loads nothing and runs no script except its own.

    `content` is from `describe`, `pictures` are JPEG files, one per item, and `sources` the files
    of the page's `template` (Jinja), `style` and `script`.
    """
    style = Path(sources["style"]).read_text(encoding="utf-8")
    script = Path(sources["script"]).read_text(encoding="utf-8")
    return html_template(sources["template"]).render(
        **content,
        policy=policy(style, script),
        style=style,
        script=script,
        data=embedded(content),
        pictures=[base64.b64encode(picture).decode() for picture in pictures],
    )


def policy(style: str, script: str) -> str:
    """Return a content security policy that allows only this style and this script."""
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src '{_hash(script)}'",
            f"style-src '{_hash(style)}'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            # Not even the page's own script may turn text into markup.
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        ]
    )


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def embedded(content: Mapping[str, Any]) -> str:
    """Return JSON that is safe in an HTML script element, whatever texts it contains."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
