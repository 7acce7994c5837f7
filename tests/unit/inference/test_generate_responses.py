import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from itertools import cycle
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import polars as pl
import pytest
from generation_runs import GREEDY, INFERENCE, LOOP, Echo, Run, write_shard
from pyarrow.parquet import ParquetFile

import generate_responses
from imagenet_think.core.schemas import RESPONSES
from imagenet_think.inference import (
    canary,
    checkpoints,
    families,
    generation,
    prepared_images,
)
from imagenet_think.inference.canary import CanaryError
from imagenet_think.inference.chat import encode, first_conversation
from imagenet_think.inference.engines import EngineError
from imagenet_think.inference.journal import read_lines
from imagenet_think.inference.seeding import row_seed
from imagenet_think.parsing import tool_calls
from imagenet_think.parsing.tool_calls import Call

FOLDER = Path(generate_responses.__file__).parent


def test_the_engine_is_checked_loaded_used_and_closed_once(run, use):
    echo = use(Echo())
    found = run()
    assert echo.keys == list("cabfde")
    assert echo.checks == echo.closed == 1
    ((model, given),) = echo.loads
    assert model == run.settings["model"]
    checkpoint = given.pop("checkpoint")
    assert Path(checkpoint[0]).is_dir()
    assert len(checkpoint[1]) == 64
    setup = {"loop": LOOP, "threads": 1, "inference": INFERENCE, "processor": checkpoint}
    assert given == setup
    assert found["engine"].unique().to_list() == ["echo"]
    assert found["attention"].unique().to_list() == ["none"]
    assert found["seed"].to_list() == [row_seed(1, name, "tiny", 1, 1) for name in "cabfde"]


def test_a_row_has_all_that_can_change_its_text(run, use):
    use(Echo()).record["computation"] = "none, bfloat16, at most 2 rows"
    assert run()["attention"].unique().to_list() == ["none, bfloat16, at most 2 rows"]


def test_images_are_read_one_row_group_at_a_time(run, use, monkeypatch):
    read, taken = [], []
    read_row_group = ParquetFile.read_row_group

    def counted(self, group, columns):
        if columns == ["image.bytes"]:
            read.append((len(taken), group))
        return read_row_group(self, group, columns)

    def say(image, request):
        taken.append(request.key)
        return "seen", "stop"

    monkeypatch.setattr(ParquetFile, "read_row_group", counted)
    use(Echo(say))
    run()
    # Two images per group: the next group is read when the one before it is answered.
    assert read == [(0, 0), (2, 1), (2, 0), (4, 1)]
    # A group without missing responses is not read.
    read.clear()
    lines = (run.folder / "journal" / "01.jsonl").read_text().splitlines(keepends=True)
    kept = [line for line in lines if '"image_id": "e"' not in line]
    (run.folder / "journal" / "01.jsonl").write_text("".join(kept))
    run()
    assert [group for _, group in read] == [1]


@pytest.mark.parametrize("error", [EngineError("it died"), KeyboardInterrupt(), SystemExit(143)])
def test_a_failing_job_releases_engine_and_locks_and_is_continued(run, use, error):
    echo = use(Echo(ends=(3, error)))
    with pytest.raises(type(error)):
        run()
    assert echo.closed == 1
    assert run.locks == []
    assert run.journaled == ["a", "c", "f"]
    assert not any(out.exists() for out in run.outputs)
    assert run.record["responses"] == 3
    assert run.record["finish_reasons"] == {"stop": 3}
    assert run.record["completion_tokens"] == run.record["spent"]["completion_tokens"] == 9
    assert run.record["restarts"] == 2  # its last value
    echo = use(Echo())
    run()
    assert echo.keys == ["b", "d", "e"]
    assert sorted(run.journaled) == list("abcdef")


def test_an_engine_that_does_not_load_leaves_a_record(run, use):
    use(Echo()).load = Mock(side_effect=OSError("no such file"))
    with pytest.raises(OSError, match="no such file"):
        run()
    assert (run.record["responses"], run.record["engine"]) == (0, "transformers")
    assert run.locks == []


