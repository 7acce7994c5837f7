"""Both server engines against a real vLLM on the CPU, beside the engine in this process.

`make test-vllm` installs vLLM into `.venv-vllm`; the variable VLLM names another executable.
"""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import closing
from functools import cache
from pathlib import Path

import asking
import pytest
import yaml
from waiting import wait_for

from imagenet_think.inference.chat import first_conversation
from imagenet_think.inference.conversations import Policy, converse
from imagenet_think.inference.engines import (
    Request,
    server_engine,
    supervisor,
    transformers_engine,
    vllm_engine,
)
from imagenet_think.inference.loops import CHECK_EVERY
from imagenet_think.inference.seeding import row_seed
from imagenet_think.miniature import drawings

ROOT = Path(__file__).parents[2]
EXECUTABLE = os.environ.get("VLLM", str(ROOT / ".venv-vllm" / "bin" / "vllm"))
CONFIG = yaml.safe_load((ROOT / "config" / "miniature.yaml").read_text(encoding="utf-8"))
LOOP = CONFIG["length_policy"]["loop"]
PROMPT = CONFIG["prompts"][CONFIG["prompt"]]
COUNT = 8


@pytest.fixture(autouse=True, scope="session")
def _memory():
    os.environ["VLLM_CPU_KVCACHE_SPACE"] = "1"  # GiB


@cache
def image(number):
    """A drawing as a JPEG file; every other one is no square, for the models that cut tiles."""
    wnid = sorted(drawings.NAMES)[number % len(drawings.NAMES)]
    picture = drawings.draw(drawings.scene_of(31, wnid, number))
    if number % 2:
        picture = picture.crop((0, 20, picture.width, picture.height - 30))
    data = io.BytesIO()
    picture.save(data, "JPEG", quality=95)
    return data.getvalue()


def images(count=COUNT):
    return [(f"image {number}", image(number)) for number in range(count)]


def inference(**settings):
    vllm = {
        "command": EXECUTABLE,
        "gpus": 1,
        "batch_size": 4,
        # No compilation: it takes longer than all these tests.
        "arguments": ["--enforce-eager"],
        "start_seconds": 1200.0,
        "request_seconds": 600.0,
        "retries": 3,
        "restarts": 2,
    }
    return asking.inference("vllm", vllm | settings, device="cpu")


def load(engine, model, settings, processor=None):
    return asking.load(engine, ROOT / model["repository"], settings, model, LOOP, processor)


def entry(key, **changes):
    return CONFIG["models"][key] | {"key": key} | changes


def answers(engine, model, count=COUNT):
    """What the engine says about images, with all rounds and forced answers: text and counts."""
    policy = Policy(
        model, PROMPT, 1, lambda image_id, *turn: row_seed(0, image_id, model["key"], *turn)
    )
    return {
        answer.response.key: answer
        for answer in converse(engine.generate, iter(images(count)), policy)
    }


def ours(model, count=COUNT):
    with closing(load(transformers_engine, model, inference())) as engine:
        return answers(engine, model, count)


