import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagenet_think.journal import Journal, read_runs


def row(i, key="f", **more):
    return {"image_id": f"image {i}", "fingerprint": key, "text": f"text {i}", **more}


def filled(path, count=3):
    with Journal(path) as journal:
        for i in range(count):
            journal.append_response(row(i), run="a", at=i)
    return path.read_bytes()


def kept(path, count=3):
    with Journal(path) as journal:
        return [i for i in range(count) if journal.get(f"image {i}", "f") is not None]


def test_what_was_written_is_found_again_by_image_and_fingerprint(tmp_path):
    path = tmp_path / "model" / "00.jsonl"
    filled(path)
    with Journal(path) as journal:
        assert journal.get("image 1", "f") == row(1)
        assert journal.get("image 1", "g") is None
        assert journal.get("image 3", "f") is None
        journal.append_response(row(1, "g"), run="b", at=0)
    with Journal(path) as journal:
        assert journal.get("image 1", "g") == row(1, "g")
        assert journal.get("image 1", "f") == row(1)


def test_a_line_is_on_disk_as_soon_as_it_is_written(tmp_path):
    path = tmp_path / "00.jsonl"
    with Journal(path) as journal:
        journal.append_response(row(0), run="a", at=0)
        assert path.read_bytes().endswith(b"\n")
        assert json.loads(path.read_text())["row"] == row(0)


def test_nothing_is_written_twice(tmp_path):
    with Journal(tmp_path / "00.jsonl") as journal:
        journal.append_response(row(0), run="a", at=0)
        with pytest.raises(ValueError, match="image 0 already has a row"):
            journal.append_response(row(0, text="another"), run="a", at=1)


def test_the_first_of_two_lines_of_a_key_counts(tmp_path):
    path = tmp_path / "00.jsonl"
    filled(path, 1)
    with path.open("a") as file:
        file.write(json.dumps({"kind": "response", "row": row(0, text="later")}) + "\n")
    with Journal(path) as journal:
        assert journal.get("image 0", "f")["text"] == "text 0"


def test_a_torn_end_is_cut_at_every_byte(tmp_path, caplog):
    path = tmp_path / "00.jsonl"
    whole = filled(path)
    lines = whole.splitlines(keepends=True)
    for end in range(len(whole) + 1):
        path.write_bytes(whole[:end])
        complete = sum(len(b"".join(lines[: i + 1])) <= end for i in range(3))
        assert kept(path) == list(range(complete))
        assert path.read_bytes() == b"".join(lines[:complete])
        with Journal(path) as journal:  # and writing goes on after a whole line
            for i in range(complete, 3):
                journal.append_response(row(i), run="a", at=i)
        assert path.read_bytes() == whole
    assert "cut off an unfinished last line" in caplog.text
    assert not list(tmp_path.glob("*.unreadable"))


def test_unreadable_lines_are_reported_and_set_aside(tmp_path, caplog):
    path = tmp_path / "00.jsonl"
    lines = filled(path).splitlines(keepends=True)
    bad = [b"\x00\x00\xff\n", b'{"kind": "response", "row": {"image_id": 3}}\n', b"[]\n", b"\n"]
    mixed = [lines[0], bad[0], lines[1], *bad[1:], lines[2]]
    path.write_bytes(b"".join(mixed))
    with caplog.at_level(logging.WARNING):
        assert kept(path) == [0, 1, 2]
    assert "lines [2, 4, 5, 6] cannot be read" in caplog.text
    assert path.read_bytes() == b"".join(lines)
    assert path.with_name("00.jsonl.unreadable").read_bytes() == b"".join(bad)


@given(text=st.text(), error=st.none() | st.text())
def test_any_text_comes_back(tmp_path_factory, text, error):
    path = tmp_path_factory.mktemp("journal") / "00.jsonl"
    with Journal(path) as journal:
        journal.append_response(row(0, text=text, error=error), run="a", at=0)
    with Journal(path) as journal:
        assert journal.get("image 0", "f") == row(0, text=text, error=error)


def test_runs_are_read_without_touching_a_journal_at_work(tmp_path):
    path = tmp_path / "00.jsonl"
    assert read_runs(path) == []
    with Journal(path) as journal:
        journal.append_response(row(0), run="a", at=0)
        journal.append_run(run="a", host="h", seconds=1.5)
    torn = path.read_bytes() + b'{"kind": "resp'
    path.write_bytes(torn)
    assert read_runs(path) == [{"kind": "run", "run": "a", "host": "h", "seconds": 1.5}]
    assert path.read_bytes() == torn
