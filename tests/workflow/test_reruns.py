"""What a change runs again: `config/reruns.md`, and what is behind it."""

import ast
import json
import os
import re
import subprocess
import sys
from copy import deepcopy
from modulefinder import ModuleFinder
from pathlib import Path

import pytest
import yaml

from imagenet_think import changes, plans, provenance, reruns

from .conftest import ROOT, clone

pytestmark = pytest.mark.slow

PAGE = ROOT / "config" / "reruns.md"
MINIATURE = "config/miniature.yaml"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("planned")


@pytest.fixture(scope="module")
def measured(folder):
    """The plan of every change, and the rules."""
    return reruns.measure(folder)


@pytest.fixture(scope="module")
def drawn(folder, measured):
    """The config of a run that is finished in `folder`."""
    return changes.runs(folder)["drawn"]


def test_every_key_of_the_schema_is_changed_and_means_something(measured):
    planned, _ = measured
    assert {change.key for change in planned} == changes.leaves().keys()


def test_a_key_without_another_value_is_named(folder, drawn):
    with pytest.raises(KeyError, match=r"run: name another value of it in imagenet_think\.changes"):
        changes._another(drawn, ["run"], {"type": "string"})


def test_the_page_is_up_to_date(measured):
    assert PAGE.read_text(encoding="utf-8") == reruns.page(*measured), "run `make config-docs`"


def reordered(value):
    if isinstance(value, dict):
        return {key: reordered(value[key]) for key in reversed(value)}
    return [reordered(item) for item in value] if isinstance(value, list) else value


def test_another_order_of_keys_runs_nothing(folder, drawn):
    for config in changes.runs(folder).values():
        turned = reordered(config)
        text = yaml.safe_dump(turned, sort_keys=False)
        assert text != yaml.safe_dump(config, sort_keys=False)
        file = folder / "turned.yaml"
        file.write_text("# A comment.\n" + text.replace("\n", "  # Another.\n", 1))
        assert not plans.plan(folder, file, reruns.targets(config)).again


SWAPPED = {
    "criteria": (["images", "criteria"], "min_contrast", "min_sharpness", {"collect_candidates"}),
    "sharding": (["sharding"], "blocks", "shards_per_block", {"sample_images"}),
    "loops": (["length_policy", "loop"], "longest_period", "repeats", {"generate_responses"}),
    "bounds": (["models", "glm-4.1v", "image"], "min_pixels", "max_pixels", {"generate_responses"}),
    "prompts": (["prompts"], "section_3_2", "figure_2", {"generate_responses", "figure_sample"}),
    "metrics": (["benchmark"], "sets", "vectors", {"score_sets", "score_vectors"}),
    "models": (["models"], "glm-4.1v", "kimi-vl", {"generate_responses", "parse_responses"}),
}
"""A section, two of its keys whose values change places, and rules that must see it."""


@pytest.mark.parametrize("case", SWAPPED)
def test_swapped_values_are_seen(case, folder, drawn):
    path, one, other, seen = SWAPPED[case]
    config = deepcopy(drawn)
    section = config
    for key in path:
        section = section[key]
    section[one], section[other] = section[other], section[one]
    assert seen <= plans.plan(folder, config, reruns.TARGETS).changed.keys()


def test_a_model_that_no_list_names_runs_nothing(folder, drawn):
    config = deepcopy(drawn)
    config["models"][changes.SPARE] |= {"name": "Another", "output": "kimi", "system": "Be brief."}
    assert not plans.plan(folder, config, reruns.TARGETS).again


# By the command line, in a finished run -----------------------------------------------------------

A_STAGE = {
    "images": "images.criteria.min_contrast",
    "sample": "images.balance",
    "inference": "models.<name>.system",
    "parsing": "models.<name>.output",
    "statistics": "statistics.tokenizer.repository",
    "benchmark": "benchmark.sbert.max_tokens",
    "aggregates": "benchmark.missing",
    "captions": "models.<name>.name",
    "figures": "figures.samples",
    "comparison": "benchmark.ablation_model",
    "nothing": "inference.batch_size",
}


