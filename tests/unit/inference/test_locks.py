import errno
import json
import logging
import math
import multiprocessing
import os
import re
import signal
import socket
import threading
import time
from dataclasses import asdict, replace

import pytest
from waiting import wait_for

from imagenet_think.inference import locks
from imagenet_think.inference.locks import SILENCE, Lock, LockError, Owner, held

# A process of its own, not a copy of this one with its threads.
PROCESSES = multiprocessing.get_context("spawn")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "00.lock"


def left_by(path, owner, silent=0.0):
    """Write the lock of an owner who was silent for some seconds."""
    path.write_text(json.dumps(asdict(owner)))
    os.utime(path, (time.time() - silent,) * 2)
    return path.read_bytes()


def dead():
    """Return an owner on this machine whose process has ended, and whose number is used again."""
    return replace(Owner.this_process(), process="1")


def elsewhere():
    return replace(Owner.this_process(), host="node7", machine="another", pid=4711)


def hold(path, sender):
    Lock(path).acquire()
    sender.send(os.getpid())
    time.sleep(600)


@pytest.fixture
def waiting(monkeypatch):
    """A function that replaces waiting by an action; it returns the growing list of waits."""

    def let(happen):
        waits = []
        monkeypatch.setattr(time, "sleep", lambda seconds: waits.append(seconds) or happen())
        return waits

    return let


@pytest.fixture
def holder(path):
    """Another process that holds the lock."""
    receiver, sender = PROCESSES.Pipe()
    process = PROCESSES.Process(target=hold, args=(path, sender))
    process.start()
    assert receiver.recv() == process.pid
    yield process
    process.kill()
    process.join()


def test_a_lock_exists_only_while_it_is_held(path):
    with Lock(path) as lock:
        assert json.loads(path.read_text()) == asdict(lock.owner)
        assert os.listdir(path.parent) == ["00.lock"]
        lock.check()
    assert os.listdir(path.parent) == []
    with Lock(path) as lock:
        path.unlink()
        with pytest.raises(LockError, match="lost its lock, it was removed"):
            lock.check()


def test_the_lock_of_a_live_process_is_refused_and_its_owner_named(path, holder, waiting):
    content, waits = path.read_bytes(), waiting(lambda: None)
    message = (
        rf"{path}: held by process {holder.pid} on {socket.gethostname()} since 20.* "
        r"\(for 0:\d\d:\d\d\), last sign of life \d+ s ago.*wait until it has ended, or end it"
    )
    with pytest.raises(LockError, match=message):
        Lock(path).acquire()
    assert waits == []
    assert path.read_bytes() == content
    assert os.listdir(path.parent) == ["00.lock"]


def test_a_stopped_process_on_this_machine_keeps_its_lock(path, holder):
    os.kill(holder.pid, signal.SIGSTOP)
    os.utime(path, (time.time() - 2 * SILENCE,) * 2)
    with pytest.raises(LockError, match=r"last sign of life 12\d\d s ago"):
        Lock(path).acquire()


@pytest.mark.parametrize("buried", [False, True])
def test_a_lock_of_a_killed_process_is_taken_over(path, holder, buried, caplog):
    holder.kill()
    if buried:
        holder.join()
    else:  # dead, but still in the list of processes
        os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)
    with Lock(path) as lock:
        lock.check()
        assert json.loads(path.read_text())["pid"] == os.getpid()
        assert os.listdir(path.parent) == ["00.lock"]
    assert f"has ended: process {holder.pid} on {socket.gethostname()}" in caplog.text
    assert os.listdir(path.parent) == []


def test_another_machine_is_watched_until_it_was_silent_for_long(
    path, waiting, monkeypatch, caplog
):
    left_by(path, elsewhere(), silent=SILENCE / 2)
    waits = waiting(lambda: None)
    # The file system's clock advances with each wait.
    monkeypatch.setattr(locks, "_now", lambda _: time.time() + len(waits) * SILENCE / 5)
    with Lock(path) as lock:
        assert len(waits) == 3  # a half and three fifths is more than the whole
        lock.check()
    assert "held by process 4711 on node7" in caplog.text
    assert "removed, since its holder has ended: process 4711 on node7 since 20" in caplog.text
    assert re.search(r"waiting up to (300|2\d\d) s for a sign of life", caplog.text)


def test_another_machine_that_gives_a_sign_of_life_keeps_its_lock(path, waiting):
    content = left_by(path, elsewhere(), silent=100)
    waits = waiting(lambda: os.utime(path))
    with pytest.raises(LockError, match=r"process 4711 on node7.*delete this file and run again"):
        Lock(path).acquire()
    assert len(waits) == 1
    assert path.read_bytes() == content


