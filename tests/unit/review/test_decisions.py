import json
from contextlib import suppress
from copy import deepcopy
from functools import reduce
from operator import getitem

import polars as pl
import pytest
import reviewed
from hypothesis import given, settings
from hypothesis import strategies as st

from imagenet_think.core.schemas import DECISIONS
from imagenet_think.review.decisions import ExportError, read_decisions

IMAGES = 40
ITEMS = reviewed.items(IMAGES, failures=0.2)
SAMPLE = reviewed.sample(ITEMS)
PARSED = SAMPLE.filter(pl.col("left").is_not_null())["image_id"].to_list()
FAILED = SAMPLE.filter(pl.col("status_1") != "ok")["image_id"].to_list()
TIME = "2026-11-21T10:00:0{}.123Z"


def blind(image, second=0, **answers):
    return {"image": image, "at": TIME.format(second)} | answers


def quality(image, teacher="glm", **answers):
    return blind(image, teacher=teacher, **answers)


def export(*decisions, images=IMAGES, **options):
    return reviewed.export(SAMPLE, *decisions, images=images, **options)


@pytest.fixture
def read(tmp_path):
    """A function that writes exports to files and reads them."""

    def write_and_read(*exports):
        paths = [tmp_path / f"{place}.json" for place in range(len(exports))]
        for path, content in zip(paths, exports, strict=True):
            path.write_bytes(
                content if isinstance(content, bytes) else json.dumps(content).encode()
            )
        return read_decisions(paths, SAMPLE, reviewed.RUN)

    return write_and_read


def test_answers_are_read(read):
    decisions = [
        quality(PARSED[0], split="yes", answer="no", harmful="unsure"),
        quality(PARSED[0], "kimi", thought="yes", notes="<b>good</b>"),
        quality(FAILED[0], split="no"),
        quality(PARSED[1], notes="nothing but a note"),
    ]
    found, reviewers = read(export(decisions))
    assert reviewers == ["Ada"]
    assert found.schema == DECISIONS
    assert set(found.drop("reviewer", "side").rows()) == {
        (PARSED[0], "glm", "split", "yes"),
        (PARSED[0], "glm", "answer", "no"),
        (PARSED[0], "glm", "harmful", "unsure"),
        (PARSED[0], "kimi", "thought", "yes"),
        (FAILED[0], "glm", "failure", "no"),
    }
    assert len(found) == 5


def test_sides_become_the_models_shown_there(read):
    choices = dict(zip(PARSED, ["left", "right", "tie", "both_bad", None] * 5, strict=False))
    found, _ = read(
        export(blind=[blind(i, **({"choice": c} if c else {})) for i, c in choices.items()])
    )
    assert len(found) == sum(choice is not None for choice in choices.values())
    at_left = dict(SAMPLE.select("image_id", "left").iter_rows())
    assert set(at_left.values()) == {None, "glm", "kimi"}
    assert set(found.select("question", "model").rows()) == {("preferred", None)}
    for image, value, side in found.select("image_id", "value", "side").rows():
        if choices[image] in ("tie", "both_bad"):
            assert (value, side) == (choices[image], None)
        else:
            assert side == choices[image]
            assert (value == at_left[image]) == (side == "left")


def test_a_reviewers_last_decision_counts(read):
    one, other = PARSED[:2]
    first = export([quality(one, second=5, split="no", answer="no"), quality(other, split="no")])
    later = [quality(one, second=4, split="yes"), quality(other, second=1, split="yes")]
    second = export(later, reviewer="  Ada ")
    for files in ((first, second), (second, first)):
        found, reviewers = read(*files)
        assert reviewers == ["Ada"]
        rows = sorted(found.select("image_id", "question", "value").rows())
        wanted = [(one, "answer", "no"), (one, "split", "no"), (other, "split", "yes")]
        assert rows == sorted(wanted)
    last, _ = read(export([quality(one, split="no"), quality(one, split="yes")]))
    assert last["value"].to_list() == ["yes"]
    # A later decision without answers withdraws the earlier ones.
    assert read(first, export([quality(one, second=8, notes="?")]))[0].height == 1


def test_reviewers_are_independent(read):
    found, reviewers = read(
        export([quality(PARSED[0], split="no")]),
        export([quality(PARSED[0], second=1, split="yes")], reviewer="Ben"),
    )
    assert reviewers == ["Ada", "Ben"]
    assert found.select("reviewer", "value").rows() == [("Ada", "no"), ("Ben", "yes")]


def test_the_file_of_a_smaller_sample_is_read(read):
    early = [image for image in PARSED if image in SAMPLE["image_id"][:10]]
    assert len(read(export([quality(early[0], split="yes")], images=10))[0]) == 1
    late = [image for image in PARSED if image in SAMPLE["image_id"][10:]]
    with pytest.raises(ExportError, match="not in the sample"):
        read(export([quality(late[0], split="yes")], images=10))


def changed(path, value):
    """Return an export with a different value in one place."""
    content = export([quality(PARSED[0], split="yes", notes="x")], [blind(PARSED[0], choice="tie")])
    *above, last = path
    place = reduce(getitem, above, content)
    if value is KeyError:
        del place[last]
    else:
        place[last] = value
    return content


