"""Against a server on this machine in the hub's place: never against the hub itself."""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import huggingface_hub
import pytest
from datasets_of_a_run import REPORTED, settings, write_dataset, write_tables

from push_dataset import push_dataset, to_upload
from write_croissant import write_croissant

REPOSITORY = "me/imagenet-think"
API = "/api/datasets/me/imagenet-think"


class Hub(BaseHTTPRequestHandler):
    """Answers what the client asks about one repository, and keeps what it is sent."""

    private: bool | None
    refuses: int | None
    files: dict[str, bytes]
    asked: list[str]

    def answer(self, body, status=200, code=None):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if code:
            self.send_header("X-Error-Code", code)
        self.end_headers()
        self.wfile.write(data)

    def body(self):
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def do_GET(self):
        path = self.path.split("?")[0]
        self.asked.append(f"GET {path}")
        if type(self).private is None:
            self.answer({"error": "Not found"}, 404, "RepoNotFound")
        elif path.startswith(f"{API}/tree/"):
            self.answer(
                [
                    {"type": "file", "path": name, "size": len(data), "oid": "2" * 40}
                    for name, data in self.files.items()
                ]
            )
        elif path.startswith(API):
            siblings = [{"rfilename": name} for name in self.files]
            self.answer(
                {
                    "id": REPOSITORY,
                    "sha": "0" * 40,
                    "private": self.private,
                    "siblings": siblings,
                    "tags": [],
                    "downloads": 0,
                    "likes": 0,
                }
            )
        else:
            self.answer({})

    def do_POST(self):
        path, sent = self.path.split("?")[0], self.body()
        self.asked.append(f"POST {path}")
        if type(self).refuses:
            self.answer({"error": "You may not write here"}, type(self).refuses)
        elif path == "/api/repos/create":
            type(self).private = json.loads(sent)["visibility"] == "private"
            self.answer(
                {"url": f"https://huggingface.co/datasets/{REPOSITORY}", "name": REPOSITORY}
            )
        elif path.startswith(f"{API}/preupload/"):
            files = json.loads(sent)["files"]
            self.answer(
                {
                    "files": [
                        {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False}
                        for f in files
                    ]
                }
            )
        elif path.startswith(f"{API}/commit/"):
            for line in map(json.loads, sent.decode().splitlines()):
                if line["key"] == "file":
                    data = base64.b64decode(line["value"]["content"])
                    self.files[line["value"]["path"]] = data
                elif line["key"] == "deletedFile":
                    del self.files[line["value"]["path"]]
            self.answer(
                {
                    "commitUrl": f"https://huggingface.co/datasets/{REPOSITORY}/commit/{'1' * 40}",
                    "commitOid": "1" * 40,
                }
            )
        else:
            self.answer({})

    def log_message(self, *arguments):
        pass