def processes(key):
    """The processes that have a key in their environment: a server's, all of them."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                if key.encode() in (folder / "environ").read_bytes():
                    found[int(folder.name)] = (folder / "cmdline").read_bytes().decode()
            except (OSError, ProcessLookupError):
                continue
    return found


def key_of(engine):
    return engine.run(engine.server.address()).key


ONE_SERVER = pytest.mark.xdist_group("glm")
"""Tests that share the server of `glm` run in one worker."""


PREFIX = {"prefix": "<think>Got it, let's look"}


@pytest.fixture(scope="module")
def glm():
    model = entry("glm-4.1v")
    with closing(load(vllm_engine, model, inference())) as engine:
        yield engine, model


@ONE_SERVER
@pytest.mark.parametrize("prefix", [{}, PREFIX])
def test_glm_says_the_same_as_in_this_process_also_after_a_prefix(glm, prefix):
    engine, model = glm
    prefixed = model | prefix
    said = answers(engine, prefixed)
    assert said == ours(prefixed)
    start = prefix.get("prefix", "")
    assert all(answer.response.text.startswith(start) for answer in said.values())
    record = engine.record
    assert (record["engine"], record["device"], record["dtype"]) == ("vllm", "cpu", "float32")
    assert record["versions"]["vllm"].startswith("0.")


@ONE_SERVER
def test_a_thought_is_closed_by_force(glm):
    engine, model = glm
    short = model | {
        "decoding": {"max_new_tokens": 20, "temperature": 0.0},
        "close_thought": {"text": "</think><answer>", "max_new_tokens": 30},
    }
    said = answers(engine, short)
    assert all(answer.forced for answer in said.values())
    assert said == ours(short)


@ONE_SERVER
def test_another_server_engine_says_the_same(glm, monkeypatch):
    """The server is one that is there already, for the other engine."""
    engine, model = glm
    address = engine.run(engine.server.address())
    monkeypatch.setenv("VLLM_TEST_KEY", address.key)
    settings = {"url": address.url, "key_variable": "VLLM_TEST_KEY"}
    chosen = asking.inference("server", settings | {"request_seconds": 600.0, "retries": 2})
    with closing(load(server_engine, model, chosen)) as other:
        assert answers(other, model) == answers(engine, model)
        # Here the prefix is an unfinished turn of the assistant.
        assert answers(other, model | PREFIX) == answers(engine, model | PREFIX)

    hot = model | {"decoding": {"max_new_tokens": 64, "temperature": 1.0}}
    with closing(load(server_engine, hot, chosen)) as other:
        asked = [
            Request(f"{seed} {i}", first_conversation(image(0), PROMPT, hot), seed, 64)
            for seed in range(4)
            for i in range(2)
        ]
        texts = {r.key: r.text for r in other.generate(asked)}
    assert all(texts[f"{seed} 0"] == texts[f"{seed} 1"] for seed in range(4))
    assert len(set(texts.values())) > 1

    # What never ends is a loop at the very token at which the engine in this process ends it.
    endless = model | {"decoding": {"max_new_tokens": 640, "temperature": 0.0}}
    with closing(load(server_engine, endless, chosen)) as other:
        other._stop_ids = [0]
        body = other._body
        other._body = lambda *given: body(*given) | {"ignore_eos": True, "repetition_penalty": 0.8}
        messages = first_conversation(image(0), PROMPT, model)
        (response,) = other.generate([Request("endless", messages, 0, 640)])
    assert response.finish_reason == "loop"
    assert response.completion_tokens % CHECK_EVERY == 0


@ONE_SERVER
@pytest.mark.parametrize("what", ["EngineCore", "serve"])
def test_a_killed_server_is_started_again_and_nothing_is_lost(glm, what):
    engine, model = glm
    restarts = engine.record["restarts"]
    asked = [
        Request(name, first_conversation(data, PROMPT, model), row_seed(0, name, "m", 1), 256)
        for name, data in images(24)
    ]
    first = {r.key: r for r in engine.generate(iter(asked))}
    again = {}
    for response in engine.generate(iter(asked)):
        again[response.key] = response
        if len(again) == 2:
            lines = processes(key_of(engine))
            (pid,) = [n for n in lines if what in lines[n] and supervisor.__file__ not in lines[n]]
            os.kill(pid, signal.SIGKILL)
    assert engine.record["restarts"] == restarts + 1
    assert len(again) == 24
    assert again == first


def test_visionthink_sees_half_and_then_the_whole(tmp_path):
    """Its processor comes from another folder, and names a class that was never released."""
    model = entry("visionthink")
    folder = ROOT / model["repository"]
    processor, checkpoint = tmp_path / "processor", tmp_path / "checkpoint"
    shutil.copytree(folder, processor, ignore=shutil.ignore_patterns("*.safetensors"))
    checkpoint.mkdir()
    for name in ("config.json", "generation_config.json", "model.safetensors"):
        (checkpoint / name).symlink_to(folder / name)
    settings = json.loads((processor / "preprocessor_config.json").read_text())
    settings["image_processor_type"] = "Qwen2_5_VLImageProcessor"
    (processor / "preprocessor_config.json").write_text(json.dumps(settings))
    apart = model | {"repository": str(checkpoint)}
    with closing(load(vllm_engine, apart, inference(), processor)) as engine:
        said = answers(engine, model, 16)
        key = key_of(engine)
        assert len(processes(key)) >= 3
    assert not processes(key)
    assert said == ours(model, 16)
    assert {answer.rounds for answer in said.values()} == {1, 2}
    first = said[min(key for key in said if said[key].rounds == 1)].response
    second = next(answer for answer in said.values() if answer.rounds == 2).response
    assert second.image_tokens > 4 * first.image_tokens


def test_internvl_is_shown_its_tiles():
    model = entry(
        "internvl3.5", image={"crop_to_patches": True, "min_patches": 1, "max_patches": 4}
    )
    with closing(load(vllm_engine, model, inference())) as engine:
        said = answers(engine, model)
    assert said == ours(model)
    whole = ours(entry("internvl3.5"))
    assert all(said[k].response.image_tokens >= whole[k].response.image_tokens for k in said)
    assert any(said[k].response.image_tokens > whole[k].response.image_tokens for k in said)


JOB = """
import json, sys
from imagenet_think.inference.engines import vllm_engine
model, setup = json.loads(sys.argv[1])
vllm_engine.load(model, **setup)
"""


def test_a_killed_job_leaves_no_server_behind(monkeypatch):
    mark = f"job-{os.getpid()}-{time.time_ns()}"
    model = entry("glm-4.1v")
    place = (str(ROOT / model["repository"]), "digest")
    setup = {"loop": None, "checkpoint": place, "processor": place}
    setup |= {"inference": inference(), "threads": 1}
    job = subprocess.Popen(
        [sys.executable, "-c", JOB, json.dumps([model, setup])],
        env=os.environ | {"PYTHONPATH": str(ROOT / "scripts"), "TEST_MARK": mark},
    )
    wait_for(lambda: any("EngineCore" in line for line in processes(mark).values()), 1200)
    job.kill()
    job.wait()
    wait_for(lambda: not processes(mark), 1200)
