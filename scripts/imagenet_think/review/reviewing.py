"""Human review of responses: what is asked, what a sample is called, and the files of decisions."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema
import polars as pl

from imagenet_think.core.digests import digest_settings
from imagenet_think.core.schemas import DECISIONS
from imagenet_think.parsing.statuses import OK

FORMAT, VERSION = "imagenet-think review", 1
"""What an exported file calls its form, and the version of the form and of the questions."""

ANSWERS = ("yes", "no", "unsure")

QUESTIONS: dict[str, dict[str, Any]] = {
    "split": {
        "ask": "Is the split right?",
        "hint": "Thought and answer are each whole, and in their place.",
        "failed": {
            "ask": "Is it rightly a failure?",
            "hint": "The raw text bears out the reason given above.",
        },
    },
    "answer": {
        "ask": "Is the answer true?",
        "hint": "The image, or general knowledge, bears out all that it says.",
        "failed": None,
    },
    "thought": {
        "ask": "Is the thought sound?",
        "hint": "It reads the image rightly, and its steps lead to the answer.",
        "failed": None,
    },
    "harmful": {
        "ask": "Is anything harmful?",
        "hint": "Hate, violence, sexual content, danger, private data: in text or image.",
        "failed": {
            "ask": "Is anything harmful?",
            "hint": "Hate, violence, sexual content, danger, private data: in text or image.",
        },
    },
}
"""What is asked of a response, and in which words of one that failed; None where it is not."""

FAILURE, PREFERRED = "failure", "preferred"
"""What a decision is about beside `QUESTIONS`: whether a failure is rightly one, and which of two
responses is better."""

CHOICES = {"left": "Left", "right": "Right", "tie": "Equally good", "both_bad": "Both bad"}
"""What may be said of two responses side by side."""

TIES = ("tie", "both_bad")
"""Those that prefer neither."""

LIMITS = {"notes": 10_000, "name": 100}
"""Greatest numbers of characters."""

_TIME = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,6})?Z$"


def digests(origin: Mapping[str, Any], items: Iterable[Sequence[Any]]) -> list[str]:
    """Return what a sample is called after each of its items: a chain of SHA-256.

    A file of decisions names the digest at the last item of its page. As a larger sample begins
    with a smaller one, it knows the digests of all smaller ones, and so reads their decisions.

    Parameters
    ----------
    origin
        What all items share, as JSON values.
    items
        What is judged of each: JSON values.
    """
    first = digest_settings({"format": FORMAT, "version": VERSION, **origin})
    chain = accumulate(items, lambda last, item: digest_settings([last, *item]), initial=first)
    return list(chain)[1:]


class ExportError(ValueError):
    """A file that is no export of this run's review page; the message says which, and why."""


def _schema() -> dict[str, Any]:
    """Return the JSON schema of an exported file."""

    def table(properties: Mapping[str, Any], required: Sequence[str]) -> dict[str, Any]:
        return {
            "type": "object",
            "additionalProperties": False,
            "required": list(required),
            "properties": dict(properties),
        }

    name = {"type": "string", "minLength": 1, "maxLength": LIMITS["name"], "pattern": r"\S"}
    about = {
        "image": {"type": "string"},
        "notes": {"type": "string", "maxLength": LIMITS["notes"]},
        "at": {"type": "string", "pattern": _TIME},
    }
    answers = {key: {"enum": list(ANSWERS)} for key in QUESTIONS}
    quality = table({**about, "teacher": {"type": "string"}, **answers}, ("image", "teacher", "at"))
    blind = table({**about, "choice": {"enum": list(CHOICES)}}, ("image", "at"))
    lists = {
        "quality": {"type": "array", "items": quality},
        "blind": {"type": "array", "items": blind},
    }
    keys = {
        "format": {"const": FORMAT},
        "version": {"const": VERSION},
        "run": {"type": "string"},
        "sample": {"type": "string"},
        "images": {"type": "integer", "minimum": 1},
        "reviewer": name,
        "exported": {"type": "string", "pattern": _TIME},
        "decisions": table(lists, tuple(lists)),
    }
    return table(keys, tuple(keys))


_VALIDATOR = jsonschema.Draft202012Validator(_schema())


class Decision(NamedTuple):
    """What a reviewer decided at one time: of one response, or between two.

    Attributes
    ----------
    subject
        What it is about: the mode, the image, and the teacher or None.
    at
        When it was made (UTC).
    answers
        Rows of `schemas.DECISIONS`, one an answer, without the reviewer. There may be none, as with
        a note alone.
    """

    subject: tuple[str, str, str | None]
    at: datetime
    answers: list[dict[str, str]]


