"""Responses that were made elsewhere, as responses and annotations of the run."""

import hashlib

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from users_files import SUFFIXES, write_table

import import_responses as script
from account_responses import ANNOTATION, RESPONSE, account
from imagenet_think.core import parquet_columns, schemas
from imagenet_think.core.csv_files import read_csv
from imagenet_think.core.files import write_parquet
from imagenet_think.inference.response_files import Columns, ResponseFiles
from imagenet_think.parsing import FORMATS, parse

SHARDS = ["00", "01"]
IMAGES = ["n1_0", "n1_1", "n1_2", "n2_0"]
MODEL = "mine"


class Import:
    """A sample of four images in two shards, and files to import."""

    def __init__(self, folder):
        self.folder, self.files = folder, []
        rows = [
            {
                "image_id": name,
                "shard": SHARDS[n % 2],
                "sha256": digest(f"prepared {name}"),
                "source_sha256": digest(name),
            }
            for n, name in enumerate(IMAGES)
        ]
        self.sample = pl.DataFrame(rows, schema=schemas.SAMPLE)
        write_parquet(self.sample, folder / "sample", schemas.SAMPLE)

    def add(self, suffix=".parquet", **columns):
        self.files.append(write_table(self.folder / f"{len(self.files)}{suffix}", columns))

    def evaluate(self, *images):
        chosen = self.sample.filter(pl.col("image_id").is_in(images)).select("image_id", "shard")
        write_parquet(chosen, self.folder / "evaluated", schemas.EVALUATED)

    def __call__(self, output=None, **columns):
        """Import and return responses, annotations and the rows not used; the account is made."""
        folders = [self.folder / name for name in ("responses", "annotations")]
        evaluated = self.folder / "evaluated"
        found = script.import_responses(
            MODEL,
            ResponseFiles(self.files, Columns(**{"image": "image"} | columns), "my*.parquet"),
            output,
            self.folder / "sample",
            evaluated if evaluated.exists() else None,
            *([folder / f"{shard}.parquet" for shard in SHARDS] for folder in folders),
        )
        script.report_matches(found, self.folder / "unused.csv", self.folder / "matched.csv")
        responses, annotations = (pl.read_parquet(folder / "*.parquet") for folder in folders)
        assert (responses.schema, annotations.schema) == (schemas.RESPONSES, schemas.ANNOTATIONS)
        asked = pl.read_parquet(evaluated if evaluated.exists() else self.folder / "sample")
        ledger = account(
            {MODEL: asked["image_id"]}, responses.select(RESPONSE), annotations.select(ANNOTATION)
        )
        assert len(ledger) == len(asked)
        for shard in SHARDS:
            own = pl.read_parquet(folders[0] / f"{shard}.parquet")["image_id"].to_list()
            assert own == sorted(asked.filter(pl.col("shard") == shard)["image_id"])
        self.matched = dict(pl.read_csv(self.folder / "matched.csv").iter_rows())
        unused = read_csv(self.folder / "unused.csv", infer_schema=False)
        return by_image(responses), by_image(annotations), unused.rows()


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


def by_image(frame):
    return {row["image_id"]: row for row in frame.iter_rows(named=True)}


@pytest.fixture
def importing(tmp_path):
    return Import(tmp_path)


TEXTS = ["<think>so</think><answer>a cat</answer>", "no marks", "<think>open", "\n<think> , "]


def test_raw_text_is_parsed_like_a_generated_one(importing):
    importing.add(image=IMAGES, text=TEXTS)
    responses, annotations, unused = importing(text="text", output="think_answer")
    for image, text in zip(IMAGES, TEXTS, strict=True):
        row = annotations[image]
        parsed = parse("think_answer", text, "stop")
        assert {name: row[name] for name in parsed._fields} == parsed._asdict()
        assert responses[image]["text"] == text
    row = responses["n1_0"]
    assert (row["engine"], row["finish_reason"], row["prompt_id"]) == ("imported", "stop", None)
    assert len({row["revision"] for row in responses.values()}) == 1
    assert unused == []


