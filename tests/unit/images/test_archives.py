import gzip
import io
import random
import tarfile
import tracemalloc
from contextlib import contextmanager
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import write_tar
from source_forms import sparse_claim

from imagenet_think.images import archives
from imagenet_think.images.archives import list_members, read_member
from imagenet_think.images.image_ids import ENDINGS, stem
from imagenet_think.images.labels import Classes
from imagenet_think.images.rejections import READING, RejectionError
from imagenet_think.images.sources import class_tars, hub_parquet, webdataset


@given(st.text("aé_ .", max_size=6), st.lists(st.sampled_from([".JPEG", ".gz", ".v2"]), max_size=3))
def test_image_id_is_the_stem_without_folders_and_image_endings(name, endings):
    member = f"n1/x{name}{''.join(endings)}"
    path = PurePosixPath(PurePosixPath(member).stem)
    while path.suffix.lower() in ENDINGS:
        path = path.with_suffix("")
    assert stem(member) == path.name


def write_entries(path, *entries, **options):
    """Write an archive of (name, type, content, PAX headers); links lead out of the folder."""
    with tarfile.open(path, "w:", **options) as archive:
        for name, kind, data, headers in entries:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname, entry.size = kind, "../../etc/passwd", len(data)
            entry.pax_headers = headers
            archive.addfile(entry, io.BytesIO(data))
    return path


def content_of(path, member):
    with open(path, "rb") as file:
        return read_member(file, member.offset, member.size)


@pytest.fixture
def five(tmp_path):
    """An archive of five members, each of 2,560 bytes with its header."""
    return write_tar(tmp_path / "n1.tar", {f"{k}.JPEG": b"x" * 2_000 for k in range(5)})


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_members_are_found_by_offset(tmp_path, form):
    content = {"a.JPEG": b"first", "é" * 90 + "/" + "x" * 150 + ".JPEG": b"second" * 200, "ü": b""}
    stored = content | {"z.JPEG": gzip.compress(b"inside" * 100)}
    content["z.JPEG"] = b"inside" * 100
    entries = [(name, tarfile.REGTYPE, data, {}) for name, data in stored.items()]
    path = write_entries(tmp_path / "n1.tar", *entries, format=form)
    members = list(list_members(path))
    assert [(m.member, m.size) for m in members] == [(name, len(stored[name])) for name in content]
    assert all(m.reason is None for m in members)
    for member in reversed(members):
        assert content_of(path, member) == content[member.member]


def test_a_name_that_is_no_utf8_can_be_written(tmp_path):
    latin = ("é.JPEG", tarfile.REGTYPE, b"", {})
    options = {"format": tarfile.GNU_FORMAT, "encoding": "latin-1"}
    (member,) = list_members(write_entries(tmp_path / "n1.tar", latin, **options))
    assert member.member == "\\xe9.JPEG"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (gzip.compress(b"x" * 9_000, mtime=0)[:-12], "undecodable"),
        (b"\x1f\x8b" + b"junk" * 20, "undecodable"),
        (b"x" * 20_000, "too_many_bytes"),
        (gzip.compress(bytes(2**26), mtime=0), "too_many_bytes"),
    ],
    ids=["cut", "junk", "large", "expanding"],
)
def test_bad_content_has_its_reason_and_is_not_kept(monkeypatch, data, reason):
    monkeypatch.setattr(archives, "MAX_BYTES", 10_000 if len(data) < 2**15 else 2**20)
    with pytest.raises(RejectionError) as caught, little_memory():
        read_member(io.BytesIO(data), 0, len(data))
    assert caught.value.reason == reason


def test_archive_cut_short_keeps_what_is_before(five):
    five.write_bytes(five.read_bytes()[: 3 * 2_560 + 1_000])
    members = list(list_members(five))
    assert [m.member for m in members] == ["0.JPEG", "1.JPEG", "2.JPEG", "3.JPEG", None]
    assert [m.reason for m in members] == [None] * 3 + ["damaged_archive"] * 2
    assert "488 of 2000 bytes" in members[3].detail
    with pytest.raises(RejectionError, match="cut short"):
        content_of(five, members[3])


def test_damaged_header_is_not_taken_for_the_end(five):
    data = bytearray(five.read_bytes())
    data[2 * 2_560 : 2 * 2_560 + 200] = b"\xaa" * 200
    five.write_bytes(data)
    members = list(list_members(five))
    assert [m.member for m in members] == ["0.JPEG", "1.JPEG", None]
    assert members[2].reason == "damaged_archive"
    assert f"{len(data) - 2 * 2_560} bytes not listed" in members[2].detail


def test_what_follows_the_end_mark_is_not_lost_silently(five):
    five.write_bytes(five.read_bytes() * 2)
    assert [m.reason for m in list_members(five)] == [None] * 5 + ["damaged_archive"]


def test_archive_without_end_marker_is_whole(five):
    five.write_bytes(five.read_bytes()[: 5 * 2_560])
    assert [m.reason for m in list_members(five)] == [None] * 5


