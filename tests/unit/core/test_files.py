import errno
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
from disks import run_again_as_root, small_disk

from imagenet_think.core import files, processes
from imagenet_think.core.files import (
    SILENCE,
    atomic_path,
    parquet_writer,
    publish,
    remove_abandoned,
    scratch_folder,
    write_parquet,
    write_text,
)

SCRIPTS = Path(files.__file__).parents[2]
SCHEMA = pl.Schema({"text": pl.String})


def noise(rows):
    return pl.DataFrame({"text": [str(hash((i, j)))[1:] for i in range(rows) for j in range(100)]})


def by_polars(path):
    write_parquet(noise(400), path, SCHEMA)


def by_arrow(path):
    with parquet_writer(path, SCHEMA) as append:
        append(noise(400))


def by_python(path):
    write_text("x" * 10**6, path)


@pytest.mark.parametrize("write", [by_polars, by_arrow, by_python])
def test_a_full_disk_is_said_with_the_file_and_leaves_what_stood_there(tmp_path, request, write):
    if run_again_as_root(request):
        return
    with small_disk(tmp_path / "disk", "128k") as disk:
        write_parquet(noise(10), disk / "rows.parquet", SCHEMA)
        said = r"rows\.parquet cannot be written: .*No space left"
        with pytest.raises(OSError, match=said):
            write(disk / "rows.parquet")
        assert [path.name for path in disk.iterdir()] == ["rows.parquet"]
        assert pl.read_parquet(disk / "rows.parquet").equals(noise(10))


# What a killed process leaves behind.


def marked(machine=None, pid=None, start=None):
    pid = os.getpid() if pid is None else pid
    return f"{machine or files._machine()}-{pid}-{start or processes.start_of(pid)}"


@pytest.mark.parametrize(
    ("mark", "silent", "kept"),
    [
        pytest.param(marked(), 2 * SILENCE, True, id="running"),
        pytest.param(marked(start="1"), 0, False, id="its-number-is-used-again"),
        pytest.param(marked(pid=2**22 + 1, start="1"), 0, False, id="ended"),  # above the largest
        pytest.param(marked("0" * 8), 0, True, id="elsewhere"),
        pytest.param(marked("0" * 8), 2 * SILENCE, False, id="elsewhere-and-silent"),
        # As version 0.1.0 wrote it, perhaps on another machine.
        pytest.param("4711", 0, True, id="earlier-version"),
        pytest.param("4711", 2 * SILENCE, False, id="earlier-version-and-silent"),
    ],
)
@pytest.mark.parametrize("suffix", [".parquet", ""])
def test_temporary_files_are_removed_if_their_process_has_ended(
    tmp_path, mark, silent, kept, suffix
):
    left = tmp_path / f".a.b.{mark}.tmp{suffix}"
    left.touch()
    folder = tmp_path / f".a.{mark}.tmp"
    folder.mkdir(exist_ok=True) if suffix else None
    for path in tmp_path.iterdir():
        os.utime(path, (time.time() - silent,) * 2)
    write_text("text", tmp_path / "a.txt")
    assert left.exists() == kept
    assert folder.exists() == (kept and bool(suffix))


@pytest.mark.parametrize(
    "name", ["a.tmp.parquet", ".a.tmp", ".a.4711.parquet", ".a.x-1-1.tmp", "a.00000000-1-1.tmp"]
)
def test_files_of_others_are_kept(tmp_path, name):
    (tmp_path / name).touch()
    os.utime(tmp_path / name, (1, 1))
    remove_abandoned(tmp_path)
    assert (tmp_path / name).exists()


def test_where_processes_are_unknown_age_decides(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "start_of", lambda pid: None)
    with atomic_path(tmp_path / "a.txt") as temporary:
        temporary.touch()
        remove_abandoned(tmp_path)
        assert temporary.exists()
        os.utime(temporary, (1, 1))
        remove_abandoned(tmp_path)
        assert not temporary.exists()
        temporary.touch()


