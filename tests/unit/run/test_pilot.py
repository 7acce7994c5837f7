import math
import re

import numpy as np
import polars as pl
import pytest
from synthetic_run import REPORTED

from imagenet_think.core import schemas
from imagenet_think.core.files import write_parquet
from imagenet_think.inference.journal import Journal
from pilot import list_schedule, pilot

NAMES = {"g": "Model G", "k": "Model K", "e": "Model E"}
GPU = {"device": "NVIDIA H200"}
IMAGES = [f"i{n:02d}" for n in range(20)]
DONE = "<think>so</think><answer>a cat</answer>"


def statistics(row_steps, places, decode_seconds):
    return {"row_steps": row_steps, "places": places, "decode_seconds": decode_seconds}


class Run:
    """A run of 80 images in two blocks, 60 and 20, and a pilot of 20 of them by three models."""

    def __init__(self, folder):
        self.folder = folder
        self.tokens = {model: [50 + 5 * n for n in range(20)] for model in NAMES}
        self.changes = {model: {} for model in NAMES}
        shards = ["00"] * 40 + ["01"] * 20 + ["10"] * 20
        sample = pl.DataFrame({"image_id": [f"s{n}" for n in range(80)], "shard": shards})
        whole = pl.concat([schemas.SAMPLE.to_frame(), sample], how="diagonal")
        write_parquet(whole, folder / "sample.parquet", schemas.SAMPLE)
        self.evaluate(sample)

    def evaluate(self, images):
        write_parquet(images, self.folder / "evaluated.parquet", schemas.EVALUATED)

    def rows(self, model):
        rows = []
        for image, tokens in zip(IMAGES, self.tokens[model], strict=True):
            row = dict.fromkeys(schemas.RESPONSES) | {
                "image_id": image,
                "model": model,
                "text": DONE,
                "finish_reason": "stop",
                "prompt_tokens": 40,
                "image_tokens": 30,
                "completion_tokens": tokens,
                "fingerprint": f"f/{image}",
            }
            rows.append(row | self.changes[model].get(image, {}))
        return rows

    def generate(self, models, run, seconds=None, rows=None, factor=1, **record):
        """Journal the responses of a job of each model and, unless it is killed, its record."""
        for model in models:
            with Journal(self.folder / "journal" / model / "00.jsonl") as journal:
                for row in self.rows(model) if rows is None else rows:
                    spent = {name: row[name] for name in ("prompt_tokens", "image_tokens")}
                    spent["completion_tokens"] = factor * row["completion_tokens"]
                    journal.append_response(row, run=run, at=10.0, spent=spent)
                if seconds:
                    journal.append_run(run=run, seconds=seconds, **record)

    def __call__(self, models=NAMES):
        paths = []
        for model in models:
            paths.append(self.folder / "pilot" / f"{model}.parquet")
            frame = pl.DataFrame(self.rows(model), schema=schemas.RESPONSES)
            write_parquet(frame, paths[-1], schemas.RESPONSES)
        pilot(
            paths,
            self.folder / "sample.parquet",
            self.folder / "evaluated.parquet",
            self.folder / "journal",
            REPORTED,
            self.folder / "pilot",
            {
                "run": "tiny",
                "seed": 1,
                "teachers": ["g", "k"],
                "benchmarked": ["e"],
                "models": {m: {"name": NAMES[m], "output": "think_answer"} for m in models},
                "pilot": {"gpus": 2},
                "benchmark": {"intervals": {"draws": 500, "level": 0.9}},
            },
        )
        table = pl.read_csv(self.folder / "pilot.csv")
        return {row["model"]: row for row in table.iter_rows(named=True)}

    @property
    def page(self):
        return (self.folder / "pilot.md").read_text()


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path)


@pytest.fixture
def usual(run):
    """Each model described its images in one job."""
    for model, seconds in (("g", 100.0), ("k", 200.0), ("e", 40.0)):
        run.generate(model, "r1", seconds, ready_seconds=20.0, **GPU)
    return run


MEAN = float(np.mean([50 + 5 * n for n in range(20)]))


