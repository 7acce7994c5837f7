"""Plays an OpenAI-compatible server, or vLLM's executable, with faults at chosen moments.

It runs as a program of its own (`python played_server.py serve MODEL --port=N`), needs the standard
library alone, and keeps its state in the folder that the variable PLAY names: `play.json` says how
to behave, `requests.jsonl` and `starts.jsonl` what happened, over all its lives. An answer follows
from the conversation's text and the seed, and `answer` gives the same one to a test.
"""

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

LOOP = [7, 8, 9]
CHUNK = 3  # tokens an event
MOST = 2**27  # bytes of an endless answer
CRASHES = {
    "crash": "ValueError: no room on the device",
    "port": "OSError: [Errno 98] Address already in use",
}


METRICS = """\
# HELP vllm:cache_config_info Information of the LLMEngine CacheConfig
# TYPE vllm:cache_config_info gauge
vllm:cache_config_info{{block_size="16",cache_dtype="auto",enable_prefix_caching="True",\
engine="{}",kv_cache_dtype_skip_layers="[]",kv_cache_max_concurrency="1.5",\
kv_cache_size_tokens="{}",num_gpu_blocks="77"}} 1.0
"""


def answer(text, seed, limit, stop, words=range(10, 200)):
    """Return the tokens and the finish_reason of the answer to a text."""
    draw = random.Random(hashlib.sha256(f"{text}/{seed}".encode()).hexdigest())
    if "LOOP" in text:
        lead = [draw.choice(words) for _ in range(11)]
        return (lead + LOOP * limit)[:limit], "length"
    tokens = [draw.choice(words) for _ in range(5 + draw.randrange(40))] + [stop]
    return (tokens, "stop") if len(tokens) <= limit else (tokens[:limit], "length")


def said(messages):
    """Return the text of a conversation, as the server sees it."""
    parts = []
    for message in messages:
        content = message["content"]
        parts += [{"text": content}] if isinstance(content, str) else content
    return "".join(part.get("text", "") for part in parts)


