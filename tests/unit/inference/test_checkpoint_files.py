import json

import pytest

from imagenet_think.inference.checkpoints import read_json


def test_a_file_that_is_missing_is_empty(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"a": 1}))
    assert read_json(tmp_path, "config.json") == {"a": 1}
    assert read_json(tmp_path, "generation_config.json") == {}


@pytest.mark.parametrize("content", [b"", b"[1]", b"3", b"null", b"{", b"\xff\xfe", b"[" * 100_000])
def test_a_file_without_an_object_is_named(content, tmp_path):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(
        ValueError, match=r"config\.json (is damaged|does not contain).*download it"
    ):
        read_json(tmp_path, "config.json")
