"""How far a run has come, on plans and folders made for the tests."""

import json
import subprocess
import sys
from dataclasses import asdict, replace
from datetime import UTC, datetime

import polars as pl
import pytest

import status as module
from imagenet_think.inference.fingerprint import fingerprint, response_settings, settings_digest
from imagenet_think.inference.journal import Journal
from imagenet_think.inference.locks import Owner
from imagenet_think.run.run_logs import FailedJob
from imagenet_think.run.workflow_hooks import PlannedJob
from status import STATES, Site, counts, rate, state, status, verdict

DONE, OUTDATED, RUNNING, WAITING, FAILED = STATES
NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC).timestamp()
MODEL = {
    "family": "f",
    "repository": "o/m",
    "revision": "abc",
    "decoding": {"max_new_tokens": 8, "temperature": 0.0},
}
SETTINGS = {
    "models": {"m": MODEL},
    "prompt": "p",
    "prompts": {"p": "Describe."},
    "images": {"preparation": {}},
    "length_policy": {"loop": {}, "attempts": 1},
    "seed": 1,
}


def key(source, prompt="Describe."):
    given = response_settings(SETTINGS | {"prompts": {"p": prompt}}, "m")
    return fingerprint(settings_digest(given, ("abc", "abc")), source)


class Run:
    """A run of one model, two jobs of one shard each, three images per shard."""

    def __init__(self, folder):
        self.folder = folder
        self.sample = folder / "images/sample.parquet"
        self.first = PlannedJob("sample_images", "images", (str(self.sample),), needed=False)
        self.asking = [
            PlannedJob(
                "generate_responses",
                "inference",
                (f"{folder}/responses/m/{shard}.parquet",),
                {"model": "m"},
                params={"settings": json.dumps(SETTINGS), "journal": f"{folder}/journal/m"},
                inputs={"evaluated": []},
            )
            for shard in ("00", "10")
        ]
        self.site = Site()

    def sampled(self):
        rows = [(f"{shard}_{i}", shard, f"{shard}{i}") for shard in ("00", "10") for i in range(3)]
        columns = ["image_id", "shard", "source_sha256"]
        self.sample.parent.mkdir(parents=True)
        pl.DataFrame(rows, schema=columns, orient="row").write_parquet(self.sample)

    def made(self, place):
        self.change(place, needed=False)
        (self.folder / "responses/m").mkdir(parents=True, exist_ok=True)
        rows = pl.DataFrame({"image_id": ["a", "b", "c"]})
        rows.write_parquet(self.asking[place].outputs[0])

    def change(self, place, **changes):
        self.asking[place] = replace(self.asking[place], **changes)

    def journal(self, shard, count=2, prompt="Describe."):
        """Write responses of 3,000 tokens: the first a minute ago, the others 10 s apart."""
        path = self.folder / "journal/m" / f"{shard}.jsonl"
        start = datetime.fromtimestamp(NOW - 600, UTC).isoformat(timespec="seconds")
        with Journal(path) as journal:
            for i in range(count):
                row = {"image_id": f"{shard}_{i}", "text": "words", "revision": "abc"}
                row["fingerprint"] = key(f"{shard}{i}", prompt)
                spent = {"completion_tokens": 3000}
                journal.append_response(row, run=f"{start} host 1", at=540.0 + 10 * i, spent=spent)
        return path

    def lines(self):
        jobs = [self.first, *self.asking]
        return status("r", jobs, ["m"], self.folder, self.site, NOW).splitlines()

    def states(self):
        """Return how many of the model's jobs are done, outdated, running, waiting and failed."""
        (line,) = [line for line in self.lines() if line.startswith("inference")]
        return dict(zip(STATES, map(int, line.split()[2:]), strict=True))

    def responses(self):
        """Return responses, tokens per second and expected end."""
        (line,) = [line for line in self.lines() if line.startswith("m ")]
        return line.split()[1:]


def only(**given):
    return dict.fromkeys(STATES, 0) | given


