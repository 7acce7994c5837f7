import contextlib
import errno
import itertools
import json
import math
import os
import re
import resource
import time
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from journal_rows import journal_rows

from imagenet_think.inference import journal as module
from imagenet_think.inference.journal import Journal, JournalError, adopt, read_lines
from imagenet_think.inference.locks import SILENCE, LockError
from imagenet_think.inference.usage import read_usage

unsynced = patch.object(os, "fsync", lambda number: None)
"""For tests of many journals, which need not reach the disk."""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "00.jsonl"


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


def test_a_row_is_written_at_once_and_once_and_found_by_image_and_fingerprint(tmp_path):
    path = tmp_path / "model" / "00.jsonl"
    filled(path)
    with Journal(path) as journal:
        assert journal.get("image 1", "f") == row(1)
        assert journal.get("image 1", "g") is None
        assert journal.get("image 3", "f") is None
        journal.append_response(row(1, "g"), run="b", at=0)
        last = path.read_bytes().splitlines(keepends=True)[-1]
        assert last.endswith(b"\n")
        assert json.loads(last)["row"] == row(1, "g")
        with pytest.raises(ValueError, match="image 1 already has a row"):
            journal.append_response(row(1, "g", text="another"), run="b", at=1)
    with Journal(path) as journal:
        assert journal.get("image 1", "g") == row(1, "g")
        assert journal.get("image 1", "f") == row(1)


@unsynced
@given(text=st.text() | st.characters(categories=["Cs"]), error=st.none() | st.text())
def test_any_text_is_preserved(tmp_path_factory, text, error):
    path = tmp_path_factory.mktemp("journal") / "00.jsonl"
    with Journal(path) as journal:
        journal.append_response(row(0, text=text, error=error), run="a", at=0)
    with Journal(path) as journal:
        assert journal.get("image 0", "f") == row(0, text=text, error=error)


LINE = json.dumps({"kind": "response", "row": row(0)}).encode()
NO_KEY = b'{"kind": "response", "row": {"image_id": 3}}'
NO_LINE = st.sampled_from(
    [b"", b"[]", b"3", b"[" * 20000, NO_KEY, LINE[:-1], LINE[5:], LINE + b" " + LINE, b"\0" + LINE]
) | st.binary(max_size=30).map(lambda data: data.replace(b"\n", b" "))


@unsynced
@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.just("append"), st.lists(st.integers(0, 8), min_size=1, max_size=4))
        | st.tuples(st.just("run"), st.integers(0, 99))
        | st.tuples(st.just("cut"), st.integers(0, 400))
        | st.tuples(st.just("garbage"), st.tuples(st.floats(0, 1), NO_LINE))
        | st.tuples(st.just("again"), st.tuples(st.floats(0, 1), st.integers(0, 8))),
        max_size=12,
    )
)
def test_complete_lines_survive_whatever_happens_to_the_file(tmp_path_factory, events):
    path = tmp_path_factory.mktemp("journal") / "00.jsonl"
    lines, bad, moment = [], [], 0  # expected in the file, and moved aside
    for event, what in events:
        if event == "cut":
            path.touch()
            data = path.read_bytes()
            path.write_bytes(data[: max(0, len(data) - what)])
            while sum(map(len, lines)) > path.stat().st_size:
                lines.pop()
        elif event == "garbage":
            where = round(what[0] * len(lines))
            path.write_bytes(b"".join([*lines[:where], what[1] + b"\n", *lines[where:]]))
            bad.append(what[1] + b"\n")
        elif event == "again":  # another line of a key, by hand
            moment += 1
            record = {"kind": "response", "row": row(what[1], text=f"copy {moment}")}
            lines.insert(round(what[0] * len(lines)), json.dumps(record).encode() + b"\n")
            path.write_bytes(b"".join(lines))
        with Journal(path) as journal:
            for i in what if event == "append" else ():
                moment += 1
                new = row(i, text=f"text {moment}")
                if journal.get(new["image_id"], "f") is None:
                    journal.append_response(new)
                    record = {"kind": "response", "row": new}
                    lines.append(json.dumps(record).encode() + b"\n")
            if event == "run":
                journal.append_run(number=what)
                lines.append(json.dumps({"kind": "run", "number": what}).encode() + b"\n")
            records = [json.loads(line) for line in lines]
            rows = [record["row"] for record in records if record["kind"] == "response"]
            first = {}
            for one in rows:
                first.setdefault(one["image_id"], one)
            for i in range(9):
                assert journal.get(f"image {i}", "f") == first.get(f"image {i}")
        assert path.read_bytes() == b"".join(lines)
        assert list(read_lines(path)) == records
    aside = path.with_name("00.jsonl.unreadable")
    assert (aside.read_bytes() if aside.exists() else b"") == b"".join(bad)


