import pytest

from imagenet_think.inference.journal import Journal
from imagenet_think.inference.usage import TOKENS, paper_cost, read_usage


def row(image_id, tokens=10, fingerprint="f"):
    counts = dict(zip(TOKENS, (5, 3, tokens), strict=True))
    return {"image_id": image_id, "fingerprint": fingerprint} | counts


def spent(tokens):
    return dict(zip(TOKENS, (9, 6, tokens), strict=True))


def test_without_journals_no_usage_is_known(tmp_path):
    usage = read_usage(tmp_path / "no_such_model")
    assert usage.jobs == []
    assert len(usage.responses) == 0


def test_a_job_that_wrote_into_two_journals_counts_once(tmp_path):
    """Lines in two shards, and a record in both."""
    for shard, image in (("00", "a"), ("01", "b")):
        with Journal(tmp_path / f"{shard}.jsonl") as journal:
            journal.append_response(row(image), run="r1", at=30.0, spent=spent(25))
            journal.append_run(run="r1", seconds=40.0, device="NVIDIA H200", ready_seconds=8.0)
    usage = read_usage(tmp_path)
    (job,) = usage.jobs
    assert (job.recorded, job.seconds, job.device) == (True, 40.0, "NVIDIA H200")
    assert job.loading_seconds == 8.0
    assert usage.hours("GPU") == pytest.approx(40 / 3600)
    assert (usage.hours("CPU"), usage.hours("unknown")) == (0, 0)
    assert usage.responses["completion_tokens"].to_list() == [25, 25]


def test_a_killed_job_counts_until_its_last_response(tmp_path):
    with Journal(tmp_path / "00.jsonl") as journal:
        journal.append_response(row("a"), run="r1", at=100.0)
        journal.append_response(row("b"), run="r2", at=7.0)
        journal.append_run(run="r2", seconds=9.0, device="NVIDIA A100")
    with Journal(tmp_path / "01.jsonl") as journal:
        journal.append_response(row("c"), run="r1", at=250.0)
        journal.append_response(row("d"), run="r1", at=150.0)
    with (tmp_path / "01.jsonl").open("ab") as file:
        file.write(b'{"kind": "response", "run": "r1", "at": 900')
    usage = read_usage(tmp_path)
    assert [(job.run, job.recorded, job.seconds) for job in usage.jobs] == [
        ("r1", False, 250.0),
        ("r2", True, 9.0),
    ]
    # Its device is that of the others.
    assert usage.hours("GPU") == pytest.approx(259 / 3600)


def test_the_device_of_a_killed_job_is_unknown_if_the_others_differ(tmp_path):
    with Journal(tmp_path / "00.jsonl") as journal:
        journal.append_response(row("a"), run="r1", at=3600.0)
        journal.append_run(run="r2", host="one", seconds=1800.0, device="cpu")
        journal.append_run(run="r3", host="two", seconds=900.0, device="NVIDIA A100", devices=2)
    usage = read_usage(tmp_path)
    hours = {kind: usage.hours(kind) for kind in ("GPU", "CPU", "unknown")}
    assert hours == {"GPU": 0.5, "CPU": 0.5, "unknown": 1.0}


@pytest.mark.parametrize(
    ("device", "kind"),
    [
        ("NVIDIA H200", "GPU"),
        ("cuda", "GPU"),
        ("cpu", "CPU"),
        ("http://localhost:8000/v1", "unknown"),
        (None, "unknown"),
    ],
)
def test_kinds_of_devices(tmp_path, device, kind):
    with Journal(tmp_path / "00.jsonl") as journal:
        journal.append_run(run="r1", seconds=3600.0, device=device, devices=None)
    usage = read_usage(tmp_path)
    for name in ("GPU", "CPU", "unknown"):
        assert usage.hours(name) == (name == kind)


@pytest.mark.parametrize(("second", "counted"), [("r1", [40]), ("r2", [40, 40])])
def test_a_copied_line_counts_once_and_a_response_of_two_jobs_twice(tmp_path, second, counted):
    """After the number of shards has changed, a line is in the old journal and in the new one."""
    for shard, run in (("00", "r1"), ("20", second)):
        with Journal(tmp_path / f"{shard}.jsonl") as journal:
            journal.append_response(row("a"), run=run, at=5.0, spent=spent(40))
    assert read_usage(tmp_path).responses["completion_tokens"].to_list() == counted


def test_a_line_without_spent_tokens_counts_its_row(tmp_path):
    with Journal(tmp_path / "00.jsonl") as journal:
        journal.append_response(row("a", tokens=12))
    usage = read_usage(tmp_path)
    assert usage.responses["completion_tokens"].to_list() == [12]
    assert usage.jobs == []


def test_the_jobs_that_generated_some_responses(tmp_path):
    with Journal(tmp_path / "00.jsonl") as journal:
        journal.append_response(row("a"), run="r1", at=1.0)
        journal.append_response(row("b"), run="r1", at=2.0)
        journal.append_response(row("a", fingerprint="older"), run="r2", at=3.0)
        journal.append_run(run="r3", seconds=4.0)
    usage = read_usage(tmp_path)
    own = usage.of(usage.responses[:1])
    assert [job.run for job in own.jobs] == ["r1"]
    assert own.responses["image_id"].to_list() == ["a", "b"]


def test_the_papers_speed_follows_from_its_numbers():
    reported = {
        "text": {"pairs": 20, "gpu_hours_a100": 2},
        "table1": [{"images": 1, "mean": 1}, {"images": 10, "mean": 7200}],
    }
    cost = paper_cost(reported)
    assert cost["completion_tokens"] == 72000
    assert cost["tokens_per_second"] == 10.0
    assert (cost["gpu_hours"], cost["responses"]) == (2, 20)
