"""The GPU session: every step on the device that is here, and what it does about bad steps."""

import io
import json
import os
import subprocess
import sys
import venv
from contextlib import suppress
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import flash_emulation
import numpy as np
import pytest
import session
import steps
import synthetic
import torch
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image
from transformers.utils import is_flash_attn_2_available

from imagenet_think.inference import checkpoint_specs
from imagenet_think.inference.engines import kv_cache
from imagenet_think.inference.engines.hardware import choose_hardware

# What a step writes, and how one ends that has something to tell.
GOOD = {
    "finished": True,
    "checks": [{"name": "sums", "passed": True}],
    "lacking": ["a coffee"],
    "measured": {"seconds": 5},
    "estimated": {"hours": 7},
}
BAD = {"finished": True, "checks": [{"name": "sums", "passed": False, "error": "5 is not 4"}]}
HALF = {"finished": False, "checks": [{"name": "sums", "passed": True}]}


def running(out, programs):
    """A command for each step: a Python program, after it has written what the step found."""

    def command(name, limit):
        found, program = programs[name]
        path = str(out / f"{name}.json")
        write = f"import pathlib; pathlib.Path({path!r}).write_text({json.dumps(found)!r})\n"
        return [sys.executable, "-c", (write if found else "") + program]

    return command


def run(out, programs, total=3600.0, seconds=100.0):
    return session.run_steps(running(out, programs), out, total, dict.fromkeys(programs, seconds))


def test_steps_that_pass_give_status_0(tmp_path):
    summary = run(tmp_path, {"one": (GOOD, ""), "two": (GOOD, "")})
    assert (summary["every_step_ran"], summary["every_check_passed"]) == (True, True)
    assert session.exit_status(summary) == 0
    assert summary["lacking"] == ["a coffee"]
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
    page = (tmp_path / "summary.txt").read_text()
    assert "1 of 1 checks passed" in page
    assert "Lacking here:\n  - a coffee\n" in page
    assert "Measured:\n  one, seconds: 5\n  two, seconds: 5\n" in page
    assert "Estimated, not measured:\n  one, hours: 7\n  two, hours: 7\n" in page


def test_a_step_whose_check_fails_is_named_and_gives_status_1(tmp_path):
    summary = run(tmp_path, {"one": (BAD, ""), "two": (GOOD, "")})
    assert [step["ran"] for step in summary["steps"]] == [True, True]
    assert session.exit_status(summary) == 1
    assert '    failed: sums {"error": "5 is not 4"}' in (tmp_path / "summary.txt").read_text()


@pytest.mark.parametrize(
    ("found", "program", "ending"),
    [
        (HALF, "raise SystemExit('no room on the device')", "ended with status 1"),
        (None, "import os; os.kill(os.getpid(), 11)", "ended with status -11"),
        (HALF, "", "ended without a result"),
        (None, "", "ended without a result"),
    ],
)
def test_a_step_that_does_not_come_to_its_end_stops_no_other(tmp_path, found, program, ending):
    summary = run(tmp_path, {"bad": (found, program), "good": (GOOD, "")})
    bad, good = summary["steps"]
    assert (bad["ran"], good["ran"]) == (False, True)
    assert bad["ending"] == ending
    assert bad["checks"] == (1 if found else 0)  # what it had found is kept
    assert session.exit_status(summary) == 2
    page = (tmp_path / "summary.txt").read_text()
    assert "not finished" in page
    assert ending in page
    assert ("no room on the device" in page) == ("no room" in program)


def test_a_step_beyond_its_time_is_ended_with_all_that_it_started(tmp_path):
    mark = f"600.{os.getpid()}"
    hanging = f"import subprocess; subprocess.run(['sleep', {mark!r}])"
    programs = {"hangs": (HALF, hanging), "good": (GOOD, "")}
    both = {"hangs": 2, "good": 500}
    summary = session.run_steps(running(tmp_path, programs), tmp_path, session.TOTAL, both)
    hung, good = summary["steps"]
    assert hung["ending"] == "ended after its time of 2 s"
    assert good["ran"]
    assert session.exit_status(summary) == 2
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(FileNotFoundError, ProcessLookupError):  # others come and go
            assert mark.encode() not in path.read_bytes()


