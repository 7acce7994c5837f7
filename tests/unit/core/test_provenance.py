import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagenet_think.core import provenance

SCRIPTS = Path(__file__).parents[3] / "scripts"

# Digests are kept for the time of a process, so that a plan reads each file once.
DIGEST = "import sys; from imagenet_think.core import provenance as p; print(p.digest(sys.argv[1]))"
SNAPSHOT = "from imagenet_think.core import provenance as p; print(p.snapshot({'a': 1, 'b': [2]}))"


def names(path):
    return [file.relative_to(SCRIPTS).as_posix() for file in provenance.code(path)]


@pytest.fixture
def copy(tmp_path):
    """A function that runs Python in a copy of the project's code."""
    for name in ("scripts", "rules"):
        shutil.copytree(SCRIPTS.parent / name, tmp_path / name)
    shutil.copy(SCRIPTS.parent / "Snakefile", tmp_path)

    def python(code, *arguments):
        scripts = tmp_path / "scripts"
        command = [sys.executable, "-c", code, *(str(scripts / name) for name in arguments)]
        environment = os.environ | {"PYTHONPATH": str(scripts)}
        return subprocess.run(
            command, env=environment, text=True, capture_output=True, check=True
        ).stdout

    python.root = tmp_path
    return python


def test_a_script_stands_on_what_its_imports_import():
    found = names(SCRIPTS / "imagenet_think" / "metrics" / "rouge.py")
    # rouge imports tokenization, which imports nothing of ours.
    for name in (
        "imagenet_think/metrics/rouge",
        "imagenet_think/metrics/tokenization",
    ):
        assert f"{name}.py" in found
    assert "imagenet_think/metrics/bertscore.py" not in found
    assert found == sorted(set(found))


def test_an_import_inside_a_function_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "FOLDER", tmp_path)
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "late.py").touch()
    (package / "other.py").touch()
    script = tmp_path / "script.py"
    script.write_text(
        "def f():\n    from package import (\n        late,\n    )\n    return late\n"
    )
    found = {file.name for file in provenance.code(script)}
    assert found == {"script.py", "late.py", "__init__.py"}


def test_only_the_chosen_plugins_count():
    script = SCRIPTS / "inference" / "generate_responses.py"
    chosen = provenance.plugins({"model": {"family": "glm4v"}})
    assert chosen == {"inference.families.glm4v"}
    without, found = (set(provenance.code(script, plugins)) for plugins in ((), chosen))
    folder = SCRIPTS / "imagenet_think" / "inference" / "families"
    assert folder / "__init__.py" in without
    for name in ("glm4v", "internvl", "kimi_vl", "qwen2_5_vl"):
        assert folder / f"{name}.py" not in without
        assert (folder / f"{name}.py" in found) == (name == "glm4v")


@pytest.mark.parametrize(
    "text",
    [
        "from imagenet_think.inference import families",
        'PACKAGE = "inference.families"',
        'def f(name):\n    return plugins.get("inference.families", name)',
    ],
)
def test_a_module_that_names_a_package_of_plugins_uses_the_chosen_ones(text, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(text)
    needs = provenance._needs(script)
    assert {file.parent.name for file in needs if file.stem == "__init__"} >= {"families"}


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"images": {"source": {"kind": "class_folders"}}}, {"images.sources.class_folders"}),
        (
            {"models": [{"family": "internvl"}, {"family": "glm4v"}]},
            {"inference.families.internvl", "inference.families.glm4v"},
        ),
        (
            {"kind": ["folder", "class_tars"]},
            {"images.sources.folder", "images.sources.class_tars"},
        ),
        ({"family": "unknown", "kind": None, "output": {"family": 1}}, set()),
        ({"output": {"family": "kimi_vl"}}, {"inference.families.kimi_vl"}),
        ("glm4v", set()),
    ],
)
def test_settings_name_plugins(settings, named):
    assert provenance.plugins(settings) == named


SAME = """
import os  # a comment

LIMIT = (1 +
         2)
'''What a constant means.'''


def f(x, *, y=3):
    "Another docstring."
    # Why.
    return {
        "a": x,
    }
"""
ORIGINAL = '''
"""A module."""
import os
LIMIT = 1 + 2
def f(x, *, y=3):
    """What it does."""
    return {"a": x}
'''


def test_comments_docstrings_and_formatting_mean_nothing():
    assert provenance.meaning(SAME) == provenance.meaning(ORIGINAL)


@pytest.mark.parametrize(
    ("old", "new"),
    [("1 + 2", "1 + 3"), ("x, *", "x, z, *"), ("y=3", "y=4"), ('"a"', '"b"'), ("import os", "")],
)
def test_code_means_something(old, new):
    assert old in ORIGINAL
    assert provenance.meaning(ORIGINAL.replace(old, new)) != provenance.meaning(ORIGINAL)


@given(st.sampled_from(sorted(SCRIPTS.rglob("*.py"))))
@settings(max_examples=20, deadline=None)
def test_a_module_printed_anew_means_the_same(file):
    """`ast.unparse` drops comments and chooses its own quotes, brackets and line breaks."""
    text = file.read_text()
    assert provenance.meaning(ast.unparse(ast.parse(text))) == provenance.meaning(text)


def test_a_template_counts_with_its_module():
    assert "imagenet_think/inference/canary_page.html" in names(
        SCRIPTS / "inference" / "generate_responses.py"
    )
    assert "report/report_sampling.html" in names(SCRIPTS / "report" / "report_sampling.py")


def test_an_edit_is_seen_by_those_alone_that_use_it(copy):
    script = ("imagenet_think/metrics/rouge.py", "imagenet_think/metrics/bertscore.py")
    before = [copy(DIGEST, name) for name in script]
    module = copy.root / "scripts" / "imagenet_think" / "metrics" / "tokenization.py"
    module.touch()
    assert [copy(DIGEST, name) for name in script] == before
    time = module.stat().st_mtime
    module.write_text('"""Another docstring."""\n' + module.read_text() + "\n# edited\n")
    assert [copy(DIGEST, name) for name in script] == before
    module.write_text(module.read_text() + "\nEDITED = True\n")
    os.utime(module, (time, time))
    after = [copy(DIGEST, name) for name in script]
    assert (after[0] != before[0], after[1] != before[1]) == (True, False)


def test_a_snapshot_sees_config_and_code_whatever_the_order_of_keys(copy):
    before = copy(SNAPSHOT)
    assert copy(SNAPSHOT.replace("'a': 1, 'b': [2]", "'b': [2], 'a': 1")) == before
    assert copy(SNAPSHOT.replace("'a': 1", "'a': 2")) != before
    rules = copy.root / "rules" / "parsing.smk"
    rules.write_text("# A comment.\n\n" + rules.read_text())
    assert copy(SNAPSHOT) == before
    rules.write_text(rules.read_text() + "\nEDITED = True\n")
    assert copy(SNAPSHOT) != before
    script = copy.root / "scripts" / "unused.py"
    script.write_text("# nothing\n")
    changed = copy(SNAPSHOT)
    script.write_text("EDITED = True\n")
    assert copy(SNAPSHOT) not in (before, changed)
