"""Whatever a server answers: a response, a named failure of that image, or one clear error."""

import json
import tracemalloc
from contextlib import closing, nullcontext
from types import SimpleNamespace

import asking
import played_server
import polars as pl
import pytest
from asking import load, requests
from waiting import wait_for

from imagenet_think.core.schemas import RESPONSES
from imagenet_think.inference.engines import (
    EngineError,
    addresses,
    server_answers,
    server_engine,
)
from imagenet_think.inference.engines.server_answers import MOST_BYTES
from imagenet_think.inference.journal import Journal, read_lines

CHAT, MODELS, VERSION = "/v1/chat/completions", "/v1/models", "/version"
HEAD = "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nConnection: close\r\n{more}\r\n"


def inference(url, **settings):
    defaults = {"url": url, "key_variable": None, "request_seconds": 300.0, "retries": 0}
    return asking.inference("server", defaults | settings)


def loaded(tiny, url, **settings):
    return load(server_engine, tiny.folder, inference(url, **settings))


@pytest.fixture(scope="module")
def running(tiny, tmp_path_factory):
    """A played server and an engine that asks it, without retries; proxies are set throughout."""
    play = played_server.Play(tmp_path_factory.mktemp("play"))
    with pytest.MonkeyPatch.context() as environment, played_server.served(play) as url:
        for name in ("http_proxy", "https_proxy", "ALL_PROXY"):
            environment.setenv(name, "http://127.0.0.1:9")
        with closing(loaded(tiny, url)) as engine:
            yield SimpleNamespace(engine=engine, play=play, url=url)


def http(body="", status="200 OK", kind="text/event-stream", more=""):
    return HEAD.format(status=status, kind=kind, more=more) + body


def events(*values):
    """An answer of these events, each as JSON unless it is a text."""
    lines = [value if isinstance(value, str) else json.dumps(value) for value in values]
    return http("".join(f"data: {line}\n\n" for line in [*lines, "[DONE]"]))


def choice(content=None, tokens=None, end=None, **more):
    delta = {} if content is None else {"content": content}
    given = {"delta": delta, "token_ids": tokens, "finish_reason": end}
    return {"choices": [given | more]}


def delta(**parts):
    return {"choices": [{"delta": parts, "finish_reason": "stop"}]}


def usage(prompt=None, completion=None):
    return {"choices": [], "usage": {"prompt_tokens": prompt, "completion_tokens": completion}}


def error(code=None, message="no", status="200 OK", **more):
    answer = {"error": {"message": message, "code": code} | more}
    return events(answer) if status == "200 OK" else http(json.dumps(answer), status)


FINE = choice("abc", [40, 41, 42], "stop")
VARIED = list(range(65))  # no loop
DEEP = "[" * 900 + "]" * 900