def test_the_estimate_follows_from_speed_tokens_and_loading(usual):
    table = usual()
    for model, seconds in (("g", 100.0), ("k", 200.0), ("e", 40.0)):
        row = table[model]
        assert row["tokens"] == pytest.approx(MEAN)
        assert (row["images"], row["jobs"], row["job_responses"]) == (20, 1, 20)
        assert row["tokens_per_second"] == pytest.approx(20 * MEAN / (seconds - 20))
        assert row["loading_seconds"] == 20
        # 80 images at the speed of 20, plus loading once for each of the two blocks.
        assert row["hours"] == pytest.approx((4 * (seconds - 20) + 2 * 20) / 3600)
        assert row["hours_low"] < row["hours"] < row["hours_high"]
        # Two jobs at once: the block with 60 images ends last.
        assert row["wall_hours"] == pytest.approx((3 * (seconds - 20) + 20) / 3600)
    assert table["teachers"]["hours"] == pytest.approx(table["g"]["hours"] + table["k"]["hours"])
    everything = table["all"]
    assert everything["hours"] == pytest.approx(sum(table[m]["hours"] for m in NAMES))
    assert everything["hours"] / 2 <= everything["wall_hours"] <= everything["hours"]
    for end in ("low", "high"):
        ratio = everything[f"hours_{end}"] / everything["hours"]
        assert everything[f"wall_hours_{end}"] / everything["wall_hours"] == pytest.approx(ratio)
    assert table["paper"]["hours"] == 6000.0


def test_models_with_fewer_images_take_less(usual):
    """Twelve images of the first block and none of the second are evaluated."""
    whole = usual()
    images = pl.read_parquet(usual.folder / "sample.parquet")
    usual.evaluate(images.select("image_id", "shard")[:12])
    table = usual()
    for name in ("g", "k", "teachers"):
        assert table[name] == whole[name]
    assert table["e"]["hours"] == pytest.approx((12 / 20 * (40 - 20) + 20) / 3600)
    assert table["e"]["wall_hours"] == pytest.approx(table["e"]["hours"])
    assert table["all"]["hours"] == pytest.approx(sum(table[m]["hours"] for m in NAMES))
    assert "For 80 images, described by each of Model G, Model K in 2 jobs" in usual.page
    assert "For 12 images, described by each of Model E in 1 job" in usual.page


def test_imported_teachers_have_no_row(usual):
    table = usual(models=["k", "e"])
    assert list(table) == ["k", "e", "all", "paper"]
    assert "Both teachers" not in usual.page


def test_intervals_are_those_of_the_tokens_and_add_up_if_tokens_vary_together(usual):
    table, tokens = usual(), usual.tokens["g"]
    row = table["g"]
    assert row["tokens_median"] == np.median(tokens)
    assert row["tokens_p95"] == pytest.approx(np.quantile(tokens, 0.95))
    spread = 1.645 * np.std(tokens) / math.sqrt(len(tokens))
    assert row["tokens_high"] - row["tokens_low"] == pytest.approx(2 * spread, rel=0.15)
    widths = {key: table[key]["hours_high"] - table[key]["hours_low"] for key in (*NAMES, "all")}
    assert widths["all"] == pytest.approx(widths["g"] + widths["k"] + widths["e"])


def test_the_interval_of_the_sum_if_tokens_vary_in_opposite_directions(run):
    run.tokens["k"] = run.tokens["g"][::-1]
    run.generate("gk", "r1", 100.0, **GPU)
    table = run(models=["g", "k"])
    assert table["g"]["hours_high"] - table["g"]["hours_low"] > 1e-3
    assert table["teachers"]["hours_high"] - table["teachers"]["hours_low"] < 1e-6


def test_dropped_attempts_take_time_too(run):
    """Half of the tokens were dropped: with the same tokens kept, the hours are the same."""
    run.generate("g", "r1", 100.0, factor=2, **GPU)
    run.generate("k", "r1", 100.0, **GPU)
    table = run(models=["g", "k"])
    assert table["g"]["tokens"] == table["k"]["tokens"]
    assert table["g"]["tokens_per_second"] == 2 * table["k"]["tokens_per_second"]
    assert table["g"]["hours"] == pytest.approx(table["k"]["hours"])


def test_hours_with_all_rows_in_use(run):
    """In 60 seconds of steps, without the canary's, a quarter of the rows was in use."""
    counters = {"statistics": statistics(1100, 4200, 65.0)}
    counters["ready_statistics"] = statistics(100, 200, 5.0)
    run.generate("gk", "r1", 100.0, ready_seconds=20.0, **counters, **GPU)
    row = run(models=["g", "k"])["g"]
    assert row["rows_in_use"] == 0.25
    assert row["hours_all_rows"] == pytest.approx((4 * (80 - 0.75 * 60) + 2 * 20) / 3600)
    assert row["hours_all_rows"] < row["hours"]
    assert "lower bound" in run.page
    assert "| 25% |" in run.page


