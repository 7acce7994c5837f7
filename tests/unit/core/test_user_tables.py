"""Users' tables are read in each format, and whatever cannot be read is named."""

import gzip
import json
import os
import time

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from users_files import SUFFIXES, write_table

from imagenet_think.core import user_tables
from imagenet_think.core.digest_cache import DigestCache
from imagenet_think.core.user_tables import IMAGES, LABELS, NAMES, TEXT

STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
HARD = ['a,b;"c"', "two\nlines\r\nand \u2028 more", "🙂 é \x00", " kept  ", "null", "1"]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(user_tables, "_CACHE", DigestCache(tmp_path / ".snakemake" / "tables"))


def read(path, kind=TEXT, column="image", optional=()):
    return [row[column] for row in user_tables.rows(str(path), {column: kind}, optional)]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_has_the_same_rows(suffix, tmp_path):
    texts = [*HARD, None, *HARD]
    path = write_table(tmp_path / f"a{suffix}", {"other": range(13), "image": texts})
    assert read(path) == texts
    assert user_tables.count(path) == 13
    user_tables.check(path, {"image": NAMES})


tables = st.lists(st.none() | st.text(max_size=5), max_size=20)


@given(tables, st.sampled_from(SUFFIXES))
def test_no_row_is_lost(tmp_path_factory, texts, suffix):
    path = tmp_path_factory.mktemp("any") / f"a{suffix}"
    columns = {"image": pl.Series(texts, dtype=pl.String), "n": list(range(len(texts)))}
    found = read(write_table(path, columns))
    assert found == [text if text and text.strip() else None for text in texts]
    assert user_tables.count(str(path)) == len(texts)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kind", [TEXT, NAMES, LABELS])