def chain_of_long_names():
    entry = tarfile.TarInfo("././@LongLink")
    entry.type, entry.size = tarfile.GNUTYPE_LONGNAME, 2
    return (entry.tobuf(tarfile.GNU_FORMAT) + b"a".ljust(512, b"\0")) * 2_000


@pytest.mark.parametrize(
    "content",
    [b"", b"no tar at all" * 100, gzip.compress(b"\0" * 10_240, mtime=0), chain_of_long_names()],
    ids=["empty", "text", "gzip", "chain"],
)
def test_a_file_that_is_no_archive_is_one_row(tmp_path, content):
    path = tmp_path / "n1.tar"
    path.write_bytes(content)
    (row,) = list_members(path)
    assert (row.member, row.reason) == (None, "damaged_archive")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (gzip.compress(b"x" * 9_999, mtime=0), "gzip-compressed: decompress it"),
        (b"PK\x03\x04" + bytes(9_999), "a zip archive: decompress it"),
        (b"<!DOCTYPE html><html>" + b" " * 9_999, "an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\n".ljust(600), "git lfs pull"),
    ],
)
def test_what_is_no_archive_is_named_with_a_remedy(tmp_path, content, words):
    path = tmp_path / "n1.tar"
    path.write_bytes(content)
    for list_place in (class_tars.list_place, webdataset.list_place, hub_parquet.list_place):
        (row,) = list_place(path, Classes({"n1"}))
        assert (row.reason, words in row.detail) == ("damaged_archive", True)


@pytest.mark.parametrize(
    "name", ["../a.JPEG", "/etc/a.JPEG", "x/../../a.JPEG", "x/..", "..", "/", "x/."]
)
def test_a_name_that_leads_out_has_its_reason(tmp_path, name):
    entry = (name, tarfile.CONTTYPE, b"abc", {"path": name})
    (member,) = list_members(write_entries(tmp_path / "n1.tar", entry))
    assert member.reason == "unsafe_name"


SPARSE = {
    "1.0": {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "9"},
    "0.1": {"GNU.sparse.map": "0,3", "GNU.sparse.size": "9"},
}


@pytest.mark.parametrize(
    ("kind", "detail", "data", "headers"),
    [
        *((kind, "a link to '../../etc/passwd'", b"", {}) for kind in (b"1", b"2")),
        *((kind, "not a plain file", b"", {}) for kind in (b"3", b"4", b"6")),
        (tarfile.REGTYPE, "sparse", b"1\n0\n3\n".ljust(512, b"\0") + b"abc", SPARSE["1.0"]),
        (tarfile.REGTYPE, "sparse", b"abc", SPARSE["0.1"]),
        (tarfile.GNUTYPE_SPARSE, "sparse", b"abc", {}),
    ],
)
def test_folders_are_skipped_and_links_devices_and_sparse_files_listed(
    tmp_path, kind, detail, data, headers
):
    entries = [
        ("folder", tarfile.DIRTYPE, b"", {}),
        ("a.JPEG", kind, data, headers),
        ("next.JPEG", tarfile.REGTYPE, b"abc", {}),
    ]
    first, second = list_members(write_entries(tmp_path / "n1.tar", *entries))
    assert (first.member, first.reason) == ("a.JPEG", "not_an_image")
    assert detail in first.detail
    assert (second.member, second.reason) == ("next.JPEG", None)


@contextmanager
def little_memory():
    tracemalloc.start()
    try:
        yield
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 2**23


@pytest.mark.parametrize("kind", [b"0", b"L", b"K", b"x", b"g"])
@pytest.mark.parametrize("present", [True, False])
def test_ten_claimed_gigabytes_are_not_read(tmp_path, kind, present):
    path = sparse_claim(tmp_path / "n1.tar", "a.JPEG", 10 * 2**30, kind)
    if not present:
        path.write_bytes(path.open("rb").read(20_000))
    with little_memory():
        rows = list(list_members(path))
    whole = present and kind == tarfile.REGTYPE  # the others are headers
    assert rows[0].reason == ("too_many_bytes" if whole else "damaged_archive")
    if kind == tarfile.REGTYPE:
        with pytest.raises(RejectionError, match="too_many_bytes"):
            content_of(path, rows[0])


def test_damaged_archives_end_in_rows(tmp_path):
    rng = random.Random(5)
    content = {f"{'long' * 40 * (k % 2)}{k}.JPEG": rng.randbytes(700) for k in range(6)}
    good = bytearray(write_tar(tmp_path / "good.tar", content).read_bytes())
    path = tmp_path / "n1.tar"
    damaged = 0
    for _ in range(600):
        data = good.copy()
        for _ in range(rng.choice([1, 3, 20])):
            # Headers are where damage matters.
            place = rng.choice([rng.randrange(len(data)), rng.randrange(20) * 512 + 124])
            data[place] = rng.choice([0, 0xFF, 0x80, rng.randrange(256)])
        path.write_bytes(data[: rng.choice([len(data), rng.randrange(len(data))])])
        rows = list(list_members(path))
        damaged += any(row.reason == "damaged_archive" for row in rows)
        assert all(row.reason in (None, *READING) for row in rows)
        for row in rows:
            if row.reason is None:
                assert len(content_of(path, row)) == row.size
    assert damaged > 200