def test_shares_have_wilson_intervals(run):
    run.changes["g"] = {
        "i00": {"finish_reason": "length"},
        "i01": {"finish_reason": "length"},
        "i02": {"text": "no marks"},
        "i03": {"text": None, "finish_reason": "error", "error": "image cannot be read: x"},
    }
    run.changes["g"]["i03"] |= dict.fromkeys(("prompt_tokens", "completion_tokens"), 0)
    run.generate(NAMES, "r1", 100.0, **GPU)
    row = run()["g"]
    assert row["not_done"] == 0.2
    assert (row["cut_off"], row["no_think"], row["unreadable_image"]) == (0.1, 0.05, 0.05)
    assert row["loop"] == 0.0
    # Without the unreadable image.
    kept = [t for n, t in enumerate(run.tokens["g"]) if n != 3]
    assert row["tokens"] == pytest.approx(np.mean(kept))
    assert row["prompt_tokens"] == 40
    assert re.search(r"\| Model G \| 20.0% \(9\.\d%–3\d\.\d%\) \|", run.page)
    assert "Cut off" in run.page
    assert "Loop" not in run.page


def test_the_speed_is_that_of_the_jobs_that_generated_the_responses(run):
    """Two jobs of the whole run had already generated the pilot's responses."""
    for model in ("g", "k"):
        rows = run.rows(model)
        more = [row | {"image_id": f"x{n}", "fingerprint": f"x{n}"} for n, row in enumerate(rows)]
        run.generate(model, "r1", 50.0, rows[:10] + more, **GPU)
        run.generate(model, "r2", 50.0, rows[10:], **GPU)
        # This job generated no response of the pilot.
        run.generate(model, "r3", 9000.0, [rows[0] | {"fingerprint": "older"}], **GPU)
    row = run(models=["g", "k"])["g"]
    assert (row["jobs"], row["job_responses"]) == (2, 40)
    assert row["tokens_per_second"] == pytest.approx(2 * 20 * MEAN / 100)
    assert row["hours"] == pytest.approx(4 * 50 / 3600)
    assert "were in the journal already" in run.page
    assert "Model G: 40 responses in 2 jobs" in run.page


def test_a_killed_job_counts_and_is_reported(run):
    run.generate("gk", "r1", None)
    run.generate("gk", "r2", 30.0, [], **GPU)
    row = run(models=["g", "k"])["g"]
    assert (row["jobs"], row["killed_jobs"]) == (1, 1)
    assert row["tokens_per_second"] == pytest.approx(20 * MEAN / 10)
    assert "Model G: 1 of 1 job ended without a record" in run.page


def test_without_a_journal_the_speed_is_unknown(usual):
    for path in (usual.folder / "journal" / "e").iterdir():
        path.unlink()
    table = usual()
    for row in (table["e"], table["all"]):
        unknown = ("tokens_per_second", "hours", "hours_low", "wall_hours", "wall_hours_high")
        assert {row[name] for name in unknown} == {None}
    assert table["teachers"]["hours"] > 0
    assert "Model E: these responses are in no journal" in usual.page


@pytest.mark.parametrize(
    ("device", "kind"), [("cpu", "CPU"), ("http://localhost:8000/v1", "Device")]
)
def test_hours_of_other_devices_are_not_gpu_hours(run, device, kind):
    run.generate(NAMES, "r1", 100.0, device=device)
    run()
    assert f"{kind} hours at the pilot's speed" in run.page
    assert f"{kind} hours are not GPU hours" in run.page


def test_a_page_without_failures_on_gpus_whose_engine_has_no_statistics(usual):
    assert usual()["all"]["hours_all_rows"] is None  # no lower bound
    assert "lower bound" not in usual.page
    assert "upper bound" in usual.page
    assert "All follow their model's format." in usual.page
    assert "GPU hours at the pilot's speed" in usual.page
    assert "are not GPU hours" not in usual.page
    assert "| The paper: 500,000 responses of both teachers, A100 | 6,000 |" in usual.page


def test_pilots_of_different_images_are_refused(usual):
    usual.changes["k"] = {"i00": {"image_id": "other"}}
    with pytest.raises(ValueError, match="pilots of g and k have different images"):
        usual()


def test_a_pilot_without_images_is_refused(run):
    run.rows = lambda model: []
    with pytest.raises(ValueError, match="first block has no image that all"):
        run()


@pytest.mark.parametrize(("machines", "hours"), [(1, 12), (2, 7), (9, 3)])
def test_each_job_in_turn_goes_to_the_first_free_machine(machines, hours):
    assert list_schedule([3, 3, 2, 2, 2], machines) == hours
    assert list_schedule([], machines) == 0
