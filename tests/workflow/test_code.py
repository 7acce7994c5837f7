"""Which code a job depends on, and which jobs an edit runs again."""

import ast
import json
import os
import subprocess
import sys
from collections import Counter
from modulefinder import ModuleFinder
from pathlib import Path

import pytest

from imagenet_think.core import plugins, provenance
from imagenet_think.metrics import registry
from tests.pretended_runs import jobs, planned, with_consumers, workplace

from .conftest import ROOT, TINY, clone, listed

pytestmark = pytest.mark.slow

SCRIPTS = ROOT / "scripts"
BY_NAME = {
    path.stem: path
    for path in sorted(SCRIPTS.glob("*/*.py"))
    if path.parent.name != provenance.PACKAGE
}
PLUGINS = {
    f"{package}.{name}"
    for package in provenance.PLUGINS.values()
    for name in plugins.names(package)
}
METRICS = plugins.names("metrics.definitions")


def modules_of(package):
    """Return the dotted names of a sub-package of plugins and of its modules."""
    names = [package, *(f"{package}.{name}" for name in plugins.names(package))]
    return [f"imagenet_think.{name}" for name in names]


@pytest.fixture(scope="module")
def imported():
    """The project's files that each script may import, found by Python's `modulefinder`.

    A module that mentions a sub-package of plugins as a string may load any of its modules.
    """
    found = {}
    for name, script in BY_NAME.items():
        finder = ModuleFinder(path=[str(SCRIPTS)])
        finder.run_script(str(script))
        known = 0
        while known < len(finder.modules):
            known = len(finder.modules)
            files = {module.__file__ for module in finder.modules.values()} - {None}
            texts = [Path(file).read_text() for file in files]
            for package in provenance.PLUGINS.values():
                mentioned = any(f'"{package}"' in text for text in texts)
                if mentioned or f"imagenet_think.{package}" in finder.modules:
                    for module in modules_of(package):
                        finder.import_hook(module)
        found[name] = set(map(Path, files))
    return found


def test_code_is_what_python_finds_and_templates(imported):
    for name, files in imported.items():
        templates = {
            other
            for form in ("html", "css", "js", "md", "yaml")
            for file in files
            for other in file.parent.glob(f"{file.stem}.{form}")
        }
        assert set(provenance.code(BY_NAME[name], PLUGINS)) == files | templates, name


IMPORTING = """
import glob, json, os, sys, importlib
import torch, transformers, polars, pyarrow, matplotlib.figure, sklearn  # once for all scripts
folders = glob.glob(sys.argv[1] + "/*")
sys.path[:0] = [sys.argv[1], *(f for f in folders if os.path.basename(f) != "imagenet_think")]
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
        [sys.executable, "-c", IMPORTING, str(SCRIPTS), *imported], text=True, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    lines = dict(map(json.loads, done.stdout.splitlines()))
    assert lines.keys() == imported.keys()
    for name, files in lines.items():
        assert set(map(Path, files)) <= set(provenance.code(BY_NAME[name], PLUGINS)), name


def forget():
    """Clear the caches of digests, which last as long as the process."""
    for function in (provenance._module, provenance._needs, provenance._digest):
        function.cache_clear()


def test_an_edited_module_changes_only_the_digests_of_its_users(imported, tmp_path, monkeypatch):
    project = clone(tmp_path)
    monkeypatch.setattr(provenance, "FOLDER", project.root / "scripts")

    def digests():
        forget()
        found = {}
        for name, script in BY_NAME.items():
            found[name] = provenance.digest(
                provenance.FOLDER / script.relative_to(SCRIPTS), PLUGINS
            )
        return found

    before = digests()
    try:
        for module in sorted(provenance.FOLDER.glob("imagenet_think/**/*.py")):
            text, times = module.read_text(), module.stat()
            module.write_text(text + "\nEDITED = True\n")
            os.utime(module, ns=(times.st_atime_ns, times.st_mtime_ns))
            own = SCRIPTS / module.relative_to(provenance.FOLDER)
            users = {name for name, files in imported.items() if own in files}
            after = digests()
            assert {name for name in imported if after[name] != before[name]} == users, module.name
            module.write_text(text)
    finally:
        forget()


EDITED = {
    "images/luma.py": ({"collect_candidates", "sample_images"}, set()),
    "inference/conversations.py": ({"generate_responses"}, {"sample_images"}),
    "inference/families/kimi_vl.py": ({"generate_responses"}, {"sample_images"}),
    "parsing/formats/kimi.py": (
        {"parse_responses", "score", "table_agreement", "build_dataset"},
        {"generate_responses"},
    ),
    "analysis/vocabulary.py": ({"table_language"}, {"generate_responses"}),
    "metrics/truncation.py": ({"score_embeddings"}, {"score", "parse_responses"}),
    "metrics/rouge.py": (
        {"score", "aggregate_scores", "table_benchmark", "figure_scores", "compare_with_paper"},
        {"score_embeddings", "parse_responses", "build_dataset", "account_responses"},
    ),
    "report/examples.py": ({"figure_sample"}, {"parse_responses"}),
}
"""Modules, with some rules whose jobs use them and some whose jobs do not."""

ONE_JOB = {"inference/families/kimi_vl.py", "parsing/formats/kimi.py", "metrics/rouge.py"}
"""Modules that a single job of the first rule uses."""


@pytest.fixture(scope="module")
def finished(tiny, tmp_path_factory):
    """A copy of a finished run whose modules a test may edit."""
    return tiny.copy(tmp_path_factory.mktemp("edited") / "project")


def uses(job, module):
    """Return whether a job's script uses a module, directly or not."""
    settings = json.loads(job.params.get("settings", "null"))
    named = [settings, {"metric": list(METRICS)} | dict(job.wildcards.items())]
    script = (ROOT / "rules" / job.rule.script).resolve()
    files = provenance.code(script, provenance.plugins(named))
    if job.rule.name in SCORING:
        files += provenance.code(implementation(registry.get(job.wildcards.metric)))
    return module in files