class Play:
    """The folder by which a test and the server talk."""

    def __init__(self, folder):
        self.folder = Path(folder)

    def set(self, **settings):
        """Say how to behave.

        `faults`: number of a request (from 1, over all lives) to fault; `starts`: faults of starts,
        in their order; `tokens`: whether token ids are given; `prompt`: the prompt's ids; `usage`,
        `models`, `key`, `delay` (seconds between events), `reasoning`. `raw` has bytes (as Latin-1)
        that are the whole answer to a path, and bytes that follow over and over. `caches` has the
        size of each GPU's attention cache in tokens, as vLLM reports it. With `words`, tokens that
        are words, a server answers in these, by the image as well as by the text.
        """
        (self.folder / "play.json").write_text(json.dumps(settings))

    def get(self):
        path = self.folder / "play.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def note(self, name, record):
        """Append a record and return its number, from 1."""
        with (self.folder / f"{name}.jsonl").open("a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            number = len(file.readlines()) + 1
            file.write(json.dumps(record) + "\n")
            return number

    def notes(self, name):
        path = self.folder / f"{name}.jsonl"
        return [json.loads(line) for line in path.open()] if path.exists() else []


@contextlib.contextmanager
def served(play):
    """Run a played server; give its address."""
    before = len(play.notes("ports"))
    process = subprocess.Popen(
        [sys.executable, __file__, "serve", "m", "--port=0"],
        env=os.environ | {"PLAY": str(play.folder)},
        stdout=subprocess.DEVNULL,
    )
    try:
        while len(ports := play.notes("ports")) == before:
            assert process.poll() is None, "the played server has ended"
            time.sleep(0.02)
        port = ports[-1]
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.kill()
        process.wait()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def raw(self, answer, repeated):
        """Answer with bytes, and with others until the client has enough or has `MOST`."""
        data, sent = answer.encode("latin-1"), 0
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.wfile.write(data)
            data = repeated.encode("latin-1")
            while data and sent < MOST:
                self.wfile.write(data)
                sent += len(data)
        self.server.play.note("sent", sent)
        self.close_connection = True

    def do_GET(self):
        play = self.server.play.get()
        if self.path in play.get("raw", {}):
            self.raw(*play["raw"][self.path])
        elif self.path == "/health":
            self.reply(503 if self.server.sick else 200, {})
        elif self.path == "/version":
            self.reply(200, {"version": "0.played"})
        elif self.path == "/metrics":
            text = "".join(METRICS.format(*each) for each in enumerate(play.get("caches", [])))
            self.send(200, "text/plain", text.encode())
        elif self.allowed():
            models = [{"id": name} for name in play.get("models", [self.server.model])]
            models[0] |= {"max_model_len": play.get("context")} if models else {}
            self.reply(200, {"data": models})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.allowed():
            return
        play = self.server.play.get()
        number = self.server.play.note("requests", body)
        if self.path in play.get("raw", {}):
            self.raw(*play["raw"][self.path])
            return
        fault = play.get("faults", {}).get(str(number))
        if fault == "die":
            os._exit(9)
        if fault == "hang":
            self.server.hung.wait()
        elif fault in ("sick", "400", "404", "429", "500", "503"):
            self.server.sick = fault == "sick"
            status = 500 if self.server.sick else int(fault)
            self.reply(status, {"error": {"message": f"fault {fault}", "code": status}})
        else:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self.stream(body, play, fault)
                return
            self.server.play.note("aborted", number)
            self.close_connection = True

    def allowed(self):
        key = os.environ.get("VLLM_API_KEY") or self.server.play.get().get("key")
        if key and self.headers["Authorization"] != f"Bearer {key}":
            self.reply(401, {"error": "Unauthorized"})
            return False
        return True

    def reply(self, status, value):
        self.send(status, "application/json", json.dumps(value).encode())

    def send(self, status, kind, data):
        headers = {"Content-Type": kind, "Content-Length": str(len(data))}
        self.head(status, headers | ({"Retry-After": "1"} if status == 429 else {}))
        self.wfile.write(data)

    def head(self, status, headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def stream(self, body, play, fault):
        self.head(200, {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"})
        given = {"words": play["words"]} if "words" in play else {}
        text = json.dumps(body["messages"]) if given else said(body["messages"])
        stop = body["stop_token_ids"][0]
        tokens, reason = answer(text, body.get("seed"), body["max_tokens"], stop, **given)
        first = {"prompt_token_ids": play["prompt"]} if "prompt" in play else {}
        self.event(first | {"choices": [{"delta": {"role": "assistant", "content": ""}}]})
        for place in range(0, len(tokens), CHUNK):
            match fault if place >= len(tokens) // 2 else None:
                case "tear":
                    self.close_connection = True
                    return
                case "garbage":
                    self.write(b"data: {torn\n\n")
                case "late error":
                    self.event({"error": {"message": "late", "code": 500}})
                case "filter":
                    self.event({"choices": [{"finish_reason": "content_filter"}]})
                case "cut":
                    break
                case "stall":
                    self.server.hung.wait()
                case "die halfway":
                    os._exit(9)
            part = tokens[place : place + CHUNK]
            text = "".join(chr(97 + token % 26) for token in part)
            choice = {"delta": {"reasoning" if play.get("reasoning") else "content": text}}
            if play.get("tokens", True):
                choice["token_ids"] = part
            if place + CHUNK >= len(tokens):
                choice["finish_reason"] = reason
            self.event({"choices": [choice]})
            time.sleep(play.get("delay", 0))
        if "usage" in play:
            counted = min(play["usage"]["completion_tokens"], body["max_tokens"])
            usage = play["usage"] | {"completion_tokens": counted}
            self.event({"choices": [], "usage": usage})
        self.write(b"data: [DONE]\n\n")
        self.wfile.write(b"0\r\n\r\n")

    def event(self, value):
        self.write(f"data: {json.dumps(value)}\n\n".encode())

    def write(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()


class PlayedServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port, model, play):
        super().__init__(("127.0.0.1", port), Handler)
        self.model, self.play, self.sick, self.hung = model, play, False, threading.Event()


def main(arguments):
    parser = argparse.ArgumentParser()
    parser.add_argument("command")
    parser.add_argument("folder")
    parser.add_argument("--port", type=int)
    parser.add_argument("--served-model-name", default="played")
    options, _ = parser.parse_known_args(arguments)
    play = Play(os.environ["PLAY"])
    names = ("VLLM_API_KEY", "PYTHONPATH", "OMP_NUM_THREADS", "VLLM_NO_USAGE_STATS")
    environment = {name: os.environ.get(name) for name in names}
    number = play.note(
        "starts", {"pid": os.getpid(), "arguments": arguments, "environment": environment}
    )
    faults = play.get().get("starts", [])
    fault = faults[number - 1] if number <= len(faults) else None
    said_first = "INFO Initializing an engine with config: dtype=torch.float32, device_config=cpu"
    print(said_first, flush=True)
    if fault in CRASHES:
        sys.exit(CRASHES[fault])
    if fault == "hang":
        play.note("hanging", number)
        time.sleep(600)
    if play.get().get("stubborn"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    server = PlayedServer(options.port, options.served_model_name, play)
    play.note("ports", server.server_port)
    server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1:])
