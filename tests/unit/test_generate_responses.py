import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from noise import noise
from PIL import Image

import generate_responses as script
from imagenet_think import chat, families
from imagenet_think.chat import encode, first_conversation
from imagenet_think.engines.transformers_engine import TransformersEngine
from imagenet_think.journal import read_runs
from imagenet_think.schemas import IMAGES, RESPONSES

INFERENCE = {
    "engine": "transformers",
    "device": "cpu",
    "attention": "auto",
    "dtype": "auto",
    "batch_size": 2,
}


def jpeg(image):
    data = io.BytesIO()
    image.save(data, "JPEG", quality=95)
    return data.getvalue()


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """Two shards of three images each; the bytes of `b` are cut off."""
    folder = tmp_path_factory.mktemp("shards")
    for shard, names in (("00", "cab"), ("01", "fde")):
        rows = []
        for name in names:
            data = jpeg(noise(ord(name), 70, 50 + 5 * (ord(name) % 4)))
            rows.append(
                {
                    "image_id": name,
                    "wnid": "n01",
                    "image": {"bytes": data[:300] if name == "b" else data, "path": f"{name}.jpg"},
                    "width": 70,
                    "height": 60,
                    "sha256": name * 64,
                    "source_sha256": name * 64,
                }
            )
        pl.DataFrame(rows, schema=IMAGES).write_parquet(folder / f"{shard}.parquet")
    return folder


class Run:
    """A run in a folder of its own."""

    def __init__(self, folder, shards, checkpoint, **changes):
        self.folder = folder
        self.images = [str(shards / "00.parquet"), str(shards / "01.parquet")]
        model = {
            "key": "tiny",
            "family": "qwen2_5_vl",
            "repository": str(checkpoint),
            "decoding": {"max_new_tokens": 6, "temperature": 0.0},
        }
        self.settings = {
            "model": model | changes,
            "prompt": {"id": "short", "text": "Describe."},
            "preparation": {"longest_side": 320},
            "seed": 1,
        }

    def __call__(self, **inference):
        script.generate_responses(
            images=self.images,
            responses=[str(out) for out in self.outputs],
            journal=str(self.folder / "journal"),
            settings=self.settings,
            inference=INFERENCE | inference,
            threads=1,
        )
        return pl.concat([pl.read_parquet(out) for out in self.outputs])

    @property
    def outputs(self):
        return [self.folder / "responses" / f"{shard}.parquet" for shard in ("00", "01")]

    @property
    def bytes(self):
        return [out.read_bytes() for out in self.outputs]

    @property
    def journal(self):
        files = sorted((self.folder / "journal").glob("*.jsonl"))
        return [json.loads(line) for file in files for line in file.read_text().splitlines()]


@pytest.fixture
def run(tmp_path, shards, tiny_checkpoint):
    return Run(tmp_path / "run", shards, tiny_checkpoint("qwen2_5_vl"))


@pytest.fixture
def encoded(monkeypatch):
    """The conversations about images of the run that an engine encoded, as a list that grows."""
    from imagenet_think.engines import transformers_engine

    made = []

    def counted(processor, messages):
        if messages[-1]["content"][-1].get("text") != "Describe the image.":  # the check of sight
            made.append(messages)
        return encode(processor, messages)

    monkeypatch.setattr(transformers_engine, "encode", counted)
    return made


def test_every_image_has_a_row_in_the_order_of_its_shard(run, tiny_model):
    found = run()
    assert found.schema == RESPONSES
    assert found["image_id"].to_list() == list("cabfde")
    good = found.filter(pl.col("image_id") != "b")
    assert good["error"].null_count() == 5
    assert set(good["finish_reason"]) <= {"stop", "length"}
    assert good["text"].n_unique() == 5
    assert good.select(
        "model", "prompt_id", "rounds", "attempt", "engine", "attention"
    ).unique().rows() == [("tiny", "short", 1, 1, "transformers", "sdpa")]
    assert good["revision"].str.len_chars().unique().to_list() == [64]
    # The text is what transformers' own generate says to the very image.
    family, processor, model = tiny_model("qwen2_5_vl")
    images = pl.read_parquet(run.images[1])
    data = images.filter(pl.col("image_id") == "d")["image"][0]["bytes"]
    inputs = encode(processor, first_conversation(Image.open(io.BytesIO(data)), "Describe.", {}))
    ids = model.generate(
        **inputs,
        max_new_tokens=6,
        do_sample=False,
        eos_token_id=families.stop_ids(family, processor, model),
    )
    text = processor.tokenizer.decode(ids[0, inputs["input_ids"].shape[1] :])
    row = good.row(by_predicate=pl.col("image_id") == "d", named=True)
    assert row["text"] == text
    assert row["prompt_tokens"] == inputs["input_ids"].shape[1]
    assert row["image_tokens"] == (inputs["input_ids"] == processor.image_token_id).sum()


