"""The table of how far a run has come, on folders made for it."""

import json
import subprocess
import sys
from base64 import urlsafe_b64encode
from dataclasses import asdict, replace
from datetime import UTC, datetime

import polars as pl
import pytest

import status as module
from imagenet_think.fingerprint import fingerprint, settings_digest
from imagenet_think.journal import Journal
from imagenet_think.locks import Owner
from status import (
    DONE,
    FAILED,
    RUNNING,
    WAITING,
    Failure,
    Marks,
    rate,
    read_failures,
    read_marks,
    state,
    status,
)

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC).timestamp()
SETTINGS = {
    "model": {"key": "m", "family": "f", "repository": "o/m", "revision": "abc", "decoding": {}},
    "prompt": {"id": "p", "text": "Describe."},
    "preparation": {},
    "length_policy": {"loop": None, "attempts": 1},
    "seed": 1,
}
SETTINGS["model"]["decoding"] = {"max_new_tokens": 8, "temperature": 0.0}


def key(source, prompt="Describe."):
    model, rest = SETTINGS["model"], ("preparation", "length_policy", "seed")
    given = {name: SETTINGS[name] for name in rest}
    return fingerprint(settings_digest(model, ("abc", "abc"), prompt, **given), source)


class Run:
    """A run of one model, two jobs of one shard each, three images a shard."""

    def __init__(self, folder):
        self.folder = folder
        self.outputs = [f"{folder}/responses/m/{shard}.parquet" for shard in ("00", "10")]
        self.sample = folder / "sample.parquet"
        self.marks, self.failures = Marks(), []

    def sampled(self):
        rows = [(f"{shard}_{i}", shard, f"{shard}{i}") for shard in ("00", "10") for i in range(3)]
        columns = ["image_id", "shard", "source_sha256"]
        pl.DataFrame(rows, schema=columns, orient="row").write_parquet(self.sample)

    def made(self, place):
        (self.folder / "responses/m").mkdir(parents=True, exist_ok=True)
        pl.DataFrame({"image_id": ["a", "b", "c"]}).write_parquet(self.outputs[place])

    def journal(self, shard, **options):
        return write_journal(self.folder / "journal/m" / f"{shard}.jsonl", shard, **options)

    def lines(self):
        asked = {"settings": json.dumps(SETTINGS), "evaluated": None}
        text = status(
            "r",
            {"images": {"": [[str(self.sample)]]}, "responses": {"m": [[o] for o in self.outputs]}},
            {"m": {**asked, "journal": str(self.folder / "journal/m")}},
            self.sample,
            self.marks,
            self.failures,
            NOW,
        )
        return text.splitlines()

    def responses(self):
        """done, running, waiting, failed, responses, tokens a second, expected end."""
        (line,) = [line for line in self.lines() if line.startswith("responses")]
        return line.split()[2:]