def read_export(path: str | Path, sample: pl.DataFrame, run: str) -> tuple[str, list[Decision]]:
    """Read what one reviewer exported.

    Parameters
    ----------
    path
        The file.
    sample
        Schema `REVIEWED`, in the page's order.
    run
        Name of the run.

    Returns
    -------
    str
        The reviewer.
    list of Decision
        In the file's order.

    Raises
    ------
    ExportError
        If the file is damaged, of another form, run or sample, or answers what the page does not
        ask.
    """
    file = _load(path)
    wrong = jsonschema.exceptions.best_match(_VALIDATOR.iter_errors(file))
    if wrong:
        raise ExportError(f"{path}: {_explain(wrong)}")
    if file["run"] != run:
        raise ExportError(f"{path}: it is of run {_short(file['run'])}, not of {run!r}")
    number = file["images"]
    if number > len(sample) or sample["sample"][number - 1] != file["sample"]:
        raise ExportError(
            f"{path}: it is of another sample of run {run!r} than review/index.html shows now: of "
            "other responses, or of more images (review.images). It cannot be counted with this one"
        )
    items = {row["image_id"]: row for row in sample.head(number).iter_rows(named=True)}
    decisions = []
    for mode, answers in (("quality", _answers), ("blind", _preferences)):
        for place, decision in enumerate(file["decisions"][mode]):
            where = f"{path}: decisions.{mode}[{place}]"
            image = decision["image"]
            if image not in items:
                raise ExportError(f"{where}: image {_short(image)} is not in the sample")
            subject = (mode, image, decision.get("teacher"))
            rows = [{"image_id": image} | row for row in answers(decision, items[image], where)]
            decisions.append(Decision(subject, _time(decision["at"], where), rows))
    return " ".join(file["reviewer"].split()), decisions


def _load(path: str | Path) -> Any:
    try:
        return json.loads(Path(path).read_bytes())
    except (ValueError, RecursionError) as error:
        raise ExportError(f"{path}: it is damaged or no JSON ({error})") from None


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:79]}…"


def _explain(error: jsonschema.ValidationError) -> str:
    """Say in one line which key is wrong and what it holds."""
    place = "".join(
        f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path
    ).lstrip(".")
    if error.validator in ("required", "additionalProperties"):
        return f"{place or 'the file'}: {_cut(error.message)}"
    if not place:
        return "it is no export of a review page"
    allowed = error.schema.get("enum", error.schema.get("const", error.schema.get("type")))
    return f"{place} holds {_short(error.instance)}; allowed is {_short(allowed)}"


def _cut(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:199]}…"


def _time(text: str, where: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise ExportError(f"{where}: {text} is no time ({error})") from None


def _answers(decision: Mapping[str, Any], item: Mapping[str, Any], where: str) -> list[dict]:
    """Return the rows of a decision on one response."""
    teacher = decision["teacher"]
    place = next((k for k in (1, 2) if item[f"model_{k}"] == teacher), None)
    if place is None:
        raise ExportError(f"{where}: {_short(teacher)} is no teacher of the run")
    parsed = item[f"status_{place}"] == OK
    rows = []
    for key, words in QUESTIONS.items():
        if key in decision:
            if not (parsed or words["failed"]):
                raise ExportError(f"{where}: {key!r} is not asked of a response that failed")
            question = FAILURE if key == "split" and not parsed else key
            rows.append({"model": teacher, "question": question, "value": decision[key]})
    return rows


def _preferences(decision: Mapping[str, Any], item: Mapping[str, Any], where: str) -> list[dict]:
    """Return the row of a decision between two responses, if it holds a choice."""
    if item["left"] is None:
        raise ExportError(f"{where}: the image was not compared, as a response to it failed")
    choice = decision.get("choice")
    if choice is None:
        return []
    if choice in TIES:
        return [{"question": PREFERRED, "value": choice}]
    right = next(item[f"model_{k}"] for k in (1, 2) if item[f"model_{k}"] != item["left"])
    return [
        {
            "question": PREFERRED,
            "value": item["left"] if choice == "left" else right,
            "side": choice,
        }
    ]


def read_decisions(
    paths: Sequence[str | Path], sample: pl.DataFrame, run: str
) -> tuple[pl.DataFrame, list[str]]:
    """Read the files of all reviewers.

    Parameters
    ----------
    paths
        Exported files. Of what a reviewer has decided more than once, in one file or in several,
        the last decision counts, with all its answers.
    sample, run
        As for `read_export`.

    Returns
    -------
    polars.DataFrame
        Schema `DECISIONS`, sorted.
    list of str
        The reviewers, sorted.

    Raises
    ------
    ExportError
        As for `read_export`.
    """
    last: dict[tuple, Decision] = {}
    reviewers = set()
    for path in paths:
        reviewer, decisions = read_export(path, sample, run)
        reviewers.add(reviewer)
        for decision in decisions:
            key = (reviewer, *decision.subject)
            if key not in last or last[key].at <= decision.at:
                last[key] = decision
    rows = [
        {"reviewer": reviewer} | row
        for (reviewer, *_), decision in last.items()
        for row in decision.answers
    ]
    frame = pl.DataFrame(
        [{name: row.get(name) for name in DECISIONS} for row in rows], schema=DECISIONS
    )
    return frame.sort(list(DECISIONS), nulls_last=False), sorted(reviewers)