WORKER = """
import sys, time
from pathlib import Path
from types import SimpleNamespace

import polars as pl

from imagenet_think.core.files import atomic_path, parquet_writer, scratch_folder
from imagenet_think.core.job import start_job

folder = Path(sys.argv[1])
snakemake = SimpleNamespace(log=[folder / "logs" / "job.log"])
start_job()
rows = pl.DataFrame({"text": ["a"]})
with (
    atomic_path(folder / "a.csv") as path,
    parquet_writer(folder / "b.parquet", rows.schema) as append,
    scratch_folder(folder / "c.pdf") as scratch,
):
    rows.write_csv(path)
    append(rows)
    (scratch / "d").touch()
    print("writing", flush=True)
    time.sleep(6000)
"""


@pytest.fixture
def writing(tmp_path):
    """A process that is writing into a folder."""
    with subprocess.Popen(
        [sys.executable, "-c", WORKER, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(SCRIPTS)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout.readline() == b"writing\n"
        assert len(list(tmp_path.glob(".?.*"))) == 3
        yield process
        process.kill()


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, -signal.SIGINT)]
)
def test_a_signal_ends_a_job_in_order(tmp_path, writing, number, status):
    writing.send_signal(number)
    assert writing.wait(timeout=600) == status
    assert [path.name for path in tmp_path.iterdir()] == ["logs"]
    (line,) = (tmp_path / "logs" / "job.log").read_text().splitlines()
    assert re.fullmatch(rf"[\d:]+ ERROR ended by {number.name}: .*finished work is kept", line)


def test_what_a_killed_job_leaves_is_removed_by_the_next_one(tmp_path, writing):
    writing.kill()
    writing.wait(timeout=600)
    left = set(tmp_path.glob(".?.*"))
    assert len(left) == 3
    write_text("text", tmp_path / "e.txt")
    assert not left.intersection(tmp_path.iterdir())


# What a power loss leaves behind.


@pytest.fixture
def synced(monkeypatch):
    """The growing list of what is synced and renamed."""
    found = []
    fsync, replace = os.fsync, files.Path.replace

    def note_sync(file):
        found.append(os.readlink(f"/proc/self/fd/{file}").rpartition("/")[2])
        fsync(file)

    def note_name(path, target):
        found.append(f"= {target.name}")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(files.Path, "replace", note_name)
    return found


@pytest.mark.parametrize("write", [by_polars, by_arrow, by_python])
def test_a_name_is_final_when_the_content_is_on_the_disk(tmp_path, synced, write):
    write(tmp_path / "rows.parquet")
    content, name, folder = synced
    assert content.startswith(".rows.")
    assert (name, folder) == ("= rows.parquet", tmp_path.name)


def test_a_folder_is_final_when_all_its_content_is_on_the_disk(tmp_path, synced):
    with scratch_folder(tmp_path / "model") as scratch:
        (scratch / "model" / "more").mkdir(parents=True)
        (scratch / "model" / "more" / "weights").touch()
        publish(scratch / "model", tmp_path / "model")
    assert (tmp_path / "model" / "more" / "weights").exists()
    *content, name, folder = synced
    assert sorted(content) == ["model", "more", "weights"]
    assert (name, folder) == ("= model", tmp_path.name)


@pytest.mark.parametrize(("number", "fails"), [(errno.EINVAL, False), (errno.EIO, True)])
def test_some_file_systems_cannot_sync_folders(tmp_path, monkeypatch, number, fails):
    fsync = os.fsync

    def refuse(file):
        if os.path.isdir(f"/proc/self/fd/{file}"):
            raise OSError(number, os.strerror(number))
        fsync(file)

    monkeypatch.setattr(os, "fsync", refuse)
    if fails:
        with pytest.raises(OSError, match="Input/output error"):
            write_text("text", tmp_path / "a.txt")
    else:
        write_text("text", tmp_path / "a.txt")
    assert (tmp_path / "a.txt").read_text() == "text"