def write_journal(path, shard, count=2, ago=60.0, apart=10.0, prompt="Describe."):
    """Write responses: the first so many seconds ago, 3000 tokens each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    start = datetime.fromtimestamp(NOW - 600, UTC).isoformat(timespec="seconds")
    with Journal(path) as journal:
        for i in range(count):
            row = {
                "image_id": f"{shard}_{i}",
                "text": "words " * 20,
                "revision": "abc",
                "fingerprint": key(f"{shard}{i}", prompt),
            }
            spent = {"completion_tokens": 3000}
            at = 600 - ago + i * apart
            journal.append_response(row, run=f"{start} host 1", at=at, spent=spent)
    return path


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path)


def test_a_run_that_has_not_begun(run):
    assert run.responses() == ["0", "0", "2", "0", "0/–", "–", "–"]
    assert run.lines()[-1] == "No Snakemake is at work in this folder."
    assert list(run.folder.iterdir()) == []


def test_a_finished_run(run):
    run.sampled()
    run.made(0)
    run.made(1)
    assert run.responses() == ["2", "0", "0", "0", "6/6", "–", "–"]
    assert [line.split() for line in run.lines()][-3] == ["all", "3", "0", "0", "0"]


def test_a_run_at_work(run):
    """Two responses, the first 60 s ago: since then one more, of 3,000 tokens."""
    run.sampled()
    run.made(0)
    run.journal("10")
    run.marks = Marks({run.outputs[1]: None}, locked=True)
    done, running, waiting, failed, responses, tokens, *end = run.responses()
    assert (done, running, waiting, failed) == ("1", "1", "0", "0")
    assert (responses, tokens) == ("5/6", "50")
    left = datetime.fromtimestamp(NOW + 60)
    assert " ".join(end) == f"{left:%a %H:%M}"


def test_an_end_in_weeks_has_its_date():
    left = 20 * 24 * 3600
    assert module._ending(NOW, left) == f"{datetime.fromtimestamp(NOW + left):%d %b %H:%M}"


def test_responses_to_an_older_prompt_do_not_count(run):
    run.sampled()
    run.journal("00", count=3, prompt="Say what you see.")
    assert run.responses()[4] == "0/6"


def test_a_line_that_is_being_written_does_not_disturb(run):
    run.sampled()
    path = run.journal("00", count=2)
    with path.open("ab") as file:
        file.write(b'{"kind": "response", "run": "')
    assert run.responses()[4] == "2/6"


def test_a_killed_job_is_waiting(run):
    """Its mark and its lock are there still, its process is not."""
    run.sampled()
    path = run.journal("00")
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    owner = replace(Owner.this_process(), pid=gone.pid)
    path.with_suffix(".lock").write_text(json.dumps(asdict(owner)))
    run.marks = Marks({run.outputs[0]: None}, locked=False)
    assert run.responses()[:4] == ["0", "0", "2", "0"]


def test_a_job_that_holds_its_journal_runs_whatever_snakemake_knows(run):
    run.sampled()
    path = run.journal("00")
    path.with_suffix(".lock").write_text(json.dumps(asdict(Owner.this_process())))
    assert run.responses()[:3] == ["0", "1", "1"]


def test_a_failed_job_is_named(run):
    run.sampled()
    run.made(1)
    run.failures = [
        Failure("generate_responses", (run.outputs[0],), ("a.log",)),
        Failure("generate_responses", (run.outputs[1],), ("b.log",)),  # made good since
    ]
    assert run.responses()[:4] == ["1", "0", "0", "1"]
    assert run.lines()[-2:-1] == ["failed: generate_responses, see a.log"]


def test_an_output_that_is_half_made_is_not_done(tmp_path):
    output = tmp_path / "a"
    output.touch()
    assert state([str(output)], [], Marks(), set(), NOW) == DONE
    assert state([str(output)], [], Marks({str(output): None}), set(), NOW) == WAITING


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ({"7_1": "R"}, RUNNING),
        ({"7_1": "PD"}, WAITING),
        ({"7_1": "CG"}, RUNNING),
        ({"8": "R"}, FAILED),  # Slurm knows it no more
        (None, RUNNING),  # Slurm does not answer: what Snakemake knows
    ],
)
def test_slurm_says_whether_a_job_runs(states, expected):
    marks = Marks({"a": "7_1"}, locked=True, slurm=states)
    assert state(["a"], [], marks, {"a"}, NOW) == expected


def response(ago, tokens=10, run="2026-05-01T11:00:00+00:00 host 1"):
    start = datetime.fromisoformat(run.split()[0]).timestamp()
    return {"run": run, "at": NOW - ago - start, "spent": {"completion_tokens": tokens}}


def test_a_rate_is_of_the_recent_past_of_the_last_run():
    old = [response(ago, 1000) for ago in (2000, 1500)]
    killed = [response(ago, 1000, "2026-05-01T10:00:00+00:00 host 2") for ago in (800, 500)]
    lines = [*old, *killed, response(100), response(80), response(60)]
    assert rate(lines, NOW) == pytest.approx((0.02, 0.2))


@pytest.mark.parametrize("lines", [[], [response(10)], [response(2000), response(1000)]])
def test_too_few_responses_have_no_rate(lines):
    assert rate(lines, NOW) is None


def mark(folder, output, content):
    name = urlsafe_b64encode(output.encode()).decode()
    parts = [name[i : i + 254] for i in range(0, len(name), 254)]
    path = folder.joinpath("incomplete", *(f"@{part}" for part in parts[:-1]), parts[-1])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def test_marks_are_read_as_snakemake_writes_them(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "slurm_states", lambda: {"12": "R"})
    long = "results/" + "long/" * 80 + "00.parquet"
    mark(tmp_path, "a.parquet", '{"external_jobid": null}')
    mark(tmp_path, long, '{"external_jobid": "12"}')
    mark(tmp_path, "half written", '{"exter')
    (tmp_path / "locks").mkdir()
    assert read_marks(tmp_path) == Marks({"a.parquet": None, long: "12"}, False, {"12": "R"})
    (tmp_path / "locks/0.input.lock").touch()
    assert read_marks(tmp_path).locked
    assert read_marks(tmp_path / "none") == Marks()


def test_without_slurm_nothing_is_asked(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert module.slurm_states() is None


LOG = """Job stats:
job    count
-----  -----
score      2
total      2

[Sat Nov 21 13:04:35 2026]
Error in rule score:
    message: None
    jobid: 96
    input: in/00.parquet, in/01.parquet
    output: out/00.parquet, out/01.parquet
    log: logs/score/00.log (check log file(s) for error details)
Execute 1 jobs...
[Sat Nov 21 13:05:35 2026]
Error in group 1234:
    log: slurm.log (check log file(s) for error details)
    jobs:
        rule parse:
            jobid: 3
            output: parsed/00.parquet
        rule measure:
            jobid: 4
            output: measured/00.parquet
            log: logs/measure.log (check log file(s) for error details)
"""
OWN_LOG = "Job stats:\njob       count\n------  -------\nstatus        1\ntotal         1\n"


def test_failures_are_those_of_the_last_run_that_is_not_a_status(tmp_path):
    (tmp_path / "log").mkdir()
    older = tmp_path / "log/2026-11-20T010101.1.snakemake.log"
    older.write_text(LOG.replace("out/", "older/"))
    (tmp_path / "log/2026-11-21T010101.1.snakemake.log").write_text(LOG)
    (tmp_path / "log/2026-11-22T010101.1.snakemake.log").write_text(OWN_LOG)
    assert read_failures(tmp_path) == [
        Failure("score", ("out/00.parquet", "out/01.parquet"), ("logs/score/00.log",)),
        Failure("parse", ("parsed/00.parquet",), ()),
        Failure("measure", ("measured/00.parquet",), ("logs/measure.log",)),
    ]
    assert read_failures(tmp_path / "none") == []


def test_the_table_is_aligned_and_fits_100_columns():
    counts = [12345, 64, 12345, 64]
    rows = [
        ["responses", "openvlthinker", *counts, "123,456/250,000", "123,456", "21 Nov 12:00"],
        ["responses", "kimi-vl", *counts, "0/250,000", "–", "–"],
        ["all", "", *counts],
    ]
    lines = module.table(rows)
    assert max(map(len, lines)) <= 100
    assert {len(line) for line in lines[:4]} == {len(lines[0])}
    assert lines[3].startswith("  ")  # a stage is named once
