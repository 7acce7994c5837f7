import gzip
import io
import random
import tarfile
import tracemalloc
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import write_tar
from source_forms import sparse_claim

from imagenet_think.images import archives
from imagenet_think.images.archives import list_members, read_member
from imagenet_think.images.image_ids import ENDINGS, stem
from imagenet_think.images.rejections import READING, RejectionError


@given(st.text("aé_ .", max_size=6), st.lists(st.sampled_from([".JPEG", ".gz", ".v2"]), max_size=3))
def test_image_id_is_the_stem_without_folders_and_image_endings(name, endings):
    member = f"n1/x{name}{''.join(endings)}"
    path = PurePosixPath(PurePosixPath(member).stem)
    while path.suffix.lower() in ENDINGS:
        path = path.with_suffix("")
    assert stem(member) == path.name


def test_members_are_found_by_offset(tmp_path):
    content = {"a.JPEG": b"first", "sub/" + "long" * 60 + ".JPEG": b"second" * 200, "ü": b""}
    path = write_tar(tmp_path / "n1.tar", content | {"z.JPEG": gzip.compress(b"inside" * 100)})
    content["z.JPEG"] = b"inside" * 100
    members = list(list_members(path))
    assert [m.name for m in members] == list(content)
    assert all(m.reason is None for m in members)
    for member in reversed(members):
        assert content_of(path, member) == content[member.name]


def content_of(path, member):
    with open(path, "rb") as file:
        return read_member(file, member.offset, member.size)


def test_a_name_that_is_no_utf8_can_be_written(tmp_path):
    path = tmp_path / "n1.tar"
    with tarfile.open(path, "w:", format=tarfile.GNU_FORMAT, encoding="latin-1") as archive:
        archive.addfile(tarfile.TarInfo("é.JPEG"))
    (member,) = list_members(path)
    assert member.name == "\\xe9.JPEG"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (gzip.compress(b"x" * 9_000, mtime=0)[:-12], "undecodable"),
        (b"\x1f\x8b" + b"junk" * 20, "undecodable"),
        (b"x" * 20_000, "too_many_bytes"),
    ],
)
def test_bad_content_has_its_reason(monkeypatch, data, reason):
    monkeypatch.setattr(archives, "MAX_BYTES", 10_000)
    with pytest.raises(RejectionError) as caught:
        read_member(io.BytesIO(data), 0, len(data))
    assert caught.value.reason == reason


def test_archive_cut_short_keeps_what_is_before(tmp_path):
    path = write_tar(tmp_path / "n1.tar", {f"{k}.JPEG": b"x" * 2_000 for k in range(5)})
    path.write_bytes(path.read_bytes()[: 3 * 2_560 + 1_000])
    members = list(list_members(path))
    assert [m.name for m in members] == ["0.JPEG", "1.JPEG", "2.JPEG", "3.JPEG", None]
    assert [m.reason for m in members] == [None] * 3 + ["damaged_archive"] * 2
    assert "488 of 2000 bytes" in members[3].detail
    with pytest.raises(RejectionError, match="cut short"):
        content_of(path, members[3])


def test_damaged_header_is_not_taken_for_the_end(tmp_path):
    path = write_tar(tmp_path / "n1.tar", {f"{k}.JPEG": b"x" * 2_000 for k in range(5)})
    data = bytearray(path.read_bytes())
    data[2 * 2_560 : 2 * 2_560 + 200] = b"\xaa" * 200
    path.write_bytes(data)
    members = list(list_members(path))
    assert [m.name for m in members] == ["0.JPEG", "1.JPEG", None]
    assert members[2].reason == "damaged_archive"
    assert f"{len(data) - 2 * 2_560} bytes not listed" in members[2].detail


def chain_of_long_names():
    entry = tarfile.TarInfo("././@LongLink")
    entry.type, entry.size = tarfile.GNUTYPE_LONGNAME, 2
    return (entry.tobuf(tarfile.GNU_FORMAT) + b"a".ljust(512, b"\0")) * 2_000


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no tar at all" * 100,
        gzip.compress(b"\0" * 10_240, mtime=0),
        chain_of_long_names(),
    ],
    ids=["empty", "text", "gzip", "chain"],
)
def test_a_file_that_is_no_archive_is_one_row(tmp_path, content):
    path = tmp_path / "n1.tar"
    path.write_bytes(content)
    (row,) = list_members(path)
    assert (row.name, row.reason) == (None, "damaged_archive")


def test_archive_without_end_marker_is_whole(tmp_path):
    path = write_tar(tmp_path / "n1.tar", {"a.JPEG": b"x" * 512})
    path.write_bytes(path.read_bytes()[:1024])
    (member,) = list_members(path)
    assert member.reason is None


def test_missing_archive_is_an_error_not_a_damaged_one(tmp_path):
    with pytest.raises(FileNotFoundError):
        list(list_members(tmp_path / "n1.tar"))