WRONG_FORM = {
    "an event is a list": [[1]],
    "an event is a number": [7],
    "an event is null": [None],
    "an event is a string": ['"text"'],
    "choices is an object": [{"choices": {"0": 1}}],
    "choices is a text": [{"choices": "stop"}],
    "a choice is null": [{"choices": [None]}],
    "a choice is a list": [{"choices": [[1]]}],
    "two choices": [{"choices": [*FINE["choices"], *FINE["choices"]]}],
    "another choice": [choice("abc", [40], "stop", index=1)],
    "delta is a list": [choice(delta=["a"])],
    "delta is a text": [choice(delta="a")],
    "content is a number": [choice(5, end="stop")],
    "content is a list": [choice(["a"], end="stop")],
    "reasoning is an object": [delta(reasoning={"a": 1})],
    "refusal is a number": [delta(refusal=3)],
    "tokens are a text": [choice(tokens="40")],
    "tokens are an object": [choice(tokens={"0": 40})],
    "a token is a text": [choice(tokens=["40"])],
    "a token is true": [choice(tokens=[True])],
    "a token is a fraction": [choice(tokens=[40.0])],
    "a negative token": [choice(tokens=[40, -1])],
    "a huge token": [choice(tokens=[10**30])],
    "a token of 64 bits": [choice(tokens=[2**63])],
    "a prompt of texts": [{"prompt_token_ids": ["a"]}, FINE],
    "a prompt of negative tokens": [{"prompt_token_ids": [-5] * 9}, FINE],
    "usage is a list": [FINE, {"usage": [1, 2]}],
    "usage of 10^30": [FINE, usage(10**30, 3)],
    "usage of 1e30": [FINE, usage(1e30, 3)],
    "negative usage": [FINE, usage(-7, 3)],
    "usage as texts": [FINE, usage("7", "3")],
    "usage is not a number": [FINE, '{"usage": {"prompt_tokens": NaN}}'],
    "finish_reason is a number": [choice("a", [40], 1)],
    "finish_reason is half an emoji": [choice("a", [40], "\ud83d")],
    "finish_reason has a million letters": [choice("a", [40], "s" * 10**6)],
    "deeply nested": [f'{{"choices": {DEEP}}}'],
}
NOT_JSON = {
    "torn": ['{"choices": ['],
    "nested without end": ["[" * 100_000],
    "an integer of 5,000 digits": ["1" * 5000],
    "a byte order mark": ["\xef\xbb\xbf{}"],
    "bytes that are no UTF-8": ["\xff\xfe\x00"],
}
AT_ODDS = {
    "longer": ([choice("a" * 9, VARIED, "length")], "longer than 64 tokens"),
    "longer, a token an event": ([choice("a", [n]) for n in VARIED], "longer than 64 tokens"),
    "a longer text": ([choice("word " * 10_000)] * 20, "longer than 64 tokens"),
    "no such token": ([choice("a", [2**31 - 1], "stop")], "no token 2147483647"),
    "after its end": ([FINE, FINE], "goes on after its end"),
    "tokens missing": ([FINE, usage(400, 9)], "only 3 tokens came; the server counts 9"),
    "events without tokens": ([choice("abc"), FINE], "only 3 tokens came"),
    "counts too many": ([choice("abc", end="stop"), usage(400, 65)], "more than 64"),
    "no end": ([choice("abc", [40])], "cut off"),
    "nothing": ([], "cut off"),
    "ended in an unknown way": ([choice("abc", [40], "abort")], r"cut off \(abort\)"),
    "ended as this project's loop": ([choice("abc", [40], "loop")], r"cut off \(loop\)"),
    "another prompt": ([{"prompt_token_ids": [1, 2, 3]}, FINE], "image tokens"),
    "no thought": ([delta(reasoning="hm")], "reasoning parser"),
    "a tool call": ([delta(tool_calls=[{"index": 0}])], "tool parser"),
    "tool_calls": ([choice("", [40], "tool_calls")], "tool parser"),
}
OVER_HTTP = {
    "a redirect": (http("", "302 Found", more="Location: http://elsewhere/\r\n"), "HTTP 302"),
    "no content": (http("", "204 No Content"), "HTTP 204"),
    "a status of 999": (http("", "999 What"), "HTTP 999"),
    "not HTTP": ("SSH-2.0-OpenSSH\r\n\r\n", "RemoteProtocolError"),
    "an HTML page": (http("<html>", kind="text/html"), "content type"),
    "a wrong length": (http("data", more="Content-Length: 99\r\n"), "RemoteProtocolError"),
    "no gzip": (http("plain", more="Content-Encoding: gzip\r\n"), "DecodingError"),
    "a long header": (http(more=f"X: {'a' * 200_000}\r\n"), "RemoteProtocolError"),
    "Retry-After ²": (http("{}", "429 Slow", more="Retry-After: \xb2\r\n"), "HTTP 429"),
    "Retry-After -1": (http("{}", "503 Busy", more="Retry-After: -1\r\n"), "HTTP 503"),
    "Retry-After nan": (http("{}", "503 Busy", more="Retry-After: nan\r\n"), "HTTP 503"),
    "Retry-After 9…9": (http("{}", "503 Busy", more=f"Retry-After: {'9' * 999}\r\n"), "HTTP 503"),
    "an error that is a list": (http("[1, [2]]", "500 No"), r"HTTP 500: \[1, \[2\]\]"),
    "an error nested deeply": (http(DEEP, "500 No"), "HTTP 500"),
    "an error with escapes": (http('"\\u001b[2J"', "500 No"), r"HTTP 500: \\x1b\[2J"),
    "an error in bytes": (http("\xff\xfe", "500 No"), "HTTP 500"),
    "a late error without code": (events({"error": "late"}), "late"),
    "a late error of 10^30": (error(code=10**30, message="odd"), "odd"),
    "a late error with a list": (error(code=[1], type={"a": 1}, message=["odd"]), "odd"),
    "a late wrong key": (error(code=401, message="key"), "the server answers key"),
}


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        *(pytest.param(events(*x), "wrong form", id=name) for name, x in WRONG_FORM.items()),
        *(pytest.param(events(*x), "not JSON", id=name) for name, x in NOT_JSON.items()),
        *(pytest.param(events(*x), said, id=name) for name, (x, said) in AT_ODDS.items()),
        *(pytest.param(*x, id=name) for name, x in OVER_HTTP.items()),
    ],
)
def test_a_wrong_answer_is_one_clear_error(running, answer, message):
    running.play.set(raw={CHAT: [answer, ""]})
    with pytest.raises(EngineError, match=message) as caught:
        list(running.engine.generate(requests(1)))
    said = str(caught.value)
    assert said.isprintable()
    assert len(said) < 1500
    assert running.url in said or "image tokens" in said