def response(**changes):
    return {"kind": "response", "run": "a", "at": 1.5, "row": row(9), **changes}


OF_ANOTHER_TYPE = [
    *("[]", "3", '"text"', "null", "{}", '{"kind": ["run"]}', '{"kind": "more"}'),
    *("[" * 100_000, '{"kind": "run", "run": ' + '{"a":' * 100_000),
    *(
        json.dumps({"kind": "run", "run": "a", **part})
        for part in (
            *({"run": value} for value in (None, 3, ["a"], {})),
            *({"seconds": value} for value in (None, "5", [5], math.nan, math.inf, 10**400)),
            *({"spent": value} for value in (None, 3, [], {"completion_tokens": 10**30})),
            *({"devices": "2"}, {"device": ["cpu"]}),
        )
    ),
    *(
        json.dumps(response(**part))
        for part in (
            *({"row": value} for value in (None, 3, "text", [], {}, [row(9)])),
            *({"at": value} for value in (None, "5", True)),
            *({"spent": value} for value in ([], {"prompt_tokens": "5"}, {"prompt_tokens": None})),
        )
    ),
    *(
        json.dumps(response(row=row(9, **part)))
        for part in (
            *({"completion_tokens": value} for value in (10**30, -(10**30), 1.5, "5", True, [5])),
            *({"text": value} for value in (3, ["text"], {}, False)),
            *({"forced": 1}, {"image_id": None}, {"fingerprint": 3}),
        )
    ),
]


@pytest.mark.parametrize("line", OF_ANOTHER_TYPE, ids=lambda line: line[:60])
def test_a_line_of_another_type_is_named_and_moved_aside(path, caplog, line):
    whole = filled(path, 2)
    path.write_bytes(whole + line.encode() + b"\n")
    assert len(list(read_lines(path))) == 2
    assert len(read_usage(path.parent).responses) == 2
    assert kept(path) == [0, 1]
    assert f"{path}: lines [3] cannot be read, moved to 00.jsonl.unreadable" in caplog.text
    assert path.read_bytes() == whole
    assert path.with_name("00.jsonl.unreadable").read_bytes() == line.encode() + b"\n"


def test_temporary_and_other_files_in_the_folder_are_no_journals(path):
    whole = filled(path)
    (path.parent / "copy of 00.jsonl").write_bytes(whole)  # of earlier shards, for all one knows
    for name in (".00.4711.tmp.jsonl", "00.jsonl.unreadable", "00.lock"):
        path.with_name(name).write_bytes(whole)
    assert [file.name for file in module.files(path.parent)] == ["00.jsonl", "copy of 00.jsonl"]
    assert module.files(path.parent / "none") == []


def test_an_open_journal_is_read_without_changes(path, tmp_path):
    assert list(read_lines(path)) == []
    with Journal(path) as journal:
        journal.append_response(row(0), run="a", at=0)
        journal.append_run(run="a", host="h", seconds=1.5)
        journal.append_response(row(1), run="a", at=2)
    whole = path.read_bytes()
    for torn in (b"nonsense\n", LINE + b"\n", LINE):
        path.write_bytes(whole + torn)
        lines = list(read_lines(path))
        assert lines[1] == {"kind": "run", "run": "a", "host": "h", "seconds": 1.5}
        assert [line["row"] for line in (lines[0], lines[2])] == [row(0), row(1)]
        assert path.read_bytes() == whole + torn
        assert len(lines) == 3 + (torn == LINE + b"\n")
    assert os.listdir(tmp_path) == ["00.jsonl"]


def test_the_rest_of_an_incomplete_line_is_not_a_line(path, monkeypatch):
    path.touch()
    seen = [LINE + b"\n", b'{"kind": "response", "row": ', b'{"kind": "run"}\n']
    monkeypatch.setattr(Path, "open", lambda *how: contextlib.nullcontext(seen))
    assert list(read_lines(path)) == [json.loads(LINE)]


def test_a_second_worker_is_refused_and_changes_nothing(path, tmp_path):
    with Journal(path) as journal:
        journal.append_response(row(0))
        torn = path.read_bytes() + b"torn"
        path.write_bytes(torn)  # as if in the middle of a line
        with pytest.raises(LockError, match=f"00.lock: held by process {os.getpid()}"):
            Journal(path)
        assert path.read_bytes() == torn
    assert os.listdir(tmp_path) == ["00.jsonl"]
    with Journal(path), Journal(tmp_path / "01.jsonl"):
        pass


