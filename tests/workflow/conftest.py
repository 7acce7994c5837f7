"""Runs of the real workflow in copies of the project, shared by the tests."""

import filecmp
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from filelock import FileLock
from snakemake.parser import parse

from tests.pretended_runs import RECORD

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
DEMO = "results/miniature"
MINIATURE = "config/miniature.yaml"
TINY = "config/tiny.yaml"
OF_THE_MOMENT = {
    *("logs", "benchmarks", "journal", "versions.json"),
    *("cost.csv", "cost.md", "cost.html"),
}
"""Files and folders that contain times or describe the machine, and so differ in every run."""


@dataclass(frozen=True)
class Project:
    """A copy of the project, like a fresh clone."""

    root: Path

    def snakemake(self, *arguments: str, check: bool = True) -> str:
        """Run Snakemake in it and return what it printed."""
        return self.call(str(BIN / "snakemake"), *arguments, check=check)

    def call(self, *command: str, check: bool = True) -> str:
        """Run a command in it, while no other test does, and return what it printed."""
        with self.alone():
            done = subprocess.run(
                command,
                cwd=self.root,
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )
        if check and done.returncode != 0:
            raise AssertionError(
                f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}"
            )
        if not check:
            assert done.returncode != 0, done.stdout
        return done.stdout

    def alone(self) -> FileLock:
        """Return a lock that one test at a time holds, across all workers."""
        return FileLock(f"{self.root}.running")

    def copy(self, folder: Path) -> "Project":
        """Copy it with all its files."""
        with self.alone():
            shutil.copytree(self.root, folder, symlinks=True)
        return Project(folder)

    def config(self, name: str = TINY) -> dict[str, Any]:
        """Return a config of it."""
        return yaml.safe_load((self.root / name).read_text(encoding="utf-8"))

    @contextmanager
    def editing(self, name: str = TINY, to: str = "") -> Iterator[dict[str, Any]]:
        """Yield a config of it, then save it as edited, in `name` or in the file `to`."""
        config = self.config(name)
        yield config
        text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
        (self.root / (to or name)).write_text(text, encoding="utf-8")


def clone(folder: Path) -> Project:
    """Copy the files that git tracks, or would track, to `folder`."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        text=True,
        capture_output=True,
        check=True,
    ).stdout.splitlines()
    for name in listed:
        source = ROOT / name
        if source.exists() or source.is_symlink():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    return Project(folder)


@pytest.fixture
def project(tmp_path):
    return clone(tmp_path)


@pytest.fixture(scope="session")
def made_once(tmp_path_factory, worker_id):
    """A function that returns a clone in which a run is finished, made once for all workers."""
    base = tmp_path_factory.getbasetemp()
    base = base if worker_id == "master" else base.parent

    def made(name: str, finish: Callable[[Project], None]) -> Project:
        root = base / name
        with FileLock(f"{root}.lock"):
            if not (root / "made").exists():
                finish(clone(root))
                (root / "made").touch()
        return Project(root)

    return made


@pytest.fixture(scope="session")
def miniature(demo):
    """The results of the finished miniature."""
    return demo.root / DEMO


@pytest.fixture(scope="session")
def demo(made_once):
    """The finished miniature with the PDF of the paper.

    In continuous integration it starts from the run that `make demo` left in this checkout.
    """

    def finish(project: Project) -> None:
        if "CI" in os.environ and (ROOT / DEMO / "comparison.md").exists():
            for name in (DEMO, ".snakemake/metadata"):
                shutil.copytree(ROOT / name, project.root / name)
        project.call("make", "demo", f"VENV={BIN.parent}")
        project.snakemake("--configfile", MINIATURE, "--cores", "2", "paper")

    return made_once("demo", finish)


def cut_down(project: Project, **changes: object) -> None:
    """Write the config `TINY`, of 12 images and one model of each family."""
    with project.editing(MINIATURE, to=TINY) as config:
        config["run"] = "tiny"
        source = config["images"]["source"]
        source |= {"path": "results/tiny/source", "drawings_per_class": 8}
        source["classes"] = source["classes"][:4]
        config["images"] |= {"total": 12, "class_count": 4, "min_per_class": 2, "max_per_class": 4}
        config["images"] |= {"reserve": 2, "complexity": {"strata": 3, "probe": 6}}
        config["sharding"] = {"blocks": 1, "shards_per_block": 1}
        config["inference"]["batch_size"] = 8  # fewer than images: finished responses free slots
        config["benchmarked"] = ["internvl3.5", config["benchmark"]["ablation_model"]]
        models = [*config["teachers"], *config["benchmarked"]]
        config["models"] = {name: config["models"][name] for name in models}
        config |= changes


FAULTS = Path(__file__).with_name("faults")


def start(project: Project, *arguments: str, fault: str = "", **environment: str):
    """Start Snakemake on the cut-down config in a new session, as a terminal does.

    `fault` is the accident of a job, see `faults/sitecustomize.py`.
    """
    command = [BIN / "snakemake", "--configfile", TINY, "--cores", "2", *arguments]
    return subprocess.Popen(
        command,
        cwd=project.root,
        env=os.environ | {"PYTHONPATH": str(FAULTS), "FAULT": fault} | environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )


def outcome(project: Project, *arguments: str, **options: str) -> tuple[int, str]:
    """Run Snakemake as `start` does; return its exit status and what it printed."""
    running = start(project, *arguments, **options)
    said, _ = running.communicate()
    return running.returncode, said


@pytest.fixture(scope="session")
def tiny(made_once):
    """The finished run of the cut-down config.

    Its folder `used` contains what `faults/plugin_use.py` recorded of each job.
    """

    def finish(project: Project) -> None:
        cut_down(project)
        status, said = outcome(project, "all", USED=str(project.root / "used"))
        assert status == 0, said

    return made_once("tiny", finish)


@pytest.fixture
def finished(tiny, tmp_path):
    """A copy of the finished run of the cut-down config, which a test may change."""
    return tiny.copy(tmp_path / "project")


def differences(one: Path, other: Path) -> list[str]:
    """Return the files that are missing from one of two folders of results, or differ."""
    names = {
        str(path.relative_to(folder))
        for folder in (one, other)
        for path in folder.rglob("*")
        if path.is_file() and OF_THE_MOMENT.isdisjoint(path.relative_to(folder).parts)
    }
    assert len(names) > 100, names
    _, different, missing = filecmp.cmpfiles(one, other, sorted(names), shallow=False)
    return different + missing


@pytest.fixture(scope="module")
def parsed_once() -> Iterator[None]:
    """Parse each rule file once for all plans of a module: that is half of the time of a plan."""
    known = {}

    def remembered(path, workflow, linemap, rulecount=0):
        key = path.get_path_or_uri(secret_free=True), rulecount
        if key not in known:
            lines: dict[int, int] = {}
            known[key] = *parse(path, workflow, linemap=lines, rulecount=rulecount), lines
        code, count, lines = known[key]
        linemap.update(lines)
        return code, count

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("snakemake.workflow.parse", remembered)
        yield


def job_counts(said: str) -> dict[str, int]:
    """Return how many jobs of each rule Snakemake lists, in a dry run or before a run."""
    counts = {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", said, re.M)}
    counts.pop("total", None)
    return counts


def listed(said: str) -> dict[str, int]:
    """Return the counts of the jobs that have a script, except the record of the run."""
    counts = job_counts(said)
    assert counts or "Nothing to be done" in said, said
    return {name: counts[name] for name in counts if name not in ("all", "paper", RECORD)}
