"""Which code a job depends on, and what an edit of it runs again."""

import ast
import json
import os
import subprocess
import sys
from collections import Counter
from modulefinder import ModuleFinder
from pathlib import Path

import pytest

from imagenet_think.core import provenance
from tests.pretended_runs import jobs, planned, with_consumers, workplace

from .conftest import ROOT, clone, listed

pytestmark = pytest.mark.slow

TINY = "config/tiny.yaml"

SCRIPTS = ROOT / "scripts"
PLUGINS = {f"{package}.{name}" for package, names in provenance.PLUGINS.items() for name in names}


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
            for name in (f"imagenet_think.{package}" for package in provenance.PLUGINS):
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
        assert set(provenance.code(SCRIPTS / f"{name}.py", PLUGINS)) == files | templates, name


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
        assert set(map(Path, files)) <= set(provenance.code(SCRIPTS / f"{name}.py", PLUGINS)), name


def forget():
    """Let digests be computed again: they are kept for the time of a process."""
    for function in (provenance._module, provenance._needs, provenance._digest):
        function.cache_clear()


def test_an_edited_module_changes_the_digest_of_what_uses_it_alone(imported, tmp_path, monkeypatch):
    project = clone(tmp_path)
    monkeypatch.setattr(provenance, "FOLDER", project.root / "scripts")

    def digests():
        forget()
        found = {}
        for name in imported:
            found[name] = provenance.digest(provenance.FOLDER / f"{name}.py", PLUGINS)
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
    "images": "luma.py",
    "inference": "conversations.py",
    "family": "families/kimi_vl.py",
    "parsing": "parsing/formats/kimi.py",
    "statistics": "vocabulary.py",
    "benchmark": "windows.py",
    "figures": "examples.py",
}


@pytest.fixture(scope="module")
def finished(tiny, tmp_path_factory):
    """A copy of a finished run, whose modules a test may edit."""
    return tiny.copy(tmp_path_factory.mktemp("edited") / "project")


def uses(job, module):
    """Tell whether a job's script uses a module, directly or not."""
    given = json.loads(job.params.get("settings", "null"))
    script = (ROOT / "rules" / job.rule.script).resolve()
    return module in provenance.code(script, provenance.plugins(given))


@pytest.mark.parametrize("stage", EDITED)
def test_an_edited_module_runs_the_jobs_that_use_it_and_what_follows(stage, finished):
    edited = SCRIPTS / "imagenet_think" / EDITED[stage]
    config = finished.root / TINY
    with finished.alone(), planned(finished.root, config, ["all"]) as workflow:
        users = [job for job in jobs(workflow) if uses(job, edited)]
        expected = Counter(job.rule.name for job in with_consumers(workflow, users))
    assert users
    module = finished.root / edited.relative_to(ROOT)
    text, times = module.read_text(), module.stat()
    module.write_text(text + "\nEDITED = True\n")
    os.utime(module, ns=(times.st_atime_ns, times.st_mtime_ns))
    try:
        said = finished.snakemake("--configfile", TINY, "-n", "all")
    finally:
        module.write_text(text)
    assert listed(said) == expected


def after_an_edit(project, name):
    """Add a statement to the first function of a module; return what a dry run prints."""
    module = project.root / "scripts" / "imagenet_think" / name
    text = module.read_text()
    tree = ast.parse(text)
    function = next(node for node in tree.body if isinstance(node, ast.FunctionDef))
    function.body += ast.parse("edited = True").body
    module.write_text(ast.unparse(tree))
    try:
        return project.snakemake("--configfile", TINY, "-n", "all")
    finally:
        module.write_text(text)


def test_an_edited_format_parses_only_the_models_that_use_it(finished):
    said = after_an_edit(finished, "parsing/formats/kimi.py")
    counts = listed(said)
    assert counts["parse_responses"] == 1
    assert "responses of kimi-vl" in said
    assert "generate_responses" not in counts
    assert {"score_rouge", "table_agreement", "build_dataset"} <= counts.keys()


def test_an_edited_metric_scores_only_with_it(finished):
    counts = listed(after_an_edit(finished, "rouge.py"))
    assert {name for name in counts if name.startswith("score_")} == {"score_rouge"}
    assert counts["aggregate_scores"] == counts["table_benchmark"] == 1
    assert {"figure_scores", "compare_with_paper", "render_pages"} <= counts.keys()
    assert not counts.keys() & {"parse_responses", "build_dataset", "account_responses"}


USED_FOR_NO_RESULT = {"generate_responses": "formats."}
"""A format that the canary shows; what a rule uses of an engine changes no result either."""


def test_plugins_that_a_job_called_are_part_of_its_code(tiny):
    records = [json.loads(path.read_text()) for path in (tiny.root / "used").iterdir()]
    seen = set()
    for record in records:
        chosen = provenance.plugins(json.loads(record["settings"] or "null"))
        files = provenance.code(SCRIPTS / f"{record['script']}", chosen)
        for name in record["used"]:
            if name.startswith(("engines.", USED_FOR_NO_RESULT.get(record["rule"], "engines."))):
                continue
            seen.add(name)
            file = SCRIPTS / "imagenet_think" / f"{name.replace('.', '/')}.py"
            assert file in files, (record["rule"], name)
    assert len(records) > 60
    wanted = {"families.glm4v", "families.kimi_vl", "families.qwen2_5_vl", "sources.class_tars"}
    assert seen >= wanted | {"formats.kimi"}


def test_comments_docstrings_formatting_times_and_an_unused_module_run_nothing(finished):
    for module in (finished.root / "scripts").rglob("*.py"):
        formatted = ast.unparse(ast.parse(module.read_text()))
        module.write_text(f'"""Edited."""\n{formatted}\n# edited\n')
    for rules in (finished.root / "rules").glob("*.smk"):
        rules.write_text(f"# Edited.\n{rules.read_text()}")
    unused = finished.root / "scripts" / "imagenet_think" / "families" / "unused.py"
    unused.write_text("USED = False\n")
    said = finished.snakemake("--configfile", TINY, "-n", "all")
    assert "Nothing to be done" in said


def test_known_scores_are_keyed_by_the_code_of_their_metric(tmp_path):
    workplace(tmp_path)
    with planned(tmp_path, ROOT / "config/miniature.yaml", ["tables"]) as workflow:
        keyed = {
            job.rule.name: json.loads(job.params.metric_code)["metric_code"]
            for job in jobs(workflow)
            if job.rule.name.startswith("score_")
        }
    modules = {
        f"score_{metric}": SCRIPTS / "imagenet_think" / f"{metric}.py"
        for metric in ("rouge", "sets", "vectors", "bertscore", "sbert")
    }
    assert keyed == {name: provenance.digest(module) for name, module in modules.items()}


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