def test_thinking_and_answer_are_taken_verbatim(importing):
    importing.add(
        image=["n1_0", *IMAGES],
        think_1=[None, " <think> so\n", None, "t", " "],
        answer_1=[None, "a <b> ", "a", "\n", ""],
    )
    responses, annotations, unused = importing(think="think_1", answer="answer_1")
    parts = [tuple(annotations[i].values())[2:] for i in IMAGES]
    assert parts == [
        ("<think> so\na <b>", "<think> so", "a <b>", "ok", "ok", "ok"),
        ("a", None, "a", "empty_think", "empty_think", "ok"),
        ("t", "t", None, "empty_answer", "ok", "empty_answer"),
        (None, None, None, "error", "error", "error"),
    ]
    assert [responses[i]["text"] for i in IMAGES] == ["<think> so\na <b>", "a", "t", None]
    assert unused == [("n1_0", "no text"), ("n2_0", "no text")]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_gives_the_same(importing, suffix):
    names = ["a/n1_0.JPEG", "n1_1", "n1_0", "n3_0", None, "n1_2", "n2_0"]
    texts = [*TEXTS[:2], "again", "strange", "nameless", 'said "a,b"\r\n\u2028 🙂', None]

    def imported(own):
        importing.files.clear()
        importing.add(own, image=names[:3], said=texts[:3])
        importing.add(own, image=names[3:], said=texts[3:])
        responses, annotations, unused = importing(text="said", output="think_answer")
        depends_on_content = ("revision", "fingerprint")
        rows = [
            {key: value for key, value in row.items() if key not in depends_on_content}
            for row in responses.values()
        ]
        return rows, annotations, unused, importing.matched

    found = imported(suffix)
    assert found == imported(".parquet")
    assert {row["image_id"]: row["text"] for row in found[0]} == {
        "n1_0": texts[0],
        "n1_1": texts[1],
        "n1_2": texts[5],
        "n2_0": None,
    }


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("blank", [None, "", " ", "\t\r\n", "\u00a0\u3000"])
def test_blank_is_missing(importing, suffix, blank):
    """A row without text does not take the place of a later one of the same image."""
    names = ["n1_0", "n1_0", "n1_0", blank]
    importing.add(suffix, image=names, text=[blank, "good", "late", "nameless"])
    responses, _, unused = importing(text="text", output="think")
    assert responses["n1_0"]["text"] == "good"
    assert unused == [
        ("n1_0", "named in an earlier row"),
        ("n1_0", "no text"),
        (None, "the row names no image"),
    ]
    importing.files.clear()
    names = ["n1_0", "n1_0", "n1_1"]
    parts = {"think": [blank, blank, "t"], "answer": [blank, " a", blank]}
    importing.add(suffix, image=names, **parts)
    responses, annotations, unused = importing(think="think", answer="answer")
    assert responses["n1_0"]["text"] == "a"
    assert (annotations["n1_1"]["think"], annotations["n1_1"]["answer"]) == ("t", None)
    assert unused == [("n1_0", "no text")]


def test_files_of_several_formats_are_one_model(importing):
    for number, suffix in enumerate([".csv", ".parquet", ".jsonl"]):
        importing.add(suffix, image=["n1_0", IMAGES[number]], text=[f"0{suffix}", suffix])
    importing.add(image=[{"bytes": b"n2_0", "path": None}], text=["by digest"])
    responses, _, unused = importing(text="text", output="think")
    assert [responses[i]["text"] for i in IMAGES] == ["0.csv", ".parquet", ".jsonl", "by digest"]
    assert unused == [("n1_0", "named in an earlier row")] * 3
    assert importing.matched == {"name": 3, "sha256": 1}


def test_answers_may_come_without_thinking(importing):
    importing.add(image=IMAGES, caption=["<answer> a", " b\n", " ", None])
    responses, annotations, unused = importing(answer="caption")
    parts = [tuple(annotations[i].values())[2:] for i in IMAGES]
    assert parts == [
        ("<answer> a", None, "<answer> a", "ok", "no_think", "ok"),
        ("b", None, "b", "ok", "no_think", "ok"),
        (None, None, None, "error", "error", "error"),
        (None, None, None, "error", "error", "error"),
    ]
    assert [responses[i]["text"] for i in IMAGES] == ["<answer> a", "b", None, None]
    assert unused == [("n1_2", "no text"), ("n2_0", "no text")]


def test_every_unused_row_is_listed(importing, caplog):
    importing.add(
        image=["n1_0.JPEG", "=n3()", "a/n1_1", None],
        text=["first", "strange", None, "nameless"],
    )
    importing.add(image=["a/n1_0", "n1_0"], text=["second", None])
    responses, annotations, unused = importing(text="text", output="think")
    assert unused == [
        ("a/n1_0", "named in an earlier row"),
        ("a/n1_1", "no text"),
        ("n1_0", "no text"),
        ("=n3()", "not in the sample"),
        (None, "the row names no image"),
    ]
    assert responses["n1_0"]["text"] == "first"
    for image in ("n1_1", "n1_2", "n2_0"):
        row = responses[image]
        assert (row["finish_reason"], row["text"]) == ("error", None)
        assert row["error"] == "no response in my*.parquet"
        assert annotations[image]["status"] == "error"
    assert "rows not used, not in the sample (1): =n3()" in caplog.text
    assert "rows not used, no text (2): a/n1_1, n1_0" in caplog.text
    assert "images without a response (3): n1_2, n1_1, n2_0" in caplog.text


@pytest.mark.parametrize("kind", [pa.large_string(), pa.string_view()])
def test_other_string_types_give_the_same(importing, kind):
    importing.files = [str(importing.folder / "0.parquet")]
    columns = {"image": pa.array(IMAGES, kind), "text": pa.array(TEXTS, kind)}
    pq.write_table(pa.table(columns), importing.files[0])
    responses, _, unused = importing(text="text", output="think_answer")
    assert [responses[image]["text"] for image in IMAGES] == TEXTS
    assert unused == []


