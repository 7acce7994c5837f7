import polars as pl
import pytest
from synthetic_run import REPORTED

from cost import cost
from imagenet_think.core import schemas
from imagenet_think.core.files import write_parquet
from imagenet_think.inference.journal import Journal

GPU = {"device": "NVIDIA A100"}


def row(model, image_id, tokens=100, fingerprint="new"):
    counts = {"prompt_tokens": 50, "image_tokens": 30, "completion_tokens": tokens}
    row = {"image_id": image_id, "model": model, "fingerprint": f"{fingerprint}/{image_id}"}
    return dict.fromkeys(schemas.RESPONSES) | row | counts


class Run:
    """Three models: `g` on GPUs, `c` on the CPU, `n` without a journal."""

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, models="gnc"):
        cost(
            [self.folder / "responses" / f"{model}.parquet" for model in models],
            self.folder / "journal",
            REPORTED,
            self.folder / "cost",
            {
                "run": "tiny",
                "teachers": ["g", "c"],
                "benchmarked": ["n"],
                "models": {model: {"name": f"Model {model.upper()}"} for model in models},
            },
        )
        table = pl.read_csv(self.folder / "cost.csv")
        return {r["model"]: r for r in table.iter_rows(named=True)}

    @property
    def page(self):
        return (self.folder / "cost.md").read_text()

    def responses(self, model, *rows):
        frame = pl.DataFrame(rows, schema=schemas.RESPONSES)
        write_parquet(frame, self.folder / "responses" / f"{model}.parquet", schemas.RESPONSES)

    def journal(self, model, shard="00"):
        return Journal(self.folder / "journal" / model / f"{shard}.jsonl")


@pytest.fixture
def run(tmp_path):
    run = Run(tmp_path)
    run.responses("g", *(row("g", image) for image in "abcd"))
    run.responses("c", row("c", "a", tokens=60))
    run.responses("n", row("n", "a"))
    with run.journal("g") as journal:
        # An hour with an older prompt; none of its responses are in use.
        for image in "abc":
            journal.append_response(row("g", image, 300, "old"), run="1", at=3000.0)
        journal.append_run(run="1", seconds=3600.0, **GPU)
        # 7,000 seconds on two GPUs: half the tokens were dropped attempts.
        spent = {"prompt_tokens": 100, "image_tokens": 60, "completion_tokens": 200}
        for image in "abc":
            journal.append_response(row("g", image), run="2", at=7000.0, spent=spent)
        journal.append_run(run="2", seconds=7000.0, devices=2, **GPU)
        # A job that was killed after half an hour.
        journal.append_response(row("g", "d"), run="3", at=1800.0)
        # A job that failed before its first response.
        journal.append_run(run="4", seconds=900.0, **GPU)
    with run.journal("c") as journal:
        journal.append_response(row("c", "a", tokens=60), run="5", at=29.0)
        journal.append_run(run="5", seconds=36.0, device="cpu")
    return run


def test_what_a_model_cost_on_gpus_and_on_the_cpu(run):
    g = run()["g"]
    assert (g["responses"], g["jobs"], g["killed_jobs"]) == (4, 4, 1)
    assert (g["prompt_tokens"], g["image_tokens"], g["completion_tokens"]) == (200, 120, 400)
    assert g["generated_tokens"] == 3 * 300 + 3 * 200 + 100
    assert g["seconds"] == 3600 + 7000 + 1800 + 900
    assert g["gpu_hours"] == pytest.approx((3600 + 2 * 7000 + 1800 + 900) / 3600)
    assert g["tokens_per_second"] == pytest.approx(1600 / (3600 + 2 * 7000 + 1800 + 900))
    assert (g["cpu_hours"], g["unknown_hours"], g["devices"]) == (None, None, "NVIDIA A100")
    # Half of what the second job generated, on its two GPUs, and all of the third's.
    assert g["share_used"] == pytest.approx((7000 + 1800) / (3600 + 2 * 7000 + 1800 + 900))
    assert "Model G: 1 of 4 jobs ended without a record" in run.page
    assert "Hours on an unknown device" not in run.page
    c = run()["c"]
    assert (c["gpu_hours"], c["cpu_hours"]) == (None, pytest.approx(0.01))
    assert (c["devices"], c["share_used"]) == ("cpu", 1.0)
    assert "Hours on CPUs are not GPU hours" in run.page


def test_gpu_hours_are_compared_with_the_papers_if_all_are_known(run):
    run()
    assert "would take" not in run.page  # a teacher ran on the CPU
    for path in (run.folder / "journal" / "c").iterdir():
        path.unlink()
    run()
    assert "would take" not in run.page  # the time is unknown
    with run.journal("c") as journal:
        journal.append_response(row("c", "a", tokens=60), run="5", at=29.0)
        journal.append_run(run="5", seconds=700.0, **GPU)
    run()
    # 21,000 seconds for five responses of both teachers.
    assert "the paper's 500,000 would take 583,333, not 6,000." in run.page


def test_without_a_journal_costs_are_null(run):
    n = run()["n"]
    assert (n["responses"], n["completion_tokens"], n["unrecorded_responses"]) == (1, 100, 1)
    for name in ("seconds", "tokens_per_second", "gpu_hours", "cpu_hours", "share_used"):
        assert n[name] is None
    assert "Model N: 1 of 1 responses are in no journal" in run.page


def test_sums_and_the_paper(run):
    table = run()
    assert list(table) == ["g", "c", "n", "teachers", "all", "paper"]
    teachers, everything, paper = (table[key] for key in ("teachers", "all", "paper"))
    assert teachers["completion_tokens"] == 460
    assert teachers["gpu_hours"] == table["g"]["gpu_hours"]
    assert teachers["cpu_hours"] == table["c"]["cpu_hours"]
    assert everything["responses"] == 6
    assert teachers["devices"] == "NVIDIA A100, cpu"
    used = table["g"]["share_used"] * 20300 + 36
    assert teachers["share_used"] == pytest.approx(used / 20336)
    assert (paper["gpu_hours"], paper["responses"]) == (6000.0, 500_000)
    assert paper["completion_tokens"] == 250_000 * 1542
    assert paper["tokens_per_second"] == pytest.approx(17.847, abs=0.001)
    assert "| The paper (both teachers) | 500,000 | – | – | 385,500,000 |" in run.page


def test_the_device_of_a_killed_job_may_be_unknown(run):
    with run.journal("g") as journal:
        journal.append_run(run="6", seconds=10.0, device="cpu")
    g = run()["g"]
    assert g["unknown_hours"] == 0.5
    assert "Hours on an unknown device" in run.page


def test_a_run_without_responses_has_a_table(tmp_path):
    run = Run(tmp_path)
    for model in "gnc":
        run.responses(model)
    table = run()
    assert table["all"]["responses"] == 0
    assert table["all"]["tokens_per_second"] is None


def test_imported_teachers_have_no_row(run):
    table = run("nc")
    assert list(table) == ["c", "n", "all", "paper"]
    assert table["all"]["completion_tokens"] == 160
    assert "Both teachers" not in run.page


def test_a_run_that_prompts_no_model_says_so(run):
    assert list(run("")) == ["paper"]
    assert "all responses were imported" in run.page