REFUSALS = {
    "content_filter": events(choice("ab", [40], "content_filter")),
    "a refusal": events(delta(refusal="I cannot")),
    "a refusal in pieces": events({"choices": [{"delta": {"refusal": "I "}}]}, delta(refusal="no")),
    "a filter in the stream": error(code="content_filter"),
    "a filter by type": error(type="content_filter"),
    "a filter by status": error(code="content_filter", status="403 Forbidden"),
    "a wrong request": error(status="400 Bad Request"),
    "half an emoji": error(message="\ud83d no", status="400 Bad Request"),
    "a long message": error(message="no " * 10**5, status="422 Unprocessable"),
    "no message": http("", "400 Bad Request"),
}
EMOJI = {
    "whole": (["a \U0001f600"], "a \U0001f600"),
    "in halves": (["a \ud83d", "\ude00 b"], "a \U0001f600 b"),
    "half of one": (["a \ud83d", "b"], "a \ufffdb"),
    "turned": (["\ude00", "\ud83d"], "\ufffd\ufffd"),
}


@pytest.mark.parametrize("answer", REFUSALS.values(), ids=list(REFUSALS))
def test_a_refusal_is_a_named_failure_of_that_image(running, answer, tmp_path):
    running.play.set(raw={CHAT: [answer, ""]})
    (response,) = running.engine.generate(requests(1))
    assert (response.text, response.finish_reason) == (None, "error")
    assert response.error
    assert len(response.error) < 1000
    assert kept(response, tmp_path) == [response.error]


@pytest.mark.parametrize(("parts", "text"), EMOJI.values(), ids=list(EMOJI))
def test_characters_in_halves_are_joined(running, parts, text, tmp_path):
    running.play.set(raw={CHAT: [events(*map(choice, parts), choice(end="stop")), ""]})
    (response,) = running.engine.generate(requests(1))
    assert (response.text, response.finish_reason) == (text, "stop")
    assert kept(response, tmp_path, "text") == [text]


