"""Runs of the real workflow in copies of the project, shared by the tests."""

import filecmp
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from filelock import FileLock

from tests.pretended_runs import RECORD

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
OF_THE_MOMENT = {
    *("logs", "benchmarks", "journal", "versions.json"),
    *("cost.csv", "cost.md", "cost.html"),
}
"""What holds times, or tells of the machine, and so is another in every run."""


@dataclass(frozen=True)
class Project:
    """A copy of the project, as a fresh clone would hold it.

    Attributes
    ----------
    root
        Its folder.
    """

    root: Path

    def snakemake(self, *arguments: str, check: bool = True) -> str:
        """Run Snakemake in it and return what it printed."""
        return self.call(str(BIN / "snakemake"), *arguments, check=check)

    def call(self, *command: str, check: bool = True) -> str:
        """Run a command in it, when no other test does, and return what it printed."""
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
        """Return a lock that one test at a time holds, among all workers."""
        return FileLock(f"{self.root}.running")

    def copy(self, folder: Path) -> "Project":
        """Copy it with all it has made."""
        with self.alone():
            shutil.copytree(self.root, folder, symlinks=True)
        return Project(folder)


def clone(folder: Path) -> Project:
    """Copy what git tracks, and what it would track, to `folder`."""
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
def demo(tmp_path_factory, worker_id):
    """The whole miniature, as `make demo` runs it, with the PDF of the paper.

    Made once for all workers of a test run; the others wait for the first one.
    """
    base = tmp_path_factory.getbasetemp()
    root = (base if worker_id == "master" else base.parent) / "demo"
    with FileLock(f"{root}.lock"):
        if (root / "made").exists():
            return Project(root)
        project = clone(root)
        project.call("make", "demo", f"VENV={BIN.parent}")
        project.snakemake("--configfile", "config/miniature.yaml", "--cores", "2", "paper")
        (root / "made").touch()
    return project


def shrink(project: Project, **changes: object) -> str:
    """Write a config of 36 images beside the miniature's, with other changes; return its name."""
    config = yaml.safe_load((project.root / "config" / "miniature.yaml").read_text())
    config["run"] = "small"
    config["images"] |= {"total": 36, "min_per_class": 2, "max_per_class": 4, "reserve": 3}
    config["images"]["source"] |= {"path": "results/small/source", "drawings_per_class": 10}
    text = yaml.safe_dump(config | changes, sort_keys=False)
    (project.root / "config" / "small.yaml").write_text(text)
    return "config/small.yaml"


def cut_down(project: Project, **changes: object) -> str:
    """Write a config of 12 images and 3 models, 2 of them teachers; return its name."""
    config = yaml.safe_load((project.root / "config" / "miniature.yaml").read_text())
    config["run"] = "tiny"
    source = config["images"]["source"]
    source |= {"path": "results/tiny/source", "drawings_per_class": 8}
    source["classes"] = source["classes"][:4]
    config["images"] |= {"total": 12, "class_count": 4, "min_per_class": 2, "max_per_class": 4}
    config["images"] |= {"reserve": 2, "complexity": {"strata": 3, "probe": 6}}
    config["sharding"] = {"blocks": 1, "shards_per_block": 1}
    config["benchmarked"] = [config["benchmark"]["ablation_model"]]
    models = [*config["teachers"], *config["benchmarked"]]
    config["models"] = {name: config["models"][name] for name in models}
    config["benchmark"]["intervals"]["draws"] = 200
    text = yaml.safe_dump(config | changes, sort_keys=False)
    (project.root / "config" / "tiny.yaml").write_text(text)
    return "config/tiny.yaml"


FAULTS = Path(__file__).with_name("faults")


def start(project: Project, *arguments: str, fault: str = "", **environment: str):
    """Start Snakemake on the cut-down config in a session of its own, as a terminal does.

    Parameters
    ----------
    project
        Where.
    arguments
        Options, or targets.
    fault
        What befalls a job, see `faults/sitecustomize.py`.
    environment
        Variables to add.
    """
    command = [BIN / "snakemake", "--configfile", "config/tiny.yaml", "--cores", "2", *arguments]
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
def tiny(tmp_path_factory, worker_id):
    """The finished run of the cut-down config, made once for all workers of a test run.

    Its folder `used` holds what `faults/plugin_use.py` noted of each job.
    """
    base = tmp_path_factory.getbasetemp()
    root = (base if worker_id == "master" else base.parent) / "tiny"
    with FileLock(f"{root}.lock"):
        if not (root / "made").exists():
            project = clone(root)
            cut_down(project)
            status, said = outcome(project, "all", USED=str(root / "used"))
            assert status == 0, said
            (root / "made").touch()
    return Project(root)


def differences(one: Path, other: Path) -> list[str]:
    """Return the files that two folders of results do not both hold, byte by byte the same."""
    names = {
        str(path.relative_to(folder))
        for folder in (one, other)
        for path in folder.rglob("*")
        if path.is_file() and OF_THE_MOMENT.isdisjoint(path.relative_to(folder).parts)
    }
    assert len(names) > 100, names
    _, different, missing = filecmp.cmpfiles(one, other, sorted(names), shallow=False)
    return different + missing


def listed(said):
    """Return how many jobs of each rule a dry run lists; those without a script are left out."""
    if "Job stats:" not in said:
        assert "Nothing to be done" in said
        return {}
    stats = said.split("Job stats:", 1)[1].split("\ntotal", 1)[0]
    counts = {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", stats, re.M)}
    untold = ("all", "paper", RECORD)
    return {name: count for name, count in counts.items() if name not in untold}
