import played_server
import pytest
from asking import Tiny
from generation_runs import Run, write_shards

from imagenet_think.inference import engines
from imagenet_think.inference.engines import openai_client


@pytest.fixture(scope="session")
def shards(tmp_path_factory):
    """Two shards of three images each; `b` cannot be read."""
    return write_shards(tmp_path_factory.mktemp("shards"))


@pytest.fixture
def run(tmp_path, shards, tiny_checkpoint):
    return Run(tmp_path / "run", shards, tiny_checkpoint("qwen2_5_vl"))


@pytest.fixture(scope="session")
def tiny(tiny_checkpoint):
    return Tiny(tiny_checkpoint)


@pytest.fixture
def play(tmp_path, monkeypatch):
    monkeypatch.setattr(openai_client, "FIRST_PAUSE", 0.05)
    return played_server.Play(tmp_path)


@pytest.fixture
def use(monkeypatch):
    """A function that replaces all engines by one."""

    def replace(engine):
        monkeypatch.setattr(engines, "get", lambda name: engine)
        return engine

    return replace