def kept(response, folder, column="error"):
    """What a journal and a table hold of a response."""
    row = {name: getattr(response, name, None) for name in RESPONSES}
    row |= {"image_id": response.key, "fingerprint": "f"}
    with Journal(folder / "00.jsonl") as journal:
        journal.append_response(row)
    (line,) = read_lines(folder / "00.jsonl")
    pl.DataFrame([line["row"]], schema=RESPONSES).write_parquet(folder / "00.parquet")
    return pl.read_parquet(folder / "00.parquet")[column].to_list()


def test_one_refusal_does_not_end_the_others(running):
    running.play.set(raw={CHAT: [REFUSALS["content_filter"], ""]})
    refused = list(running.engine.generate(requests(6)))
    running.play.set()
    fine = list(running.engine.generate(requests(6)))
    assert [r.finish_reason for r in refused] == ["error"] * 6
    assert all(r.text for r in fine)


def test_a_run_keeps_a_refusal_in_its_journal_and_goes_on(running, run):
    before = len(running.play.notes("requests"))
    running.play.set(faults={str(before + 3): "filter"})  # the first is about a gray image
    engines = {"server": inference(running.url)["engines"]["server"]}
    chosen = {"engine": "server", "device": "auto", "engines": engines}
    rows = run(**chosen)
    reasons = rows.filter(pl.col("error").str.contains("refuses an answer"))
    assert reasons["finish_reason"].to_list() == ["error"]
    assert rows["text"].null_count() == 2  # and an image that cannot be read
    assert len(run.journaled) == len(rows) == 6
    asked = len(running.play.notes("requests"))
    assert run(**chosen).equals(rows)
    assert len(running.play.notes("requests")) == asked


def test_cookies_and_encodings_of_a_server_are_ignored(running):
    odd = events(FINE).replace("event-stream", "event-stream; charset=rot13")
    for _ in range(2):  # the second time, a cookie would be sent
        cookie = odd.replace("Connection", "Set-Cookie: a=\xe9; Path=/\r\nConnection", 1)
        running.play.set(raw={CHAT: [cookie, ""]})
        (response,) = running.engine.generate(requests(1))
        assert response.completion_tokens == 3


def line(value):
    return f"data: {json.dumps(value)}\n\n"


ENDLESS = {
    "an error": (CHAT, http(status="500 No"), "x" * 65536, "HTTP 500"),
    "one event": (CHAT, http("data: "), "x" * 65536, "byte limit"),
    "a text": (CHAT, http(), line(choice("a " * 9000)), "64 tokens"),
    "tokens": (CHAT, http(), line(choice("a", VARIED)), "64 tokens"),
    "models": (MODELS, http('{"data": ['), '{"id": "m"},' * 9000, "more than 1,048,576 bytes"),
    "an error for models": (MODELS, http(status="500 No"), "x" * 65536, "HTTP 500"),
    "headers": (CHAT, "HTTP/1.1 200 OK\r\n", "X: y\r\n" * 9000, "RemoteProtocolError"),
}