@pytest.fixture
def hub(monkeypatch):
    """The server; there is a token, and no repository yet."""
    handler = type("Handler", (Hub,), {"private": None, "refuses": None, "files": {}, "asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(huggingface_hub.hf_api.constants, "ENDPOINT", endpoint)
    monkeypatch.setenv("HF_TOKEN", "hf_of_nobody")
    huggingface_hub.close_session()
    yield handler
    huggingface_hub.close_session()
    server.shutdown()
    server.server_close()


@pytest.fixture
def folder(tmp_path):
    """A dataset with card and Croissant, and a file that is none of it."""
    folder = tmp_path / "results" / "mini" / "dataset"
    files = write_dataset(folder)
    write_croissant(
        *(files, write_tables(tmp_path / "tables")[1], REPORTED),
        *(folder / "croissant.json", settings()),
    )
    (folder / "README.md").write_text("The card.\n")
    (folder / "notes.txt").write_text("My own.")
    return folder


def push(folder, confirmed=None, private=True, repository=REPOSITORY):
    push_dataset(folder, repository, private=private, confirmed=confirmed)


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "notes.txt"
    }


def writes(hub):
    return [asked for asked in hub.asked if asked.startswith("POST")]


@pytest.mark.parametrize("confirmed", [None, ""])
def test_unless_confirmed_it_says_what_would_go_and_sends_nothing(
    confirmed, hub, folder, caplog, monkeypatch
):
    monkeypatch.delenv("HF_TOKEN")
    caplog.set_level("INFO")
    push(folder, confirmed)
    for name, data in contents(folder).items():
        assert f"{len(data):,} bytes  {name}\n" in caplog.text
    total = sum(map(len, contents(folder).values()))
    assert f"{total:,} bytes in 14 files" in caplog.text
    assert f"/datasets/{REPOSITORY}, which is not there" in caplog.text
    assert "it would be made, private" in caplog.text
    assert (
        "Nothing was uploaded. The same command with IMAGENET_THINK_PUSH=me/imagenet-think "
        in caplog.text
    )
    assert "notes.txt" not in caplog.text
    assert not writes(hub)


@pytest.mark.parametrize(("private", "word"), [(True, "private"), (False, "PUBLIC")])
def test_it_says_who_may_read_what_is_there(private, word, hub, folder, caplog):
    caplog.set_level("INFO")
    hub.private = private
    push(folder)
    assert f"which is there, {word}" in caplog.text
    hub.private = None
    push(folder, private=private)
    assert f"it would be made, {word}" in caplog.text
    assert not writes(hub)


@pytest.mark.parametrize("private", [True, False])
def test_confirmed_it_makes_the_repository_and_uploads_the_dataset_alone(
    private, hub, folder, caplog
):
    caplog.set_level("INFO")
    push(folder, confirmed=REPOSITORY, private=private)
    assert hub.private is private
    assert hub.files == contents(folder)
    assert len([asked for asked in hub.asked if "/commit/" in asked]) == 1
    assert "Uploaded: https://huggingface.co/datasets/me/imagenet-think/commit/" in caplog.text


def test_files_of_another_number_of_shards_are_deleted_there(hub, folder, caplog):
    caplog.set_level("INFO")
    hub.private = True
    hub.files |= {"data/train-00000-of-00064.parquet": b"old", ".gitattributes": b"kept"}
    push(folder)
    assert "deleted there  data/train-00000-of-00064.parquet" in caplog.text
    push(folder, confirmed=REPOSITORY)
    assert hub.files == contents(folder) | {".gitattributes": b"kept"}
    assert not any("create" in asked for asked in hub.asked)


def test_pictures_are_never_uploaded(hub, tmp_path):
    folder = tmp_path / "dataset"
    write_dataset(folder, full=True)
    (folder / "README.md").write_text("The card.\n")
    (folder / "croissant.json").write_text("{}")
    with pytest.raises(ValueError, match=r"-of-00002\.parquet holds pictures: .* never"):
        push(folder, confirmed=REPOSITORY)
    assert not hub.asked


@pytest.mark.parametrize("place", ["README.md", "croissant.json"])
def test_what_is_missing_is_named(place, hub, folder):
    (folder / place).unlink()
    with pytest.raises(FileNotFoundError, match=f"{place} is missing: run `snakemake dataset`"):
        push(folder)
    assert not hub.asked


def test_a_folder_without_rows_is_named(folder):
    for path in (folder / "failed").iterdir():
        path.unlink()
    with pytest.raises(FileNotFoundError, match=r"failed/\*\.parquet: none"):
        to_upload(folder)


def test_other_columns_are_refused(folder):
    (folder / "failed" / "train-00000-of-00002.parquet").replace(
        folder / "data" / "train-00000-of-00002.parquet"
    )
    with pytest.raises(ValueError, match="other columns than the dataset"):
        to_upload(folder)


def test_without_a_repository_the_key_is_named(folder):
    with pytest.raises(ValueError, match=r"dataset\.repository is null"):
        push(folder, repository=None)


def test_another_repository_is_no_confirmation(hub, folder):
    with pytest.raises(ValueError, match=r"names me/other, dataset\.repository me/im"):
        push(folder, confirmed="me/other")
    assert not hub.asked


def test_without_a_token_it_says_how_to_get_one(hub, folder, monkeypatch, tmp_path):
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(PermissionError, match="hf auth login"):
        push(folder, confirmed=REPOSITORY)
    assert not writes(hub)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_is_told_as_one(status, hub, folder):
    hub.private, hub.refuses = True, status
    with pytest.raises(ConnectionError, match=r"(?s)not take me/imagenet-think .*may write there"):
        push(folder, confirmed=REPOSITORY)
    assert not hub.files


@pytest.mark.parametrize("offline", [True, False])
def test_where_the_hub_cannot_be_reached_the_list_is_still_told(
    offline, folder, caplog, monkeypatch
):
    caplog.set_level("INFO")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", offline)
    for module in (huggingface_hub.constants, huggingface_hub.hf_api.constants):
        monkeypatch.setattr(module, "ENDPOINT", "http://127.0.0.1:9")
    huggingface_hub.close_session()
    push(folder)
    assert "README.md" in caplog.text
    assert "which could not be asked about" in caplog.text
    with pytest.raises(ConnectionError, match="cannot be asked about me/imagenet-think"):
        push(folder, confirmed=REPOSITORY)
    huggingface_hub.close_session()
