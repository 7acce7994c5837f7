import os

import pytest

from imagenet_think.core.paths import table_files


def test_a_path_means_a_file_a_folder_or_a_pattern(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("b.parquet", "a.parquet", "in [x]/c.parquet", "in [x]/d.txt", ".e.parquet"):
        os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
        open(name, "w").close()
    assert table_files("b.parquet") == ["b.parquet"]
    assert table_files(".") == ["a.parquet", "b.parquet", "in [x]/c.parquet"]
    assert table_files("in [x]") == ["in [x]/c.parquet"]
    assert table_files("*.parquet") == ["a.parquet", "b.parquet"]
    assert table_files("in [x]/d.txt") == ["in [x]/d.txt"]
    for nothing in ("nowhere", "c*.parquet"):
        with pytest.raises(FileNotFoundError, match="no parquet, jsonl or csv file is there"):
            table_files(nothing)