def write_entries(path, *entries, form=tarfile.PAX_FORMAT):
    """Write an archive of (name, type, link name, content, PAX headers)."""
    with tarfile.open(path, "w:", format=form) as archive:
        for name, kind, link, data, headers in entries:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname, entry.size = kind, link, len(data)
            entry.pax_headers = headers
            archive.addfile(entry, io.BytesIO(data))
    return path


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_names_are_read_whole(tmp_path, form):
    name = "é" * 90 + "/" + "x" * 150 + ".JPEG"
    path = write_entries(tmp_path / "n1.tar", (name, tarfile.REGTYPE, "", b"abc", {}), form=form)
    (member,) = list_members(path)
    assert (member.name, member.size, member.reason) == (name, 3, None)
    assert content_of(path, member) == b"abc"


@pytest.mark.parametrize(
    "name", ["../a.JPEG", "/etc/a.JPEG", "x/../../a.JPEG", "x/..", "..", "/", "x/."]
)
def test_a_name_that_leads_out_has_its_reason(tmp_path, name):
    path = write_entries(tmp_path / "n1.tar", (name, tarfile.CONTTYPE, "", b"abc", {"path": name}))
    (member,) = list_members(path)
    assert member.reason == "unsafe_name"


@pytest.mark.parametrize(
    ("kind", "detail"),
    [
        (tarfile.SYMTYPE, "a link to '../../etc/passwd'"),
        (tarfile.LNKTYPE, "a link to '../../etc/passwd'"),
        (tarfile.CHRTYPE, "not a plain file"),
        (tarfile.BLKTYPE, "not a plain file"),
        (tarfile.FIFOTYPE, "not a plain file"),
    ],
)
def test_folders_are_skipped_and_links_and_devices_listed(tmp_path, kind, detail):
    folder = ("folder", tarfile.DIRTYPE, "", b"", {})
    path = write_entries(tmp_path / "n1.tar", folder, ("a.JPEG", kind, "../../etc/passwd", b"", {}))
    (member,) = list_members(path)
    assert (member.name, member.reason) == ("a.JPEG", "not_an_image")
    assert detail in member.detail


@pytest.mark.parametrize("headers", ["1.0", "0.1", "old"])
def test_sparse_files_are_named_and_the_next_member_is_found(tmp_path, headers):
    pax = {
        "1.0": {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "9"},
        "0.1": {"GNU.sparse.map": "0,3", "GNU.sparse.size": "9"},
        "old": {},
    }[headers]
    body = b"1\n0\n3\n".ljust(512, b"\0") + b"abc" if headers == "1.0" else b"abc"
    kind = tarfile.GNUTYPE_SPARSE if headers == "old" else tarfile.REGTYPE
    path = write_entries(
        tmp_path / "n1.tar",
        ("hole.JPEG", kind, "", body, pax),
        ("next.JPEG", tarfile.REGTYPE, "", b"abc", {}),
    )
    first, second = list_members(path)
    assert (first.name, first.reason) == ("hole.JPEG", "not_an_image")
    assert "sparse" in first.detail
    assert (second.name, second.reason) == ("next.JPEG", None)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (tarfile.REGTYPE, "too_many_bytes"),
        (tarfile.GNUTYPE_LONGNAME, "damaged_archive"),
        (tarfile.GNUTYPE_LONGLINK, "damaged_archive"),
        (tarfile.XHDTYPE, "damaged_archive"),
        (tarfile.XGLTYPE, "damaged_archive"),
    ],
)
@pytest.mark.parametrize("present", [True, False])
def test_ten_claimed_gigabytes_are_not_read(tmp_path, kind, reason, present):
    path = sparse_claim(tmp_path / "n1.tar", "a.JPEG", 10 * 2**30, kind)
    if not present:
        path.write_bytes(path.open("rb").read(20_000))
    tracemalloc.start()
    rows = list(list_members(path))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**23
    assert rows[0].reason == ("damaged_archive" if not present else reason)
    if kind == tarfile.REGTYPE:
        with pytest.raises(RejectionError, match="too_many_bytes"):
            content_of(path, rows[0])


def test_a_gzipped_member_that_expands_is_not_kept(monkeypatch):
    monkeypatch.setattr(archives, "MAX_BYTES", 2**20)
    data = gzip.compress(bytes(2**26))
    tracemalloc.start()
    with pytest.raises(RejectionError, match="too_many_bytes"):
        read_member(io.BytesIO(data), 0, len(data))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**23


def test_what_follows_the_end_mark_is_not_lost_silently(tmp_path):
    first = write_tar(tmp_path / "a.tar", {"a.JPEG": b"x"})
    second = write_tar(tmp_path / "b.tar", {"b.JPEG": b"x"})
    joined = tmp_path / "n1.tar"
    joined.write_bytes(first.read_bytes() + second.read_bytes())
    assert [(m.name, m.reason) for m in list_members(joined)] == [
        ("a.JPEG", None),
        (None, "damaged_archive"),
    ]


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