@pytest.fixture
def begun(tmp_path):
    """A run whose images are sampled."""
    run = Run(tmp_path / "results/r")
    run.sampled()
    return run


def test_a_run_in_progress(begun):
    """Two responses, the first 60 s ago: since then one more, of 3,000 tokens."""
    begun.made(0)
    begun.journal("10")
    begun.change(1, started=True)
    begun.site = Site(locked=True)
    assert begun.states() == only(done=1, running=1)
    responses, tokens, *end = begun.responses()
    assert (responses, tokens) == ("5/6", "50")
    assert " ".join(end) == f"{datetime.fromtimestamp(NOW + 60):%a %H:%M}"
    assert begun.lines()[1] == "Not finished: 2 of 3 jobs are done for this config."
    assert begun.lines()[-1] == "A Snakemake is running in this folder."


def test_an_end_in_weeks_has_its_date():
    left = 20 * 24 * 3600
    assert module._ending(NOW, left) == f"{datetime.fromtimestamp(NOW + left):%d %b %H:%M}"


def test_responses_to_a_different_prompt_are_outdated_and_do_not_count(begun):
    begun.made(0)
    begun.made(1)
    begun.journal("00", count=3, prompt="Say what you see.")
    begun.change(0, needed=True)
    assert begun.states() == only(done=1, outdated=1)
    assert begun.responses()[0] == "3/6"
    assert begun.lines()[-2].startswith("outdated: ")


def test_all_responses_count_where_the_checkpoints_settings_cannot_be_read(begun):
    begun.journal("00", count=2, prompt="Say what you see.")
    assert begun.responses()[0] == "0/6"
    settings = json.loads(begun.asking[0].params["settings"])
    settings["models"]["m"] |= {"repository": "gone", "decoding": {"from_checkpoint": True}}
    begun.change(0, params=begun.asking[0].params | {"settings": json.dumps(settings)})
    assert begun.responses()[0] == "2/6"


def test_images_that_a_model_is_not_prompted_with_do_not_count(begun):
    chosen = begun.folder / "images/evaluated.parquet"
    for place in (0, 1):
        begun.change(place, inputs={"evaluated": [str(chosen)]})
    begun.journal("00", count=3)
    assert begun.responses()[0] == "0/–"
    pl.DataFrame({"image_id": ["00_0", "00_1", "10_2"]}).write_parquet(chosen)
    assert begun.responses()[0] == "2/3"


def test_an_imported_model_has_responses_when_its_job_is_done(begun):
    paths = [f"{begun.folder}/{name}" for name in ("responses/m/00.parquet", "imported/m.csv")]
    begun.asking = [PlannedJob("import_responses", "inference", tuple(paths), {"model": "m"})]
    assert begun.responses()[0] == "0/–"
    begun.made(0)
    assert begun.responses()[0] == "3/3"


def test_a_killed_job_is_waiting(begun):
    """Its mark and its lock are still there, its process is not."""
    path = begun.journal("00")
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    owner = replace(Owner.this_process(), pid=gone.pid)
    path.with_suffix(".lock").write_text(json.dumps(asdict(owner)))
    begun.change(0, started=True)
    assert begun.states() == only(waiting=2)
    begun.site = Site(locked=True, killed=True)
    assert begun.states() == only(waiting=2)
    assert "snakemake --unlock" in begun.lines()[-1]


def test_a_job_that_holds_its_journal_is_running(begun):
    path = begun.journal("00")
    path.with_suffix(".lock").write_text(json.dumps(asdict(Owner.this_process())))
    assert begun.states() == only(running=1, waiting=1)


def test_a_failed_job_is_named(begun):
    begun.made(1)
    failures = [
        FailedJob("generate_responses", begun.asking[0].outputs, ("a.log",)),
        FailedJob("generate_responses", begun.asking[1].outputs, ("b.log",)),  # has succeeded since
    ]
    begun.site = Site(failures=failures)
    assert begun.states() == only(done=1, failed=1)
    assert begun.lines()[-2:-1] == ["failed: generate_responses, see a.log"]