def test_a_text_that_is_not_utf_8_is_rejected(importing):
    importing.files = [str(importing.folder / "0.parquet")]
    broken = pa.array([b"\xff"]).view(pa.string())
    pq.write_table(pa.table({"image": IMAGES[:1], "text": broken}), importing.files[0])
    with pytest.raises(ValueError, match=r"0.parquet: .* holds text that is not UTF-8"):
        importing(text="text", output="think")


def test_only_evaluated_images_have_rows(importing):
    importing.evaluate("n1_1", "n2_0")
    importing.add(image=IMAGES[:2], text=TEXTS[:2])
    responses, annotations, unused = importing(text="text", output="think_answer")
    assert set(responses) == set(annotations) == {"n1_1", "n2_0"}
    assert responses["n2_0"]["error"] == "no response in my*.parquet"
    assert unused == []


def test_the_hubs_images_are_matched_by_path_or_bytes(importing):
    images = [
        {"bytes": b"n1_0", "path": "image0.jpg"},
        {"bytes": b"prepared n1_1", "path": None},
        {"bytes": b"?", "path": "n1_2.JPEG"},
        {"bytes": b"other", "path": None},
        {"bytes": b"another", "path": "another.jpg"},
        None,
    ]
    importing.add(image=images, text=["0", "1", "2", "other", "another", "none"])
    responses, _, unused = importing(text="text", output="think")
    assert [responses[image]["text"] for image in IMAGES] == ["0", "1", "2", None]
    assert unused == [
        *sorted([(digest("other"), "not in the sample"), ("another.jpg", "not in the sample")]),
        (None, "the row names no image"),
    ]
    assert importing.matched == {"name": 1, "sha256": 2}


def test_a_file_of_other_images_is_rejected_with_examples(importing):
    importing.add(image=["x/one.jpg", "two"], text=["1", "2"])
    with pytest.raises(ValueError, match=r"my\*.parquet: none of 2 rows names an image") as error:
        importing(text="text", output="think")
    assert "x/one.jpg, two" in str(error.value)
    assert "n1_0, n1_1, n1_2, n2_0" in str(error.value)
    assert not (importing.folder / "responses").exists()


@pytest.mark.parametrize(
    ("text", "image", "message"),
    [
        ("said", "image", r"0.parquet has no column 'said'; there are image, text, n"),
        ("n", "image", r"0.parquet: column 'n' holds int64, not text"),
        ("text", "n", r"0.parquet: column 'n' holds int64, not text, or the hub"),
    ],
)
def test_a_wrong_column_is_named(importing, text, image, message):
    importing.add(image=IMAGES, text=TEXTS, n=[1, 2, 3, 4])
    with pytest.raises(ValueError, match=message):
        importing("think", text=text, image=image)


def test_the_revision_depends_on_the_content(importing):
    def revision(output):
        responses, _, _ = importing(output, text="text")
        return responses["n1_0"]["revision"], responses["n1_0"]["fingerprint"]

    importing.add(image=IMAGES, text=TEXTS)
    first, other = revision("think"), revision("boxed")
    assert first[0] == other[0]
    assert first[1] != other[1]
    importing.files.clear()
    importing.add(image=IMAGES, text=TEXTS[::-1])
    assert revision("think")[0] != first[0]


def test_files_larger_than_the_memory_give_the_same(importing, monkeypatch):
    importing.add(image=IMAGES[:3], text=TEXTS[:3])
    importing.add(image=IMAGES[3:], text=TEXTS[3:])
    whole = importing(text="text", output="think_answer")
    readings = []
    read = ResponseFiles.read
    monkeypatch.setattr(ResponseFiles, "read", lambda *a: readings.append(1) or read(*a))
    monkeypatch.setattr(script, "AT_ONCE", 1)
    monkeypatch.setattr(parquet_columns, "ROWS", 1)
    assert importing(text="text", output="think_answer") == whole
    assert len(readings) == len(SHARDS)


rows = st.lists(
    st.tuples(
        st.sampled_from([None, " ", *IMAGES, *(f"{i}.jpg" for i in IMAGES), "n9_1"]),
        st.none() | st.text(max_size=9) | st.sampled_from(TEXTS),
    ),
    max_size=9,
)


@settings(max_examples=40, deadline=None)
@given(rows, st.sampled_from(sorted(FORMATS)), st.sampled_from(SUFFIXES))
def test_any_file_accounts_for_every_image_and_row(tmp_path_factory, rows, output, suffix):
    importing = Import(tmp_path_factory.mktemp("any"))
    importing.add(
        suffix,
        image=pl.Series([name for name, _ in rows], dtype=pl.String),
        text=pl.Series([text for _, text in rows], dtype=pl.String),
    )
    first, named = {}, False
    for name, text in rows:
        if name and (image := name.removesuffix(".jpg")) in IMAGES:
            named = True
            if text and text.strip():
                first.setdefault(image, text)
    if not named:
        with pytest.raises(ValueError, match=r"names an image|has no rows"):
            importing(text="text", output=output)
        return
    responses, annotations, unused = importing(text="text", output=output)
    for image in IMAGES:
        text = first.get(image)
        assert responses[image]["text"] == text
        status = "error" if text is None else parse(output, text, "stop").status
        assert annotations[image]["status"] == status
    assert len(unused) + len(first) == len(rows)