def test_tokens_of_dropped_attempts_are_recorded(run, use):
    run.settings["model"]["decoding"] = {"max_new_tokens": 6, "temperature": 0.7}

    def say(image, request):
        first = request.seed == row_seed(1, request.key, "tiny", 1, 1)
        return ("on and on", "length") if request.key == "d" and first else ("done", "stop")

    use(Echo(say))
    found = run()
    row = found.row(by_predicate=pl.col("image_id") == "d", named=True)
    assert (row["attempt"], row["finish_reason"], row["completion_tokens"]) == (2, "stop", 3)
    assert row["seed"] == row_seed(1, "d", "tiny", 2, 1)
    (line,) = [line for line in run.journal if line.get("row", {}).get("image_id") == "d"]
    assert line["spent"] == {"prompt_tokens": 20, "image_tokens": 8, "completion_tokens": 6}
    assert run.record["completion_tokens"] == 6 * 3
    assert run.record["spent"]["completion_tokens"] == 7 * 3


def test_thinking_closed_by_force_is_marked(run, use):
    run.settings["model"] |= {
        "close_thought": {"text": "</think><answer>", "max_new_tokens": 3},
        "output": "think_answer",
    }

    def say(image, request):
        return ("fish</answer>", "stop") if request.prefix else ("<think>so and so", "length")

    use(Echo(say))
    found = run()
    assert found["forced"].to_list() == [True] * 6
    assert set(found["text"]) == {"<think>so and so</think><answer>fish</answer>"}


def test_failures_are_counted_by_reason(run, use, caplog):
    caplog.set_level("INFO", logger="imagenet_think")
    ends = {"b": "error", "d": "length", "f": "length", "e": "loop"}
    use(Echo(lambda image, request: ("text", ends.get(request.key, "stop"))))
    run()
    assert run.record["finish_reasons"] == {"error": 1, "length": 2, "loop": 1, "stop": 2}
    assert any("6 of 6" in line and "1 error, 2 length, 1 loop" in line for line in caplog.messages)
    assert any("tokens per second" in line for line in caplog.messages)


# The journal.


