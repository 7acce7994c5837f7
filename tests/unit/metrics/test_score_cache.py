import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagenet_think.core.digests import digest_settings
from imagenet_think.metrics import score_cache
from imagenet_think.metrics.score_cache import ScoreCache, digest, key, made_by

SETTINGS = {"layer": 3}


def cache(folder, settings=SETTINGS, shard="00"):
    return ScoreCache(folder, shard, settings, ["f1", "seen"])


def test_what_was_saved_is_known_again(tmp_path):
    first = cache(tmp_path)
    first.add([b"a", b"b"], {"f1": np.array([0.1, 0.2]), "seen": np.array([1.0, 0.5])})
    first.add([b"c"], {"f1": np.array([1 / 3]), "seen": np.array([1.0])})
    assert first.get([b"c", b"a", b"c"]).tolist() == [[1 / 3, 1.0], [0.1, 1.0], [1 / 3, 1.0]]
    first.save()
    again = cache(tmp_path)
    assert b"b" in again
    assert b"d" not in again
    assert again.get([b"b", b"c"]).tolist() == [[0.2, 0.5], [1 / 3, 1.0]]


def with_one_pair(folder):
    first = cache(folder)
    first.add([b"a"], {"f1": np.ones(1), "seen": np.ones(1)})
    return first


def test_settings_and_shards_are_separate(tmp_path):
    with_one_pair(tmp_path).save()
    assert b"a" not in cache(tmp_path, {"layer": 4})
    assert b"a" not in cache(tmp_path, shard="01")


def test_nothing_new_writes_nothing(tmp_path):
    first = cache(tmp_path)
    first.save()
    assert not first.path.exists()


def test_it_saves_from_time_to_time(tmp_path, monkeypatch):
    monkeypatch.setattr(score_cache, "SAVE_SECONDS", 0)
    with_one_pair(tmp_path)
    assert b"a" in cache(tmp_path)


# Damage.


def filled(folder, count=100):
    """Return a saved cache of some pairs."""
    numbers = np.random.default_rng(7).random((2, count))
    first = cache(folder)
    pairs = [key(digest("a"), digest(str(n))) for n in range(count)]
    first.add(pairs, {"f1": numbers[0], "seen": numbers[1]})
    first.save()
    return first, pairs


@pytest.mark.parametrize("content", [b"", b"PAR1 torn", b"PAR1" + b"\0" * 100 + b"PAR1"])
def test_scores_of_a_broken_file_are_computed_again(tmp_path, caplog, content):
    path = with_one_pair(tmp_path).path
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    again = with_one_pair(tmp_path)
    assert "00.parquet is damaged, so its scores are computed again" in caplog.text
    again.save()
    assert b"a" in cache(tmp_path)


def test_a_file_that_cannot_be_read_is_an_error(tmp_path):
    cache(tmp_path).path.mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        cache(tmp_path)


def test_a_file_of_other_columns_is_not_used(tmp_path, caplog):
    with_one_pair(tmp_path).save()
    assert b"a" not in ScoreCache(tmp_path, "00", SETTINGS, ["f1"])
    assert "its columns are {'pair': Binary, 'f1': Float64, 'seen': Float64}" in caplog.text


def test_no_flipped_bit_changes_a_score(tmp_path, caplog):
    first, pairs = filled(tmp_path)
    whole, expected = first.path.read_bytes(), first.get(pairs)
    rng = np.random.default_rng(11)
    found = 0
    for bit in rng.choice(8 * len(whole), 300, replace=False):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        first.path.write_bytes(flipped)
        read = cache(tmp_path)
        known = [row for row, pair in enumerate(pairs) if pair in read]
        assert np.array_equal(read.get([pairs[row] for row in known]), expected[known])
        found += not known
    assert found > 200
    assert caplog.text.count("is damaged") == found


def without_digest(path, **values):
    """Write the file as earlier versions did, perhaps with other values."""
    changed = {name: pl.lit(value, pl.Float64) for name, value in values.items()}
    frame = pl.read_parquet(path).with_columns(**changed)
    frame.write_parquet(path, compression="zstd", statistics=True)


def test_a_file_of_an_earlier_version_is_used_and_gets_a_digest(tmp_path, caplog):
    first, pairs = filled(tmp_path)
    without_digest(first.path)
    again = cache(tmp_path)
    assert np.array_equal(again.get(pairs), first.get(pairs))
    again.save()
    assert score_cache._DIGEST in pl.read_parquet_metadata(first.path)
    assert np.array_equal(cache(tmp_path).get(pairs), first.get(pairs))
    assert not caplog.text


@pytest.mark.parametrize("value", [55.0, -0.5, float("nan"), float("inf"), None])
def test_impossible_scores_of_an_earlier_version_are_computed_again(tmp_path, caplog, value):
    first, pairs = filled(tmp_path)
    without_digest(first.path, f1=value)
    assert pairs[0] not in cache(tmp_path)
    assert "a value is not between 0 and 1" in caplog.text


def test_cosines_may_be_negative_and_rounded(tmp_path):
    first = with_one_pair(tmp_path)
    first.add([b"b"], {"f1": np.array([-0.5]), "seen": np.array([1.0000002])})
    first.save()
    assert b"b" in ScoreCache(tmp_path, "00", SETTINGS, ["f1", "seen"], lowest=-1.0)


@settings(max_examples=50)
@given(st.text(), st.text(), st.text(), st.text())
def test_keys_distinguish_pairs(a, b, c, d):
    first, second = (key(digest(x), digest(y)) for x, y in ((a, b), (c, d)))
    assert (first == second) == ((a, b) == (c, d))


def test_edited_code_and_other_versions_are_other_settings(monkeypatch):
    first = made_by("a" * 64, ["numpy"])
    assert first == {"code": "a" * 64, "packages": {"numpy": np.__version__}}
    assert digest_settings(made_by("b" * 64, ["numpy"])) != digest_settings(first)
    monkeypatch.setattr(score_cache, "version", lambda package: "0.0")
    assert digest_settings(made_by("a" * 64, ["numpy"])) != digest_settings(first)
