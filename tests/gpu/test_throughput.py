"""The benchmark of generation: its arithmetic, and all of it with tiny shapes."""

import io
import json
import multiprocessing
import sys
import time

import numpy as np
import pytest
import throughput as bench
import torch
from PIL import Image

from imagenet_think.inference import checkpoint_specs

TINY = {"tiny": True, "rows": 4, "static_rows": 4, "mean": 6.0, "longest": 12, "steps": 6}
FAR = 3600.0  # seconds: what ends by itself, ends before


def test_lengths_have_the_papers_mean_a_response_and_the_same_seed_gives_the_same():
    assert bench.MEAN == 771
    lengths = bench.drawn_lengths(100_000, bench.MEAN, bench.LONGEST, seed=1)
    assert abs(lengths.mean() - 771) < 8
    assert (lengths.min() >= 1, lengths.max()) == (True, 8192)
    assert 1.0 < np.log(lengths).std() / 0.95 < 1.1  # sigma 1, less what is cut
    assert (lengths[:50] == bench.drawn_lengths(50, bench.MEAN, bench.LONGEST, seed=1)).all()
    assert (lengths[:50] != bench.drawn_lengths(50, bench.MEAN, bench.LONGEST, seed=2)).any()


def test_a_picture_has_the_size_of_imagenets():
    assert Image.open(io.BytesIO(bench.drawn_picture(3))).size == (500, 375)
    assert bench.drawn_picture(3) == bench.drawn_picture(3) != bench.drawn_picture(4)


def test_a_step_reads_the_language_model_without_its_embeddings():
    model = checkpoint_specs.meta_model("qwen2_5_vl")
    vision = sum(p.numel() for p in model.model.visual.parameters())
    assert bench.read_bytes(model, 1) == 2 * (8_292_166_656 - vision - 152064 * 3584)
    assert bench.read_bytes(model, 1) == bench.read_bytes(model, 64)


def test_a_step_of_few_rows_reads_few_experts():
    model = checkpoint_specs.meta_model("kimi_vl")
    expert = 26 * 3 * 2048 * 1408 * 2  # bytes of one expert in all layers
    all_experts = bench.read_bytes(model, 10**6)
    assert all_experts - bench.read_bytes(model, 1) == pytest.approx((64 - 6) * expert)
    # Two rows choose 6 experts each, which may be the same.
    assert all_experts - bench.read_bytes(model, 2) == pytest.approx(64 * (58 / 64) ** 2 * expert)


def test_the_figures_follow_from_the_times(monkeypatch):
    monkeypatch.setattr(bench, "read_bytes", lambda model, rows: 6e9)
    one = bench.Bench.__new__(bench.Bench)
    one.model, one.cached, one.bandwidth, one.options = None, 1000, 1e12, {"mean": 771.0}
    found = one.figures(
        steps=100,
        step_seconds=0.02,
        rows=50,
        useful=40.0,
        step_tokens=1e6,
        row_use=0.8,
        prefill_tokens=3000,
        prefill_seconds=0.1,
        prompt=300,
        waiting=1.1,
    )
    assert found["decode_tokens_a_second"] == pytest.approx(2000)
    assert found["prefill_tokens_a_second"] == pytest.approx(30000)
    assert found["share_of_bandwidth"] == pytest.approx((6e9 + 1e9) / 0.02 / 1e12)
    response = 1.1 * (300 / 30000 + 771 / 2000)
    assert found["gpu_hours"] == pytest.approx(250_000 * response / 3600)
    assert found["tokens_a_second"] == pytest.approx(771 / response)


def test_a_failed_stage_is_a_row_of_the_page():
    rows = [bench.failed("kimi-vl", "in flight", "RuntimeError: CUDA | error\n at line 3")]
    page = bench.report({}, rows, {"date": "2026-01-01", **TINY})
    line = next(line for line in page.splitlines() if "failed" in line)
    assert line.startswith("| Kimi-VL-A3B | in flight | ")
    assert "**failed**: RuntimeError: CUDA / error at line 3 |" in line
    assert line.count("|") == page.splitlines()[4].count("|")


def hang(answer, key, stages, end, options):
    time.sleep(600)


def die(answer, key, stages, end, options):
    sys.exit(3)


@pytest.mark.slow
def test_a_process_beyond_its_time_is_ended_and_every_stage_has_its_row(monkeypatch):
    monkeypatch.setattr(bench, "GRACE", 0)
    monkeypatch.setattr(bench, "measure", hang)
    stages = ["in flight", "one by one"]
    rows = [row for _, row in bench.measured_apart("glm-4.1v", stages, time.time(), TINY)]
    assert [row["stage"] for row in rows] == stages
    assert all("did not end within 0 seconds" in row["error"] for row in rows)
    assert multiprocessing.active_children() == []


@pytest.mark.slow
def test_a_process_that_dies_is_named(monkeypatch):
    monkeypatch.setattr(bench, "measure", die)
    found = list(bench.measured_apart("glm-4.1v", ["in flight"], time.time() + FAR, TINY))
    assert found == [("row", bench.failed("glm-4.1v", "in flight", "the process ended with 3"))]


@pytest.mark.slow
def test_a_stage_that_fails_does_not_stop_the_rest():
    options = {**TINY, "static_rows": 0}
    stages = ["static batches", "one by one"]
    found = list(bench.measured_apart("r1-onevision", stages, time.time() + FAR, options))
    rows = [row for kind, row in found if kind == "row"]
    assert [row["stage"] for row in rows] == stages
    assert rows[0]["error"].startswith("ValueError: ")
    assert rows[1]["steps"] > 0
    assert [kind for kind, _ in found].count("machine") == 2  # the second in a new process


@pytest.mark.parametrize("stage", bench.STAGES)
def test_a_measurement_without_enough_time_still_measures_a_step(stage):
    """However slow a machine is, nothing is divided by a time or a number of steps of zero."""
    one = bench.Bench("r1-onevision", {**TINY, "steps": None})
    found = one.stage(stage, seconds=1e-9)
    assert found["steps"] >= 1
    assert found["gpu_hours"] > 0


@pytest.mark.slow
def test_the_whole_benchmark_runs_with_tiny_shapes(tmp_path, monkeypatch, capsys):
    out = tmp_path / "found.json"
    monkeypatch.setattr(
        sys, "argv", ["throughput.py", "--tiny", "--seconds", str(FAR), "--out", str(out)]
    )
    bench.main()
    page, found = capsys.readouterr().out, json.loads(out.read_text())
    stages = ["in flight", "static batches", "one by one"]
    if torch.cuda.is_available():
        stages.append("in flight, no graphs")
    assert [(row["model"], row["stage"]) for row in found["rows"]] == [
        (model, stage) for model in bench.MODELS.values() for stage in stages
    ]
    assert "failed" not in page
    for row in found["rows"]:
        assert 0 < row["row_use"] <= 1
        assert row["gpu_hours"] > 0
        assert f"| {row['model']} | {row['stage']} | {row['rows']} |" in page
    assert set(found["machines"]) == set(bench.MODELS.values())
    assert all(m["copy_bandwidth"] > 0 for m in found["machines"].values())
    assert "the figures say nothing" in page