ANSWER, CHOICE = ("decisions", "quality", 0), ("decisions", "blind", 0)
WRONG = {
    "another form": (("format",), "something", "not an export of a review page|format is"),
    "a later version": (("version",), 2, "version is 2; allowed is 1"),
    "another run": (("run",), "<b>", "to run \"<b>\", not to 'a_run'"),
    "another sample": (("sample",), "0" * 64, "a different sample of run 'a_run'"),
    "more images": (("images",), 41, "a different sample"),
    "fewer images": (("images",), 39, "a different sample"),
    "no images": (("images",), 0, "images is 0"),
    "a true number": (("images",), True, "images is true"),
    "an image and a half": (("images",), 1.5, 'images is 1.5; allowed is "integer"'),
    "a number with a point": (("images",), float(IMAGES), 'images is 40.0; allowed is "integer"'),
    "a number of 80 bits": (("images",), 2**80, "images is 12"),
    "no number": (("images",), float("nan"), "images is NaN"),
    "half an emoji": (("reviewer",), "Ada \ud83d", "reviewer is .* half of a surrogate"),
    "half an emoji in notes": ((*ANSWER, "notes"), "\ude00", r"quality\[0\].notes is "),
    "half an emoji as key": ((*ANSWER, "\ud83d"), "yes", r"quality\[0\]: .* unexpected"),
    "no reviewer": (("reviewer",), KeyError, "'reviewer' is a required"),
    "an empty reviewer": (("reviewer",), " \n", "reviewer is"),
    "a long reviewer": (("reviewer",), "a" * 101, "reviewer is"),
    "no lists": (("decisions",), [], "decisions is"),
    "a strange key": (("decisions", "other"), [], "decisions: .*'other' was unexpected"),
    "no dictionary": (ANSWER, "yes", r"decisions.quality\[0\] is \"yes\""),
    "a strange image": ((*ANSWER, "image"), "../x", r"s.quality\[0\]: image \"../x\" is not"),
    "a number for an image": ((*ANSWER, "image"), 7, r"quality\[0\].image is 7"),
    "a strange teacher": ((*ANSWER, "teacher"), "gpt", '"gpt" is not a teacher'),
    "a strange answer": ((*ANSWER, "split"), "Yes", r"quality\[0\].split is \"Yes\"; allowed"),
    "a list of answers": ((*ANSWER, "split"), ["yes"], r"split is \[\"yes\"\]"),
    "a strange question": ((*ANSWER, "__proto__"), {}, r"quality\[0\]: .*__proto__.* unexpected"),
    "long notes": ((*ANSWER, "notes"), "x" * 10_001, 'notes is "xxx'),
    "no time": ((*ANSWER, "at"), KeyError, "'at' is a required"),
    "a local time": ((*ANSWER, "at"), "2026-11-21T10:00:00", "at is"),
    "a time and a line": ((*ANSWER, "at"), f"{TIME.format(0)}\n", r"quality\[0\].at is "),
    "a far future": ((*ANSWER, "at"), "9999-12-31T23:59:59Z", r"\[0\].at: 9999.* in the future"),
    "a future export": (("exported",), "2999-01-01T00:00:00Z", "exported: 2999.* in the future"),
    "a 30th of February": (("exported",), "2026-02-30T10:00:00Z", "exported: .* is not a time"),
    "a thirteenth month": ((*ANSWER, "at"), "2026-13-21T10:00:00Z", "is not a time"),
    "a strange choice": ((*CHOICE, "choice"), "glm", r"blind\[0\].choice is \"glm\"; allowed"),
    "a failed one's truth": (ANSWER, quality(FAILED[0], answer="yes"), "not asked about a resp"),
    "an uncompared pair": (CHOICE, blind(FAILED[0], choice="tie"), "were not compared"),
}


@pytest.mark.parametrize("name", WRONG)
def test_the_error_in_a_file_is_reported(read, name):
    path, value, message = WRONG[name]
    with pytest.raises(ExportError, match=message) as error:
        read(export(), changed(path, value))
    assert "1.json: " in str(error.value)
    assert len(str(error.value)) < 500


NO_JSON = [b"", b"{", b"[" * 100_000, json.dumps(export()).encode()[:-20], b"\xff\xfe\x00{"]
NO_EXPORT = [b"[]", b"null", b"NaN", b'"x"', b"\xef\xbb\xbf{}"]


@pytest.mark.parametrize("content", [*NO_JSON, *NO_EXPORT], ids=range(10))
def test_a_damaged_file_is_reported(read, content):
    message = "it is damaged or not JSON" if content in NO_JSON else ""
    with pytest.raises(ExportError, match=rf"0\.json: {message}"):
        read(content)


def test_a_key_that_is_there_twice_is_reported(read):
    content = json.dumps(export([quality(PARSED[0], split="yes")]))
    with pytest.raises(ExportError, match=r"0\.json: .*duplicate key 'split'"):
        read(content.replace('"split": "yes"', '"split": "no", "split": "yes"').encode())


ANY = st.characters(exclude_categories=[])  # surrogates too
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(ANY, max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(ANY, max_size=5), inner, max_size=2)
    ),
    max_leaves=4,
)
PLACES = [
    *((key,) for key in export()),
    ("decisions", "quality"),
    ANSWER,
    *((*ANSWER, key) for key in ("image", "teacher", "at", "split", "notes", "strange")),
    (*CHOICE, "choice"),
]


@settings(deadline=None, max_examples=60)
@given(path=st.sampled_from(PLACES), value=JSON)
def test_any_file_is_read_or_rejected(tmp_path_factory, path, value):
    content = changed(path, deepcopy(value))
    file = tmp_path_factory.getbasetemp() / "any.json"
    file.write_text(json.dumps(content))
    with suppress(ExportError):
        found, reviewers = read_decisions([file], SAMPLE, reviewed.RUN)
        found.write_parquet(file.with_suffix(".parquet"))
        assert found.schema == DECISIONS
        assert len(reviewers) == 1