def test_an_image_that_cannot_be_read_has_an_error_row(run):
    row = run().row(by_predicate=pl.col("image_id") == "b", named=True)
    assert (row["finish_reason"], row["text"], row["rounds"]) == ("error", None, 0)
    assert "image cannot be read" in row["error"]


def test_a_second_call_generates_nothing_and_writes_the_same(run, monkeypatch):
    run()
    first, journal = run.bytes, run.journal
    for out in run.outputs:
        out.unlink()
    monkeypatch.setattr(script, "_generate", lambda *a: pytest.fail("asked to generate"))
    run()
    assert run.bytes == first
    assert run.journal == journal


def test_without_new_work_torch_is_not_even_imported(run):
    run()
    arguments = {
        "images": run.images,
        "responses": [str(out) for out in run.outputs],
        "journal": str(run.folder / "journal"),
        "settings": run.settings,
        "inference": INFERENCE,
        "threads": 1,
    }
    program = (
        "import json, sys, generate_responses\n"
        f"generate_responses.generate_responses(**json.loads({json.dumps(arguments)!r}))\n"
        "print([name for name in ('torch', 'transformers') if name in sys.modules])"
    )
    scripts = Path(script.__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=scripts, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_killed_job_goes_on_where_it_stopped(
    run, tmp_path, shards, tiny_checkpoint, monkeypatch, encoded
):
    whole = Run(tmp_path / "whole", shards, tiny_checkpoint("qwen2_5_vl"))
    whole()
    assert len(encoded) == 5
    encoded.clear()

    generate = TransformersEngine._generate_batch

    def killed(self, batch):
        if len(encoded) > 2:
            raise KeyboardInterrupt
        return generate(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(TransformersEngine, "_generate_batch", killed)
        with pytest.raises(KeyboardInterrupt):
            run()
    assert not any(out.exists() for out in run.outputs)
    responses = [line for line in run.journal if line["kind"] == "response"]
    assert {line["row"]["image_id"] for line in responses} == {"c", "a"}
    # A line cut in the middle is made again, a whole one is not.
    journal = run.folder / "journal" / "00.jsonl"
    kept = [line for line in journal.read_text().splitlines() if '"image_id": "c"' in line]
    journal.write_text(kept[0] + "\n" + kept[0][:40])
    encoded.clear()
    run()
    assert len(encoded) == 4
    assert run.bytes == whole.bytes


def test_batch_size_does_not_change_a_byte(run, tmp_path, shards, tiny_checkpoint):
    run()
    other = Run(tmp_path / "other", shards, tiny_checkpoint("qwen2_5_vl"))
    other(batch_size=5)
    assert other.bytes == run.bytes


def test_sampled_texts_depend_on_the_seed_alone(tmp_path, shards, tiny_checkpoint):
    decoding = {"max_new_tokens": 6, "temperature": 1.0}
    runs = [
        Run(tmp_path / str(i), shards, tiny_checkpoint("qwen2_5_vl"), decoding=decoding)
        for i in range(3)
    ]
    runs[2].settings["seed"] = 2
    first, again, other = runs[0](), runs[1](batch_size=3), runs[2]()
    assert first.equals(again)
    assert (first["text"] != other["text"]).drop_nulls().all()


def test_changed_settings_are_generated_anew_beside_the_old(run, encoded):
    run()
    run.settings["model"]["decoding"] = {"max_new_tokens": 3, "temperature": 0.0}
    short = run()
    assert short["completion_tokens"].max() == 3
    assert len(encoded) == 10
    run.settings["model"]["decoding"] = {"max_new_tokens": 6, "temperature": 0.0}
    assert run()["completion_tokens"].max() == 6
    assert len(encoded) == 10


def test_a_renamed_prompt_is_not_generated_anew(run, encoded):
    run()
    run.settings["prompt"] = {"id": "renamed", "text": "Describe."}
    assert run()["prompt_id"].unique().to_list() == ["renamed"]
    assert len(encoded) == 5


def test_only_new_images_are_generated(run, encoded, tmp_path):
    run()
    extra = pl.read_parquet(run.images[1])
    third = tmp_path / "01.parquet"
    renamed = extra.head(1).with_columns(image_id=pl.lit("new"))
    pl.concat([extra, renamed]).write_parquet(third)
    run.images[1] = str(third)
    assert run()["image_id"].to_list() == ["c", "a", "b", "f", "d", "e", "new"]
    assert len(encoded) == 6


def test_a_job_leaves_one_record_of_what_it_was(run):
    run()
    records = read_runs(run.folder / "journal" / "00.jsonl")
    records += read_runs(run.folder / "journal" / "01.jsonl")
    (record,) = records
    rows = [line["row"] for line in run.journal if line["kind"] == "response"]
    assert record["responses"] == 6
    assert record["completion_tokens"] == sum(row["completion_tokens"] for row in rows) > 0
    assert record["seconds"] >= max(line.get("at", 0) for line in run.journal)
    assert {line["run"] for line in run.journal} == {record["run"]}
    assert (record["attention"], record["dtype"], record["device"]) == ("sdpa", "float32", "cpu")
    assert {"torch", "transformers", "python"} <= set(record["versions"])


def test_a_hub_repository_without_a_revision_is_refused(run):
    run.settings["model"]["repository"] = "zai-org/GLM-4.1V-9B-Thinking"
    with pytest.raises(ValueError, match=r"GLM-4.1V-9B-Thinking has no revision.*pin"):
        run()
    assert not run.folder.exists()


def test_an_unknown_engine_is_an_error(run):
    with pytest.raises(ValueError, match=r"inference\.engine is 'vllm'"):
        run(engine="vllm")


def test_what_cannot_be_had_fails_before_a_model_is_loaded(run, monkeypatch):
    monkeypatch.setattr(families, "get", lambda name: pytest.fail("a model was asked for"))
    with pytest.raises(ValueError, match="not a CUDA device"):
        run(attention="flash_attention_2")


def test_a_model_that_asks_for_the_whole_image_has_two_rounds(
    tmp_path, shards, tiny_checkpoint, monkeypatch, encoded
):
    second = {"first_scale": 0.5, "template": "<tool_response>{image}</tool_response>"}
    run = Run(tmp_path, shards, tiny_checkpoint("qwen2_5_vl"), second_round=second)
    # Random weights call no tool: take any text for a call, and any token for an end.
    monkeypatch.setattr(chat, "TOOL_CALL", re.compile(""))
    monkeypatch.setattr(families, "stop_ids", lambda *parts: list(range(400)))
    found = run().filter(pl.col("image_id") != "b")
    assert found["rounds"].to_list() == [2] * 5
    assert found["completion_tokens"].to_list() == [2] * 5
    assert found["finish_reason"].to_list() == ["stop"] * 5
    assert all("\n" in text for text in found["text"])
    assert len(encoded) == 10
    # The half image counts twice, the whole one once: less than two and a half, as a half has a
    # quarter of the tokens and no fewer than one.
    alone = Run(tmp_path / "alone", shards, tiny_checkpoint("qwen2_5_vl"))()
    whole = alone.filter(pl.col("image_id") != "b")["image_tokens"]
    assert (found["image_tokens"] > whole).all()
    assert (found["image_tokens"] < 2.5 * whole).all()


def test_image_settings_reach_the_processor(run):
    own = run()["image_tokens"].max()
    run.settings["model"]["image"] = {"min_pixels": 112 * 112}
    assert run()["image_tokens"].max() > own


def test_the_processor_may_come_from_another_repository(run, tmp_path, tiny_checkpoint):
    folder = shutil.copytree(tiny_checkpoint("qwen2_5_vl"), tmp_path / "processor")
    config = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").write_text(json.dumps(config | {"min_pixels": 112 * 112}))
    own = run()["image_tokens"].max()
    run.settings["model"]["processor"] = {"repository": str(folder)}
    assert run()["image_tokens"].max() > own