def listed(said):
    """Return how many jobs of each rule a dry run lists; those without a script are left out."""
    if "Job stats:" not in said:
        assert "Nothing to be done" in said
        return {}
    stats = said.split("Job stats:", 1)[1].split("\ntotal", 1)[0]
    counts = {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", stats, re.M)}
    untold = ("all", "paper", plans.RECORD)
    return {name: count for name, count in counts.items() if name not in untold}


@pytest.fixture(scope="module")
def every(demo):
    """How many jobs of each rule the miniature has."""
    return listed(demo.snakemake("--configfile", MINIATURE, "-n", "--forceall", "all", "paper"))


@pytest.mark.parametrize("stage", A_STAGE)
def test_a_dry_run_of_the_miniature_lists_what_the_page_says(
    stage, demo, every, measured, tmp_path
):
    planned, _ = measured
    change, plan = next(item for item in planned.items() if item[0].key == A_STAGE[stage])
    config = yaml.safe_load((demo.root / MINIATURE).read_text())
    change.edit(config)
    if stage == "statistics":  # it has to be there
        config["statistics"]["tokenizer"]["repository"] = config["models"]["glm-4.1v"]["repository"]
    (tmp_path / "changed.yaml").write_text(yaml.safe_dump(config))
    said = demo.snakemake("--configfile", str(tmp_path / "changed.yaml"), "-n", "all", "paper")
    assert listed(said).keys() == plan.again.keys() & every.keys()


CONDA = """#!/bin/sh
# Answers what Snakemake asks before it plans.
case "$*" in
"info --json") echo '{"conda_prefix": "/opt/conda", "platform": "linux-64"}' ;;
"--version") echo "conda 25.1.0" ;;
"config --get channel_priority --json") echo '{"get": {"channel_priority": "strict"}}' ;;
*) exit 1 ;;
esac
"""


def test_conda_given_to_a_run_made_without_it_makes_everything_again(
    demo, every, tmp_path, monkeypatch
):
    conda = tmp_path / "conda"
    conda.write_text(CONDA)
    conda.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    given = ["--sdm", "conda", "--configfile", MINIATURE, "-n"]
    assert listed(demo.snakemake(*given, "all", "paper")) == every
    triggers = ["--rerun-triggers", "code", "input", "mtime", "params"]
    assert "Nothing to be done" in demo.snakemake(*given, *triggers, "--", "all", "paper")


UNREAD = {
    "installed",  # stands for what is installed, which no config says
    "length_policy.attempts",  # asked for where something is generated
}
"""Settings that a script need not look at."""


READ = ["all", "checkpoints", "results/miniature/paper/numbers.tex"]
"""What holds every rule with settings but the pilot's, what makes other forms of the dataset, what
counts reviews, and those of other sources of images."""


def test_a_script_reads_every_setting_that_its_rule_takes(demo, tmp_path):
    project = demo.copy(tmp_path / "project")
    program = Path(__file__).with_name("settings_read.py")
    done = subprocess.run(
        [sys.executable, program, project.root, project.root / MINIATURE, *READ],
        text=True,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    unread = json.loads(done.stdout.splitlines()[-1])
    assert len(unread) > 35
    assert {name: set(keys) - UNREAD for name, keys in unread.items() if set(keys) - UNREAD} == {}


# Code ---------------------------------------------------------------------------------------------

SCRIPTS = ROOT / "scripts"
LOADED_BY_NAME = ("engines", "families", "parsing", "sources")
"""Packages of which a module is loaded that the config names."""


@pytest.fixture(scope="module")
def imported():
    """The files of ours that each script may import: by Python's own search through bytecode."""
    found = {}
    for script in sorted(SCRIPTS.glob("*.py")):
        finder = ModuleFinder(path=[str(SCRIPTS)])
        finder.run_script(str(script))
        known = 0
        while known < len(finder.modules):
            known = len(finder.modules)
            for name in (f"imagenet_think.{package}" for package in LOADED_BY_NAME):
                if name in finder.modules:
                    for module in SCRIPTS.joinpath(*name.split(".")).glob("[!_]*.py"):
                        finder.import_hook(f"{name}.{module.stem}")
        files = (module.__file__ for module in finder.modules.values())
        found[script.stem] = {Path(file) for file in files if file}
    return found


def test_code_is_what_python_finds_and_templates(imported):
    for name, files in imported.items():
        templates = {
            other
            for form in ("html", "css", "js", "md")
            for file in files
            for other in file.parent.glob(f"{file.stem}.{form}")
        }
        assert set(provenance.code(SCRIPTS / f"{name}.py")) == files | templates, name


IMPORTING = """
import json, os, sys, importlib
import torch, transformers, polars, pyarrow, matplotlib.figure, sklearn  # once for all
sys.path.insert(0, sys.argv[1])
for name in sys.argv[2:]:
    sys.stdout.flush()
    if not os.fork():
        importlib.import_module(name)
        files = (getattr(module, "__file__", None) or "" for module in list(sys.modules.values()))
        print(json.dumps([name, sorted(file for file in files if file.startswith(sys.argv[1]))]))
        sys.stdout.flush()
        os._exit(0)
    assert os.wait()[1] == 0, name
"""


def test_what_a_script_imports_when_it_starts_counts(imported):
    done = subprocess.run(
        [sys.executable, "-c", IMPORTING, str(SCRIPTS), *imported],
        text=True,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    lines = dict(map(json.loads, done.stdout.splitlines()))
    assert lines.keys() == imported.keys()
    for name, files in lines.items():
        assert set(map(Path, files)) <= set(provenance.code(SCRIPTS / f"{name}.py")), name


def test_an_edited_module_changes_the_digest_of_what_uses_it_alone(imported, tmp_path, monkeypatch):
    project = clone(tmp_path)
    monkeypatch.setattr(provenance, "FOLDER", project.root / "scripts")

    def digests():
        provenance._text.cache_clear()
        return {name: provenance.digest(provenance.FOLDER / f"{name}.py") for name in imported}

    before = digests()
    try:
        for module in sorted(provenance.FOLDER.glob("imagenet_think/**/*.py")):
            text, times = module.read_text(), module.stat()
            module.write_text(text + "\n# edited\n")
            os.utime(module, ns=(times.st_atime_ns, times.st_mtime_ns))
            own = SCRIPTS / module.relative_to(provenance.FOLDER)
            users = {name for name, files in imported.items() if own in files}
            after = digests()
            assert {name for name in imported if after[name] != before[name]} == users, module.name
            module.write_text(text)
    finally:
        provenance._text.cache_clear()
        provenance._needs.cache_clear()


@pytest.mark.parametrize("metric", ["rouge", "sets", "vectors", "bertscore", "sbert"])
def test_known_scores_are_keyed_by_all_code_of_their_metric(metric):
    tree = ast.parse((SCRIPTS / f"score_{metric}.py").read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    made_by = next(call for call in calls if getattr(call.func, "id", "") == "made_by")
    code = provenance.code(SCRIPTS / "imagenet_think" / f"{metric}.py")
    computing = {file.stem for file in code} - {"__init__", "logs"}
    assert set(ast.literal_eval(made_by.args[0])) == computing


EDITED = {
    "images": "luma.py",
    "inference": "conversations.py",
    "parsing": "parsing/boxed.py",
    "statistics": "vocabulary.py",
    "benchmark": "windows.py",
    "figures": "examples.py",
}


@pytest.fixture(scope="module")
def finished(demo, tmp_path_factory):
    """A copy of the finished miniature, whose modules a test may edit."""
    return demo.copy(tmp_path_factory.mktemp("edited") / "project")


@pytest.mark.parametrize("stage", EDITED)
def test_an_edited_module_runs_its_users_and_what_follows(stage, finished, every, measured):
    _, rules = measured
    module = finished.root / "scripts" / "imagenet_think" / EDITED[stage]
    users = reruns.users(rules.values())[f"imagenet_think/{EDITED[stage]}"]
    again = set(users).union(*(rules[name].follows for name in users))
    text, times = module.read_text(), module.stat()
    module.write_text(text + "\n# edited\n")
    os.utime(module, ns=(times.st_atime_ns, times.st_mtime_ns))
    try:
        said = finished.snakemake("--configfile", MINIATURE, "-n", "all", "paper")
    finally:
        module.write_text(text)
    assert listed(said).keys() == again & every.keys()


def test_a_module_with_another_time_runs_nothing(finished):
    for module in (finished.root / "scripts" / "imagenet_think").rglob("*.py"):
        module.touch()
    assert "Nothing to be done" in finished.snakemake(
        "--configfile", MINIATURE, "-n", "all", "paper"
    )
