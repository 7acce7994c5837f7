"""Read the files of decisions that reviewers export from the review page."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import polars as pl

from imagenet_think.core import json_text
from imagenet_think.core.json_schema import Validator
from imagenet_think.core.printing import is_text
from imagenet_think.core.schemas import DECISIONS
from imagenet_think.parsing.statuses import OK
from imagenet_think.review.form import (
    ANSWERS,
    CHOICES,
    FAILURE,
    FORMAT,
    LIMITS,
    PREFERRED,
    QUESTIONS,
    TIES,
    VERSION,
)

_FAST = timedelta(days=1)
"""How far the clock of a reviewer's computer may be ahead."""

_TIME = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,6})?Z$"


class ExportError(ValueError):
    """A file is not an export of this run's review page; the message names it and says why."""


def _table(required: Mapping[str, Any], **optional: Any) -> dict[str, Any]:
    """Return the JSON schema of an object, given the schemas of its keys."""
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(required),
        "properties": {**required, **optional},
    }


def _schema() -> dict[str, Any]:
    """Return the JSON schema of an exported file."""
    name = {"type": "string", "minLength": 1, "maxLength": LIMITS["name"], "pattern": r"\S"}
    text, time = {"type": "string"}, {"type": "string", "pattern": _TIME}
    notes = {"type": "string", "maxLength": LIMITS["notes"]}
    about = {"image": text, "at": time}
    answers = {key: {"enum": list(ANSWERS)} for key in QUESTIONS}
    lists = {
        "quality": _table({**about, "teacher": text}, notes=notes, **answers),
        "blind": _table(about, notes=notes, choice={"enum": list(CHOICES)}),
    }
    return _table(
        {
            "format": {"const": FORMAT},
            "version": {"const": VERSION},
            "run": text,
            "sample": text,
            "images": {"type": "integer", "minimum": 1},
            "reviewer": name,
            "exported": time,
            "decisions": _table({k: {"type": "array", "items": v} for k, v in lists.items()}),
        }
    )


_VALIDATOR = Validator(_schema())


Decision = tuple[tuple[str | None, ...], datetime, list[dict[str, str]]]
"""What was decided: reviewer, mode, image and perhaps teacher; when (UTC); rows of `DECISIONS`."""


def read_export(path: str | Path, sample: pl.DataFrame, run: str) -> tuple[str, list[Decision]]:
    """Return a reviewer and the decisions that they exported, in the file's order.

    Parameters
    ----------
    path
        The file.
    sample
        Schema `REVIEWED`, in the page's order.
    run
        Name of the run.

    Raises
    ------
    ExportError
        If the file is damaged, has a different format, run or sample, answers questions that the
        page does not ask, or has a time in the future, which would be the last decision forever.
    """
    file = _load(path)
    wrong = jsonschema.exceptions.best_match(_VALIDATOR.iter_errors(file))
    if wrong:
        raise ExportError(f"{path}: {_explain(wrong)}")
    if file["run"] != run:
        raise ExportError(f"{path}: it belongs to run {_short(file['run'])}, not to {run!r}")
    number = file["images"]
    if number > len(sample) or sample["sample"][number - 1] != file["sample"]:
        raise ExportError(
            f"{path}: it belongs to a different sample of run {run!r} than review/index.html shows "
            "now, with other responses or more images (review.images), and cannot be counted"
        )
    items = {row["image_id"]: row for row in sample.head(number).iter_rows(named=True)}
    _time(file["exported"], f"{path}: exported")
    reviewer = " ".join(file["reviewer"].split())
    decisions: list[Decision] = []
    for mode, answers in (("quality", _answers), ("blind", _preferences)):
        for place, decision in enumerate(file["decisions"][mode]):
            where = f"{path}: decisions.{mode}[{place}]"
            image = decision["image"]
            if image not in items:
                raise ExportError(f"{where}: image {_short(image)} is not in the sample")
            about = {"reviewer": reviewer, "image_id": image}
            rows = [about | row for row in answers(decision, items[image], where)]
            subject = (reviewer, mode, image, decision.get("teacher"))
            decisions.append((subject, _time(decision["at"], f"{where}.at"), rows))
    return reviewer, decisions


