"""Paths from outside are no patterns, whatever characters they contain."""

import os
import re
import shutil
from copy import deepcopy
from functools import reduce
from operator import getitem
from pathlib import Path

import pytest

from imagenet_think.core.settings import ANY, schema_keys
from imagenet_think.run import configuration
from tests import pretended_runs
from tests.pretended_runs import planned

from . import changed_keys
from .conftest import clone
from .test_front_door import refused

pytestmark = pytest.mark.slow

HOSTILE = r"{x} {model} {{y}} {z,\d+} {0} <results> <unknown> [1] %s $HOME 'q' #"
"""A folder's name: wildcards and path variables, known to a rule and unknown, and formats."""

RUNS = ("drawn", "archives", "packed", "labelled", "pictured", "listed", "own", "published")
WRITTEN = ("drawn", "packed", "published")
"""Those whose images are drawn or unpacked in the folder of the source."""

NO_INPUTS = ("repository", "executable")
"""Kinds of paths whose contents count instead."""

TARGETS = {"listed": ["all"], "pictured": ["all", "review_results"]}
"""Targets of lists of images; the other runs have `rejoin` too."""

UNUSED = {
    "pictured": {
        ("dataset", "rejoin"),
        ("images", "criteria", "denied_images_file"),
        ("images", "criteria", "denied_classes_file"),
        ("images", "criteria", "scorer"),
    }
}
UNUSED["listed"] = UNUSED["pictured"] | {("review", "decisions")}
"""Keys that lists of images do not use."""


@pytest.fixture(scope="module")
def configs(tmp_path_factory, parsed_once):
    """The configs of several runs, with each file that they name in a folder of that name."""
    folder = tmp_path_factory.mktemp("paths")
    pretended_runs.workplace(folder)
    runs = changed_keys.runs(folder / HOSTILE)
    source = {"source": {"kind": "folder", "path": "own"}}
    runs["own"] = runs["archives"] | {"run": "own", "images": runs["archives"]["images"] | source}
    (folder / HOSTILE / "own" / HOSTILE).mkdir(parents=True)
    references = {"published": "texts.parquet"}
    runs["published"] = runs["drawn"] | {"run": "published", "references": references}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder, {name: moved(name, config) for name, config in runs.items()}


def moved(run, config):
    """Return a config that names more files, all in the folder, and these files by their keys."""
    config, paths = deepcopy(config), {}
    config["images"]["classes"] = "classes.tsv"
    criteria = config["images"].get("criteria", {})
    criteria |= {"denied_images_file": "denied.txt", "denied_classes_file": "denied.txt"}
    criteria["scorer"] = "judge.py:judge"
    config["dataset"]["rejoin"] = "published"
    datasets = {"emma": "texts.parquet", "mac": "image2text.csv"}
    datasets |= dict.fromkeys(("llava_cot", "visual_cot"), "train.jsonl")
    config["statistics"]["datasets"] = datasets
    for place, kind, path in configuration._named_paths(config, configuration.schema()):
        if kind in NO_INPUTS or (place == ("images", "source", "path") and run in WRITTEN):
            continue
        *above, last = place
        path = reduce(getitem, above, config)[last] = f"{HOSTILE}/{path}"
        paths[place] = path.removesuffix(":judge")
    return config, paths


def test_each_key_that_names_files_is_tried(configs):
    tried = {place for _, paths in configs[1].values() for place in paths}
    models = {place[1] for place in tried if place[0] == "models"}
    keys = {".".join(ANY if part in models else part for part in place) for place in tried}
    schema = schema_keys(configuration.schema())
    assert keys == {
        key for key, node in schema if node.get("x-path", "executable") not in NO_INPUTS
    }


@pytest.mark.parametrize("run", RUNS)
def test_each_path_of_a_config_is_an_input_as_it_is(configs, run):
    folder, configs = configs
    config, paths = configs[run]
    assert len(paths) >= 6
    targets = TARGETS.get(run, ["all", "review_results", "rejoin"])
    with planned(folder, config, targets) as workflow:
        inputs = {str(file) for job in workflow.dag.jobs for file in job.input}
        outside = {file for file in inputs if HOSTILE in file}
        assert all(file.startswith(f"{HOSTILE}/") for file in outside)
        assert not [file for job in workflow.dag.jobs for file in job.output if HOSTILE in file]
    used = {place for place, path in paths.items() for file in outside if file.startswith(path)}
    assert paths.keys() - used == UNUSED.get(run, set())
    if run == "own":
        assert f"{HOSTILE}/own/{HOSTILE}" in outside