def test_steps_for_which_no_time_is_left_are_named(tmp_path):
    summary = run(tmp_path, {"one": (GOOD, ""), "two": (GOOD, "")}, total=0.0)
    assert [step["ending"] for step in summary["steps"]] == ["not started: 0 s were left"] * 2
    assert session.exit_status(summary) == 2


def test_results_of_an_earlier_session_do_not_count(tmp_path):
    (tmp_path / "one.json").write_text(json.dumps(GOOD))
    summary = run(tmp_path, {"one": (None, "")})
    assert summary["steps"][0]["ending"] == "ended without a result"


def test_a_full_session_has_every_step_and_takes_at_most_nine_and_a_half_minutes():
    assert list(steps.STEPS) == list(session.STEPS)
    assert sum(session.STEPS.values()) <= session.TOTAL <= 570


# Every step on the device that is here: a change of the engine must not leave the session behind.


@pytest.fixture
def setting(tmp_path):
    hardware = choose_hardware(dict.fromkeys(("device", "dtype", "attention"), "auto"))
    return steps.Setting(tmp_path, True, 3600.0, hardware)


@pytest.fixture
def record_of(setting):
    """A function that runs a step with tiny shapes and returns what it wrote."""

    def run_step(name):
        record = steps.Record(setting.out / f"{name}.json", name)
        steps.STEPS[name](setting, record)
        record.finish()
        found = json.loads((setting.out / f"{name}.json").read_text())
        assert found["finished"]
        assert [check for check in found["checks"] if not check["passed"]] == []
        return found

    return run_step


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "checks", "lacking"),
    [
        ("kernels", (4 + 1) * 2 * 2 + 2, "its kernel for decoding is not tried"),
        ("reference", 4 * 2 * 2, "flash_attention_2 is not available here"),
        ("host_syncs", 4 * 2 + 1, "no wait for the host is noticed"),
    ],
)
def test_a_step_passes_its_checks_and_names_what_it_lacks(record_of, name, checks, lacking):
    found = record_of(name)
    if not torch.cuda.is_available():
        assert len(found["checks"]) == checks
        assert not lacking or any(lacking in what for what in found["lacking"])


@pytest.mark.slow
@pytest.mark.parametrize("right", [True, False])
def test_flash_attns_kernel_is_compared_where_it_is_installed(setting, monkeypatch, right):
    def kernel(query, keys, values, *, cache_seqlens, **options):
        counts = cache_seqlens if right else cache_seqlens - 1
        return flash_emulation.flash_attn_with_kvcache(
            query, keys, values, cache_seqlens=counts, **options
        )

    monkeypatch.setitem(sys.modules, "flash_attn", SimpleNamespace(flash_attn_with_kvcache=kernel))
    hardware = replace(setting.hardware, attention="flash_attention_2")
    record = steps.Record(setting.out / "kernels.json", "kernels")
    steps.kernels(replace(setting, hardware=hardware), record)
    checks = record.content["checks"]
    flash = [c["passed"] for c in checks if c["name"].startswith("flash_attn_with_kvcache")]
    assert flash == [right] * 4 * 2 * 2
    assert all(c["passed"] for c in checks if not c["name"].startswith("flash"))
    assert record.content["lacking"] == []


@pytest.mark.slow
def test_a_device_that_is_too_full_ends_in_fewer_rows(record_of):
    found = record_of("out_of_memory")
    if not torch.cuda.is_available():
        assert [bool(check["out_of_memory"]) for check in found["checks"]] == [True] * 4
        assert "no CUDA device: running out of memory is simulated" in found["lacking"]


@pytest.mark.slow
def test_the_times_of_a_step_are_measured(record_of, tmp_path):
    times = record_of("step_times-kimi-vl")["measured"]
    assert min(times[f"{part}_ms"] for part in ("step", "sampler", "prefill")) > 0
    assert "Self CPU" in (tmp_path / "profile_kimi-vl.txt").read_text()