def test_a_job_is_outdated_if_its_outputs_exist_and_a_run_would_replace_them(tmp_path):
    paths = [tmp_path / "a", tmp_path / "b"]
    job = PlannedJob("r", "s", tuple(map(str, paths)))
    paths[0].touch()
    assert state(job, Site(), set(), NOW) == WAITING
    paths[1].touch()
    assert state(job, Site(), set(), NOW) == OUTDATED
    assert state(replace(job, needed=False), Site(), set(), NOW) == DONE
    assert state(replace(job, started=True), Site(), set(), NOW) == WAITING  # incomplete
    assert state(job, Site(), {str(paths[1])}, NOW) == FAILED


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ({"7_1": "R"}, RUNNING),
        ({"7_1": "PD"}, WAITING),
        ({"7_1": "CG"}, RUNNING),
        ({"8": "R"}, FAILED),  # Slurm has forgotten it
        (None, RUNNING),  # Slurm does not answer: what Snakemake knows
    ],
)
@pytest.mark.parametrize("killed", [False, True])
def test_slurm_decides_whether_a_job_is_running(states, expected, killed):
    """A killed Snakemake leaves its jobs at Slurm running."""
    job = PlannedJob("r", "s", ("a",), started=True, external="7_1")
    site = Site(locked=True, killed=killed, slurm=states)
    known = FAILED if killed and states is None else expected
    assert state(job, site, {"a"}, NOW) == known


def test_every_job_is_counted_by_stage_and_by_model_or_metric():
    jobs = [
        PlannedJob("sample", "images", ("a",)),
        PlannedJob("parse", "parsing", ("b",), {"model": "x"}),
        PlannedJob("parse", "parsing", ("c",), {"model": "y"}),
        PlannedJob("score", "benchmark", ("d",), {"metric": "rouge"}),
        PlannedJob("aggregate", "benchmark", ("e",), {"metric": "rouge"}),
        PlannedJob("table", "benchmark", ("f",)),
        PlannedJob("new", "new_stage", ("g",), {"number": "3"}),
    ]
    states = {job.outputs: WAITING for job in jobs} | {("b",): DONE, ("e",): FAILED}
    assert list(counts(jobs, states, ["y", "x"])) == [
        ["images", "", 0, 0, 0, 1, 0],
        ["parsing", "y", 0, 0, 0, 1, 0],
        ["", "x", 1, 0, 0, 0, 0],  # a stage is named once
        ["benchmark", "", 0, 0, 0, 1, 0],
        ["", "rouge", 0, 0, 0, 1, 1],
        ["new_stage", "", 0, 0, 0, 1, 0],
        ["all", "", 1, 0, 0, 5, 1],
    ]


@pytest.mark.parametrize(
    ("states", "begun", "expected"),
    [
        ([DONE, DONE], True, "Finished"),
        ([WAITING, WAITING], False, "Never started"),
        ([WAITING, WAITING], True, "Not finished"),
        ([DONE, OUTDATED], True, "Not finished"),
        ([RUNNING, WAITING], False, "Not finished"),
    ],
)
def test_the_verdict_is_that_of_all_jobs(states, begun, expected):
    assert verdict(states, begun).startswith(f"{expected}: ")


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


def test_without_slurm_its_states_are_unknown(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert module.slurm_states() is None


def test_the_tables_are_aligned_and_fit_80_columns():
    jobs = [12345, 64, 12345, 12345, 12345]
    names = ("checkpoints", ""), ("inference", "a-model-with-a-name-that-is-too-long")
    rows = [[*each, *jobs] for each in (*names, ("", "kimi-vl"), ("all", ""))]
    answered = [["kimi-vl", "123,456/250,000", "123,456", "21 Nov 12:00"], ["b", "0/–", "–", "–"]]
    first = module.table(("stage", "of", *STATES), 2, rows)
    for table in (first, module.table(("model", "responses", "tokens/s", "end"), 1, answered)):
        (width,) = {len(line) for line in table.splitlines()}
        assert width <= 80
    assert "a-model-with-a-name-t… " in first