@pytest.mark.parametrize(("path", "answer", "more", "message"), ENDLESS.values(), ids=list(ENDLESS))
def test_an_endless_answer_is_not_read_to_its_end(running, tiny, path, answer, more, message):
    before = len(running.play.notes("sent"))
    running.play.set(raw={path: [answer, more]})
    ask = running.engine.generate if path == CHAT else lambda _: [loaded(tiny, running.url)]
    tracemalloc.start()
    try:
        with pytest.raises(EngineError, match=message):
            list(ask(requests(1)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MOST_BYTES * 16
    wait_for(lambda: len(running.play.notes("sent")) > before)
    # In each attempt; what it got rid of is in the system's buffers.
    assert max(running.play.notes("sent")[before:]) < MOST_BYTES * 16 < played_server.MOST


WRONG_MODELS = {
    "no list": ({"data": {"id": "m"}}, "wrong form"),
    "no data": ({"models": []}, "wrong form"),
    "none": ({"data": []}, "serves 0 models.*they are none"),
    "without a name": ({"data": [{}]}, "'id' is a required property"),
    "a number": ({"data": [{"id": 5}]}, "wrong form"),
    "half an emoji": ({"data": [{"id": "\ud83d"}]}, "wrong form"),
    "a thousand": ({"data": [{"id": f"\x1b{i}"} for i in range(1000)]}, "serves 1000 models"),
    "a context as text": ({"data": [{"id": "m", "max_model_len": "8"}]}, "wrong form"),
    "a huge context": ({"data": [{"id": "m", "max_model_len": 10**30}]}, "wrong form"),
    "a short context": ({"data": [{"id": "m", "max_model_len": 3}]}, "context 3"),
    "a list": ([1], "wrong form"),
    "no JSON": ("{", "not JSON"),
}


@pytest.mark.parametrize(("answer", "message"), WRONG_MODELS.values(), ids=list(WRONG_MODELS))
def test_a_wrong_list_of_models_is_one_clear_error(running, tiny, answer, message):
    body = answer if isinstance(answer, str) else json.dumps(answer)
    running.play.set(raw={MODELS: [http(body, kind="application/json"), ""]})
    with pytest.raises(EngineError, match=message) as caught:
        loaded(tiny, running.url)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1500


@pytest.mark.parametrize("version", ["[]", '{"version": 3}', '{"version": "\\ud83d"}', "1" * 5000])
def test_a_wrong_version_is_not_recorded(running, tiny, version):
    running.play.set(raw={VERSION: [http(version), ""]})
    with closing(loaded(tiny, running.url)) as engine:
        assert "vllm" not in engine.record["versions"]


def line(**labels):
    named = ",".join(f'{name}="{value}"' for name, value in labels.items())
    return f"vllm:cache_config_info{{{named}}} 1.0\n"


SIZE = "kv_cache_size_tokens"
CACHES = {
    "one engine": (line(engine=0, block_size=16, **{SIZE: 900}), 900),
    "in another order": (line(**{SIZE: 900}, skipped="[]", engine=0), 900),
    "two engines": (line(engine=0, **{SIZE: 900}) + line(engine=1, **{SIZE: 800}), 1700),
    "one engine twice": (
        line(engine=0, blocks=1, **{SIZE: 900}) + line(engine=0, **{SIZE: 900}),
        900,
    ),
    "quoted quotes": (line(path='a\\"},kv_cache_size_tokens=7', engine=0, **{SIZE: 900}), 900),
    "an earlier vLLM": (line(engine=0, num_gpu_blocks=70, block_size=16), None),
    "not known": (line(engine=0, **{SIZE: "None"}), None),
    "known of one": (line(engine=0, **{SIZE: 900}) + line(engine=1, **{SIZE: "None"}), None),
    "no tokens": (line(engine=0, **{SIZE: 0}), None),
    "negative": (line(engine=0, **{SIZE: -5}), None),
    "a fraction": (line(engine=0, **{SIZE: 1.5}), None),
    "huge": (line(engine=0, **{SIZE: "9" * 400}), None),
    "other digits": (line(engine=0, **{SIZE: "\xb2"}), None),
    "cut off": (line(engine=0, **{SIZE: 900})[:-20], None),
    "no metrics": ('{"data": []}', None),
    "no text": ("\xff\xfe\x00", None),
    "nothing": ("", None),
}


@pytest.mark.parametrize(("metrics", "tokens"), CACHES.values(), ids=list(CACHES))
def test_the_size_of_caches_is_what_the_metrics_say_or_not_known(metrics, tokens):
    assert server_answers.cached_tokens(metrics.encode("latin-1", "replace")) == tokens


def test_metrics_without_an_end_are_not_read(running, tiny):
    start = http(line(engine=0, **{SIZE: 900}), kind="text/plain")
    running.play.set(raw={"/metrics": [start, "x" * 2**16]})
    with closing(loaded(tiny, running.url)) as engine:
        assert engine.record["cached_tokens"] is None
    wait_for(lambda: running.play.notes("sent"))
    assert running.play.notes("sent")[-1] < played_server.MOST


@pytest.mark.parametrize("proxy", ["http://user:word@127.0.0.1:9", "socks5h://x:1", "nonsense://"])
def test_no_proxy_for_this_machine(running, tiny, proxy, monkeypatch):
    for name in ("http_proxy", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy)
    running.play.set()
    with closing(loaded(tiny, running.url)) as engine:
        (response,) = engine.generate(requests(1))
        assert response.text
        assert engine.record["device"] == running.url.removesuffix("/v1")


@pytest.mark.parametrize(
    ("proxy", "message"),
    [
        ("http://user:word@127.0.0.1:9", "proxy http://127.0.0.1:9, unless no_proxy names far"),
        ("socks5h://user:word@x:1", "proxy socks5h://x:1(.|\n)*cannot be used here"),
        ("nonsense", "http://nonsense"),
    ],
)
def test_an_error_names_the_proxy_between(tiny, proxy, message, monkeypatch):
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, proxy)
    with pytest.raises(EngineError, match=message) as caught:
        loaded(tiny, "http://far.invalid:8000/v1")
    assert "word" not in str(caught.value)


def test_a_proxy_that_refuses_is_named(running, tiny, monkeypatch):
    monkeypatch.setenv("http_proxy", running.url.removesuffix("/v1"))
    models = "http://far.invalid:8000/v1/models"
    running.play.set(raw={models: [http("no entry", "403 Forbidden"), ""]})
    with pytest.raises(EngineError, match=r"environment's proxy(.|\n)*HTTP 403: no entry"):
        loaded(tiny, "http://far.invalid:8000/v1")


@pytest.mark.parametrize(
    ("url", "is_here"),
    [
        ("http://127.0.0.1:8000/v1", True),
        ("http://localhost/v1", True),
        ("http://[::1]:8000/v1", True),
        ("http://0.0.0.0:1/v1", True),
        ("http://192.0.2.1/v1", False),
        ("http://far.invalid/v1", False),
        (f"http://{'a' * 300}/v1", False),
    ],
)
def test_addresses_of_this_machine(url, is_here):
    assert addresses.is_loopback(url) == is_here


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://user:word@host/v1", "user name"),
        ("https://word@host/v1", "user name"),
        ("http://host/v1?key=word", "query"),
        ("http://host/v1#word", "query"),
        ("host:8000", "no address"),
        ("ftp://host/v1", "no address"),
        ("http:///v1", "no address"),
        ("http://host:word/v1", "no address"),
        ("http://host:99999/v1", "no address"),
        ("http://[::1/v1", "no address"),
        ("http://a b/v1", "no address"),
        ("http://host/v1\n", "no address"),
        ("http://host:8000/v1", None),
        ("https://[2001:db8::1]/some/v1", None),
    ],
)
def test_an_address_holds_no_secret(url, message):
    with nullcontext() if message is None else pytest.raises(ValueError, match=message) as caught:
        server_engine.check(inference(url))
    if message in ("user name", "query"):
        assert "word@" not in str(caught.value)
        assert "=word" not in str(caught.value)


@pytest.mark.parametrize("key", ["two words", "line\n", "clé", "\x1b"])
def test_a_key_that_no_header_takes_is_refused_without_showing_it(monkeypatch, key):
    monkeypatch.setenv("TEST_SERVER_KEY", key)
    chosen = inference("http://host/v1", key_variable="TEST_SERVER_KEY")
    with pytest.raises(ValueError, match="TEST_SERVER_KEY, which holds no key") as caught:
        server_engine.check(chosen)
    assert key not in str(caught.value)
