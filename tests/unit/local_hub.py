"""A local server in place of the hub, and the hub's client pointed at it."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import huggingface_hub


class LocalHub(BaseHTTPRequestHandler):
    """Answers with JSON; subclasses hold the state and say what to answer."""

    def answer(self, body, status=200, code=None):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if code:
            self.send_header("X-Error-Code", code)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments):
        pass


def connect(monkeypatch, endpoint, offline=False):
    """Make the hub's client use an endpoint."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", offline)
    for module in (huggingface_hub.constants, huggingface_hub.hf_api.constants):
        monkeypatch.setattr(module, "ENDPOINT", endpoint)
    huggingface_hub.close_session()


@contextmanager
def serving(handler, monkeypatch):
    """Let a handler answer the hub's client."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    connect(monkeypatch, f"http://127.0.0.1:{server.server_port}")
    yield
    huggingface_hub.close_session()
    server.shutdown()
    server.server_close()
