import gzip
import io
import tarfile

import pytest
from pictures import write_tar

from imagenet_think import archives
from imagenet_think.archives import image_id, list_members, read_member
from imagenet_think.rejections import RejectionError


@pytest.mark.parametrize(
    ("member", "expected"),
    [
        ("n00005787_11054.JPEG", "n00005787_11054"),
        ("n00005787/n00005787_11054.jpg", "n00005787_11054"),
        ("n1_5.JPEG.gz", "n1_5"),
        ("n1_5.JPEG.JPEG", "n1_5"),
        ("n1_5.dat", "n1_5"),
        ("n1_5", "n1_5"),
        ("holiday.2019.jpeg", "holiday.2019"),
    ],
)
def test_image_id_is_the_stem(member, expected):
    assert image_id(member) == expected


def test_members_are_found_by_offset(tmp_path):
    content = {"a.JPEG": b"first", "sub/" + "long" * 60 + ".JPEG": b"second" * 200, "ü": b""}
    path = write_tar(tmp_path / "n1.tar", content)
    members = list(list_members(path))
    assert [m.name for m in members] == list(content)
    assert all(m.reason is None for m in members)
    with open(path, "rb") as file:
        for member in reversed(members):
            assert read_member(file, member.offset, member.size) == content[member.name]


def test_folders_are_passed_over_and_links_named(tmp_path):
    path = tmp_path / "n1.tar"
    with tarfile.open(path, "w:") as archive:
        for name, kind in (("folder", tarfile.DIRTYPE), ("link.JPEG", tarfile.SYMTYPE)):
            entry = tarfile.TarInfo(name)
            entry.type = kind
            archive.addfile(entry)
    (link,) = list_members(path)
    assert (link.name, link.reason) == ("link.JPEG", "not_an_image")


def test_a_name_that_is_no_utf8_can_be_written(tmp_path):
    path = tmp_path / "n1.tar"
    with tarfile.open(path, "w:", format=tarfile.GNU_FORMAT, encoding="latin-1") as archive:
        archive.addfile(tarfile.TarInfo("é.JPEG"))
    (member,) = list_members(path)
    assert member.name == "\\xe9.JPEG"


def test_gzipped_member_is_decompressed(tmp_path):
    path = write_tar(tmp_path / "n1.tar", {"a.JPEG": gzip.compress(b"inside" * 100)})
    (member,) = list_members(path)
    with open(path, "rb") as file:
        assert read_member(file, member.offset, member.size) == b"inside" * 100


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (gzip.compress(b"x" * 9_000)[:-12], "undecodable"),
        (b"\x1f\x8b" + b"junk" * 20, "undecodable"),
        (gzip.compress(b"\0" * 20_000), "too_many_bytes"),
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
    with open(path, "rb") as file, pytest.raises(RejectionError, match="cut short"):
        read_member(file, members[3].offset, members[3].size)


def test_damaged_header_is_not_taken_for_the_end(tmp_path):
    path = write_tar(tmp_path / "n1.tar", {f"{k}.JPEG": b"x" * 2_000 for k in range(5)})
    data = bytearray(path.read_bytes())
    data[2 * 2_560 : 2 * 2_560 + 200] = b"\xaa" * 200
    path.write_bytes(data)
    members = list(list_members(path))
    assert [m.name for m in members] == ["0.JPEG", "1.JPEG", None]
    assert members[2].reason == "damaged_archive"
    assert f"{len(data) - 2 * 2_560} bytes not listed" in members[2].detail


@pytest.mark.parametrize("content", [b"", b"no tar at all" * 100, gzip.compress(b"\0" * 10_240)])
def test_what_is_no_archive_is_one_row(tmp_path, content):
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