def test_a_file_to_rejoin_whose_name_would_be_a_pattern_is_refused(configs):
    folder, configs = configs
    config, _ = configs["archives"]
    config = deepcopy(config)
    data = folder / "copies" / "data"
    data.mkdir(parents=True)
    for name in ("train-00000-of-00001", "train-{x}", "train-<results>", "test-a b"):
        (data / f"{name}.parquet").touch()
    config["dataset"]["rejoin"] = "copies"
    with pytest.raises(SystemExit) as caught, planned(folder, config, ["rejoin"]):
        pass
    problems = str(caught.value).splitlines()[1:]
    assert [problem.split(": ")[:2] for problem in problems] == [
        ["  - dataset.rejoin", f"copies/data/{name}.parquet"]
        for name in ("train-<results>", "train-{x}", "test-a b")
    ]


@pytest.mark.parametrize(("run", "place"), [("own", r"d\udcf6gs"), ("labelled", r"\udce9.parquet")])
def test_a_name_that_is_not_utf8_is_refused_with_its_key(configs, run, place):
    folder, configs = configs
    config = deepcopy(configs[run][0])
    (folder / run / "cats").mkdir(parents=True)
    (folder / run / os.fsdecode(b"d\xf6gs")).mkdir()
    shutil.copy(folder / HOSTILE / "texts.parquet", folder / run / os.fsdecode(b"\xe9.parquet"))
    config["images"]["source"]["path"] = config["models"]["mine"]["responses"]["path"] = run
    with pytest.raises(SystemExit) as caught, planned(folder, config, ["all"]):
        pass
    subject, *problems = str(caught.value).splitlines()
    assert subject == "Error: this cannot be run: 2 problems"
    assert sorted(problems) == [
        f"  - images.source.path: {run}/{place}: the name is not UTF-8; rename it",
        rf"  - models.mine.responses.path: {run}/\udce9.parquet: the name is not UTF-8; rename it",
    ]


@pytest.mark.parametrize("name", [b"a{x}b", b"a\xf6b"])
def test_a_project_in_a_folder_that_snakemake_cannot_use_is_refused(tmp_path, name):
    project = clone(Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)))
    said = refused(project, "--configfile", "config/miniature.yaml", "-n", "all")
    assert "a folder whose path contains braces or is not UTF-8; rename it" in said


def test_names_of_folders_do_not_act_on_the_terminal(project):
    own = project.root / "own"
    folder = own / "cats" / "\x1b[31mred\n12:00:00 ERROR forged"
    folder.mkdir(parents=True)
    (own / "\x1b[2Jdogs\nError: forged").mkdir()
    for place in (folder, *own.iterdir()):
        (place / "a.jpg").write_bytes(b"x")
    (project.root / "classes.tsv").write_text("wnid\tlemmas\tdomain\thypernym\ncats\tcat\t\t\n")
    with project.editing("config/config.yaml", to="own.yaml") as config:
        config["run"] = "own"
        config["images"]["classes"] = "classes.tsv"
        config["images"]["source"] = {"kind": "folder", "path": "own"}
    command = ["--configfile", "own.yaml", "--cores", "1", "results/own/images/listing/0.parquet"]
    project.snakemake(*command)
    for place in own.iterdir():
        (place / "b.jpg").write_bytes(b"x")
    said = project.snakemake(*command)  # names the inputs that have changed
    assert said.replace("\n", "").isprintable()
    assert "\\nError: forged" in said
    assert not re.search("^(Error|12:00:00 ERROR)", said, re.M)
    log = (project.root / "results/own/logs/list_archives/0.log").read_text("utf-8")
    assert r"left out: \x1b[2Jdogs\nError: forged (2)" in log
