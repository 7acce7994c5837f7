import pytest

from imagenet_think.core.digest_cache import DigestCache


@pytest.fixture
def file(tmp_path):
    return tmp_path / "below" / "digests.json"


def refuse():
    raise AssertionError("computed again")


def test_a_known_value_is_not_computed_again(file):
    cache = DigestCache(file)
    assert cache.get("a", lambda: [1, "x"]) == [1, "x"]
    assert cache.get("a", refuse) == [1, "x"]
    assert not file.exists()
    cache.save()
    assert DigestCache(file).get("a", refuse) == [1, "x"]


def test_what_was_not_used_is_dropped_when_something_is_new(file):
    first = DigestCache(file)
    first.get("old", lambda: 1)
    first.save()
    second = DigestCache(file)
    second.get("new", lambda: 2)
    second.save()
    assert DigestCache(file).get("new", refuse) == 2
    assert DigestCache(file).get("old", lambda: 3) == 3


def test_what_was_not_used_is_kept_where_that_is_asked_for(file):
    first = DigestCache(file)
    first.get("old", lambda: 1)
    first.save(keep=True)
    second = DigestCache(file)
    second.get("new", lambda: 2)
    second.save(keep=True)
    second.get("newer", lambda: 3)
    second.save(keep=True)
    third = DigestCache(file)
    assert [third.get(key, refuse) for key in ("old", "new", "newer")] == [1, 2, 3]


def test_nothing_new_writes_nothing(file):
    cache = DigestCache(file)
    cache.get("a", lambda: 1)
    cache.get("b", lambda: 2)
    cache.save()
    before = file.stat()
    again = DigestCache(file)
    again.get("a", refuse)
    again.save()
    assert file.stat() == before


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[1]", b"null"])
def test_a_damaged_file_counts_as_empty(file, content):
    file.parent.mkdir()
    file.write_bytes(content)
    cache = DigestCache(file)
    assert cache.get("a", lambda: 1) == 1
    cache.save()
    assert DigestCache(file).get("a", refuse) == 1