def test_blank_text_is_missing(suffix, kind, tmp_path):
    path = write_table(tmp_path / f"a{suffix}", {"image": ["", " ", "\n\t", "\u00a0", "x"]})
    assert read(path, kind) == [None] * 4 + ["x"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_missing_column_is_named_with_those_that_exist(suffix, tmp_path):
    path = write_table(tmp_path / f"a{suffix}", {"id": ["x", "y"], "text": ["z", None]})
    for call in (read, lambda path: user_tables.check(path, {"id": TEXT, "image": NAMES})):
        with pytest.raises(ValueError, match=rf"a{suffix} has no column 'image'; there are id, te"):
            call(path)
    assert read(path, optional=["image"]) == [None, None]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_integers_may_be_labels_but_are_no_text(suffix, tmp_path):
    path = write_table(tmp_path / f"a{suffix}", {"image": [1, None]})
    if ".csv" in suffix:  # which has only text
        assert read(path, LABELS) == read(path) == ["1", None]
        return
    assert read(path, LABELS) == [1, None]
    with pytest.raises(ValueError, match=r"column 'image' holds (a number|int64), not text: conv"):
        read(path)


def test_the_content_decides_before_the_name(tmp_path):
    write_table(tmp_path / "a.parquet", {"image": ["x"]})
    os.rename(tmp_path / "a.parquet", tmp_path / "a.csv")
    assert read(tmp_path / "a.csv") == ["x"]
    (tmp_path / "a.JSON").write_bytes(gzip.compress(b'{"image": "x"}'))
    assert read(tmp_path / "a.JSON") == ["x"]
    (tmp_path / "bom.csv").write_text("image\nx\n\n", encoding="utf-8-sig")
    (tmp_path / "bom.jsonl").write_text('{"image": "x"}\n\n', encoding="utf-8-sig")
    assert read(tmp_path / "bom.csv") == read(tmp_path / "bom.jsonl") == ["x"]


def test_names_in_the_hubs_images(tmp_path):
    values = [{"bytes": b"1", "path": "p"}, {"bytes": None, "path": " "}, None]
    pq.write_table(pa.table({"image": pa.array(values, STRUCT)}), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet", NAMES) == ["p", None, None]
    user_tables.check(str(tmp_path / "a.parquet"), {"image": IMAGES})
    rows = [{"image": {"path": "p", "bytes": None}}, {"image": {"bytes": None}}, {"image": None}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert read(tmp_path / "a.jsonl", NAMES) == ["p", None, None]


@pytest.mark.parametrize("text", [pa.string(), pa.large_string(), pa.string_view(), pa.null()])
@pytest.mark.parametrize("data", [pa.binary(), pa.large_binary(), pa.null(), None])
def test_parquet_has_all_kinds_of_text_and_bytes(text, data, tmp_path):
    path = None if pa.types.is_null(text) else "x"
    fields = [("path", text)] if data is None else [("path", text), ("bytes", data)]
    for kind, value in ((text, path), (pa.struct(fields), {"path": path})):
        table = pa.table({"image": pa.array([value, None], kind)})
        pq.write_table(table, tmp_path / "a.parquet")
        assert read(tmp_path / "a.parquet", NAMES) == [path, None]


def test_a_dictionary_of_texts(tmp_path):
    table = pa.table({"image": pa.array(["x", None, "x"]).dictionary_encode()})
    pq.write_table(table, tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet", NAMES) == ["x", None, "x"]


NO_UTF8 = pa.array([b"\xff\xfe"]).view(pa.string())
NO_IMAGE = r": column 'image' holds struct.*, not text, or the"


@pytest.mark.parametrize(
    ("names", "columns", "message"),
    [
        (["image"], [[1]], ": column 'image' holds int64, not text, or the"),
        (["image", "image"], [["x"], ["y"]], " has several columns 'image': rename all but one"),
        # Text that is no UTF-8, as careless writers make it.
        (["image"], [NO_UTF8], ": column 'image' holds text that is not UTF-8 .* write the"),
        (["image"], [[{"path": 1}]], NO_IMAGE),
        (["image"], [[{"path": ["x"]}]], NO_IMAGE),
        (["image"], [[{"path": "x", "bytes": "x"}]], NO_IMAGE),
        (["image"], [[{"bytes": [1]}]], NO_IMAGE),
        (["image"], [[{"other": "x"}]], NO_IMAGE),
    ],
)
def test_columns_that_hold_no_names_or_images_are_refused(names, columns, message, tmp_path):
    pq.write_table(pa.table(columns, names=names), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=rf"a\.parquet{message}") as error:
        read(tmp_path / "a.parquet", NAMES)
    assert not isinstance(error.value, UnicodeError)


DEEP = b'{"image": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
ZIPPED = gzip.compress(b'{"image": "x"}\n' * 99, mtime=0)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"image": "x"}\n{"image": \n', r"line 2: not valid JSON \(.* per line: rep"),
        ("a.json", b'[\n  {"image": "x"}\n]', r"line 1: not valid JSON .* one whole object per l"),
        ("a.json", b'[{"image": "x"}]', r"line 1: not a JSON object: repair"),
        ("a.jsonl", b'{"image": "\xff"}', r"line 1: not valid JSON \('utf-8' codec"),
        ("a.jsonl", b'{"image": "\\ud83d"}', r"line 1: column 'image' holds text that is not UTF"),
        ("a.jsonl", b'{"image": %s}' % (b"1" * 5000), r"line 1: not valid JSON \(Exceeds"),
        ("a.jsonl", b'{"image": "x", "image": "y"}', r"line 1: .*duplicate key 'image'"),
        ("a.jsonl", DEEP, r"line 1: (nested too deeply|column 'image' holds an array)"),
        ("a.jsonl", b'{"image": true}', r"line 1: column 'image' holds a truth value, not text"),
        ("a.jsonl", b'{"image": 1.5}', r"line 1: column 'image' holds a number, not text"),
        ("a.jsonl", b'{"image": []}', r"line 1: column 'image' holds an array, not text"),
        ("a.jsonl", b'{"image": {"name": 1}}', r"line 1: column 'image' holds an object, not te"),
        ("a.jsonl.gz", ZIPPED[:-9], r"a\.jsonl\.gz: the compressed file is damaged"),
        ("a.csv.gz", ZIPPED[:20] + b"\xff" + ZIPPED[21:], r"csv\.gz: the compressed file is dam"),
        ("a.csv", b"", r"a\.csv has no column 'image'; there are none"),
        ("a.csv", b"image;text\nx;y\n", r"there are image;text\. Columns are separated by commas"),
        ("a.csv", b"image,image\nx,y\n", r"a\.csv has several columns 'image': rename all but"),
        ("a.csv", b"image,text\nx,y\nz\n", r"a\.csv, line 3: not 2 fields, one for each column"),
        ("a.csv", b"image,text\nx,y,z\n", r"a\.csv, line 2: not 2 fields, one for each column"),
        ("a.csv", b'image\n"x\ny\n', r"line 3 or later: not valid csv \(unexpected end"),
        ("a.csv", "image\né\n".encode("latin-1"), r"or later: not valid csv \('utf-8' codec"),
        ("a.csv", "image\nx\n".encode("utf-16"), r"line 1 or later: not valid csv .* save it as U"),
        ("a.parquet", b"no parquet", r"column 'image' cannot be read, as the file is damaged"),
        ("a.parquet", b"PAR1" + b"0" * 99, r"column 'image' cannot be read.* create or download"),
        ("README.md", b"# image\n", r"README\.md: neither parquet nor JSON Lines \(\.jsonl\) nor"),
        ("a.xlsx", b"PK\3\4", r"a\.xlsx: neither parquet .*: convert it, or give a path or pat"),
        ("a.tar.gz", ZIPPED, r"a\.tar\.gz: neither parquet"),
    ],
)
def test_what_cannot_be_read_is_named(name, content, message, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        read(tmp_path / name)
    assert str(tmp_path / name) in str(error.value)
    assert not isinstance(error.value, UnicodeError)


def test_nan_is_missing_in_json_lines(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"image": NaN}\n{"image": null}\n')
    assert read(tmp_path / "a.jsonl") == [None, None]


def test_files_without_rows(tmp_path):
    (tmp_path / "a.jsonl").write_text("\n")
    (tmp_path / "a.csv").write_text("image\n")
    for name in ("a.jsonl", "a.csv"):
        assert read(tmp_path / name) == []
        assert user_tables.count(str(tmp_path / name)) == 0


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_only_parquet_holds_pictures(suffix, tmp_path):
    path = write_table(tmp_path / f"a{suffix}", {"image": ["x"]})
    with pytest.raises(ValueError, match=r"cannot hold the hub's images .* images\.source\.pict"):
        user_tables.check(path, {"image": IMAGES})


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".csv"])
def test_what_was_found_out_is_remembered_until_the_file_changes(suffix, tmp_path, monkeypatch):
    path = write_table(tmp_path / f"a{suffix}", {"image": ["x", "y"]})
    before = time.time() - 60
    os.utime(path, (before, before))

    def plan():
        user_tables.check(path, {"image": NAMES})
        return user_tables.count(path)

    assert plan() == 2
    user_tables.save()
    known = DigestCache(user_tables._CACHE.path)
    monkeypatch.setattr(user_tables, "_CACHE", known)
    with monkeypatch.context() as patch:
        patch.setattr(user_tables, "_format", None)  # no file is read
        assert plan() == 2
    write_table(tmp_path / f"a{suffix}", {"image": ["x", "y", "z"]})
    assert plan() == 3
    write_table(tmp_path / f"a{suffix}", {"name": ["x"]})
    with pytest.raises(ValueError, match="has no column 'image'"):
        plan()