SCORING = ("score", "score_embeddings")


def implementation(metric):
    """Return the file that computes a metric."""
    return SCRIPTS / "imagenet_think" / f"{metric.module.replace('.', '/')}.py"


@pytest.mark.parametrize("name", EDITED)
def test_an_edited_module_runs_its_users_and_their_consumers(name, finished):
    edited = SCRIPTS / "imagenet_think" / name
    config = finished.root / TINY
    with finished.alone(), planned(finished.root, config, ["all"]) as workflow:
        users = [job for job in jobs(workflow) if uses(job, edited)]
        expected = Counter(job.rule.name for job in with_consumers(workflow, users))
    affected, unaffected = EDITED[name]
    assert affected <= expected.keys()
    assert not unaffected & expected.keys()
    if name in ONE_JOB:
        assert sum(job.rule.name in affected for job in users) == 1
    module = finished.root / edited.relative_to(ROOT)
    text, times = module.read_text(), module.stat()
    module.write_text(text + "\nEDITED = True\n")
    os.utime(module, ns=(times.st_atime_ns, times.st_mtime_ns))
    try:
        said = finished.snakemake("--configfile", TINY, "-n", "all")
    finally:
        module.write_text(text)
    assert listed(said) == expected


USED_FOR_NO_RESULT = {"generate_responses": "parsing.formats."}
"""The canary shows the format, which changes no result; nor do the modules of engines."""


def test_plugins_that_a_job_called_are_part_of_its_code(tiny):
    records = [json.loads(path.read_text()) for path in (tiny.root / "used").iterdir()]
    seen = set()
    for record in records:
        named = [json.loads(record["settings"] or "null")]
        named.append({"metric": record["metric"] or list(METRICS)})
        files = provenance.code(BY_NAME[record["script"]], provenance.plugins(named))
        for name in record["used"]:
            engine = "inference.engines."
            if name.startswith((engine, USED_FOR_NO_RESULT.get(record["rule"], engine))):
                continue
            seen.add(name)
            file = SCRIPTS / "imagenet_think" / f"{name.replace('.', '/')}.py"
            assert file in files, (record["rule"], name)
    assert len(records) > 60
    families = {"glm4v", "internvl", "kimi_vl", "qwen2_5_vl"}
    wanted = {"images.sources.drawings", "parsing.formats.kimi", "metrics.definitions.rouge"}
    assert seen >= wanted | {f"inference.families.{name}" for name in families}


def test_comments_docstrings_formatting_times_and_an_unused_module_run_nothing(finished):
    for module in (finished.root / "scripts").rglob("*.py"):
        formatted = ast.unparse(ast.parse(module.read_text()))
        module.write_text(f'"""Edited."""\n{formatted}\n# edited\n')
    for rules in (finished.root / "rules").glob("*.smk"):
        rules.write_text(f"# Edited.\n{rules.read_text()}")
    unused = finished.root / "scripts" / "imagenet_think" / "inference" / "families" / "unused.py"
    unused.write_text("USED = False\n")
    said = finished.snakemake("--configfile", TINY, "-n", "all")
    assert "Nothing to be done" in said


def test_known_scores_are_keyed_by_the_code_of_their_metric(tmp_path):
    workplace(tmp_path)
    with planned(tmp_path, ROOT / "config/miniature.yaml", ["tables"]) as workflow:
        keyed = {
            job.wildcards.metric: json.loads(job.params.metric_code)["metric_code"]
            for job in jobs(workflow)
            if job.rule.name in SCORING
        }
    assert keyed == {
        metric.name: provenance.digest(implementation(metric)) for metric in registry.metrics()
    }


def test_a_checkpoint_is_known_by_its_content(finished):
    folder = finished.root / "resources" / "miniatures" / "openvlthinker"
    for file in folder.iterdir():
        file.touch()
    assert listed(finished.snakemake("--configfile", TINY, "-n", "all")) == {}
    weights = folder / "model.safetensors"
    content, times = weights.read_bytes(), weights.stat()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(weights, ns=(times.st_atime_ns, times.st_mtime_ns + 1_000_000_000))
    try:
        said = finished.snakemake("--configfile", TINY, "-n", "all")
    finally:
        weights.write_bytes(content)
    assert listed(said)["generate_responses"] == 1