@pytest.mark.slow
def test_the_throughput_is_measured(record_of):
    found = record_of("throughput-kimi-vl")["measured"]
    assert found["steps"] > 0
    assert found["gpu_hours"] > 0
    assert 0 < found["row_use"] <= 1


def test_a_measurement_without_enough_time_still_measures_a_step(setting):
    """However slow a machine is, nothing is divided by a time or a number of steps of zero."""
    short = replace(setting, seconds=1e-9)
    settings = steps.CONFIG["models"]["r1-onevision"]
    model, processor = synthetic.built(settings, setting.hardware, tiny=True)
    used = steps.in_flight(model, processor, {}, synthetic.conversations(1), short)
    assert used["steps"] >= 1
    assert used["prefill_seconds"] > 0


def test_the_figures_follow_from_the_times(monkeypatch):
    monkeypatch.setattr(steps, "read_bytes", lambda model, rows: 6e9)
    monkeypatch.setattr(checkpoint_specs, "cached_bytes", lambda config, dtype: 1000)
    used = {
        "steps": 100,
        "row_steps": 4000,
        "places": 5000,
        "step_cache_tokens": 1e8,
        "prefill_tokens": 3000,
        "prefill_seconds": 0.1,
        "decode_seconds": 2.0,
        "put_back": 0,
        "bound": 50,
        "wall": 2.1 * 1.1,
    }
    found = steps.figures(used, SimpleNamespace(config=None, dtype=None), 300, 771.0, 1e12)
    assert found["decode_tokens_a_second"] == pytest.approx(2000)
    assert found["prefill_tokens_a_second"] == pytest.approx(30000)
    assert found["share_of_bandwidth"] == pytest.approx((6e9 + 1e9) / 0.02 / 1e12)
    assert found["row_use"] == 0.8
    response = 1.1 * (300 / 30000 + 771 / 2000)
    assert found["gpu_hours"] == pytest.approx(250_000 * response / 3600)
    assert found["tokens_a_second"] == pytest.approx(771 / response, rel=1e-3)


def test_the_estimate_follows_from_bytes_and_operations(monkeypatch):
    monkeypatch.setattr(kv_cache, "SEGMENTS", 2)
    model = checkpoint_specs.meta_model("qwen2_5_vl")
    read, cached, vocabulary = steps.read_bytes(model, 1), 57_344, 152_064
    language = read / 2 + vocabulary * 3584
    tower = 8_292_166_656 - language
    assert steps.segment_tokens([900, 500, 99, 9]) == 2 * 901 + 2 * 100
    found = steps.counted(model, [900, 500, 99, 9], 2002, 771.0, 300, 1000, 4e12, 8e14)
    assert (found["held_tokens"], found["read_tokens"]) == (1508, 2002)
    step = read + 2002 * cached + 2 * 4 * vocabulary * 2
    assert found["step_ms"] == pytest.approx(1000 * step / 4e12)
    prompt = (300 * read + 1000 * 2 * tower) / 8e14
    assert found["prefill_ms_a_prompt"] == pytest.approx(1000 * prompt)
    hours = 250_000 * (prompt + 771 * step / 4e12 / 4) / 3600
    assert found["gpu_hours"] == pytest.approx(hours)
    slow = steps.counted(model, [900, 500, 99, 9], 2002, 771.0, 300, 1000, 4e12, 4 * read)
    assert slow["step_ms"] == pytest.approx(1000)  # bound by arithmetic


@pytest.mark.slow
def test_the_estimate_is_for_the_papers_responses(record_of):
    estimated = record_of("estimate")["estimated"]
    hours = [estimated[f"{teacher}, gpu_hours"] for teacher in ("glm-4.1v", "kimi-vl")]
    assert estimated["gpu_hours for 500000 responses"] == sum(hours)


def test_a_step_reads_the_language_model_without_its_embeddings():
    model = checkpoint_specs.meta_model("qwen2_5_vl")
    vision = sum(p.numel() for p in model.model.visual.parameters())
    assert steps.read_bytes(model, 1) == 2 * (8_292_166_656 - vision - 152064 * 3584)
    assert steps.read_bytes(model, 1) == steps.read_bytes(model, 64)


