import numpy as np
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


@pytest.mark.parametrize("content", [b"", b"PAR1 torn"])
def test_a_broken_file_is_named(tmp_path, content):
    path = cache(tmp_path).path
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"00\.parquet.*delete it"):
        cache(tmp_path)


def test_a_file_of_other_columns_is_named(tmp_path):
    with_one_pair(tmp_path).save()
    with pytest.raises(ValueError, match="delete it"):
        ScoreCache(tmp_path, "00", SETTINGS, ["f1"])


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