def _load(path: str | Path) -> Any:
    try:
        return json_text.loads(Path(path).read_bytes())
    except (ValueError, RecursionError) as error:
        raise ExportError(f"{path}: it is damaged or not JSON ({error})") from None


def _short(value: object) -> str:
    return _cut(json.dumps(value, ensure_ascii=False), 80)


def _explain(error: jsonschema.ValidationError) -> str:
    """Return one line that names the wrong key and its value."""
    place = "".join(
        f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path
    ).lstrip(".")
    if error.validator in ("required", "additionalProperties"):
        return f"{place or 'the file'}: {_cut(error.message, 200)}"
    if not place:
        return "it is not an export of a review page"
    if isinstance(error.instance, str) and not is_text(error.instance):
        return f"{place} is {_short(error.instance)}: it contains half of a surrogate pair"
    schema: Any = error.schema
    allowed = schema.get("enum", schema.get("const", schema.get("type")))
    return f"{place} is {_short(error.instance)}; allowed is {_short(allowed)}"


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _time(text: str, where: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise ExportError(f"{where}: {text} is not a time ({error})") from None
    if time > datetime.now(UTC) + _FAST:
        raise ExportError(
            f"{where}: {text} is in the future: correct it in the file, and the clock of the "
            "reviewer's computer"
        )
    return time


def _answers(decision: Mapping[str, Any], item: Mapping[str, Any], where: str) -> list[dict]:
    """Return the rows of a decision about one response."""
    teacher = decision["teacher"]
    place = next((k for k in (1, 2) if item[f"model_{k}"] == teacher), None)
    if place is None:
        raise ExportError(f"{where}: {_short(teacher)} is not a teacher of the run")
    parsed = item[f"status_{place}"] == OK
    rows = []
    for key, words in QUESTIONS.items():
        if key in decision:
            if not (parsed or words["failed"]):
                raise ExportError(f"{where}: {key!r} is not asked about a response that failed")
            question = FAILURE if key == "split" and not parsed else key
            rows.append({"model": teacher, "question": question, "value": decision[key]})
    return rows


def _preferences(decision: Mapping[str, Any], item: Mapping[str, Any], where: str) -> list[dict]:
    """Return the row of a decision between two responses, if a choice was made."""
    if item["left"] is None:
        raise ExportError(f"{where}: the responses were not compared, because one of them failed")
    choice = decision.get("choice")
    if choice is None:
        return []
    if choice in TIES:
        return [{"question": PREFERRED, "value": choice}]
    right = next(item[f"model_{k}"] for k in (1, 2) if item[f"model_{k}"] != item["left"])
    preferred = item["left"] if choice == "left" else right
    return [{"question": PREFERRED, "value": preferred, "side": choice}]


def read_decisions(
    paths: Sequence[str | Path], sample: pl.DataFrame, run: str
) -> tuple[pl.DataFrame, list[str]]:
    """Return the decisions in exported files, schema `DECISIONS`, and the reviewers, both sorted.

    If a reviewer decided the same thing more than once, in one file or in several, the last
    decision counts, with all its answers. Errors are those of `read_export`.
    """
    last: dict[tuple, tuple[datetime, list[dict[str, str]]]] = {}
    reviewers = set()
    for path in paths:
        reviewer, decisions = read_export(path, sample, run)
        reviewers.add(reviewer)
        for subject, at, rows in decisions:
            if subject not in last or last[subject][0] <= at:
                last[subject] = at, rows
    frame = pl.DataFrame([row for _, rows in last.values() for row in rows], schema=DECISIONS)
    return frame.sort(list(DECISIONS), nulls_last=False), sorted(reviewers)