def worker(program):
    """Start a program in a process that finds the scripts."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        cwd=FOLDER,
        env=os.environ | {"PYTHONPATH": str(FOLDER.parent)},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_without_new_work_nothing_changes_and_torch_is_not_imported(run, use):
    use(Echo())
    run()
    first, journal = run.bytes, run.journal
    for out in run.outputs:
        out.unlink()
    run.add_canary()
    files = run.files | {"responses": [str(out) for out in run.outputs]}
    process = worker(f"""
        import json, sys
        from generate_responses import Task, generate_responses
        task, files = json.loads({json.dumps([run.task(), files])!r})
        generate_responses(Task(**task), **files)
        heavy = ("torch", "transformers", "imagenet_think.inference.engines.transformers_engine")
        print([name for name in heavy if name in sys.modules])
    """)
    assert process.communicate()[0].strip() == "[]"
    assert run.bytes == first
    assert run.journal == journal
    assert not (run.folder / "canary").exists()


def test_only_settings_that_change_a_response_generate_new_ones_beside_the_old(run, use):
    echo = use(Echo())
    run()
    run.settings["prompt"] = {"id": "renamed", "text": "Describe."}
    found = run(engine="vllm", batch_size=7, engines={"vllm": {"command": "other"}})
    assert found["prompt_id"].unique().to_list() == ["renamed"]
    assert len(echo.requests) == 6
    run.settings["model"]["decoding"] = {"max_new_tokens": 3, "temperature": 0.0}
    run()
    assert {request.max_new_tokens for request in echo.requests[6:]} == {3}
    run.settings["model"]["decoding"] = GREEDY
    run()
    assert len(echo.requests) == 12


@pytest.mark.parametrize("engine", ["transformers", "vllm", "server"])
def test_responses_are_used_whichever_engine_made_them(run, use, engine):
    use(Echo())
    texts = run()["text"]
    makers = cycle(["transformers", "vllm", "server", "imported"])
    for file in sorted((run.folder / "journal").glob("*.jsonl")):
        lines = list(read_lines(file))
        for line in lines:
            if "row" in line:
                line["row"]["engine"] = next(makers)
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    journal = run.journal
    echo = use(Echo())
    found = run(engine=engine, engines={engine: {}})
    assert found["engine"].n_unique() == 4
    assert found["text"].equals(texts)
    assert run.journal == journal
    assert (echo.loads, echo.requests) == ([], [])


def test_a_truncated_shard_is_named(run, use, tmp_path):
    use(Echo())
    broken = tmp_path / "01.parquet"
    broken.write_bytes(Path(run.images[1]).read_bytes()[:-100])
    run.images[1] = str(broken)
    with pytest.raises(ValueError, match=rf"{broken} cannot be read .*: delete it"):
        run()


def test_rows_are_kept_when_the_shards_change(run, use, tmp_path):
    echo = use(Echo())
    before = run()
    both = pl.concat([pl.read_parquet(file) for file in run.images])
    run.images = [str(tmp_path / "20.parquet"), str(tmp_path / "21.parquet")]
    for file, rows in zip(run.images, (both[::2], both[1::2]), strict=True):
        rows.write_parquet(file)
    after = run()
    assert len(echo.requests) == 6
    assert after["image_id"].to_list() == list("cbdafe")
    assert after.sort("image_id").equals(before.sort("image_id"))


# The canary.


def telling(image, request):
    """Generate different words for nearly every image."""
    words = " ".join(textwrap.wrap(image, 4))
    return f"<think>There is {words} here.</think>It shows {words[::-1]}.", "stop"


@pytest.fixture
def watched(run, monkeypatch):
    """A run with a canary that counts no image tokens, as the fake engine has none."""

    def uncounted(generate, processor, expected):
        def counting(requests):
            for response in generate(requests):
                expected[response.key] = response.image_tokens
                yield response

        return counting

    run.add_canary()
    loaded = SimpleNamespace(load_processor=lambda *args, **options: None)
    monkeypatch.setattr(families, "get", lambda name: loaded)
    monkeypatch.setattr(canary, "_counting", uncounted)
    return run


def of_canary(engine):
    return [key for key in engine.keys if "/" in key]


def test_a_model_that_passes_is_used(watched, use):
    echo = use(Echo(telling))
    found = watched()
    assert len(found) == 6
    # Four images that can be read, in three ways, before all others.
    assert len(of_canary(echo)) == 12
    assert echo.keys[:12] == of_canary(echo)
    assert "b" not in {key.split("/")[1] for key in of_canary(echo)}
    written = sorted(path.suffix for path in (watched.folder / "canary").iterdir())
    assert written == [".html", ".json"]
    assert watched.record["canary"]["completion_tokens"] == 12 * 3
    # Its tokens are not counted among those of the rows.
    assert watched.record["spent"]["completion_tokens"] == 6 * 3


def test_a_blind_model_is_stopped_before_a_row_is_written(watched, use):
    echo = use(Echo(lambda image, request: ("<think>A fish swims.</think>A fish.", "stop")))
    with pytest.raises(CanaryError, match=r"blank image.*") as error:
        watched()
    (page,) = (watched.folder / "canary").glob("tiny-????????.html")
    assert str(page) in str(error.value)
    assert watched.journaled == watched.locks == []
    assert watched.record["responses"] == 0
    assert echo.closed == 1
    assert of_canary(echo) == echo.keys
    assert not any(out.exists() for out in watched.outputs)


@pytest.mark.parametrize("strict", [False, True])
def test_a_model_that_breaks_its_format_is_used_unless_the_config_says_stop(
    watched, use, caplog, strict
):
    def describing(image, request):
        return telling(image, request)[0].replace("<think>", "").replace("</think>", " "), "stop"

    watched.add_canary(strict=strict)
    echo = use(Echo(describing))
    if strict:
        with pytest.raises(CanaryError, match=r"4 of 4 finished texts \(100%\) break .*no_think"):
            watched()
        assert of_canary(echo) == echo.keys
    else:
        assert len(watched()) == 6
        assert "4 of 4 finished texts (100%) break the model's format" in caplog.text


@pytest.mark.parametrize(("key", "strict"), [("warn", False), ("stop", True)])
def test_a_job_passes_the_configs_key_to_the_canary(run, key, strict):
    model = run.settings["model"]
    settings = {"models": {"tiny": model}, "images": {"preparation": {}}, "length_policy": {}}
    settings |= {"prompt": "p", "prompts": {"p": "Describe."}, "seed": 1}
    inference = {"inference": INFERENCE | {"canary": {"broken_formats": key}}, "engines": {}}
    inference["models"] = {"tiny": {"output": "kimi", "engine": None}}
    given = {"settings": json.dumps(settings), "inference": json.dumps(inference)}
    task = generation.Task.of("tiny", SimpleNamespace(**given, canary="folder"), 1)
    assert task.canary == {"folder": "folder", "output": "kimi", "strict": strict}
    assert task.inference["engine"] == "transformers"
    inference["models"]["tiny"]["engine"] = "vllm"  # of its own
    given["inference"] = json.dumps(inference)
    task = generation.Task.of("tiny", SimpleNamespace(**given, canary="folder"), 1)
    assert task.inference["engine"] == "vllm"


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"dtype": "bfloat16"},
        {"attention": "sdpa"},
        {"versions": {}},
        {"flags": ["--quantization=fp8"]},
    ],
)
def test_the_canary_runs_again_only_for_another_computation(watched, use, change):
    echo = use(Echo(telling))
    watched.pilot(2)
    assert len(of_canary(echo)) == 12
    echo = use(Echo(telling))
    echo.record |= change
    watched()
    again = 12 if change else 0
    assert (len(of_canary(echo)), len(echo.requests)) == (again, again + 4)
    last = [run["canary"] for run in watched.journal if run["kind"] == "run"][-1]
    assert (last is not None) == bool(change)


def test_the_canary_shows_different_classes(run, tmp_path):
    names = pl.Series([f"i{n:02}" for n in range(12)])
    classes = pl.Series(["n01"] * 6 + ["n02"] * 5 + ["n03"])
    frame = pl.concat([pl.read_parquet(run.images[1])] * 4)
    frame = frame.with_columns(image_id=names, sha256=names, wnid=classes)
    frame.write_parquet(tmp_path / "00.parquet")
    found = prepared_images.varied([str(tmp_path / "00.parquet")], 4)
    assert list(found) == ["i00", "i06", "i11", "i01"]


def test_without_a_readable_image_there_is_no_canary(watched, use, tmp_path):
    watched.images = [write_shard(tmp_path / "00.parquet", [("x", b"nothing"), ("y", b"either")])]
    echo = use(Echo(lambda image, request: ("image cannot be read: x", "error")))
    assert watched()["finish_reason"].to_list() == ["error", "error"]
    assert of_canary(echo) == []


# SIGTERM.


def test_sigterm_releases_engine_and_locks(run, tmp_path):
    """Slurm and Snakemake send SIGTERM; here while the engine waits for a token."""
    process = worker(f"""
        import json, time
        from pathlib import Path
        from imagenet_think.core import job
        from imagenet_think.inference import engines, generation
        from imagenet_think.inference.engines import Response

        class Slow:
            record = {{"engine": "slow"}}
            def check(self, inference): pass
            def load(self, model, **given): return self
            def close(self): Path({str(tmp_path / "closed")!r}).touch()
            def generate(self, requests):
                yield Response(next(iter(requests)).key, "text", "stop", 5, 4, 3)
                print("waiting", flush=True)
                time.sleep(6000)

        engines.get = lambda name: Slow()
        job.exit_on_sigterm()
        task, files = json.loads({json.dumps([run.task(), run.files])!r})
        generation.respond(generation.Task(**task), **files)
    """)
    assert process.stdout.readline() == "waiting\n"
    assert len(run.locks) == 2
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=600) == 143
    assert (tmp_path / "closed").exists()
    assert run.locks == []
    assert run.journaled == ["c"]
    assert run.record["completion_tokens"] == 3


# The real engine.


def test_every_image_has_a_row_in_the_order_of_its_shard(run, tiny_model):
    found = run()
    assert found.schema == RESPONSES
    assert found["image_id"].to_list() == list("cabfde")
    bad = found.row(by_predicate=pl.col("image_id") == "b", named=True)
    assert (bad["finish_reason"], bad["text"], bad["completion_tokens"]) == ("error", None, 0)
    assert bad["error"].startswith("image cannot be read: ")
    good = found.filter(pl.col("image_id") != "b")
    assert good["error"].null_count() == 5
    assert set(good["finish_reason"]) <= {"stop", "length"}
    assert good["text"].n_unique() > 1
    names = ["model", "prompt_id", "rounds", "forced", "attempt", "engine", "attention"]
    equal = ("tiny", "short", 1, False, 1, "transformers", "sdpa")
    assert good.select(names).unique().rows() == [equal]
    assert good["revision"].str.len_chars().unique().to_list() == [64]
    # Each text is what transformers' own generate gives for the same image.
    family, processor, model = tiny_model("qwen2_5_vl")
    stop_ids = checkpoints.stop_ids(family, processor, model.name_or_path)
    images = pl.concat(map(pl.read_parquet, run.images))
    for row in good.iter_rows(named=True):
        (image,) = images.filter(pl.col("image_id") == row["image_id"])["image"]
        inputs = encode(processor, first_conversation(image["bytes"], "Describe.", {}))
        ids = model.generate(**inputs, max_new_tokens=6, do_sample=False, eos_token_id=stop_ids)
        length = inputs["input_ids"].shape[1]
        assert row["text"] == processor.tokenizer.decode(ids[0, length:])
        assert row["prompt_tokens"] == length
        assert row["image_tokens"] == (inputs["input_ids"] == processor.image_token_id).sum()


def test_the_canary_stops_random_weights(run):
    run.add_canary()
    with pytest.raises(CanaryError, match="must not be used for this run"):
        run()
    assert run.journaled == []


def test_sampled_texts_depend_only_on_the_seed(tmp_path, shards, tiny_checkpoint):
    decoding = {"max_new_tokens": 6, "temperature": 1.0}
    runs = [
        Run(tmp_path / str(i), shards, tiny_checkpoint("qwen2_5_vl"), decoding=decoding)
        for i in range(3)
    ]
    runs[2].settings["seed"] = 2
    first, _, other = runs[0](), runs[1](batch_size=5, workers=3), runs[2]()
    assert runs[1].bytes == runs[0].bytes
    assert (first["text"] != other["text"]).drop_nulls().all()


def test_a_job_leaves_one_record(run):
    run()
    record = run.record
    assert record in read_lines(run.folder / "journal" / "00.jsonl")
    rows = [line["row"] for line in run.journal if line["kind"] == "response"]
    assert record["responses"] == 6
    assert record["completion_tokens"] == sum(row["completion_tokens"] for row in rows) > 0
    assert record["seconds"] >= max(line.get("at", 0) for line in run.journal)
    assert {line["run"] for line in run.journal} == {record["run"]}
    assert (record["attention"], record["dtype"], record["device"]) == ("sdpa", "float32", "cpu")
    assert (record["model"], record["threads"], record["batch_size"]) == ("tiny", 1, 2)
    assert {"torch", "transformers", "python"} <= set(record["versions"])
    assert all("spent" in line for line in read_lines(run.folder / "journal" / "01.jsonl"))


def test_a_hub_repository_without_a_revision_is_refused(run):
    run.settings["model"]["repository"] = "zai-org/GLM-4.1V-9B-Thinking"
    with pytest.raises(ValueError, match=r"GLM-4.1V-9B-Thinking has no revision.*pin"):
        run()
    assert not run.folder.exists()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"engine": "vlm"}, r"inference\.engine is 'vlm'; known are transformers"),
        ({"attention": "flash_attention_2"}, r"inference\.attention is flash_attention_2, but"),
    ],
)
def test_a_wrong_setting_fails_before_a_model_is_loaded(run, monkeypatch, setting, message):
    monkeypatch.setattr(families, "get", lambda name: pytest.fail("a model was asked for"))
    with pytest.raises(ValueError, match=message):
        run(**setting)
    assert run.journal == run.locks == []


def test_a_model_that_requests_the_full_image_has_two_rounds(
    tmp_path, shards, tiny_checkpoint, monkeypatch
):
    second = {"first_scale": 0.5, "template": "<tool_response>{image}</tool_response>"}
    run = Run(tmp_path, shards, tiny_checkpoint("qwen2_5_vl"), second_round=second)
    # Random weights call no tool: take any text for a call, and any token for an end.
    call = '{"name": "resize_image", "arguments": {"action": "resize"}}'
    monkeypatch.setattr(tool_calls, "calls", lambda text: [Call(0, len(text), call)])
    monkeypatch.setattr(checkpoints, "stop_ids", lambda *parts: list(range(400)))
    found = run().filter(pl.col("image_id") != "b")
    assert found["rounds"].to_list() == [2] * 5
    assert found["completion_tokens"].to_list() == [2] * 5
    assert found["finish_reason"].to_list() == ["stop"] * 5
    assert all("\n" in text for text in found["text"])
    # The half image counts twice, the whole one once: less than two and a half, as a half has a
    # quarter of the tokens and no fewer than one.
    alone = Run(tmp_path / "alone", shards, tiny_checkpoint("qwen2_5_vl"))()
    whole = alone.filter(pl.col("image_id") != "b")["image_tokens"]
    assert (found["image_tokens"] > whole).all()
    assert (found["image_tokens"] < 2.5 * whole).all()


def test_image_settings_and_the_processor_of_another_repository_are_used(
    run, tmp_path, tiny_checkpoint
):
    folder = shutil.copytree(tiny_checkpoint("qwen2_5_vl"), tmp_path / "processor")
    config = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").write_text(json.dumps(config | {"min_pixels": 112 * 112}))
    own, model = run()["image_tokens"].max(), run.settings["model"]
    for change in {"image": {"min_pixels": 112 * 112}}, {"processor": {"repository": str(folder)}}:
        run.settings["model"] = model | change
        assert run()["image_tokens"].max() > own