def test_an_invalid_lock_counts_by_its_age_at_a_second_look(path, waiting, caplog):
    path.write_bytes(b"")
    os.utime(path, (time.time() - SILENCE - 1,) * 2)
    waits = waiting(lambda: None)
    with Lock(path):
        assert len(waits) == 1
    assert "has ended: an unknown process" in caplog.text
    # One that is touched, or was about to be written, is held.
    for happen, owner in (
        (lambda: os.utime(path), "an unknown process"),
        (lambda: left_by(path, elsewhere()), "process 4711 on node7"),
    ):
        path.write_bytes(b"\x00" * 40)
        os.utime(path, (time.time() - SILENCE - 1,) * 2)
        waiting(happen)
        with pytest.raises(LockError, match=f"held by {owner}"):
            Lock(path).acquire()


@pytest.mark.parametrize(
    "changes",
    [
        *({"pid": value} for value in ("1", 1.5, None, [1], 0, 2**40)),
        *({"since": value} for value in ("1", None, 1e300, math.nan, -math.inf)),
        {"more": 1},
    ],
)
def test_a_lock_of_another_type_names_nobody(path, changes):
    path.write_text(json.dumps(asdict(elsewhere()) | changes))
    assert locks._look(path).owner is None
    for content in (b"[]", b"3", b"{}", b"[" * 100_000):
        path.write_bytes(content)
        assert locks._look(path).owner is None


def test_a_holder_that_lost_its_lock_notices_and_leaves_the_new_one(path, caplog):
    with Lock(path, heartbeat=0.05) as lock:
        content = left_by(path, elsewhere(), silent=50)
        with pytest.raises(LockError, match=r"lost its lock, it is now held by process 4711"):
            lock.check()
        wait_for(lambda: not lock._pulse.is_alive())  # so nothing touches it any more
    assert path.read_bytes() == content
    assert "lost its lock" in caplog.text


def test_a_slower_worker_does_not_take_over_a_stale_lock_twice(path, monkeypatch):
    left_by(path, dead())
    quick, slow = Lock(path), Lock(path)
    remove = Lock._remove

    def overtaken(self, stale):
        if self is slow and not quick._pulse.is_alive():
            quick.acquire()
        remove(self, stale)

    monkeypatch.setattr(Lock, "_remove", overtaken)
    with pytest.raises(LockError, match=f"held by process {os.getpid()}"):
        slow.acquire()
    quick.check()
    quick.release()
    assert os.listdir(path.parent) == []


def die_while_taking_over(path):
    locks.Path.unlink = lambda *names: os.kill(os.getpid(), signal.SIGKILL)
    Lock(path).acquire()


def test_a_worker_that_died_while_taking_over_blocks_nobody(path):
    left_by(path, dead())
    process = PROCESSES.Process(target=die_while_taking_over, args=(path,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert sorted(os.listdir(path.parent)) == [".00.lock.claim", "00.lock"]
    with Lock(path) as lock:
        lock.check()
        assert os.listdir(path.parent) == ["00.lock"]


def race(paths):
    """Take each lock at the same moment as others; return which were taken."""
    won = []
    for path in paths:
        lock = Lock(path, heartbeat=0.2)
        race.barrier.wait()
        try:
            lock.acquire()
        except LockError:
            won.append(False)
        else:
            won.append(True)
        race.barrier.wait()  # nobody releases it before all have tried
        if won[-1]:
            lock.release()
    return won


def meet(barrier):
    race.barrier = barrier


@pytest.mark.slow
@pytest.mark.parametrize("stale", [False, True])
def test_exactly_one_of_several_workers_wins(tmp_path, stale):
    paths, takers = [tmp_path / f"{i}.lock" for i in range(200)], 4
    for path in paths if stale else ():
        left_by(path, dead())
    barrier = PROCESSES.Barrier(takers, timeout=600)
    with PROCESSES.Pool(takers, meet, (barrier,)) as pool:
        won = pool.map(race, [paths] * takers, chunksize=1)
    assert [sum(taker) for taker in zip(*won, strict=True)] == [1] * len(paths)
    assert sum(any(taker) for taker in won) > 1  # it was a race
    assert os.listdir(tmp_path) == []


def test_a_forked_child_does_not_release_its_parents_lock(path):
    with Lock(path) as lock:
        child = os.fork()
        if child == 0:
            try:
                lock.release()
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        lock.check()


def test_a_holder_touches_its_lock_and_a_failed_touch_is_reported(path, monkeypatch, caplog):
    utime, failed = os.utime, threading.Event()

    def fail_once(*arguments):
        if threading.current_thread() is not threading.main_thread() and not failed.is_set():
            failed.set()
            raise OSError(errno.EIO, "the network is away")
        utime(*arguments)

    with caplog.at_level(logging.WARNING), Lock(path, heartbeat=0.05):
        monkeypatch.setattr(os, "utime", fail_once)
        assert failed.wait(300)
        for _ in range(2):
            utime(path, (0, 0))
            wait_for(lambda: path.stat().st_mtime)
    assert "cannot be touched" in caplog.text


def test_another_machines_lock_is_held_while_it_is_touched(path):
    now = time.time()
    assert not held(path, now)
    left_by(path, elsewhere())
    assert held(path, now)
    left_by(path, elsewhere(), silent=SILENCE + 1)
    assert not held(path, now)
    path.write_text("{")
    assert not held(path, now)