def test_a_worker_whose_journal_was_taken_over_cannot_write(path):
    lock = path.with_suffix(".lock")
    with Journal(path) as sleeper:
        sleeper.append_response(row(0))
        # Its lock was not touched for long, and this machine cannot see its process.
        owner = json.loads(lock.read_text()) | {"machine": "another"}
        lock.write_text(json.dumps(owner))
        os.utime(lock, (time.time() - SILENCE - 1,) * 2)
        with Journal(path) as taker:
            for append in (lambda: sleeper.append_response(row(1)), sleeper.append_run):
                with pytest.raises(LockError, match="lost its lock"):
                    append()
            assert sleeper.get("image 1", "f") is None
            taker.append_response(row(1))
    assert journal_rows(path) == [row(0), row(1)]


def test_a_job_that_fails_to_open_a_journal_keeps_no_lock(path, monkeypatch):
    filled(path)
    with monkeypatch.context() as patch:
        patch.setattr(module, "_parsed", lambda line: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            Journal(path)
    with Journal(path):
        pass


# Full disks: a limit on the size of files stops a write in the middle of a line, like a full disk.


def fill(path):
    """Append rows until the journal refuses one; return their number and the error."""
    with Journal(path) as journal:
        for i in itertools.count():
            try:
                journal.append_response(row(i, text="x" * (1000 + 37 * i % 1000)))
            except JournalError as error:
                assert journal.get(f"image {i}", "f") is None
                assert path.read_bytes()[-2:] in (b"", b"}\n")
                return i, error


@contextlib.contextmanager
def file_size_limit(size):
    """Let no file of this process become larger than `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@given(size=st.integers(400, 9000))
@settings(max_examples=30, deadline=None)
def test_a_line_that_does_not_fit_is_not_written_in_part(tmp_path_factory, size):
    path = tmp_path_factory.mktemp("journal") / "00.jsonl"
    with file_size_limit(size):
        count, error = fill(path)
        assert error.__cause__.errno == errno.EFBIG
        assert re.search(r"read or written: File too large \(.*Free some space", str(error))
        # A shorter line may still fit, and starts on a new line.
        with Journal(path) as journal, contextlib.suppress(JournalError):
            journal.append_run(n=1)
    assert path.stat().st_size <= size
    assert [one["image_id"] for one in journal_rows(path)] == [f"image {i}" for i in range(count)]
    assert path.read_bytes().count(b"\n") == len(list(read_lines(path)))
    with Journal(path) as journal:
        journal.append_response(row(count))
    assert len(journal_rows(path)) == count + 1
    assert not path.with_name("00.jsonl.unreadable").exists()


def test_a_job_without_space_for_its_lock_stops_at_once(path, tmp_path):
    whole = filled(path)
    message = r"File too large \([\d,]+ bytes are free there\)"
    with file_size_limit(0), pytest.raises(JournalError, match=message):
        Journal(path)
    assert path.read_bytes() == whole
    assert os.listdir(tmp_path) == ["00.jsonl"]


def test_an_unreadable_line_is_reported_and_stays_while_there_is_no_space_to_move_it(path, caplog):
    aside = path.with_name("00.jsonl.unreadable")
    before = filled(path) + b"?" * 3000 + b"\n"
    path.write_bytes(before)
    with file_size_limit(2000), pytest.raises(JournalError, match="File too large"):
        Journal(path)
    assert path.read_bytes() == before
    assert aside.read_bytes() == b""
    assert "lines [4] cannot be read, moved to 00.jsonl.unreadable" in caplog.text
    assert kept(path) == [0, 1, 2]
    assert aside.read_bytes() == b"?" * 3000 + b"\n"


def test_nothing_follows_an_incomplete_line_that_cannot_be_removed(path, caplog):
    whole = filled(path)
    with Journal(path) as journal:
        write = journal._file.write

        def fail(*arguments):
            raise OSError(errno.EIO, "the disk broke")

        def write_some(line):
            journal._file.write = fail
            return write(line[:9])

        journal._file.write, journal._file.truncate = write_some, fail
        with pytest.raises(JournalError, match="the disk broke"):
            journal.append_response(row(3))
        with pytest.raises(ValueError, match="closed"):
            journal.append_run(n=1)
    assert path.read_bytes() == whole + LINE[:9]
    assert kept(path, 4) == [0, 1, 2]
    assert path.read_bytes() == whole
    assert "removed an incomplete last line of 9 bytes" in caplog.text


def test_an_interrupted_line_is_removed(path):
    whole = filled(path)
    with Journal(path) as journal:
        write = journal._file.write

        def interrupt(line):
            write(line[:9])
            raise KeyboardInterrupt

        journal._file.write = interrupt
        with pytest.raises(KeyboardInterrupt):
            journal.append_response(row(3))
        del journal._file.write
        journal.append_run(n=1)
    assert path.read_bytes() == whole + b'{"kind": "run", "n": 1}\n'


def test_late_errors_of_a_network_file_system_are_raised(tmp_path, monkeypatch):
    def full(number):
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    journal = Journal(tmp_path / "b.jsonl")
    with pytest.raises(JournalError, match="Disk quota exceeded"), Journal(tmp_path / "a.jsonl"):
        monkeypatch.setattr(os, "fsync", full)
    monkeypatch.setattr(module, "SYNC", 0.0)
    with pytest.raises(JournalError, match="Disk quota exceeded"):
        journal.append_run(n=1)
    with pytest.raises(JournalError, match="Disk quota exceeded"):
        journal.__exit__(None, None, None)
    assert sorted(os.listdir(tmp_path)) == ["a.jsonl", "b.jsonl"]


# Rows in journals of other shards.


def spread(folder, rows, name):
    """Write each row into the journal that a function names."""
    for i in rows:
        with Journal(folder / f"{name(i)}.jsonl") as journal:
            journal.append_response(row(i), run="then", at=i, spent={"completion_tokens": 9})


def test_rows_are_found_in_the_journals_of_other_shards(tmp_path):
    spread(tmp_path, range(12), lambda i: f"{i % 3}0")
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    # Four shards where there were three; this job has two of them.
    with Journal(tmp_path / "00.jsonl") as zero, Journal(tmp_path / "01.jsonl") as one:
        wanted = {(f"image {i}", "f"): (zero, one)[i % 4] for i in range(20) if i % 4 < 2}
        missing = {key: own for key, own in wanted.items() if own.get(*key) is None}
        found = adopt(missing)
        assert found == {key for key in missing if int(key[0].split()[1]) < 12}
        for (image_id, key), own in wanted.items():
            i = int(image_id.split()[1])
            assert own.get(image_id, key) == (row(i) if i < 12 else None)
    for name in ("10.jsonl", "20.jsonl"):
        assert (tmp_path / name).read_bytes() == before[name]
    assert (tmp_path / "00.jsonl").read_bytes().startswith(before["00.jsonl"])
    # They are copied as written: the job that generated them is still known.
    lines = list(read_lines(tmp_path / "01.jsonl"))
    for line, i in zip(lines, (9, 1, 5), strict=True):
        assert line["row"] == row(i)
        assert (line["run"], line["at"], line["spent"]) == ("then", i, {"completion_tokens": 9})


def test_of_two_copies_the_first_is_copied_once_if_its_fingerprint_is_wanted(tmp_path):
    for name in ("a", "b"):
        with Journal(tmp_path / f"{name}.jsonl") as journal:
            journal.append_response(row(0, text=name))
            journal.append_response(row(1, text=name))
    with Journal(tmp_path / "c.jsonl") as journal:
        wanted = [("image 0", "f"), ("image 1", "f"), ("image 1", "g")]
        assert adopt(dict.fromkeys(wanted, journal)) == set(wanted[:2])
    assert [one["text"] for one in journal_rows(tmp_path / "c.jsonl")] == ["a", "a"]


def test_no_more_journals_are_read_than_necessary(tmp_path, monkeypatch):
    spread(tmp_path, range(6), lambda i: f"{i}0")
    read = []
    monkeypatch.setattr(
        module, "read_lines", lambda path: read.append(path.name) or read_lines(path)
    )
    assert adopt({}) == set()
    assert read == []
    with Journal(tmp_path / "70.jsonl") as journal:
        adopt({("image 1", "f"): journal, ("image 2", "f"): journal})
        assert read == ["00.jsonl", "10.jsonl", "20.jsonl"]
        read.clear()
        adopt({(f"image {i}", "f"): journal for i in range(100, 200)})
        assert read == [f"{i}0.jsonl" for i in range(6)] + ["70.jsonl"]


@unsynced
@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 30)), min_size=1, max_size=5))
@settings(max_examples=40, deadline=None)
def test_nothing_is_generated_twice_however_often_the_shards_change(tmp_path_factory, runs):
    folder = tmp_path_factory.mktemp("journals")
    made = []
    for shards, count in runs:
        for shard in range(shards):
            keys = [i for i in range(count) if i % shards == shard]
            with Journal(folder / f"{shards}{shard}.jsonl") as journal:
                missing = {i for i in keys if journal.get(f"image {i}", "f") is None}
                found = adopt({(f"image {i}", "f"): journal for i in missing})
                for i in missing:
                    if (f"image {i}", "f") not in found:
                        made.append(i)
                        journal.append_response(row(i))
                assert all(journal.get(f"image {i}", "f") == row(i) for i in keys)
    assert sorted(made) == list(range(max(count for _, count in runs)))
