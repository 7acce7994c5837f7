import json
import signal
import stat
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import asking
import played_server
import pytest
from asking import MODEL, all_expected, answered, answered_before_error, load, requests
from waiting import wait_for

from imagenet_think.inference.engines import EngineError, supervisor, vllm_engine, vllm_server


@pytest.fixture(autouse=True)
def _short_times(monkeypatch):
    monkeypatch.setattr(vllm_server, "_GRACE_SECONDS", 2.0)
    monkeypatch.setattr(vllm_server, "_POLL_SECONDS", 0.05)


@pytest.fixture
def executable(play, monkeypatch):
    """A `vllm` that plays one."""
    path = play.folder / "bin" / "vllm"
    path.parent.mkdir()
    path.write_text(f'#!/bin/sh\nexec {sys.executable} {played_server.__file__} "$@"\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PLAY", str(play.folder))
    return str(path)


def inference(executable, **settings):
    defaults = {
        "command": executable,
        "gpus": 1,
        "batch_size": 4,
        "arguments": [],
        "start_seconds": 300.0,
        "request_seconds": 300.0,
        "retries": 5,
        "restarts": 3,
    }
    return asking.inference("vllm", defaults | settings)


def loaded(tiny, executable, model=MODEL, **settings):
    return load(vllm_engine, tiny.folder, inference(executable, **settings), model)


def is_running(pid):
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def given(start):
    """The arguments of a start, by name."""
    return dict(x.removeprefix("--").partition("=")[::2] for x in start["arguments"])


def servers(play):
    return [start["pid"] for start in play.notes("starts")]


def test_the_server_is_started_used_and_ended(tiny, executable, play):
    asked = requests(12)
    with closing(loaded(tiny, executable)) as engine:
        assert answered(engine, asked) == all_expected(tiny, asked)
        record = engine.record
        (pid,) = servers(play)
        assert is_running(pid)
    assert not is_running(pid)
    assert (record["engine"], record["device"], record["devices"]) == ("vllm", "cpu", 1)
    assert (record["dtype"], record["restarts"]) == ("float32", 0)
    assert record["versions"]["vllm"] == "0.played"
    engine.close()  # once more does no harm


def test_no_proxy_of_the_environment_comes_between(tiny, executable, monkeypatch):
    for name in ("http_proxy", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "socks5://127.0.0.1:9")
    asked = requests(3)
    with closing(loaded(tiny, executable)) as engine:
        assert answered(engine, asked) == all_expected(tiny, asked)


def test_how_the_server_is_started(tiny, executable, play, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/somewhere/of/ours")
    model = {
        **MODEL,
        "image": {"min_pixels": 3136, "max_pixels": 6272},
        "second_round": {"first_scale": 0.5, "template": "{image}"},
    }
    given_settings = {"arguments": ["--enforce-eager"], "gpus": 2}
    with closing(loaded(tiny, executable, model=model, **given_settings)) as engine:
        (start,) = play.notes("starts")
        flags, own = engine.record["flags"], engine.record["arguments"]
        assert engine.record["computation"] == f"vllm, float32, vllm 0.played, {' '.join(flags)}"
    arguments, environment = start["arguments"], start["environment"]
    assert arguments[:2] == ["serve", str(tiny.folder)]
    named = given(start)
    assert json.loads(named["limit-mm-per-prompt"]) == {"image": 2, "video": 0}
    size = {"shortest_edge": 3136, "longest_edge": 6272}
    assert json.loads(named["mm-processor-kwargs"]) == {"size": size}
    assert (
        named.items()
        >= {
            "generation-config": "vllm",
            "served-model-name": "m",
            "max-num-seqs": "4",
            "data-parallel-size": "2",
            "api-server-count": "2",
            "mm-processor-cache-gb": "0",
            "enable-prefix-caching": "",
            "host": "127.0.0.1",
            "enforce-eager": "",
        }.items()
    )
    # What can change a text is apart from what cannot, and no path or key of this job is recorded.
    assert flags == [*arguments[arguments.index(flags[0]) : -3], "--enforce-eager"]
    recorded = {x.partition("=")[0] for x in flags}
    assert recorded >= {"--limit-mm-per-prompt", "--mm-processor-kwargs", "--dtype"}
    assert not recorded & {"--max-num-seqs", "--api-server-count", "--data-parallel-size"}
    assert set(flags) < set(own) < set(arguments)
    assert not [x for x in own if str(tiny.folder) in x or "imagenet-think-vllm" in x]
    key = environment.pop("VLLM_API_KEY")
    assert len(key) > 30
    assert not any(key in argument for argument in arguments)
    assert environment == {"PYTHONPATH": None, "OMP_NUM_THREADS": "1", "VLLM_NO_USAGE_STATS": "1"}


@pytest.mark.parametrize(("threads", "count"), [(1, "1"), (8, "2")])
def test_front_ends_follow_the_threads_and_arguments_come_last(
    tiny, executable, play, threads, count
):
    chosen = inference(executable, arguments=["--max-num-seqs=9"])
    with closing(load(vllm_engine, tiny.folder, chosen, threads=threads)):
        (start,) = play.notes("starts")
    assert given(start)["api-server-count"] == count
    assert given(start)["max-num-seqs"] == "9"  # the last one counts
    assert "data-parallel-size" not in given(start)


def test_as_many_are_in_flight_as_the_caches_hold(tiny, executable, play):
    asked, rows = requests(60), {"batch_size": 8, "gpus": 2}
    with closing(loaded(tiny, executable, **rows)) as engine:  # which says nothing of its caches
        longest = engine._tokens  # a request with the longest response
        responses = list(engine.generate(asked))
        assert engine.record["batch_size"] == 16
        assert engine.record["most_in_flight"] == 18  # two wait in the server
        assert engine.record["cached_tokens"] is None
    used = longest + sum(r.prompt_tokens + r.completion_tokens for r in responses)
    caches = [longest, longest + longest // 2]
    play.set(caches=caches)
    with closing(loaded(tiny, executable, **rows)) as engine:
        assert engine.record["cached_tokens"] == sum(caches)
        assert engine._room() == 2  # of the longest
        assert answered(engine, asked) == all_expected(tiny, asked)
        assert engine._room() == sum(caches) * (1 + len(asked)) // used > 2
        assert 2 <= engine.record["most_in_flight"] < 18
    play.set(caches=[longest // 2])
    with closing(loaded(tiny, executable)) as engine:
        assert engine._room() == 1  # one goes on, whatever the estimate


def test_a_prefix_follows_the_whole_template(tiny, executable, play):
    with closing(loaded(tiny, executable)) as engine:
        (start,) = play.notes("starts")
        template = Path(given(start)["chat-template"]).read_text(encoding="utf-8")
        list(engine.generate([replace(requests(1)[0], prefix="<think>")]))
    assert template.startswith(tiny.processor.chat_template)
    assert template.endswith("{{ continuation | default('') }}")
    sent = play.notes("requests")[-1]
    assert sent["chat_template_kwargs"] == {"continuation": "<think>"}
    assert [message["role"] for message in sent["messages"]] == ["user"]


@pytest.mark.parametrize(
    ("faults", "starts", "restarts"),
    [
        ({"6": "die", "17": "die"}, [], 2),
        ({"6": "die halfway", "17": "die halfway"}, [], 2),
        ({"6": "sick", "17": "sick"}, [], 2),
        ({"4": "die"}, [None, "crash", None], 2),
        ({"3": "500", "4": "429", "7": "tear"}, [], 0),
    ],
    ids=["dead", "dead halfway", "sick", "a failed start counts", "healthy"],
)
def test_a_server_is_started_again_only_if_it_is_dead_and_nothing_is_lost(
    tiny, executable, play, faults, starts, restarts
):
    asked = requests(20)
    play.set(faults=faults, starts=starts)
    with closing(loaded(tiny, executable)) as engine:
        assert answered(engine, asked) == all_expected(tiny, asked)
        assert engine.record["restarts"] == restarts
    assert len(servers(play)) == 1 + restarts
    assert not any(map(is_running, servers(play)))


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["hang", "stall"])
def test_a_hung_server_is_started_again_and_nothing_is_lost(tiny, executable, play, fault):
    asked = requests(10)
    # All that are in flight: one that hangs while others are answered is only slow.
    play.set(faults={str(number): fault for number in range(4, 8)}, stubborn=True)
    with closing(loaded(tiny, executable, request_seconds=4.0)) as engine:
        assert answered(engine, asked) == all_expected(tiny, asked)
        assert engine.record["restarts"] == 1
    assert not any(map(is_running, servers(play)))


def test_a_server_that_keeps_dying_ends_the_job(tiny, executable, play):
    asked = requests(6)
    play.set(faults={str(number): "die" for number in range(4, 100)})
    engine = loaded(tiny, executable, restarts=2)
    good = answered_before_error(engine, asked, "started again 2 times")
    assert good.items() <= all_expected(tiny, asked).items()
    assert len(servers(play)) == 3
    assert not any(map(is_running, servers(play)))


def test_a_server_that_ends_at_its_start_is_not_waited_for(tiny, executable, play):
    play.set(starts=["crash"])
    with pytest.raises(EngineError, match=r"status 1 before(.|\n)*no room on the device"):
        loaded(tiny, executable)


def test_a_server_that_does_not_start_in_time_is_ended(tiny, executable, play, monkeypatch):
    play.set(starts=["hang"])

    def monotonic():  # its time is over as soon as it hangs
        return time.monotonic() + 1000 * len(play.notes("hanging"))

    monkeypatch.setattr(vllm_server, "time", SimpleNamespace(monotonic=monotonic))
    with pytest.raises(EngineError, match=r"not healthy after 300 seconds(.|\n)*Initializing"):
        loaded(tiny, executable)
    assert not any(map(is_running, servers(play)))


def test_a_port_that_was_taken_is_changed(tiny, executable, play):
    play.set(starts=["port", "port"])
    with closing(loaded(tiny, executable)) as engine:
        assert engine.record["restarts"] == 0
    assert len({given(start)["port"] for start in play.notes("starts")}) == 3


def test_the_device_must_be_the_one_in_the_config(tiny, executable, play):
    chosen = inference(executable) | {"device": "cuda"}
    with pytest.raises(EngineError, match="computes on cpu"):
        load(vllm_engine, tiny.folder, chosen)
    assert not any(map(is_running, servers(play)))


def test_settings_are_checked_early(tmp_path):
    with pytest.raises(ValueError, match=r"no such executable: run `make vllm`"):
        vllm_engine.check(inference(str(tmp_path / "vllm")))


OWNER = """
import subprocess, sys, time
command = [sys.executable, "-I", sys.argv[1], "0.5", sys.executable, "-c", sys.argv[2]]
process = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
if sys.argv[3] == "wait":
    sys.exit(process.wait())
time.sleep(6000)
"""
SUPERVISED = """
import os, pathlib, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.{action})
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(6000)"])
pathlib.Path({path!r}).write_text(f"{{os.getpid()}} {{child.pid}}")
{end}
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("action", ["SIG_DFL", "SIG_IGN"])
def test_a_supervised_process_ends_with_its_owner(tmp_path, number, action):
    pids = tmp_path / "pids"
    script = SUPERVISED.format(action=action, path=str(pids), end="time.sleep(6000)")
    owner = subprocess.Popen([sys.executable, "-c", OWNER, supervisor.__file__, script, "sleep"])
    wait_for(lambda: pids.exists() and pids.read_text().count(" "))
    server, child = map(int, pids.read_text().split())
    assert is_running(server)
    assert is_running(child)
    owner.send_signal(number)
    owner.wait()
    wait_for(lambda: not is_running(server) and not is_running(child))


@pytest.mark.parametrize(("end", "status"), [("sys.exit(7)", 7), ("os.kill(os.getpid(), 9)", 137)])
def test_a_process_that_ends_leaves_nothing_behind(tmp_path, end, status):
    pids = tmp_path / "pids"
    script = SUPERVISED.format(action="SIG_DFL", path=str(pids), end=f"time.sleep(0.2); {end}")
    owner = subprocess.run([sys.executable, "-c", OWNER, supervisor.__file__, script, "wait"])
    assert owner.returncode == status
    _, child = map(int, pids.read_text().split())
    assert not is_running(child)


def test_the_log_says_what_vllm_computes_with():
    log = (
        "(APIServer pid=7) INFO 11-20 [api_utils.py:286] non-default args: {'dtype': 'auto'}\n"
        "(EngineCore pid=9) INFO 11-20 [core.py:133] Initializing a V1 LLM engine (v0.32.0) with "
        "config: model='/m', dtype=torch.bfloat16, max_seq_len=4096, tensor_parallel_size=2, "
        "pipeline_parallel_size=1, data_parallel_size=3, kv_cache_dtype=auto, device_config=cuda\n"
        "(Worker pid=10) INFO Using default backend AttentionBackendEnum.TORCH_SDPA for vit "
        "attention\n"
        "(Worker pid=10) INFO Using FLASH_ATTN attention backend out of potential backends\n"
    )
    names = ("device", "devices", "dtype", "attention")
    found = (vllm_server.read_log(text) for text in (log, ""))
    assert [tuple(map(each.get, names)) for each in found] == [
        ("cuda", 6, "bfloat16", "flash_attn"),
        (None, 1, None, "vllm"),
    ]


def write(folder, files):
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


KIND = "Qwen2VLImageProcessor"


def test_the_processor_of_a_different_repository_is_joined_to_the_model(tmp_path):
    kept = {"config.json": "of the model", "model.safetensors": "weights"}
    new, name = {"tokenizer.json": "new"}, "preprocessor_config.json"
    model = write(tmp_path / "model", kept | {"tokenizer.json": "old", name: "{}"})
    given = new | {"config.json": "of the other", name: '{"patch_size": 14}'}
    processor = write(tmp_path / "processor", given)
    joined = vllm_engine.joined_folder(model, processor, KIND, tmp_path / "joined")
    read = {path.name: path.read_text() for path in joined.iterdir()}
    assert json.loads(read.pop(name))["patch_size"] == 14
    assert read == kept | new


def test_an_unreleased_class_of_image_processor_is_renamed(tmp_path):
    settings = '{"image_processor_type": "Qwen2_5_VLImageProcessor", "min_pixels": 3136}'
    model = write(tmp_path / "model", {"preprocessor_config.json": settings})
    joined = vllm_engine.joined_folder(model, model, KIND, tmp_path / "joined")
    read = json.loads((joined / "preprocessor_config.json").read_text())
    assert read == {"image_processor_type": KIND, "min_pixels": 3136}
    (model / "preprocessor_config.json").write_text(f'{{"image_processor_type": "{KIND}Fast"}}')
    assert vllm_engine.joined_folder(model, model, KIND, tmp_path / "none") == model


def test_code_of_a_repository_is_run_only_if_trusted(tiny_checkpoint, executable, play):
    folder = tiny_checkpoint("kimi_vl")  # its config has an `auto_map`
    model = MODEL | {"family": "kimi_vl"}
    with pytest.raises(ValueError, match=r"brings code of its own(.|\n)*--trust-remote-code"):
        load(vllm_engine, folder, inference(executable), model)
    assert not play.notes("starts")
    trusted = inference(executable, arguments=["--trust-remote-code"])
    with pytest.raises(ValueError, match=r"image settings \['in_token_limit'\] cannot be given"):
        load(vllm_engine, folder, trusted, model | {"image": {"in_token_limit": 64}})
    with closing(load(vllm_engine, folder, trusted, model)):
        (start,) = play.notes("starts")
    assert start["arguments"][:2] == ["serve", str(folder)]
    assert "--trust-remote-code" in start["arguments"]
    assert not any("revision" in argument for argument in start["arguments"])


def test_a_hub_id_with_code_is_pinned(tmp_path, monkeypatch, tiny_checkpoint):
    folder = Path(tiny_checkpoint("kimi_vl"))
    monkeypatch.setattr(vllm_engine.checkpoints, "local_folder", lambda *_, **__: folder)
    monkeypatch.setattr(vllm_engine.checkpoints, "read_json", lambda *_: {"auto_map": {}})
    monkeypatch.setattr(vllm_engine.checkpoints, "chat_template", lambda _: "")
    place = ("owner/kimi", "abc")
    settings = {"arguments": ["--trust-remote-code"]}
    arguments = vllm_engine._checkpoint_arguments({}, None, place, place, settings, tmp_path)
    pins = ["--revision=abc", "--code-revision=abc", "--tokenizer-revision=abc"]
    assert arguments[:4] == ["owner/kimi", *pins]
    with pytest.raises(ValueError, match="cannot be given the processor of other/one"):
        vllm_engine._checkpoint_arguments({}, None, place, ("other/one", "d"), settings, tmp_path)
