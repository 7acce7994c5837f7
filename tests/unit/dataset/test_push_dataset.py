"""Against a local server in place of the hub, never against the hub itself."""

import base64
import json

import huggingface_hub
import pytest
from dataset_shards import publish
from local_hub import LocalHub, connect, serving

from imagenet_think.core.splits import CONFIGURATIONS, SPLITS
from push_dataset import push_dataset

REPOSITORY = "me/imagenet-think"
API = f"/api/datasets/{REPOSITORY}"
URL = f"https://huggingface.co/datasets/{REPOSITORY}"


class Hub(LocalHub):
    """Answers requests about one repository and keeps its files; subclasses hold the state."""

    def do_GET(self):
        path = self.path.split("?")[0]
        self.requests.append(f"GET {path}")
        if self.private is None:
            return self.answer({"error": "Not found"}, 404, "RepoNotFound")
        if path.startswith(f"{API}/tree/"):
            names = self.files.items()
            tree = [{"type": "file", "path": n, "size": len(d), "oid": "2" * 40} for n, d in names]
            return self.answer(tree)
        siblings = [{"rfilename": name} for name in self.files]
        state = {"id": REPOSITORY, "sha": "0" * 40, "private": self.private, "siblings": siblings}
        return self.answer(state | {"tags": [], "downloads": 0, "likes": 0})

    def do_POST(self):
        path = self.path.split("?")[0]
        sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.requests.append(f"POST {path}")
        if self.refuses:
            return self.answer({"error": "You may not write here"}, self.refuses)
        if path == "/api/repos/create":
            type(self).private = json.loads(sent)["visibility"] == "private"
            return self.answer({"url": URL, "name": REPOSITORY})
        if path.startswith(f"{API}/preupload/"):
            mode = {"uploadMode": "regular", "shouldIgnore": False}
            files = [{"path": file["path"]} | mode for file in json.loads(sent)["files"]]
            return self.answer({"files": files})
        if path.startswith(f"{API}/commit/"):
            for line in map(json.loads, sent.decode().splitlines()):
                if line["key"] == "file":
                    content = base64.b64decode(line["value"]["content"])
                    self.files[line["value"]["path"]] = content
                elif line["key"] == "deletedFile":
                    del self.files[line["value"]["path"]]
            return self.answer({"commitUrl": f"{URL}/commit/{'1' * 40}", "commitOid": "1" * 40})
        return self.answer({})


@pytest.fixture
def hub(monkeypatch):
    """The server's state: there is a token, and no repository yet."""
    state = {"private": None, "refuses": None, "files": {}, "requests": []}
    handler = type("Handler", (Hub,), state)
    monkeypatch.setenv("HF_TOKEN", "hf_of_nobody")
    with serving(handler, monkeypatch):
        yield handler


@pytest.fixture
def folder(tmp_path, caplog):
    """A dataset with card and Croissant file, and a file that is not part of it."""
    caplog.set_level("INFO")
    folder = tmp_path / "dataset"
    publish(folder)
    for name, text in {"README.md": "Card.", "croissant.json": "{}", "notes.txt": "Mine."}.items():
        (folder / name).write_text(text)
    return folder


NAMES = [
    "README.md",
    "croissant.json",
    *(
        f"{place}/{split}-{number:05d}-of-00002.parquet"
        for place in CONFIGURATIONS.values()
        for split in SPLITS
        for number in range(2)
    ),
]


def push(folder, confirmed=None, private=True, repository=REPOSITORY):
    push_dataset(folder, NAMES, repository, private=private, confirmed=confirmed)


def contents(folder):
    return {name: (folder / name).read_bytes() for name in NAMES}


@pytest.mark.parametrize("confirmed", [None, ""])
def test_without_confirmation_files_are_listed_and_nothing_is_sent(
    confirmed, hub, folder, caplog, monkeypatch
):
    monkeypatch.delenv("HF_TOKEN")
    push(folder, confirmed)
    files = contents(folder)
    for name, data in files.items():
        assert f"{len(data):,} bytes  {name}\n" in caplog.text
    assert f"{sum(map(len, files.values())):,} bytes in 14 files" in caplog.text
    assert f"/datasets/{REPOSITORY}, which does not exist" in caplog.text
    assert f"run the same command with IMAGENET_THINK_PUSH={REPOSITORY} set" in caplog.text
    assert "notes.txt" not in caplog.text
    assert "POST" not in " ".join(hub.requests)