def test_a_step_of_few_rows_reads_few_experts():
    model = checkpoint_specs.meta_model("kimi_vl")
    expert = 26 * 3 * 2048 * 1408 * 2  # bytes of one expert in all layers
    all_experts = steps.read_bytes(model, 10**6)
    assert all_experts - steps.read_bytes(model, 1) == pytest.approx((64 - 6) * expert)
    # Two rows choose 6 experts each, which may be the same.
    assert all_experts - steps.read_bytes(model, 2) == pytest.approx(64 * (58 / 64) ** 2 * expert)


def test_requests_are_like_the_papers_and_follow_from_their_seed():
    assert steps.MEAN == 771
    lengths = synthetic.drawn_lengths(100_000, steps.MEAN, steps.LONGEST, seed=1)
    assert abs(lengths.mean() - 771) < 8
    assert (lengths.min() >= 1, lengths.max()) == (True, 8192)
    assert 1.0 < np.log(lengths).std() / 0.95 < 1.1  # sigma 1, less what is cut
    assert (lengths[:50] == synthetic.drawn_lengths(50, 771, 8192, seed=1)).all()
    assert (lengths[:50] != synthetic.drawn_lengths(50, 771, 8192, seed=2)).any()
    assert Image.open(io.BytesIO(synthetic.drawn_picture(3))).size == (500, 375)
    assert synthetic.drawn_picture(3) == synthetic.drawn_picture(3) != synthetic.drawn_picture(4)


def test_a_case_that_raises_is_a_failed_check_and_the_next_one_is_tried(tmp_path):
    record = steps.Record(tmp_path / "one.json", "one")
    with record.case("first"):
        raise RuntimeError("illegal memory access")
    record.check("second", True)
    found = json.loads((tmp_path / "one.json").read_text())
    assert [check["passed"] for check in found["checks"]] == [False, True]
    assert found["checks"][0]["error"] == "RuntimeError: illegal memory access"
    assert not found["finished"]


@pytest.fixture
def image(tmp_path):
    """The Python of an environment like a GPU machine's: torch, transformers, what these need."""
    folder = tmp_path / "image"
    venv.create(folder)
    packages = next(folder.glob("lib/python*/site-packages"))
    names, wanted = set(), ["torch", "transformers", "numpy", "pillow", "setuptools"]
    while wanted:
        name = canonicalize_name(wanted.pop())
        if name in names:
            continue
        names.add(name)
        found = metadata.distribution(name)
        requirements = map(Requirement, found.requires or [])
        wanted += [r.name for r in requirements if not r.marker or r.marker.evaluate({"extra": ""})]
        for top in {file.parts[0] for file in found.files} - {"..", "__pycache__"}:
            with suppress(FileExistsError):  # several share a folder
                (packages / top).symlink_to(found.locate_file(top))
    assert not names & {"polars", "pyarrow", "snakemake", "scipy", "sentence-transformers"}
    return folder / "bin" / "python"


@pytest.mark.slow
def test_a_session_is_one_command_and_needs_only_torch_and_transformers(tmp_path, image):
    chosen = ["environment", "reference", "throughput-kimi-vl"]
    command = [image, session.__file__, "--out", tmp_path, "--steps", *chosen]
    done = subprocess.run([*command, "--tiny"], capture_output=True, text=True)
    page = (tmp_path / "summary.txt").read_text()
    assert done.returncode == 0, page
    assert page in done.stdout
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["steps"][0]["measured"]["torch"] == torch.__version__
    if not is_flash_attn_2_available():
        assert "flash-attn is not installed" in page
    if not torch.cuda.is_available():
        assert "no CUDA device" in page
        command[-3:] = ["environment", "--seconds", "7200"]  # also on a slow machine
        refused = subprocess.run(command, capture_output=True)
        assert refused.returncode == 2
        assert b"no CUDA device here; --tiny runs on the CPU" in refused.stdout
