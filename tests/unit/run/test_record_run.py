import json
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

from imagenet_think.run import configuration
from record_run import commit, installed, record_run

ROOT = Path(__file__).parents[3]
CONFIGS = ["config.yaml", "miniature.yaml"]


def git(folder, *arguments):
    identity = ["-c", "user.name=me", "-c", "user.email=me@here", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path):
    """A repository with one commit."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    (folder / "requirements.in").write_text("# A comment.\npolars\nPyYAML==6\nno-such-package\n")
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "One")
    return folder


def record(checkout, tmp_path, config=()):
    paths = tmp_path / "made" / "config.yaml", tmp_path / "made" / "versions.json"
    record_run(dict(config), *paths, checkout=checkout)
    return yaml.safe_load(paths[0].read_text()), json.loads(paths[1].read_text())


@pytest.mark.parametrize("name", CONFIGS)
def test_the_recorded_config_is_the_same_config_again(name, checkout, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    config = configuration.check(yaml.safe_load((ROOT / "config" / name).read_text()))
    recorded, _ = record(checkout, tmp_path, config)
    assert recorded == config
    assert configuration.check(recorded) == config


def test_versions_are_those_installed(checkout, tmp_path):
    _, found = record(checkout, tmp_path)
    assert found["packages"] == {
        "PyYAML": version("pyyaml"),
        "no-such-package": None,
        "polars": version("polars"),
    }
    assert found["python"].startswith("3.")


def test_all_that_the_pipeline_needs_is_named():
    found = installed((ROOT / "requirements.in").read_text())
    assert {"torch", "transformers", "snakemake", "polars", "mlcroissant"} <= found.keys()
    assert all(found.values())
    assert not any("+" in each for each in found.values())  # torch 2.13.0+cpu


def test_the_commit_is_the_checkouts(checkout, tmp_path):
    head = git(checkout, "rev-parse", "HEAD")
    assert record(checkout, tmp_path)[1].items() >= {"commit": head, "dirty": False}.items()
    (checkout / "another.txt").write_text("Not of the repository.")
    assert commit(checkout) == {"commit": head, "dirty": False}
    (checkout / "requirements.in").write_text("edited")
    assert commit(checkout) == {"commit": head, "dirty": True}


@pytest.mark.parametrize("case", ["no repository", "inside a repository", "no git"])
def test_the_commit_may_be_unknown(case, checkout, tmp_path, monkeypatch, caplog):
    folder = {"no repository": tmp_path, "no git": checkout}.get(case, checkout / "copy")
    folder.mkdir(exist_ok=True)
    if case == "no git":
        monkeypatch.setenv("PATH", "")
    assert commit(folder) == {"commit": None, "dirty": None}
    assert "The commit is unknown" in caplog.text
    assert ("is inside" in caplog.text) == (case == "inside a repository")


def test_the_same_run_is_recorded_in_the_same_bytes(checkout, tmp_path):
    config = {"b": {"name": "Ärger 🏹"}, "a": None}
    record(checkout, tmp_path, config)
    before = {path.name: path.read_bytes() for path in (tmp_path / "made").iterdir()}
    record(checkout, tmp_path, dict(reversed(config.items())))
    assert {path.name: path.read_bytes() for path in (tmp_path / "made").iterdir()} == before