@pytest.mark.parametrize(("private", "word"), [(True, "private"), (False, "PUBLIC")])
def test_with_confirmation_the_repository_is_created_and_gets_the_dataset_only(
    private, word, hub, folder, caplog
):
    push(folder, private=private)
    assert f"it would be created, {word}" in caplog.text
    assert "POST" not in " ".join(hub.requests)
    push(folder, confirmed=REPOSITORY, private=private)
    assert hub.private is private
    assert hub.files == contents(folder)
    assert len([request for request in hub.requests if "/commit/" in request]) == 1
    assert f"Uploaded: {URL}/commit/" in caplog.text
    push(folder)
    assert f"which exists, {word}" in caplog.text


@pytest.mark.parametrize(
    "name",
    [
        "data/.train-00000-of-00002.4711.tmp.parquet",
        "data/train-99999.parquet",
        "data/train-00000-of-00064.parquet",
        "failed/copy of train.parquet",
        "more.json",
    ],
)
def test_only_the_dataset_is_uploaded_whatever_else_is_in_its_folder(name, hub, folder, caplog):
    (folder / name).write_bytes(b"torn")
    push(folder, confirmed=REPOSITORY)
    assert hub.files == contents(folder)
    assert name not in caplog.text


def test_a_damaged_file_is_named(hub, folder):
    (folder / NAMES[-1]).write_bytes(b"PAR1 torn")
    with pytest.raises(ValueError, match=rf"{NAMES[-1]} is damaged .*: delete it, and run"):
        push(folder, confirmed=REPOSITORY)
    assert not hub.requests


def test_files_of_a_different_number_of_shards_are_deleted_there(hub, folder, caplog):
    hub.private = True
    hub.files |= {"data/train-00000-of-00064.parquet": b"old", ".gitattributes": b"kept"}
    push(folder)
    assert "deleted there  data/train-00000-of-00064.parquet" in caplog.text
    push(folder, confirmed=REPOSITORY)
    assert hub.files == contents(folder) | {".gitattributes": b"kept"}
    assert not any("create" in request for request in hub.requests)


def test_images_and_other_columns_are_never_uploaded(hub, folder):
    name = "train-00000-of-00002.parquet"
    (folder / "failed" / name).replace(folder / "data" / name)
    with pytest.raises(ValueError, match="does not have the dataset's columns"):
        push(folder, confirmed=REPOSITORY)
    publish(folder, full=True)
    with pytest.raises(ValueError, match=r"-of-00002\.parquet contains images: .* never"):
        push(folder, confirmed=REPOSITORY)
    assert not hub.requests


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("README.md", "README.md is missing: run `snakemake dataset`"),
        ("croissant.json", "croissant.json is missing: run `snakemake dataset`"),
        (NAMES[-1], f"{NAMES[-1]} is missing: run `snakemake dataset`"),
    ],
)
def test_missing_files_are_reported(missing, message, hub, folder):
    (folder / missing).unlink()
    with pytest.raises(FileNotFoundError, match=message):
        push(folder)
    assert not hub.requests


def test_the_confirmed_repository_must_be_that_of_the_config(hub, folder):
    with pytest.raises(ValueError, match=r"dataset\.repository is null"):
        push(folder, repository=None)
    with pytest.raises(ValueError, match=r"names me/other, dataset\.repository me/im"):
        push(folder, confirmed="me/other")
    assert not hub.requests


@pytest.mark.parametrize("status", [401, 403])
def test_a_missing_token_and_a_refusal_are_reported_as_such(
    status, hub, folder, monkeypatch, tmp_path
):
    with monkeypatch.context() as without:
        without.delenv("HF_TOKEN")
        without.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
        with pytest.raises(PermissionError, match="hf auth login"):
            push(folder, confirmed=REPOSITORY)
        assert "POST" not in " ".join(hub.requests)
    hub.private, hub.refuses = True, status
    with pytest.raises(ConnectionError, match=r"(?s)refuses the upload to me/im.*write access"):
        push(folder, confirmed=REPOSITORY)
    assert not hub.files


@pytest.mark.parametrize("offline", [True, False])
def test_if_the_hub_cannot_be_reached_the_files_are_listed_all_the_same(
    offline, folder, caplog, monkeypatch
):
    connect(monkeypatch, "http://127.0.0.1:9", offline)
    push(folder)
    assert "README.md" in caplog.text
    assert "which could not be queried" in caplog.text
    with pytest.raises(ConnectionError, match=f"cannot be queried about {REPOSITORY}"):
        push(folder, confirmed=REPOSITORY)
    huggingface_hub.close_session()
