import errno

import pytest

from imagenet_think.core.digest_cache import DigestCache


@pytest.fixture
def file(tmp_path):
    return tmp_path / "below" / "digests.json"


def refuse():
    raise AssertionError("computed again")


def test_a_known_value_is_not_computed_again_and_nothing_new_writes_nothing(file):
    cache = DigestCache(file)
    assert cache.get("a", lambda: [1, "x"]) == [1, "x"]
    assert cache.get("a", refuse) == [1, "x"]
    cache.get("b", lambda: 2)
    assert not file.exists()
    cache.save()
    before = file.stat()
    again = DigestCache(file)
    assert again.get("a", refuse) == [1, "x"]
    again.save()
    assert file.stat() == before


@pytest.mark.parametrize("keep", [False, True])
def test_unused_values_are_dropped_or_kept_when_something_is_new(file, keep):
    for key, value in (("old", 1), ("new", 2)):
        cache = DigestCache(file)
        cache.get(key, lambda value=value: value)
        cache.save(keep)
    cache.get("newer", lambda: 3)
    cache.save(keep)
    read = DigestCache(file)
    assert [read.get(key, refuse) for key in ("new", "newer")] == [2, 3]
    assert read.get("old", lambda: None) == (1 if keep else None)


OTHERS = [b'{"a": 7}', b'{"digest": 1, "values": {"a": 7}}', b'{"digest": 1, "values": 7}']
DEEP = b"[" * 100_000


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[1]", b"null", DEEP, *OTHERS])
def test_a_damaged_file_counts_as_empty(file, content):
    file.parent.mkdir()
    file.write_bytes(content)
    cache = DigestCache(file)
    assert cache.get("a", lambda: 1) == 1
    cache.save()
    assert DigestCache(file).get("a", refuse) == 1


def test_no_flipped_bit_changes_a_value(file):
    cache = DigestCache(file)
    assert cache.get("key", lambda: "value") == "value"
    cache.save()
    whole = file.read_bytes()
    for bit in range(0, 8 * len(whole), 5):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        file.write_bytes(flipped)
        assert DigestCache(file).get("key", lambda: "computed") in ("value", "computed")


def test_on_a_full_disk_values_are_computed(file, monkeypatch):
    def full(path, *text, **how):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(type(file), "write_text", full)
    cache = DigestCache(file)
    assert cache.get("a", lambda: 1) == 1
    cache.save()
    assert list(file.parent.iterdir()) == []
